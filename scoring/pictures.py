"""Files that may be pictures: opened only in the formats that the site takes, and what is wrong with them told."""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from PIL import Image, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP")
"""What Pillow may try; its other readers are many, old, and seldom what a picture needs."""

Seen = TypeVar("Seen")


class PictureRejected(ValueError):
    """A file can't be read as a picture; the message is the reason in one clause."""


def open_picture(file: Path | str | BinaryIO) -> Image.Image:
    """The picture in a JPEG, PNG or WebP file, not yet decoded; what Pillow raises is as it is, see `read_picture`."""
    return Image.open(file, formats=FORMATS)


def read_picture(opened: Callable[[], Image.Image], see: Callable[[Image.Image], Seen]) -> Seen:
    """What `see` makes of a picture, whose file is closed again.

    Args:
        opened: gives the picture, such as `lambda: open_picture(path)`.
        see: decodes it and gives what is wanted of it.

    Raises:
        PictureRejected: any of the two failed.
    """
    try:
        with opened() as image:
            return see(image)
    except FileNotFoundError as error:
        raise PictureRejected("no such file") from error
    except UnidentifiedImageError as error:
        raise PictureRejected("not a JPEG, PNG or WebP image") from error
    except Exception as error:  # decoders raise whatever they stumble over: SyntaxError, struct.error, ...
        raise PictureRejected(f"{type(error).__name__}: {error}") from error
