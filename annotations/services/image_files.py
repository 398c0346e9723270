"""Checks an image file that came from outside, and gives the bytes that may be stored and served.

What is stored is the picture and nothing else. Metadata (EXIF with its GPS, XMP, colour profiles, text, comments,
thumbnails) and anything behind the end of the picture is cut out of the file without touching a pixel; a clean file is
stored byte for byte. Only a picture that isn't upright or isn't plain 8-bit grey, RGB or RGBA is encoded anew. A colour
profile is dropped, so that people and models see the same numbers.
"""

import builtins
import hashlib
import warnings
from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path

from PIL import Image as Pillow
from PIL import ImageOps, ImageStat

from annotations.services.image_containers import ContainerRejected, Picture, picture_of, png_pixels_are_exact

MAX_BYTES = 20 * 2**20
MAX_SIDE = 8192
MAX_PIXELS = 25_000_000

# Our own limits are far lower; this is the net beneath them. Set once for the process, since
# warnings.catch_warnings() around each image is not safe where threads read images.
warnings.simplefilter("error", Pillow.DecompressionBombWarning)

ORIENTATION_TAG = 0x0112
BRIGHTNESS_SIDE = 64
KEPT_MODES = {"JPEG": {"L", "RGB"}, "PNG": {"L", "RGB", "RGBA"}, "WEBP": {"RGB", "RGBA"}}
# Near-lossless for JPEG, lossless for the others.
ENCODINGS: dict[str, dict[str, object]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {"compress_level": 6},
    "WEBP": {"lossless": True, "exact": True},
}


class ImageRejected(Exception):
    """A file that is not taken as an image; `reason` says why in one clause."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class ImageFacts:
    """What is known of an upright picture that decodes."""

    sha256: str
    """Of the stored bytes, 64 hexadecimal digits."""
    format: str
    """JPEG, PNG or WEBP."""
    width: int
    height: int
    brightness: float
    """Mean luma, 0 (black) to 1 (white), transparent parts seen on black."""


@dataclass(frozen=True)
class CheckedImage(ImageFacts):
    """A picture with the bytes to store."""

    bytes: builtins.bytes

    @property
    def facts(self) -> ImageFacts:
        return ImageFacts(**{field.name: getattr(self, field.name) for field in fields(ImageFacts)})


def read_image(content: bytes | Path) -> CheckedImage:
    """The picture in a file, proven to decode. The same input always gives the same bytes.

    Takes still JPEG, PNG and WebP files of at most 20 MiB, 8,192 pixels a side and 25 million pixels, known by
    their first bytes. The orientation that EXIF tells is applied.

    Raises:
        ImageRejected: anything else, with the reason.
    """
    try:
        picture = picture_of(read_bytes(content))
    except ContainerRejected as error:
        raise ImageRejected(str(error)) from error
    with decoded(picture) as image:
        clean = cleaned(picture, image)
        # Width and height of the upright picture; the sides swap with a quarter turn.
        width, height = image.size if orientation_of(picture) < 5 else image.size[::-1]
        sha256 = hashlib.sha256(clean).hexdigest()
        return CheckedImage(sha256, picture.format, width, height, brightness_of(image), clean)


def read_bytes(content: bytes | Path) -> bytes:
    """The bytes of a file, or those given, if they are not too many."""
    try:
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        if size > MAX_BYTES:
            raise ImageRejected(f"it has {size:,} bytes; at most {MAX_BYTES:,} are taken")
        return content.read_bytes() if isinstance(content, Path) else bytes(content)
    except OSError as error:
        raise ImageRejected(f"it cannot be read: {error.strerror}") from error


def decoded(picture: Picture) -> Pillow.Image:
    """The picture's pixels, all of them; Pillow sees only the stripped file."""
    try:
        image = Pillow.open(BytesIO(picture.content), formats=(picture.format,))
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning) as error:
        raise ImageRejected("it has far too many pixels") from error
    except Exception as error:  # decoders raise whatever they stumble over: SyntaxError, struct.error, ...
        raise ImageRejected("its header is broken") from error
    width, height = image.size
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise ImageRejected(
            f"it is {width} x {height} pixels; at most {MAX_SIDE:,} a side and {MAX_PIXELS:,} in all are taken"
        )
    try:
        image.load()
    except Exception as error:  # as above
        raise ImageRejected("it does not decode; the file is damaged") from error
    return image


def cleaned(picture: Picture, image: Pillow.Image) -> bytes:
    """The bytes to store: the stripped file itself where it will do, else encoded anew."""
    orientation = orientation_of(picture)
    has_transparent_colour = "transparency" in image.info
    is_plain = image.mode in KEPT_MODES[picture.format] and not has_transparent_colour and orientation == 1
    if is_plain and (picture.format != "PNG" or png_pixels_are_exact(picture.content)):
        return picture.content
    upright = turned(plain(image, with_alpha=picture.format != "JPEG"), orientation)
    upright.info.clear()
    output = BytesIO()
    upright.save(output, picture.format, **ENCODINGS[picture.format])
    return output.getvalue()


def orientation_of(picture: Picture) -> int:
    """1 to 8 as EXIF counts them; 1, upright, where the file doesn't say or says nonsense."""
    if picture.exif is None:
        return 1
    exif = Pillow.Exif()
    try:
        exif.load(picture.exif)
        orientation = exif.get(ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001 - a broken EXIF block tells nothing, and the picture may be sound
        return 1
    return orientation if orientation in range(1, 9) else 1


def turned(image: Pillow.Image, orientation: int) -> Pillow.Image:
    image.getexif()[ORIENTATION_TAG] = orientation
    return ImageOps.exif_transpose(image)


def brightness_of(image: Pillow.Image) -> float:
    """Mean luma of a picture, 0 (black) to 1 (white), from a copy of 64 by 64 pixels."""
    whole = image if image.mode in {"L", "RGB", "RGBA"} else plain(image, with_alpha=True)
    small = whole.resize((BRIGHTNESS_SIDE, BRIGHTNESS_SIDE), Pillow.Resampling.BOX)
    if small.mode == "RGBA":
        small = Pillow.alpha_composite(Pillow.new("RGBA", small.size, "black"), small)
    [mean] = ImageStat.Stat(small.convert("L")).mean
    return mean / 255


def plain(image: Pillow.Image, *, with_alpha: bool) -> Pillow.Image:
    """The picture in 8-bit grey, RGB or, where it is transparent, RGBA."""
    if image.mode.startswith("I"):
        # Pillow's own conversion from 16 bits cuts off instead of scaling.
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if with_alpha and image.has_transparency_data:
        return image.convert("RGBA")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")
