"""How existing choices come in: whole, once, and nothing of a bad source."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from annotations.imports.choices import Import, Report, import_choices, preview_choices
from annotations.imports.records import Place, Problem, UnableToImport
from annotations.models import Annotator, Campaign, Candidate, Generator, Image, Prompt, Slot, Split, Task, Vote
from tests.annotations.factories import make_campaign, make_prompt
from tests.annotations.hostile_files import hostile_files
from tests.annotations.hpd_source import GENERATORS, PATTERN, good_test, good_train, record, write_source

pytestmark = pytest.mark.django_db

EVERYTHING = Report(
    prompts=3, images=9, choices=7, decided_pairs=13, annotators=3, generators=3, already_there=0, skipped=[]
)
NOTHING = Report(
    prompts=0, images=0, choices=0, decided_pairs=0, annotators=0, generators=0, already_there=7, skipped=[]
)


def source_of(path: Path, **options: Any) -> Import:
    return Import(path=path, format="hpd", campaign_slug="past", **{"generator_pattern": PATTERN, **options})


def row_counts() -> dict[str, int]:
    models = (Annotator, Campaign, Candidate, Generator, Image, Prompt, Slot, Task, Vote)
    return {model.__name__: model.objects.count() for model in models}


def stored_files(home: Path) -> list[Path]:
    return [path for path in (home / "media").rglob("*") if path.is_file()]


def votes_told() -> list[tuple[object, ...]]:
    """Every vote by what it means, whatever its ids: person, prompt, split, chosen generator, order shown."""
    names = dict(Image.objects.values_list("pk", "generator__name"))
    votes = Vote.objects.select_related("annotator", "task__prompt").order_by("pk")
    return [
        (
            vote.annotator.external_id,
            vote.task.prompt.text,
            vote.task.prompt.split,
            names[vote.image_id],
            [names[pk] for pk in vote.order],
        )
        for vote in votes
    ]


def test_import_choices_keeps_every_choice_as_it_was_made(tmp_path: Path) -> None:
    report = import_choices(source_of(write_source(tmp_path / "hpd")))

    assert report == EVERYTHING
    alpha, beta, gamma = GENERATORS
    assert votes_told() == [
        ("hpd:past:ada", "a drawing of anchor", "train", alpha, [alpha, beta, gamma]),
        ("hpd:past:ben", "a drawing of anchor", "train", alpha, [beta, gamma, alpha]),
        ("hpd:past:ada", "a drawing of barn", "train", beta, [alpha, beta, gamma]),
        ("hpd:past:cleo", "a drawing of barn", "train", alpha, [gamma, alpha, beta]),
        ("hpd:past:cleo", "a drawing of anchor", "train", beta, [alpha, beta]),
        ("hpd:past:ada", "a drawing of cliff", "test", gamma, [alpha, beta, gamma]),
        ("hpd:past:ben", "a drawing of cliff", "test", beta, [beta, gamma, alpha]),
    ]


def test_import_choices_makes_one_task_of_each_set_with_a_done_slot_per_choice(tmp_path: Path) -> None:
    import_choices(source_of(write_source(tmp_path / "hpd")))

    tasks = Task.objects.order_by("pk")
    assert [(task.prompt.text, task.candidates.count()) for task in tasks] == [
        ("a drawing of anchor", 3),
        ("a drawing of barn", 3),
        ("a drawing of anchor", 2),
        ("a drawing of cliff", 3),
    ]
    assert list(Slot.objects.order_by("task", "number").values_list("task", "number", "state")) == [
        (task.pk, number, "done") for task, count in zip(tasks, [2, 2, 1, 2], strict=True) for number in range(count)
    ]
    assert all(vote.order == vote.slot.order and vote.annotator == vote.slot.annotator for vote in Vote.objects.all())
    assert Vote.objects.counted().count() == 7


def test_import_choices_makes_a_closed_campaign_and_imported_people(tmp_path: Path) -> None:
    import_choices(source_of(write_source(tmp_path / "hpd"), campaign_name="Past choices"))

    campaign = Campaign.objects.get()
    assert (campaign.slug, campaign.name, campaign.state, campaign.access) == (
        "past",
        "Past choices",
        "closed",
        "invited",
    )
    assert (campaign.candidates, campaign.is_synthetic) == (3, False)
    assert set(Annotator.objects.values_list("source", "user", "is_synthetic")) == {("imported", None, False)}
    assert dict(Prompt.objects.values_list("text", "tags")) == {
        "a drawing of anchor": [],
        "a drawing of barn": ["contains a name"],
        "a drawing of cliff": [],
    }


def test_import_choices_a_second_time_adds_nothing(tmp_path: Path, files: Path) -> None:
    source = source_of(write_source(tmp_path / "hpd"))
    import_choices(source)
    before, before_files = row_counts(), stored_files(files)

    assert import_choices(source) == NOTHING

    assert (row_counts(), stored_files(files)) == (before, before_files)


def test_import_choices_adds_to_what_is_there(tmp_path: Path) -> None:
    folder = write_source(tmp_path / "hpd")
    import_choices(source_of(folder / "preference_train.json"))
    more = [*good_train(), record(5, "anchor", "cleo", 0)]
    (folder / "preference_train.json").write_text(json.dumps(more))

    report = import_choices(source_of(folder))

    assert report == Report(
        prompts=1, images=3, choices=3, decided_pairs=6, annotators=0, generators=0, already_there=5, skipped=[]
    )
    anchor = Task.objects.filter(prompt__text="a drawing of anchor").order_by("pk")[0]
    assert list(anchor.slots.order_by("number").values_list("number", "annotator__external_id")) == [
        (0, "hpd:past:ada"),
        (1, "hpd:past:ben"),
        (2, "hpd:past:cleo"),
    ]


def test_import_choices_into_another_campaign_shares_prompts_and_images_but_no_people(tmp_path: Path) -> None:
    folder = write_source(tmp_path / "hpd")
    import_choices(source_of(folder))

    report = import_choices(Import(folder, "hpd", "other", generator_pattern=PATTERN))

    assert report == Report(
        prompts=0, images=0, choices=7, decided_pairs=13, annotators=3, generators=0, already_there=0, skipped=[]
    )
    assert Vote.objects.count() == 14


def test_preview_choices_reports_the_same_and_writes_nothing(tmp_path: Path, files: Path) -> None:
    source = source_of(write_source(tmp_path / "hpd"))

    assert preview_choices(source) == EVERYTHING
    assert set(row_counts().values()) == {0}
    assert stored_files(files) == []

    import_choices(source)
    assert preview_choices(source) == NOTHING


def test_import_choices_takes_file_names_without_their_folder_and_images_elsewhere(tmp_path: Path) -> None:
    folder = write_source(tmp_path / "hpd")
    bare = [
        {**entry, "file_path": [name.removeprefix("preference_images/") for name in entry["file_path"]]}
        for entry in good_train()
    ]
    (tmp_path / "lone").mkdir()
    lone = tmp_path / "lone" / "preference_train.json"
    lone.write_text(json.dumps(bare))

    beside = import_choices(source_of(lone, images=folder))
    inside = import_choices(source_of(lone, images=folder / "preference_images"))
    prefixed = import_choices(source_of(folder / "preference_train.json", images=folder / "preference_images"))

    assert (beside.choices, inside.choices, prefixed.choices) == (5, 0, 0)


def test_import_choices_lets_the_text_decide_the_split_of_a_file_that_tells_none(tmp_path: Path) -> None:
    folder = write_source(tmp_path / "hpd")
    (folder / "preference_train.json").rename(folder / "mine.json")

    import_choices(source_of(folder / "mine.json"))

    splits = dict(Prompt.objects.values_list("text", "split"))
    assert splits == {text: Split.of(text) for text in ("a drawing of anchor", "a drawing of barn")}


def test_import_choices_reads_generators_and_synthetic_from_the_records(tmp_path: Path) -> None:
    train = [{**entry, "synthetic": True} for entry in good_train()[:1]]
    train[0]["generators"] = ["One", None, "Two"]
    folder = write_source(tmp_path / "hpd", train=train, test=[])

    import_choices(source_of(folder, generator_pattern=None))

    assert [image.generator and image.generator.name for image in Image.objects.order_by("pk")] == ["One", None, "Two"]
    assert Campaign.objects.get().is_synthetic
    assert Annotator.objects.get().is_synthetic
    assert set(Generator.objects.values_list("is_synthetic", flat=True)) == {True}


BAD_RECORDS: dict[str, tuple[object, str]] = {
    "no object": ("text", "it is no object but 'text'"),
    "no prompt": ({"prompt": ...}, "it has no prompt"),
    "no id": ({"id": ...}, "it has no id"),
    "no person": ({"user_hash": ...}, "it has no user_hash"),
    "no name flag": ({"contain_name": ...}, "it has no contain_name"),
    "no images": ({"file_path": ...}, "it has no file_path"),
    "no choice": ({"human_preference": ...}, "it has no human_preference"),
    "choice true": ({"human_preference": True}, "human_preference is no whole number but True"),
    "choice text": ({"human_preference": "1"}, "human_preference is no whole number but '1'"),
    "choice fraction": ({"human_preference": 1.0}, "human_preference is no whole number but 1.0"),
    "choice below": ({"human_preference": -1}, "human_preference is -1, but its 3 images count from 0 to 2"),
    "choice above": ({"human_preference": 3}, "human_preference is 3, but its 3 images count from 0 to 2"),
    "choice huge": ({"human_preference": 10**30}, "human_preference is 1000000000000000000000000000000, but its 3"),
    "id true": ({"id": True}, "id is no whole number but True"),
    "id null": ({"id": None}, "id is no whole number but None"),
    "flag number": ({"contain_name": 0}, "contain_name is neither true nor false but 0"),
    "synthetic text": ({"synthetic": "yes"}, "synthetic is neither true nor false but 'yes'"),
    "prompt number": ({"prompt": 7}, "prompt is no text but 7"),
    "prompt blank": ({"prompt": " "}, "the prompt is blank"),
    "prompt with NUL": ({"prompt": "a\0b"}, "the prompt holds characters that are no text"),
    "prompt with half a pair": ({"prompt": "\ud800"}, "the prompt holds characters that are no text"),
    "person blank": ({"user_hash": ""}, "user_hash is no text but ''"),
    "person number": ({"user_hash": 5}, "user_hash is no text but 5"),
    "person long": ({"user_hash": "a" * 101}, "user_hash has 101 characters; at most 100 are taken"),
    "person with NUL": ({"user_hash": "a\0"}, "user_hash is no text but 'a\\x00'"),
    "images text": ({"file_path": "a.png"}, "file_path is no list of file names but 'a.png'"),
    "image number": ({"file_path": ["a.png", 1]}, "file_path is no list of file names but ['a.png', 1]"),
    "one image": ({"file_path": ["barn_Alpha.png"]}, "it has 1 images; a choice is between 2 and 9"),
    "ten images": ({"file_path": [f"{n}.png" for n in range(10)]}, "it has 10 images; a choice is between 2 and 9"),
    "image twice": ({"file_path": ["barn_Beta.png"] * 2, "human_preference": 0}, "file_path names an image twice"),
    "image twice by two names": (
        {"file_path": ["barn_Beta.png", "preference_images/barn_Beta.png"], "human_preference": 0},
        "two of its images are the same picture",
    ),
    "image missing": (
        {"file_path": ["barn_Beta.png", "barn_Delta.png"], "human_preference": 0},
        "the image 'barn_Delta.png' is not there",
    ),
    "image a folder": (
        {"file_path": ["barn_Beta.png", "preference_images"], "human_preference": 0},
        "the image 'preference_images' is not there",
    ),
    "path upwards": (
        {"file_path": ["barn_Beta.png", "../outside_Out.png"], "human_preference": 0},
        "'../outside_Out.png' is no path below the image folder",
    ),
    "path upwards inside": (
        {"file_path": ["barn_Beta.png", "preference_images/../../outside_Out.png"], "human_preference": 0},
        "is no path below the image folder",
    ),
    "path absolute": (
        {"file_path": ["barn_Beta.png", "/etc/passwd"], "human_preference": 0},
        "'/etc/passwd' is no path below the image folder",
    ),
    "path of windows": (
        {"file_path": ["barn_Beta.png", "..\\outside_Out.png"], "human_preference": 0},
        "is no path below the image folder; write it with forward slashes",
    ),
    "path with drive": (
        {"file_path": ["barn_Beta.png", "C:x_Out.png"], "human_preference": 0},
        "is no path below the image folder; write it with forward slashes",
    ),
    "path with NUL": (
        {"file_path": ["barn_Beta.png", "a\0_Out.png"], "human_preference": 0},
        "'a\\x00_Out.png' is no path below the image folder",
    ),
    "path a dot": ({"file_path": ["barn_Beta.png", "."], "human_preference": 0}, "is no path below the image folder"),
    "path too long": ({"file_path": ["barn_Beta.png", "a" * 5000], "human_preference": 0}, "is not there"),
    "path a link outwards": (
        {"file_path": ["barn_Beta.png", "link_Out.png"], "human_preference": 0},
        "'link_Out.png' is a link that leads out of the image folder",
    ),
    "image hostile": (
        {"file_path": ["barn_Beta.png", "hostile_Out.png"], "human_preference": 0},
        "the image 'hostile_Out.png' is refused: it has far too many pixels",
    ),
    "no generator in the name": (
        {"file_path": ["barn_Beta.png", "plain.png"], "human_preference": 0},
        "the generator pattern finds none in 'plain.png'",
    ),
    "id twice": ({"id": 0}, "its id is that of preference_train.json, record 1 already"),
    "person twice": (
        {"user_hash": "ada", "prompt": "a drawing of barn"},
        "its person chose among the same images in preference_train.json, record 3 already",
    ),
    "generators of wrong length": ({"generators": ["One"]}, "generators is no list of a name or null per image"),
    "generators empty name": ({"generators": ["One", "", "Two"]}, "generators is no list of a name or null per image"),
}


def spoiled(tmp_path: Path, change: object) -> Path:
    """A data set whose fourth record to train on is bad; what it tries to reach is there."""
    train: list[Any] = good_train()
    if isinstance(change, dict):
        merged = {**train[3], **change}
        train[3] = {key: value for key, value in merged.items() if value is not ...}
    else:
        train[3] = change
    folder = write_source(tmp_path / "hpd", train=train)
    good = (folder / "preference_images" / "barn_Alpha.png").read_bytes()
    for name in ("outside_Out.png", "hpd/plain.png"):
        (tmp_path / name).write_bytes(good)
    (folder / "link_Out.png").symlink_to(tmp_path / "outside_Out.png")
    (folder / "hostile_Out.png").write_bytes(hostile_files()["png bomb header"][0])
    return folder


@pytest.mark.parametrize("name", BAD_RECORDS)
def test_import_choices_imports_nothing_of_a_source_with_a_bad_record(tmp_path: Path, files: Path, name: str) -> None:
    change, reason = BAD_RECORDS[name]
    folder = spoiled(tmp_path, change)

    with pytest.raises(UnableToImport) as caught:
        import_choices(source_of(folder))

    message = str(caught.value)
    assert message.startswith("1 record is bad, nothing was imported: preference_train.json, record 4: ")
    assert reason in message
    assert "\n" not in message
    assert set(row_counts().values()) == {0}
    assert stored_files(files) == []


@pytest.mark.parametrize("name", BAD_RECORDS)
def test_import_choices_leaves_out_a_bad_record_where_told_to(tmp_path: Path, name: str) -> None:
    change, reason = BAD_RECORDS[name]
    source = source_of(spoiled(tmp_path, change), skips_bad=True)

    report = import_choices(source)

    assert report.choices == Vote.objects.count() == 6
    [problem] = report.skipped
    assert problem.place == Place("preference_train.json", 4)
    assert reason in problem.reason


def test_import_choices_refuses_a_prompt_in_both_files_and_names_both_records(tmp_path: Path) -> None:
    both = [*good_test(), record(2, "barn", "ben", 0)]
    folder = write_source(tmp_path / "hpd", test=both)
    reason = (
        "its prompt is that of preference_train.json, record 3 already; a prompt belongs either to train or to test"
    )

    with pytest.raises(UnableToImport, match=f"record 3: {reason}"):
        import_choices(source_of(folder))

    report = import_choices(source_of(folder, skips_bad=True))
    assert (report.choices, report.skipped) == (7, [Problem(Place("preference_test.json", 3), reason)])


def test_import_choices_refuses_a_prompt_that_is_held_out_here(tmp_path: Path) -> None:
    make_prompt("a drawing of barn", split="test")
    source = source_of(write_source(tmp_path / "hpd"))

    with pytest.raises(UnableToImport, match="record 3: its prompt belongs to test here, and to train in this file"):
        import_choices(source)

    assert Vote.objects.count() == 0


@pytest.mark.parametrize("change", [{"human_preference": 0}, {"user_hash": "ben"}, {"prompt": "another barn"}])
def test_import_choices_refuses_another_choice_under_an_id_that_is_there(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    folder = write_source(tmp_path / "hpd")
    import_choices(source_of(folder))
    train = good_train()
    train[2] |= change
    (folder / "preference_train.json").write_text(json.dumps(train))

    with pytest.raises(UnableToImport, match="record 3: its id is there already with another choice, prompt or person"):
        import_choices(source_of(folder))


def test_import_choices_refuses_a_second_choice_of_a_person_under_another_id(tmp_path: Path) -> None:
    folder = write_source(tmp_path / "hpd")
    import_choices(source_of(folder))
    (folder / "preference_train.json").write_text(json.dumps([record(99, "barn", "ada", 0)]))

    with pytest.raises(UnableToImport, match="record 1: its person's choice among the same images is there already"):
        import_choices(source_of(folder))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[{"id": 1},\n {"id" 2}]', r"preference_train.json is not JSON: Expecting ':' delimiter at line 2, column 8"),
        ("", "is not JSON: Expecting value at line 1, column 1"),
        ("[NaN]", "is not JSON that can be taken: it holds NaN, which is no JSON"),
        ("[" * 100_000, "is not JSON that can be taken: it is nested too deeply"),
        ("[" + "9" * 5000 + "]", "is not JSON that can be taken: Exceeds the limit"),
        ('{"a": 1}', r"holds no JSON array of choices but \{'a': 1\}"),
        (b"[\xff]", "is not UTF-8 text: byte 1 is wrong"),
        ("[]", "holds no choices"),
    ],
)
def test_import_choices_refuses_a_file_that_is_no_array_of_choices(
    tmp_path: Path, text: str | bytes, reason: str
) -> None:
    path = write_source(tmp_path / "hpd") / "preference_train.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())

    with pytest.raises(UnableToImport, match=reason) as caught:
        import_choices(source_of(path))

    assert "\n" not in str(caught.value)


def test_import_choices_refuses_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(UnableToImport, match=r"none.json cannot be read: No such file or directory"):
        import_choices(source_of(tmp_path / "none.json"))
    with pytest.raises(UnableToImport, match=r"holds neither preference_train\.json nor preference_test\.json"):
        import_choices(source_of(tmp_path / "empty"))
    with pytest.raises(UnableToImport, match="is no folder; name the folder of the images with --images"):
        import_choices(source_of(tmp_path / "empty", images=tmp_path / "none"))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"generator_pattern": "("}, "--generator-pattern is no regular expression"),
        ({"generator_pattern": "a"}, "--generator-pattern has no group"),
    ],
)
def test_import_choices_refuses_options_that_make_no_sense(
    tmp_path: Path, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UnableToImport, match=reason):
        import_choices(source_of(write_source(tmp_path / "hpd"), **options))


@pytest.mark.parametrize("slug", ["", "two words", "a/b", "a" * 81])
def test_import_choices_refuses_a_campaign_that_is_no_slug(tmp_path: Path, slug: str) -> None:
    with pytest.raises(UnableToImport, match="--campaign"):
        import_choices(Import(write_source(tmp_path / "hpd"), "hpd", slug))


def test_import_choices_refuses_a_campaign_that_does_not_fit(tmp_path: Path) -> None:
    folder = write_source(tmp_path / "hpd")
    make_campaign(tasks=0, slug="pairs", images=2)
    make_campaign(tasks=0, slug="toys", images=4, is_synthetic=True)

    with pytest.raises(UnableToImport, match="'pairs' has 2 images per task and a choice here has 3"):
        import_choices(Import(folder, "hpd", "pairs"))
    with pytest.raises(UnableToImport, match="'toys' is synthetic and the choices are real"):
        import_choices(Import(folder, "hpd", "toys"))

    assert Vote.objects.count() == 0


def test_import_choices_refuses_real_and_synthetic_choices_together(tmp_path: Path) -> None:
    train = good_train()
    train[0]["synthetic"] = True

    with pytest.raises(UnableToImport, match="mixes real and synthetic choices"):
        import_choices(source_of(write_source(tmp_path / "hpd", train=train)))


def test_import_choices_names_three_bad_records_and_counts_the_others(tmp_path: Path) -> None:
    train = [{**entry, "id": None} for entry in good_train()]

    with pytest.raises(UnableToImport) as caught:
        import_choices(source_of(write_source(tmp_path / "hpd", train=train)))

    bad = [f"preference_train.json, record {number}: id is no whole number but None" for number in (1, 2, 3)]
    assert str(caught.value) == (
        f"5 records are bad, nothing was imported: {'; '.join(bad)}; and 2 more. "
        "--skip-bad --dry-run lists what would be left out."
    )


def test_import_choices_leaves_nothing_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_choices: object) -> None:
        raise RuntimeError("the power is gone")

    monkeypatch.setattr("annotations.imports.writing.record_past_choices", fail)

    with pytest.raises(RuntimeError, match="power"):
        import_choices(source_of(write_source(tmp_path / "hpd")))

    assert set(row_counts().values()) == {0}


def test_import_choices_asks_the_database_no_more_for_many(tmp_path: Path) -> None:
    counts = []
    for slug, train in (("one", good_train()[:1]), ("many", good_train())):
        source = Import(write_source(tmp_path / slug, train=train, test=[]), "hpd", slug, generator_pattern=PATTERN)
        with CaptureQueriesContext(connection) as queries:
            import_choices(source)
        counts.append(len(queries))

    # 'many' has a second kind of prompts (with tags), and images that are there, which cost their own few queries.
    assert counts[1] - counts[0] <= 8


def test_import_choices_tells_its_progress(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []

    import_choices(source_of(write_source(tmp_path / "hpd")), progress=lambda *step: told.append(step))

    assert told == [("checking images", 9, 9), ("storing images", 9, 9), ("writing choices", 7, 7)]


def test_import_choices_of_a_real_study(shared_data: Path) -> None:
    source = source_of(shared_data / "sr_4way", generator_pattern=r"_([A-Za-z]+)\.jpg$")

    report = import_choices(source)

    assert report == Report(
        prompts=30, images=120, choices=1620, decided_pairs=4860, annotators=54, generators=4, already_there=0
    )
    assert Counter(Vote.objects.values_list("image__generator__name", flat=True)) == {
        "ResShift": 624,
        "SwinIR": 377,
        "RealESRGAN": 351,
        "BSRGAN": 268,
    }
    assert dict(Counter(Vote.objects.values_list("task__prompt__split", flat=True))) == {"train": 1080, "test": 540}
    assert import_choices(source).already_there == 1620
    assert Vote.objects.count() == 1620
