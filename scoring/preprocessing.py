"""How a picture becomes the numbers a scorer sees: the same at training and at scoring, and part of the version."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

# OpenAI CLIP's, openai/CLIP clip.py `_transform`.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

RESIZES = ("longest", "shortest")


@dataclass(frozen=True)
class Preprocessing:
    """One side to `size`, a square made of the picture, then the channels normalised.

    With `longest` nothing of the picture is cut off and the rest of the square is black, as in the paper
    (`ResizeMaxSize(224, fill=0)` of its code base) and unlike its released scorer, which crops the centre. Two things
    differ from that code: it left out the padding where the longest side happened to be `size` already, and it resized
    without antialiasing on tensors; here a picture is always padded and resized by Pillow's antialiased bicubic filter.
    With `shortest` the middle square is kept and the rest cut off, as OpenAI's CLIP, PickScore and the published
    aesthetic heads see pictures.
    """

    size: int = 224
    """Side of the square in pixels."""

    mean: tuple[float, float, float] = CLIP_MEAN
    """Subtracted from red, green, blue in 0..1."""

    std: tuple[float, float, float] = CLIP_STD
    """What red, green, blue are then divided by."""

    resize: str = "longest"
    """Which side becomes `size`: `longest` pads the square, `shortest` cuts it from the middle."""

    def __post_init__(self) -> None:
        if self.resize not in RESIZES:
            raise ValueError(f"resize must be 'longest' or 'shortest', not {self.resize!r}.")
        channels = {len(values) for values in (self.mean, self.std)}
        if self.size < 1 or channels != {3} or min(self.std) <= 0:
            raise ValueError("Preprocessing needs a size of at least 1, three means, and three positive deviations.")

    @classmethod
    def from_manifest(cls, record: Mapping[str, Any]) -> Self:
        """Read the part `preprocessing` of a manifest."""
        known: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in record.items()
        }
        return cls(**known)

    def to_manifest(self) -> dict[str, Any]:
        """The part `preprocessing` of a manifest."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def square(self, image: Image.Image) -> NDArray[np.uint8]:
        """The picture as a square.

        Args:
            image: any Pillow image, which stays as it is. A JPEG that is not yet decoded is decoded at the smallest of
                1/1, 1/2, 1/4, 1/8 that leaves at least twice `size`, which is much faster; its file stays open, so
                open it in a `with` block.

        Returns:
            (3, size, size) in 0..255, the right way up; transparent parts are shown on black.
        """
        image = _on_black(ImageOps.exif_transpose(_coarsely_decoded(image, 2 * self.size)))
        if self.resize == "shortest":
            return _middle(image, self.size).transpose(2, 0, 1)
        scale = self.size / max(image.size)
        width, height = (max(1, round(side * scale)) for side in image.size)
        if (width, height) != image.size:
            image = image.resize((width, height), Image.Resampling.BICUBIC)
        square = np.zeros((self.size, self.size, 3), dtype=np.uint8)
        top, left = (self.size - height) // 2, (self.size - width) // 2
        square[top : top + height, left : left + width] = np.asarray(image)
        return square.transpose(2, 0, 1)

    def normalise(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Pixels (..., 3, size, size) in 0..255 as the model's input, (..., 3, size, size), about -2..2."""
        mean = np.asarray(self.mean, dtype=np.float32).reshape(3, 1, 1)
        std = np.asarray(self.std, dtype=np.float32).reshape(3, 1, 1)
        return (squares.astype(np.float32) / np.float32(255) - mean) / std


def _coarsely_decoded(image: Image.Image, side: int) -> Image.Image:
    """The same picture, decoded only as finely as needed where that is possible; the caller's object stays as it is.

    At twice the final size the antialiased resize hides the coarser decoding, as in Pillow's own thumbnails.
    """
    if image.format != "JPEG" or not isinstance(image, ImageFile.ImageFile) or not image.tile or image.fp is None:
        return image
    again = Image.open(image.fp, formats=["JPEG"])
    again.draft("RGB", (side, side))
    return again


def _middle(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """(size, size, 3): the shortest side made `size`, then the middle, in whole pixels as transformers does it."""
    short = min(image.size)
    if max(image.size) > 4 * short:  # what lies far outside is not worth resizing, nor the memory
        left, top = ((side - min(side, 4 * short)) // 2 for side in image.size)
        image = image.crop((left, top, left + min(image.width, 4 * short), top + min(image.height, 4 * short)))
    width, height = (side * size // short for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


def _on_black(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.has_transparency_data:
        image = image.convert("RGBA")
        canvas = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(canvas, image).convert("RGB")
    return image.convert("RGB")
