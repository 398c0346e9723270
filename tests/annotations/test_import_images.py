"""Images made elsewhere: DiffusionDB's parts and metadata, and a folder with a manifest, into the library."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command

from annotations.imports import library
from annotations.models import Generator, Image, Prompt, Task
from annotations.queries.voting import visible_images
from tests.annotations.factories import picture_bytes

pytestmark = pytest.mark.django_db

ENTRY = {"p": "geodesic landscape", "se": 38753269, "c": 12.0, "st": 50, "sa": "k_lms"}
SAMPLER_CODES = {"k_lms": 8, "ddim": 1}


def write_part(folder: Path, number: int, entries: dict[str, Any], *, has_json: bool = True) -> dict[str, bytes]:
    """A part with a picture for each entry; the pictures by their names."""
    part = folder / f"part-{number:06d}"
    part.mkdir(parents=True)
    if has_json:
        (part / f"{part.name}.json").write_text(json.dumps(entries))
    pictures = {name: picture_bytes(size=(16, 16)) for name in entries}
    for name, content in pictures.items():
        (part / name).write_bytes(content)
    return pictures


def write_metadata(path: Path, parts: dict[int, dict[str, Any]], *, unsafe: dict[str, float] | None = None) -> None:
    """metadata.parquet with DiffusionDB's own types; the pictures are 16 x 16."""
    rows = [
        {
            "image_name": name,
            "prompt": entry["p"],
            "part_id": part,
            "seed": entry["se"],
            "step": entry["st"],
            "cfg": entry["c"],
            "sampler": SAMPLER_CODES[entry["sa"]],
            "width": 16,
            "height": 16,
            "user_name": "a" * 64,
            "timestamp": None,
            "image_nsfw": (unsafe or {}).get(name, 0.1),
            "prompt_nsfw": 0.0,
        }
        for part, entries in parts.items()
        for name, entry in entries.items()
    ]
    schema = pa.schema(
        [
            *[("image_name", pa.string()), ("prompt", pa.string()), ("part_id", pa.uint16()), ("seed", pa.uint32())],
            *[("step", pa.uint16()), ("cfg", pa.float32()), ("sampler", pa.uint8())],
            *[("width", pa.uint16()), ("height", pa.uint16()), ("user_name", pa.string())],
            *[("timestamp", pa.timestamp("us", tz="UTC")), ("image_nsfw", pa.float32()), ("prompt_nsfw", pa.float32())],
        ]
    )
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def run(*words: Any) -> str:
    out = io.StringIO()
    call_command("import_images", *map(str, words), stdout=out, stderr=out)
    return out.getvalue().strip()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "diffusiondb"
    folder.mkdir()
    return folder


def test_parts_come_in_with_seeds_settings_and_what_is_blurred(home: Path) -> None:
    first = {"a.png": ENTRY, "b.png": {**ENTRY, "se": 2, "sa": "ddim", "c": 7.5}}
    second = {"c.png": {**ENTRY, "p": "a cat", "se": 3}}
    pictures = write_part(home, 1, first) | write_part(home, 24, second)
    write_metadata(home / "metadata.parquet", {1: first, 24: second, 7: {"z.png": ENTRY}}, unsafe={"b.png": 2.0})

    told = run(home, "--format", "diffusiondb")

    images = list(Image.objects.order_by("seed"))
    assert told.splitlines() == ["Imported 3 images of 2 prompts.", "Hidden: 1 blurred where it was made."]
    assert [(image.prompt.text, image.seed, image.hidden_reason) for image in images] == [
        ("geodesic landscape", 2, "blurred"),
        ("a cat", 3, ""),
        ("geodesic landscape", 38753269, ""),
    ]
    assert images[2].settings == {"guidance": 12.0, "steps": 50, "sampler": "k_lms", "file": "part-000001/a.png"}
    assert images[0].settings == {"guidance": 7.5, "steps": 50, "sampler": "ddim", "file": "part-000001/b.png"}
    with images[1].file.open("rb") as file:
        assert file.read() == pictures["c.png"]
    assert (Generator.objects.get().name, Generator.objects.get().settings) == ("DiffusionDB", {})
    assert not visible_images().filter(hidden_reason="blurred").exists()


def test_importing_again_reads_no_image_and_adds_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_part(home, 1, {"a.png": ENTRY, "b.png": {**ENTRY, "se": 2}})
    run(home, "--format", "diffusiondb")
    monkeypatch.setattr(library, "read_image", pytest.fail)

    report = json.loads(run(home, "--format", "diffusiondb", "--json").splitlines()[-1])

    assert report == {"images": 0, "already_there": 2, "prompts": 1, "hidden": {}, "skipped": []}
    assert Image.objects.count() == 2


def test_an_import_that_was_cut_short_goes_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "IMAGES_AT_ONCE", 2)
    write_part(home, 1, {f"{seed}.png": {**ENTRY, "se": seed} for seed in range(5)})
    container = library.open_folder(home)

    def stop(_stage: str, done: int, _total: int) -> None:
        if done == 2:
            raise InterruptedError

    from annotations.imports.diffusiondb import diffusiondb_source

    source = diffusiondb_source(container, metadata=None)
    with pytest.raises(InterruptedError):
        library.import_images(container=container, source=source, progress=stop)
    assert Image.objects.count() == 2
    report = library.import_images(container=container, source=source)

    assert (report.images, report.already_there, Image.objects.count()) == (3, 2, 5)


def test_parts_whose_json_is_missing_are_told_by_the_metadata(home: Path) -> None:
    entries = {"a.png": ENTRY, "b.png": {**ENTRY, "se": 2, "sa": "ddim"}}
    write_part(home, 3, entries, has_json=False)
    write_metadata(home / "metadata-large.parquet", {3: entries})

    run(home, "--format", "diffusiondb")

    assert list(Image.objects.order_by("seed").values_list("seed", "settings__sampler", "settings__guidance")) == [
        (2, "ddim", 12.0),
        (38753269, "k_lms", 12.0),
    ]


def test_a_part_in_a_zip_comes_in_and_says_that_nothing_is_known_of_blurred_images(home: Path) -> None:
    write_part(home, 1, {"a.png": ENTRY})
    packed = home / "part-000001.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in (home / "part-000001").iterdir():
            archive.write(path, path.name)

    told = run(packed, "--format", "diffusiondb", "--generator", "Stable Diffusion 1")

    assert told.splitlines() == [
        "Without metadata.parquet nobody knows which images are blurred; name it by --metadata.",
        "Imported 1 images of 1 prompts.",
    ]
    assert Image.objects.get().generator == Generator.objects.get(name="Stable Diffusion 1")


def test_damaged_files_and_files_of_another_size_are_kept_hidden_as_broken(home: Path) -> None:
    entries = {"a.png": ENTRY, "b.png": {**ENTRY, "se": 2}, "c.png": {**ENTRY, "se": 3}}
    write_part(home, 1, entries)
    (home / "part-000001" / "a.png").write_bytes(b"no picture")
    (home / "part-000001" / "b.png").write_bytes(picture_bytes(size=(32, 16)))
    write_metadata(home / "metadata.parquet", {1: entries})

    told = run(home, "--format", "diffusiondb")

    damaged = Image.objects.exclude(reference="").get()
    other_size, sound = Image.objects.filter(reference="").order_by("seed")
    assert "Hidden: 2 broken" in told
    assert (damaged.reference, damaged.has_pixels, damaged.hidden_reason) == ("part-000001/a.png", False, "broken")
    assert damaged.seed == ENTRY["se"]
    assert (other_size.has_pixels, other_size.is_hidden, other_size.hidden_reason) == (True, True, "broken")
    assert (sound.is_hidden, sound.hidden_reason) == (False, "")
    assert "3 were there already" in run(home, "--format", "diffusiondb")


def test_images_that_are_likely_unsafe_are_hidden_where_that_is_wished(home: Path) -> None:
    entries = {"a.png": ENTRY, "b.png": {**ENTRY, "se": 2}, "c.png": {**ENTRY, "se": 3}}
    write_part(home, 1, entries)
    write_metadata(home / "metadata.parquet", {1: entries}, unsafe={"a.png": 0.9, "b.png": 0.4, "c.png": 2.0})

    report = json.loads(run(home, "--format", "diffusiondb", "--unsafe-above", "0.5", "--json"))

    assert report["hidden"] == {"blurred": 1, "unsafe": 1}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({}, "part-000001/part-000001.json, record 2: it has no se"),
        ({**ENTRY, "p": " "}, "record 2: the prompt is blank"),
        ({**ENTRY, "se": "x"}, "record 2: se is no whole number but 'x'"),
        ({**ENTRY, "se": 2**63}, "record 2: se is no whole number of 64 bits"),
        ({**ENTRY, "c": None}, "record 2: c is no number but None"),
        ({**ENTRY, "st": 1.5}, "record 2: st is no whole number but 1.5"),
        ({**ENTRY, "sa": 8}, "record 2: sa is none of DiffusionDB's samplers but 8"),
        ("a cat", "record 2: it is no object but 'a cat'"),
    ],
)
def test_a_bad_row_keeps_everything_out_unless_it_is_to_be_skipped(home: Path, entry: Any, said: str) -> None:
    write_part(home, 1, {"a.png": ENTRY, "b.png": entry})

    with pytest.raises(CommandError) as caught:
        run(home, "--format", "diffusiondb")
    assert said in str(caught.value)
    assert Prompt.objects.count() == 0
    told = run(home, "--format", "diffusiondb", "--skip-bad")

    assert told.splitlines()[1:3] == ["Imported 1 images of 1 prompts.", "Left out 1 bad row:"]
    assert Image.objects.count() == 1


@pytest.mark.parametrize("name", ["../outside.png", "part-000001/a.png", "/etc/passwd", "gone.png"])
def test_names_that_lead_elsewhere_or_nowhere_are_bad(home: Path, name: str) -> None:
    (home / "outside.png").write_bytes(picture_bytes())
    write_part(home, 1, {"a.png": ENTRY})
    (home / "part-000001" / "part-000001.json").write_text(json.dumps({name: ENTRY}))

    with pytest.raises(CommandError, match="1 row is bad, and nothing was imported"):
        run(home, "--format", "diffusiondb")


def test_what_is_no_diffusiondb_is_refused_in_words(home: Path) -> None:
    with pytest.raises(CommandError, match="holds no part of DiffusionDB"):
        run(home, "--format", "diffusiondb")
    with pytest.raises(CommandError, match="nowhere can't be read: No such file"):
        run(home / "nowhere", "--format", "diffusiondb")
    write_part(home, 1, {"a.png": ENTRY})
    pq.write_table(pa.table({"image_name": ["a.png"]}), home / "other.parquet")
    with pytest.raises(CommandError, match=r"other\.parquet has no column cfg and no column height"):
        run(home, "--format", "diffusiondb", "--metadata", home / "other.parquet")
    (home / "part-000001" / "part-000001.json").write_text("[]")
    with pytest.raises(CommandError, match=r"part-000001.json is no object of images by their names but \[\]"):
        run(home, "--format", "diffusiondb")


def test_a_dry_run_tells_what_would_come_in_and_writes_nothing(home: Path) -> None:
    entries = {"a.png": ENTRY, "b.png": {**ENTRY, "se": 2}}
    write_part(home, 1, entries)
    write_metadata(home / "metadata.parquet", {1: entries}, unsafe={"a.png": 2.0})

    told = run(home, "--format", "diffusiondb", "--dry-run")

    assert told.splitlines() == ["Would import 2 images of 1 prompts.", "Hidden: 1 blurred where it was made."]
    assert (Image.objects.count(), Generator.objects.count()) == (0, 0)


def test_a_folder_with_a_csv_comes_in_without_a_campaign(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/b.png"):
        (folder / name).write_bytes(picture_bytes())
    (folder / "manifest.csv").write_text(
        "file,prompt,generator,seed,tags\na.png,a cat,DALL-E,7,animal;easy\nsub/b.png,a dog,,,\n"
    )

    told = run(folder, "--format", "manifest", "--generator", "unknown", "--synthetic")

    assert told == "Imported 2 images of 2 prompts."
    assert list(
        Image.objects.order_by("pk").values_list("prompt__text", "prompt__tags", "generator__name", "seed", "settings")
    ) == [
        ("a cat", ["animal", "easy"], "DALL-E", 7, {"file": "a.png"}),
        ("a dog", [], "unknown", None, {"file": "sub/b.png"}),
    ]
    assert set(Generator.objects.values_list("is_synthetic", flat=True)) == {True}
    assert Task.objects.count() == 0
    assert "2 were there already" in run(folder, "--format", "manifest", "--generator", "unknown")


def test_links_out_of_a_folder_are_not_followed(tmp_path: Path) -> None:
    folder, secret = tmp_path / "images", tmp_path / "secret.png"
    folder.mkdir()
    secret.write_bytes(picture_bytes())
    (folder / "a.png").symlink_to(secret)
    (folder / "manifest.csv").write_text("file,prompt\na.png,a cat\n../secret.png,a dog\n")

    with pytest.raises(CommandError, match="2 rows are bad"):
        run(folder, "--format", "manifest")
