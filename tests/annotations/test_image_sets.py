"""Images that a manifest describes: all or nothing, bad rows named, gone on with where it stopped."""

import gzip
import io
from typing import Any

import pytest

from annotations.imports import containers, image_sets
from annotations.imports.containers import open_archive, read_file, without_gzip
from annotations.imports.image_sets import BadRows, Imported, import_image_sets
from annotations.imports.records import BadRecord, UnableToImport
from annotations.models import Campaign, Generator, Image, ManifestRow, Prompt, Slot, Task
from tests.annotations.factories import make_campaign, picture_bytes
from tests.annotations.packages import manifest_csv, manifest_jsonl, opened, tar_of, two_generators, zip_of

pytestmark = pytest.mark.django_db


def draft(**fields: Any) -> Campaign:
    return make_campaign(tasks=0, state=Campaign.State.DRAFT, **fields)


def silent(_stage: str, _done: int, _total: int) -> None:
    pass


def imported(campaign: Campaign, files: dict[str, bytes], **options: Any) -> Imported:
    return import_image_sets(campaign=campaign, container=opened(files), **{"progress": silent} | options)


def shown(campaign: Campaign) -> list[tuple[str, list[str]]]:
    """Each task: its prompt, and the generators of its images."""
    return sorted(
        (task.prompt.text, [image.generator.name if image.generator else "" for image in task.images.order_by("pk")])
        for task in campaign.tasks.select_related("prompt")
    )


def test_import_makes_a_task_of_each_prompt() -> None:
    campaign = draft(votes_per_task=3)

    figures = imported(campaign, two_generators())

    assert figures == Imported(rows=4, images=4, prompts=2, tasks=2, bad_rows=0)
    assert shown(campaign) == [("prompt 0", ["alder", "birch"]), ("prompt 1", ["alder", "birch"])]
    assert Slot.objects.filter(campaign=campaign).count() == 6
    assert list(Image.objects.order_by("pk").values_list("seed", flat=True)) == [0, 0, 1, 1]


def test_import_reads_a_tar_with_its_only_folder_as_it_reads_a_zip() -> None:
    files = {f"./set/{name}": content for name, content in two_generators().items()}
    campaign = draft()

    import_image_sets(campaign=campaign, container=open_archive("set.tar", io.BytesIO(tar_of(files))), progress=silent)

    assert shown(campaign) == [("prompt 0", ["alder", "birch"]), ("prompt 1", ["alder", "birch"])]


def test_import_reads_a_gzipped_tar_in_any_order() -> None:
    files = dict(sorted(two_generators().items(), reverse=True))
    campaign = draft()

    with without_gzip("set.tar.gz", io.BytesIO(gzip.compress(tar_of(files)))) as file:
        import_image_sets(campaign=campaign, container=open_archive("set.tar.gz", file), progress=silent)

    assert shown(campaign) == [("prompt 0", ["alder", "birch"]), ("prompt 1", ["alder", "birch"])]


def test_without_gzip_leaves_other_files_as_they_are() -> None:
    sent = io.BytesIO(zip_of({"a": b"a"}))

    with without_gzip("set.zip", sent) as file:
        assert (file, file.tell()) == (sent, 0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (gzip.compress(bytes(3 * 2**20)), "unpacks to more than 2 times its size"),
        (gzip.compress(picture_bytes())[:-9], "set.tar.gz cannot be unpacked"),
        (b"\x1f\x8b and no gzip at all", "set.tar.gz cannot be unpacked"),
        (gzip.compress(b"x") + b"\x1f\x8b\x08 and more", "set.tar.gz cannot be unpacked"),
    ],
    ids=["bursts", "cut short", "no gzip", "broken behind its end"],
)
def test_without_gzip_refuses_what_bursts_and_what_is_broken(
    content: bytes, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "MAX_GROWTH", 2)

    with pytest.raises(UnableToImport, match=words), without_gzip("set.tar.gz", io.BytesIO(content)):
        pass


def test_without_gzip_leaves_room_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "FREE_BYTES", 2**80)

    with pytest.raises(UnableToImport, match="more than the disk"), without_gzip("x", io.BytesIO(gzip.compress(b"x"))):
        pass


def test_import_keeps_the_sets_that_rows_name() -> None:
    rows = [
        {"file": f"{number}.png", "prompt": "a fox", "set": name, "tags": ["animal"]}
        for number, name in enumerate(["x", "y", "y", "x"])
    ]
    files = {"manifest.jsonl": manifest_jsonl(rows)} | {row["file"]: picture_bytes() for row in rows}
    campaign = draft()

    imported(campaign, files)

    of_file = {row.file: row.image_id for row in ManifestRow.objects.all()}
    sets = {frozenset(task.images.values_list("pk", flat=True)) for task in campaign.tasks.all()}
    assert sets == {
        frozenset({of_file["0.png"], of_file["3.png"]}),
        frozenset({of_file["1.png"], of_file["2.png"]}),
    }
    assert Prompt.objects.get().tags == ["animal"]


def test_import_repeated_adds_nothing() -> None:
    campaign, files = draft(), two_generators()
    first = imported(campaign, files)

    assert imported(campaign, files) == first
    assert (Task.objects.count(), Image.objects.count(), Slot.objects.count()) == (2, 4, 2)


def test_import_of_bad_rows_makes_no_task_and_lists_them() -> None:
    files = two_generators()
    rows = [
        {"file": "pictures/0-alder.png", "prompt": "prompt 0", "seed": "x"},
        {"file": "../../etc/passwd", "prompt": "prompt 0", "seed": ""},
        {"file": "pictures/0-birch.png", "prompt": "prompt 0", "seed": ""},
    ]
    campaign = draft()

    with pytest.raises(UnableToImport) as refused:
        imported(campaign, files | {"manifest.csv": manifest_csv(rows)})

    problems = [
        "seed: it is no whole number of 64 bits but 'x'",
        "file: '../../etc/passwd' is not in images.zip",
        "prompt: it has 1 image; a task of the campaign shows 2",
    ]
    assert str(refused.value) == (
        f"3 rows are bad, and no task was made: manifest.csv, row 1, {problems[0]}; "
        f"manifest.csv, row 2, {problems[1]}; manifest.csv, row 3, {problems[2]}. "
        "Mend them and import again, or leave bad rows out."
    )
    assert list(campaign.manifest_rows.values_list("number", "problem")) == list(enumerate(problems, start=1))
    assert (Task.objects.count(), Image.objects.count(), Generator.objects.count()) == (0, 0, 0)


def test_import_that_leaves_bad_rows_out_takes_the_rest() -> None:
    files = two_generators() | {"pictures/1-birch.png": b"no picture"}
    campaign = draft()

    figures = imported(campaign, files, skips_bad=True)

    assert figures == Imported(rows=4, images=3, prompts=2, tasks=1, bad_rows=1)
    assert shown(campaign) == [("prompt 0", ["alder", "birch"])]
    bad = campaign.manifest_rows.exclude(problem="").get()
    assert (bad.number, bad.problem) == (
        4,
        "file: '1-birch.png' is refused: it is not a JPEG, PNG or WebP file",
    )


def test_import_with_an_image_that_is_none_makes_no_task() -> None:
    campaign = draft()

    with pytest.raises(UnableToImport, match=r"row 4, file: '1-birch.png' is refused: it is not a JPEG"):
        imported(campaign, two_generators() | {"pictures/1-birch.png": b"no picture"})
    assert not Task.objects.exists()


def test_import_after_the_manifest_was_mended_forgets_what_was_bad() -> None:
    campaign, files = draft(), two_generators()
    with pytest.raises(UnableToImport):
        imported(campaign, files | {"manifest.csv": manifest_csv([{"file": "nowhere.png", "prompt": "x"}])})

    imported(campaign, files)

    assert not campaign.manifest_rows.exclude(problem="").exists()


@pytest.mark.parametrize("bad", [{"pictures/1-birch.png": b"no picture"}, {"pictures/1-birch.png": None}])
def test_import_after_a_file_was_mended_under_the_same_manifest_reads_it_anew(bad: dict[str, bytes | None]) -> None:
    campaign, files = draft(), two_generators()
    broken = {name: content for name, content in (files | bad).items() if content is not None}
    with pytest.raises(BadRows):
        imported(campaign, broken)

    figures = imported(campaign, files)

    assert figures == Imported(rows=4, images=4, prompts=2, tasks=2, bad_rows=0)


def test_import_once_more_without_the_bad_rows_takes_the_rest() -> None:
    campaign, files = draft(), two_generators() | {"pictures/1-birch.png": b"no picture"}
    with pytest.raises(BadRows):
        imported(campaign, files)

    assert imported(campaign, files, skips_bad=True) == Imported(rows=4, images=3, prompts=2, tasks=1, bad_rows=1)


def test_import_that_was_stopped_goes_on_where_it_stood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_sets, "IMAGES_AT_ONCE", 3)
    campaign, container = draft(), opened(two_generators(prompts=4))
    read: list[str] = []

    def counted(container: containers.Container, name: str) -> bytes:
        read.append(name)
        return read_file(container, name)

    def stop(stage: str, done: int, _total: int) -> None:
        if stage == "reading images" and done == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(image_sets, "read_file", counted)
    with pytest.raises(KeyboardInterrupt):
        import_image_sets(campaign=campaign, container=container, progress=stop)
    assert not Task.objects.exists()

    figures = import_image_sets(campaign=campaign, container=container, progress=silent)

    assert figures == Imported(rows=8, images=8, prompts=4, tasks=4, bad_rows=0)
    assert len(read) == len(set(read)) == 8


def test_import_tells_how_far_it_is() -> None:
    told: list[tuple[str, int, int]] = []

    imported(draft(), two_generators(), progress=lambda *step: told.append(step))

    assert told == [("looking at the manifest", 4, 0), ("reading images", 4, 4), ("making tasks", 4, 4)]


def test_import_of_many_rows_takes_statements_by_batches_not_by_rows(
    monkeypatch: pytest.MonkeyPatch, django_assert_max_num_queries: Any
) -> None:
    picture = picture_bytes()
    rows = [{"file": "a.png", "prompt": f"p{number // 2}", "generator": number % 2} for number in range(600)]
    monkeypatch.setattr(image_sets, "read_file", lambda *_file: picture)
    monkeypatch.setattr(image_sets, "IMAGES_AT_ONCE", 300)

    with django_assert_max_num_queries(90):
        imported(draft(), {"manifest.jsonl": manifest_jsonl(rows), "a.png": picture})
    assert Task.objects.count() == 300


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "images.zip is no ZIP and no TAR file that can be read"),
        (b"PK\x03\x04 and then nothing", "images.zip is no ZIP"),
        (zip_of({"manifest.csv": b"file,prompt\n"})[:-30], "images.zip is no ZIP"),
        (b"no archive at all, but long enough for a header" * 20, "images.zip is no ZIP"),
    ],
)
def test_open_archive_refuses_what_is_none(content: bytes, words: str) -> None:
    with pytest.raises(UnableToImport, match=words):
        open_archive("images.zip", io.BytesIO(content))


def test_read_file_takes_no_more_than_an_image_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "MAX_BYTES", 1000)
    container = opened({"bomb.png": b"\0" * 1001})

    with pytest.raises(BadRecord, match="it has 1,001 bytes; at most 1,000 are taken"):
        read_file(container, "bomb.png")


def test_read_file_tells_a_damaged_member() -> None:
    packed = bytearray(zip_of({"a.png": bytes(range(256)) * 4}))
    packed[60] ^= 0xFF

    with pytest.raises(BadRecord, match=r"it cannot be read from images\.zip"):
        read_file(open_archive("images.zip", io.BytesIO(bytes(packed))), "a.png")


def test_read_file_refuses_an_encrypted_member() -> None:
    # The flag stands in the directory and before the file: turned on in both.
    content = zip_of({"a.png": b"abc"})
    content = content[:6] + b"\x01\x00" + content[8:]
    at = content.index(b"PK\x01\x02") + 8
    container = open_archive("images.zip", io.BytesIO(content[:at] + b"\x01\x00" + content[at + 2 :]))
    with pytest.raises(BadRecord, match="it is encrypted"):
        read_file(container, "a.png")
