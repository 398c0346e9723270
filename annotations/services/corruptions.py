"""Copies that are plainly worse than their original: blurred, noisy, in wrong colours, or broken into blocks."""

import io
import random
from collections.abc import Callable

import numpy as np
from django.db import models
from django.utils.translation import gettext_lazy as _
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageFilter

from annotations.models import Image
from annotations.services.image_files import ENCODINGS
from annotations.services.images import read_image, record_images, store_file, unsaved_image

# A copy that differs less from its original (root mean square over all channels, of 255) is not plainly worse.
LEAST_DIFFERENCE = 25.0

Pixels = NDArray[np.uint8]


class Corruption(models.TextChoices):
    BLUR = "blur", _("blurred")
    NOISE = "noise", _("noisy")
    COLOURS = "colours", _("in wrong colours")
    BLOCKS = "blocks", _("broken into blocks")


def corrupted_copies(*, image: Image, count: int, rng: random.Random) -> list[Image]:
    """So many different copies of a picture, each plainly worse, stored as images of the same prompt.

    They have the format and the size of the original, no generator, and `corrupted_from` names the original.

    Returns:
        Fewer than `count` where corruptions leave the picture nearly as it was, as a blur leaves a plain surface.
    """
    with image.file.open() as file, Pillow.open(file, formats=list(Image.EXTENSIONS)) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    copies: list[Image] = []
    for number in range(count):
        kinds = rng.sample(list(Corruption), len(Corruption))
        for kind in kinds[number % len(kinds) :] + kinds[: number % len(kinds)]:
            worse = CORRUPT[kind](pixels, np.random.default_rng(rng.getrandbits(32)))
            if _difference(pixels, worse) >= LEAST_DIFFERENCE and kind not in {
                c.settings["corruption"] for c in copies
            }:
                copies.append(_unsaved_copy(image, worse, kind))
                break
    return record_images(images=copies)


def blurred(pixels: Pixels, _rng: np.random.Generator) -> Pixels:
    """What is smaller than an eighth of the picture is gone."""
    radius = max(pixels.shape[:2]) / 8
    return np.asarray(Pillow.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def noisy(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Half of the picture's grains, one grain being a 256th of its side, are replaced at random."""
    height, width = pixels.shape[:2]
    grain = max(1, max(height, width) // 256)
    is_lost = rng.random((-(-height // grain), -(-width // grain))) < 0.5
    colours = rng.integers(0, 256, (*is_lost.shape, 3), dtype=np.uint8)
    spread = (slice(height), slice(width))
    lost = is_lost.repeat(grain, axis=0).repeat(grain, axis=1)[spread]
    return np.where(lost[..., None], colours.repeat(grain, axis=0).repeat(grain, axis=1)[spread], pixels)


def wrongly_coloured(pixels: Pixels, _rng: np.random.Generator) -> Pixels:
    """A negative with its channels exchanged."""
    return np.ascontiguousarray(255 - pixels[..., [2, 0, 1]])


def in_blocks(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Cut into blocks of an eighth of the shorter side, which are shuffled."""
    height, width = pixels.shape[:2]
    side = max(1, min(height, width) // 8)
    broken = pixels.copy()
    corners = [(y, x) for y in range(0, height - side + 1, side) for x in range(0, width - side + 1, side)]
    for (y, x), source in zip(corners, rng.permutation(len(corners)), strict=True):
        from_y, from_x = corners[source]
        broken[y : y + side, x : x + side] = pixels[from_y : from_y + side, from_x : from_x + side]
    return broken


CORRUPT: dict[Corruption, Callable[[Pixels, np.random.Generator], Pixels]] = {
    Corruption.BLUR: blurred,
    Corruption.NOISE: noisy,
    Corruption.COLOURS: wrongly_coloured,
    Corruption.BLOCKS: in_blocks,
}


def _difference(pixels: Pixels, worse: Pixels) -> float:
    return float(np.sqrt(np.mean((pixels.astype(float) - worse.astype(float)) ** 2)))


def _unsaved_copy(image: Image, pixels: Pixels, kind: Corruption) -> Image:
    buffer = io.BytesIO()
    Pillow.fromarray(pixels).save(buffer, image.format, **ENCODINGS[image.format])
    checked = read_image(buffer.getvalue())
    store_file(checked=checked)
    copy = unsaved_image(facts=checked, prompt=image.prompt, settings={"corruption": str(kind)})
    copy.corrupted_from = image
    return copy
