"""Images that others are held against: a generator's or a folder's, and what is wrong with them told."""

from pathlib import Path

import pytest
from django.core.files.storage import default_storage

from annotations.models import Image
from tests.annotations.factories import make_generator, make_image, picture_bytes
from worker.services import reference_images
from worker.services.reference_images import ReferenceRejected, folder_pictures, generator_pictures, named_pictures

pytestmark = pytest.mark.django_db


@pytest.fixture
def photographs() -> list[Image]:
    """Three images of a generator of this name, and one that annotators don't see."""
    generator = make_generator("photographs")
    make_image(generator=generator, is_hidden=True)
    return [make_image(generator=generator) for _ in range(3)]


def test_pictures_of_a_generator_are_those_that_people_may_see(photographs: list[Image]) -> None:
    assert len(list(named_pictures("photographs"))) == 3
    assert len(list(generator_pictures("photographs", besides={str(photographs[0].public_id)}))) == 2


def test_pictures_of_a_folder_are_those_in_the_folders_within_too(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    for name in ("a.png", "more/b.PNG", "notes.txt"):
        (tmp_path / name).write_bytes(picture_bytes())

    assert len(list(named_pictures(str(tmp_path)))) == 2


def test_no_more_are_looked_at_than_the_most(
    photographs: list[Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference_images, "MOST_IMAGES", 2)
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(picture_bytes())

    assert len(list(generator_pictures("photographs"))) == len(list(folder_pictures(tmp_path))) == 2


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nowhere", "'nowhere' is neither a generator nor a folder of images on the worker"),
        ("sketches", "The generator 'sketches' has 0 images here to hold others against; a reference needs two"),
    ],
)
def test_a_reference_that_is_not_there_is_told(name: str, reason: str) -> None:
    make_generator("sketches")

    with pytest.raises(ReferenceRejected, match=reason):
        named_pictures(name)


def test_a_folder_with_too_few_or_damaged_files_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture_bytes())
    with pytest.raises(ReferenceRejected, match="holds 1 JPEG, PNG or WebP images; a reference needs two"):
        folder_pictures(tmp_path)

    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(ReferenceRejected, match=r"b.png: can't be read \(not a JPEG, PNG or WebP image\)"):
        list(folder_pictures(tmp_path))


def test_a_stored_image_whose_file_is_gone_is_told(photographs: list[Image]) -> None:
    default_storage.delete(photographs[0].file.name)

    with pytest.raises(ReferenceRejected, match=rf"{photographs[0].public_id}: can't be read .*; hide it"):
        list(generator_pictures("photographs"))
