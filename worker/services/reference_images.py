"""The images that others are held against: a generator's, or those in a folder on the worker's machine."""

from collections.abc import Container, Iterator
from pathlib import Path

import PIL.Image

from annotations.models import Generator, Image
from scoring.pictures import PictureRejected, open_picture, read_picture
from worker.services.scoring import open_picture as open_stored

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
"""Of the files of a folder that are looked at."""

MOST_IMAGES = 10_000
"""Of a generator or a folder; those with the first hashes, or names."""


class ReferenceRejected(ValueError):
    """Nothing can be held against these images; the message says why."""


def named_pictures(name: str) -> Iterator[PIL.Image.Image]:
    """The pictures of the generator of this name, or else of the folder; see both.

    Raises:
        ReferenceRejected: it is neither; and as both do.
    """
    if Generator.objects.filter(name=name).exists():
        return generator_pictures(name)
    if Path(name).is_dir():
        return folder_pictures(Path(name))
    raise ReferenceRejected(f"{name!r} is neither a generator nor a folder of images on the worker.")


def folder_pictures(folder: Path) -> Iterator[PIL.Image.Image]:
    """The pictures of a folder, read one by one.

    Raises:
        ReferenceRejected: it holds fewer than two; or, while they are read, one of them is no image.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)[:MOST_IMAGES]
    if len(paths) < 2:
        raise ReferenceRejected(
            f"{folder} holds {len(paths)} JPEG, PNG or WebP images; a reference needs two at least."
        )
    return (_in_file(path) for path in paths)


def generator_pictures(name: str, *, besides: Container[str] = ()) -> Iterator[PIL.Image.Image]:
    """The pictures of a generator that annotators may see, read one by one.

    Args:
        name: of the generator.
        besides: public ids of images to leave out, such as those that are held against these.

    Raises:
        ReferenceRejected: there are fewer than two; or, while they are read, the file of one is missing or damaged.
    """
    images = Image.objects.filter(generator__name=name, is_hidden=False).exclude(file="").order_by("sha256")
    there = [image for image in images.iterator() if str(image.public_id) not in besides][:MOST_IMAGES]
    if len(there) < 2:
        raise ReferenceRejected(
            f"The generator {name!r} has {len(there)} images here to hold others against; a reference needs two at"
            " least."
        )
    return (_stored(image) for image in there)


def _in_file(path: Path) -> PIL.Image.Image:
    try:
        return read_picture(lambda: open_picture(path), lambda picture: picture.copy())
    except PictureRejected as error:
        raise ReferenceRejected(f"{path}: can't be read ({error}); remove it from the reference.") from error


def _stored(image: Image) -> PIL.Image.Image:
    try:
        return open_stored(image)
    except OSError as error:
        raise ReferenceRejected(
            f"{image.public_id}: can't be read ({error}); hide it, and it leaves the reference."
        ) from error
