"""What is taken in as an image, and what of it is stored."""

import hashlib
import io
import json
import subprocess
import sys
import zlib
from pathlib import Path

import PIL.Image
import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext

from annotations.models import Generator, Image, Prompt, Split
from annotations.services.images import (
    ImageItem,
    ImageRejected,
    PromptRejected,
    get_or_create_generator,
    get_or_create_prompts,
    read_image,
    store_file,
    store_images,
)
from scoring import pictures
from tests.annotations.factories import make_generator, make_image, make_prompt, picture_bytes
from tests.annotations.hostile_files import encoded, hostile_files, png, png_chunk

CANARY = b"<script>canary()</script>"
HOSTILE = hostile_files()

# Reads every file named on its input under 512 MiB of address space, and prints what came of each within which time.
READ_ALL = """
import json, resource, sys, time
from pathlib import Path
from annotations.services.image_files import ImageRejected, read_image
resource.setrlimit(resource.RLIMIT_AS, (512 * 2**20, 512 * 2**20))
for name in json.load(sys.stdin):
    start = time.monotonic()
    try:
        read_image(Path(name))
        reason = ""
    except ImageRejected as error:
        reason = error.reason
    print(json.dumps([name, reason, time.monotonic() - start]))
"""


def pixels(content: bytes, mode: str = "RGB") -> list[object]:
    return list(PIL.Image.open(io.BytesIO(content)).convert(mode).get_flattened_data())


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGB", (0, 0, 0), 0.0),
        ("RGB", (128, 128, 128), 128 / 255),
        ("RGB", (255, 0, 0), 76 / 255),  # the eye sees little of red: .299
        ("L", 255, 1.0),
        ("1", 1, 1.0),
        ("I;16", 32_768, 128 / 255),
        ("RGBA", (255, 255, 255, 128), 128 / 255),  # seen on black, as scorers see it
    ],
)
def test_read_image_measures_brightness(mode: str, colour: object, expected: float) -> None:
    file = io.BytesIO()
    PIL.Image.new(mode, (100, 70), colour).save(file, "PNG")

    assert read_image(file.getvalue()).brightness == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", HOSTILE)
def test_read_image_refuses_a_hostile_file_with_its_reason(name: str) -> None:
    content, reason = HOSTILE[name]

    with pytest.raises(ImageRejected) as caught:
        read_image(content)

    assert reason in caught.value.reason


def read_all(files: list[Path]) -> list[tuple[str, str, float]]:
    """Name, reason of refusal and seconds of each file, read one after the other by one process of little memory."""
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL],
        input=json.dumps([str(path) for path in files]),
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=True,
    )
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def assert_all_refused_in_time(files: list[Path]) -> None:
    results = read_all(files)
    assert [name for name, _reason, _seconds in results] == [str(path) for path in files]
    assert [name for name, reason, _seconds in results if not reason] == []
    assert [name for name, _reason, seconds in results if seconds > 2] == []


def test_read_image_survives_hostile_files_in_time_and_memory(tmp_path: Path) -> None:
    for number, (content, _reason) in enumerate(HOSTILE.values()):
        (tmp_path / f"{number}.png").write_bytes(content)

    assert_all_refused_in_time(sorted(tmp_path.iterdir()))


def test_read_image_survives_the_hostile_files_of_pillow_in_time_and_memory(shared_data: Path) -> None:
    manifest = (shared_data / "hostile_images" / "MANIFEST.csv").read_text().splitlines()[1:]
    files = [shared_data / "hostile_images" / line.split(",")[0] for line in manifest]
    assert len(files) == 206

    assert_all_refused_in_time(files)


def test_scorers_open_the_formats_that_the_library_takes() -> None:
    assert tuple(Image.EXTENSIONS) == pictures.FORMATS


def test_read_image_refuses_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageRejected, match="it cannot be read: No such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(ImageRejected, match="it cannot be read: Is a directory"):
        read_image(tmp_path)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_read_image_keeps_a_clean_file_byte_for_byte(form: str) -> None:
    content = encoded(form)

    checked = read_image(content)

    assert checked.bytes == content
    assert (checked.format, checked.width, checked.height) == (form, 24, 16)
    assert checked.sha256 == hashlib.sha256(content).hexdigest()


def with_metadata(form: str) -> bytes:
    """An image that says everything a file can say besides its pixels."""
    exif = PIL.Image.Exif()
    exif[0x010E] = CANARY.decode()
    exif.get_ifd(0x8825)[0x001D] = CANARY.decode()  # a GPS field
    options: dict[str, object] = {"exif": exif, "icc_profile": CANARY * 9}
    if form == "PNG":
        text = png_chunk(b"tEXt", b"parameters\0" + CANARY) + png_chunk(b"iTXt", b"XML\0\0\0\0\0" + CANARY)
        content = encoded(form, **options)
        return content[:33] + text + content[33:]
    if form == "JPEG":
        options["comment"] = CANARY
    return encoded(form, **options, xmp=CANARY)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_read_image_takes_out_metadata_and_tail_and_touches_no_pixel(form: str) -> None:
    content = with_metadata(form) + CANARY + b"<?php"
    assert content.count(CANARY) >= 3

    checked = read_image(content)

    assert CANARY not in checked.bytes
    assert b"<?php" not in checked.bytes
    assert pixels(checked.bytes) == pixels(content)
    stored = PIL.Image.open(io.BytesIO(checked.bytes))
    assert dict(stored.getexif()) == {}
    assert stored.info.keys() <= {
        "jfif",
        "jfif_version",
        "jfif_unit",
        "jfif_density",
        "background",
        "loop",
        "timestamp",
    }


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_read_image_gives_the_same_bytes_for_the_same_input_and_for_its_own_output(form: str) -> None:
    content = with_metadata(form)

    first, second = read_image(content), read_image(content)

    assert first == second
    assert read_image(first.bytes) == first


def test_read_image_encodes_anew_what_hides_data_behind_the_pixels_of_a_png() -> None:
    rows = b"".join(b"\0" + bytes([40, 80, 120]) * 3 for _ in range(3))
    hidden_in_stream = png(width=3, height=3, pixels=zlib.compress(rows + CANARY, level=0))
    hidden_behind_stream = png(width=3, height=3, pixels=zlib.compress(rows) + CANARY)

    for content in (hidden_in_stream, hidden_behind_stream):
        checked = read_image(content)

        assert CANARY in content
        assert CANARY not in checked.bytes
        assert pixels(checked.bytes) == [(40, 80, 120)] * 9


@pytest.mark.parametrize(
    ("form", "mode", "colour", "stored_mode", "stored_colour"),
    [
        ("PNG", "1", 1, "L", 255),
        ("PNG", "LA", (90, 128), "RGBA", (90, 90, 90, 128)),
        ("PNG", "P", 0, "RGB", (0, 0, 0)),
        ("PNG", "I;16", 40_000, "L", 156),
        ("PNG", "RGBA", (1, 2, 3, 4), "RGBA", (1, 2, 3, 4)),
        ("PNG", "L", 7, "L", 7),
        ("JPEG", "L", 128, "L", 128),
        ("JPEG", "CMYK", (0, 0, 0, 0), "RGB", (255, 255, 255)),
    ],
)
def test_read_image_stores_plain_8_bit_pictures(
    form: str, mode: str, colour: object, stored_mode: str, stored_colour: object
) -> None:
    buffer = io.BytesIO()
    PIL.Image.new(mode, (4, 3), colour).save(buffer, form)

    stored = PIL.Image.open(io.BytesIO(read_image(buffer.getvalue()).bytes))

    assert (stored.format, stored.mode, stored.size) == (form, stored_mode, (4, 3))
    assert stored.getpixel((0, 0)) == stored_colour


def oriented(orientation: int, form: str) -> bytes:
    """The same upright picture, turned as a camera would store it with this EXIF orientation."""
    upright = PIL.Image.new("RGB", (24, 16), "white")
    upright.paste("red", (0, 0, 12, 8))
    upright.paste("blue", (12, 8, 24, 16))
    turns = PIL.Image.Transpose
    undo = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_90,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_270,
    }
    picture = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    picture.save(buffer, form, exif=exif, **({"quality": 95} if form == "JPEG" else {"lossless": True}))
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(10))
def test_read_image_turns_the_picture_upright(form: str, orientation: int) -> None:
    checked = read_image(oriented(orientation, form))

    stored = PIL.Image.open(io.BytesIO(checked.bytes)).convert("RGB")
    assert (checked.width, checked.height) == stored.size == (24, 16)
    corners = [stored.getpixel(at) for at in ((4, 3), (20, 3), (4, 12), (20, 12))]
    expected = [(255, 0, 0), (255, 255, 255), (255, 255, 255), (0, 0, 255)]
    assert [
        max(abs(got - want) for got, want in zip(pixel, colour, strict=True)) < 12
        for pixel, colour in zip(corners, expected, strict=True)
    ] == [True] * 4


@pytest.mark.parametrize("kind", ["Landscape", "Portrait"])
def test_read_image_turns_real_photos_the_same_way_up(shared_data: Path, kind: str) -> None:
    small = []
    for orientation in range(9):
        checked = read_image(shared_data / "exif_orientation" / f"{kind}_{orientation}.jpg")
        assert (checked.width > checked.height) == (kind == "Landscape")
        small.append(PIL.Image.open(io.BytesIO(checked.bytes)).convert("RGB").resize((30, 30)).tobytes())

    for other in small[1:]:
        assert sum(abs(a - b) for a, b in zip(small[0], other, strict=True)) / len(other) < 3


def stored(image: Image) -> bytes:
    with image.file.open() as file:
        return file.read()


@pytest.mark.django_db
def test_store_images_writes_files_by_their_hash_and_rows_in_order() -> None:
    prompt, generator = make_prompt("a harbour"), make_generator("painter")
    contents = [picture_bytes(), picture_bytes()]

    images = store_images(
        items=[ImageItem(content, prompt, generator, seed=3, settings={"steps": 50}) for content in contents]
    )

    hashes = [hashlib.sha256(content).hexdigest() for content in contents]
    assert [image.sha256 for image in images] == hashes
    assert [image.file.name for image in images] == [f"images/{name[:2]}/{name}.png" for name in hashes]
    assert [stored(image) for image in images] == contents
    assert (
        list(
            Image.objects.order_by("pk").values_list(
                "prompt__text", "generator__name", "seed", "settings", "width", "height"
            )
        )
        == [("a harbour", "painter", 3, {"steps": 50}, 24, 16)] * 2
    )


@pytest.mark.django_db
def test_store_images_gives_back_what_is_there() -> None:
    prompt, other, generator = make_prompt(), make_prompt(), make_generator()
    content = picture_bytes()
    first = store_images(items=[ImageItem(content, prompt, generator)])

    again = store_images(
        items=[
            ImageItem(content, prompt, generator),
            ImageItem(content, prompt),
            ImageItem(content, other, generator),
            ImageItem(content, prompt),
        ]
    )

    assert again[0] == first[0]
    assert again[1] == again[3]
    assert len({image.pk for image in again}) == Image.objects.count() == 3


@pytest.mark.django_db
def test_store_images_writes_no_row_when_one_file_is_refused() -> None:
    prompt = make_prompt()

    with pytest.raises(ImageRejected):
        store_images(items=[ImageItem(picture_bytes(), prompt), ImageItem(b"no image", prompt)])

    assert Image.objects.count() == 0


@pytest.mark.django_db
def test_store_images_asks_the_database_no_more_for_many() -> None:
    prompt = make_prompt()
    counts = []
    for number in (1, 30):
        items = [ImageItem(picture_bytes(), prompt) for _ in range(number)]
        with CaptureQueriesContext(connection) as queries:
            store_images(items=items)
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_store_file_mends_a_file_that_was_cut_short() -> None:
    checked = read_image(picture_bytes())
    name = store_file(checked=checked)
    Path(default_storage.path(name)).chmod(0o600)
    Path(default_storage.path(name)).write_bytes(checked.bytes[:10])

    assert store_file(checked=checked) == name

    with default_storage.open(name) as file:
        assert file.read() == checked.bytes


def test_store_file_leaves_one_file_when_another_process_was_quicker(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = read_image(picture_bytes())
    name = store_file(checked=checked)
    answers = iter([False])  # as seen just before the other process wrote it
    exists = default_storage.exists
    monkeypatch.setattr(default_storage, "exists", lambda path: next(answers, None) is None and exists(path))

    assert store_file(checked=checked) == name

    assert [path for path in (files / "media").rglob("*") if path.is_file()] == [files / "media" / name]


@pytest.mark.django_db
def test_get_or_create_prompts_keeps_what_is_there_and_splits_the_rest() -> None:
    old = make_prompt("old", tags=["mine"], source="hand")

    prompts = get_or_create_prompts(texts=["old", "new", "new"], source="file", tags=["anatomy"], split=Split.TEST)

    assert prompts == {"old": old, "new": Prompt.objects.get(text="new")}
    assert list(Prompt.objects.order_by("text").values_list("text", "tags", "source", "split")) == [
        ("new", ["anatomy"], "file", "test"),
        ("old", ["mine"], "hand", old.split),
    ]


@pytest.mark.django_db
def test_get_or_create_prompts_lets_the_text_decide_the_split() -> None:
    texts = [f"prompt {number}" for number in range(40)]

    prompts = get_or_create_prompts(texts=texts)

    assert {text: prompt.split for text, prompt in prompts.items()} == {text: Split.of(text) for text in texts}
    assert set(Prompt.objects.values_list("split", flat=True)) == {"train", "test"}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("text", "reason"),
    [(" \n", "blank"), ("a\0b", "no text"), ("\ud800", "no text"), ("a" * 10_001, "10,001 characters")],
)
def test_get_or_create_prompts_refuses_what_is_no_prompt(text: str, reason: str) -> None:
    with pytest.raises(PromptRejected, match=reason):
        get_or_create_prompts(texts=["good", text])

    assert Prompt.objects.count() == 0


@pytest.mark.django_db
def test_get_or_create_generator_gives_settings_to_new_ones_only() -> None:
    new = get_or_create_generator(name="painter", settings={"steps": 50}, is_synthetic=True)
    again = get_or_create_generator(name="painter", settings={"steps": 9})

    assert again == new
    assert list(Generator.objects.values_list("name", "settings", "is_synthetic")) == [("painter", {"steps": 50}, True)]


@pytest.mark.django_db
def test_store_images_hides_what_comes_with_a_reason() -> None:
    prompt = make_prompt()
    items = [ImageItem(picture_bytes(), prompt, hidden_reason=reason) for reason in ("", Image.HiddenReason.BLURRED)]

    stored = store_images(items=items)

    assert [(image.is_hidden, image.hidden_reason) for image in stored] == [(False, ""), (True, "blurred")]


@pytest.mark.django_db
@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_brightness_lies_between_black_and_white(value: float) -> None:
    image = make_image(has_file=False)

    with pytest.raises(IntegrityError, match="image_brightness_in_range"):
        Image.objects.filter(pk=image.pk).update(brightness=value)


@pytest.mark.django_db
def test_an_image_that_is_shown_has_no_reason_to_be_hidden() -> None:
    image = make_image(has_file=False, is_hidden=True, hidden_reason=Image.HiddenReason.BLANK)

    with pytest.raises(IntegrityError, match="image_hidden_reason_if_hidden"):
        Image.objects.filter(pk=image.pk).update(is_hidden=False)
