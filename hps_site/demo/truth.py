"""The hidden true quality of an image for its caption. For the simulator and the demo's evaluation, never for training.

How far, in root mean square over all pixels and channels, is the image from the nearest clean drawing of its caption?
The nearest is searched over small moves and sizes, so that a drawing loses nothing by its natural variation. It works
for any image, drawn or generated.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from hps_site.demo.scenes import BACKGROUNDS, COLOURS, PLACES, SHAPES, SIDE, SIZES, Scene, shape_mask

RESIDUAL_UNIT = 0.03
"""One unit of utility, in residual: the distance by which a person of skill 1 prefers the better with odds e to 1."""
GOOD_RESIDUAL = 0.06
"""Below it an image shows what its caption says, without a defect one would notice."""

MOVES = np.arange(-2.5, 2.75, 0.5)
"""How far the object may sit from its place, in pixels, each way."""
STRETCHES = (0.9, 0.95, 1.0, 1.05, 1.1)


class _Bank(NamedTuple):
    """Every place and size allowed for one shape: (templates, pixels) coverages, and the squared sum of each."""

    masks: np.ndarray
    energies: np.ndarray


def residual(image: np.ndarray, caption: str) -> float:
    """Distance of an image to the nearest clean drawing of its caption, 0 (the same) to about 1.

    Args:
        image: (32, 32, 3) uint8.
        caption: a caption of the toy world.

    Raises:
        UnreadableCaption: the caption is not of this world.
    """
    scene = Scene.parse(caption)
    background = np.array(BACKGROUNDS[scene.background], np.float32) / 255
    contrast = np.array(COLOURS[scene.colour], np.float32) / 255 - background
    rest = image.astype(np.float32) / 255 - background
    # |rest - mask * contrast|^2 for every mask at once, without forming the differences.
    bank = _bank(scene.shape, scene.size)
    matches = bank.masks @ _moved_to_centre(rest @ contrast, scene.place).ravel()
    squares = bank.energies * (contrast @ contrast) - 2 * matches
    return float(np.sqrt(max(0.0, (rest**2).sum() + squares.min()) / image.size))


def utility(image: np.ndarray, caption: str) -> float:
    """The true quality on the scale by which simulated people choose: 0 is perfect, -1 is one visible step worse."""
    return -residual(image, caption) / RESIDUAL_UNIT


def is_good(image: np.ndarray, caption: str) -> bool:
    """Whether the image shows what its caption says without a visible defect."""
    return residual(image, caption) < GOOD_RESIDUAL


@cache
def _bank(shape: str, size: str) -> _Bank:
    middle = SIDE / 2
    masks = np.stack(
        [
            shape_mask(shape, SIZES[size] * stretch, (middle + x, middle + y)).ravel()
            for stretch in STRETCHES
            for x in MOVES
            for y in MOVES
        ]
    )
    return _Bank(masks, (masks**2).sum(1))


def _moved_to_centre(plane: np.ndarray, place: str) -> np.ndarray:
    """The plane shifted so that the object's place comes to the middle; zeros come in from outside.

    One bank per shape and size then serves every place. A template that hangs over the image's edge counts as unmatched
    there: an object that is cut off is badly placed.
    """
    x, y = PLACES[place]
    right, down = SIDE // 2 - x, SIDE // 2 - y
    moved = np.zeros_like(plane)
    moved[max(0, down) : SIDE + min(0, down), max(0, right) : SIDE + min(0, right)] = plane[
        max(0, -down) : SIDE + min(0, -down), max(0, -right) : SIDE + min(0, -right)
    ]
    return moved


def warm_up() -> None:
    """Draw all templates now (about a second), so that the first images are not slower than the rest."""
    for shape in SHAPES:
        for size in SIZES:
            _bank(shape, size)
