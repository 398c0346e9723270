"""Is a picture blurred beyond recognition, as a censor leaves it, or empty? Told from its pixels alone."""

from enum import StrEnum

import numpy as np

VIEW = 128
"""Pixels of the longer side at which a picture is looked at; larger ones are averaged down first."""

BLURRED_WIDTH = 4.0
"""From this width of its sharpest edge on, a picture is blurred; in pixels of the view."""

BLANK_RANGE = 4.0
"""A picture whose values differ by no more, of 255, shows nothing."""


class Fault(StrEnum):
    """Why a picture can't be learnt from."""

    BLURRED = "blurred"
    BLANK = "blank"


def fault_of(pixels: np.ndarray) -> Fault | None:
    """What is wrong with a picture, if anything.

    Args:
        pixels: (height, width, 3) uint8.
    """
    width = edge_width(pixels)
    if width is None:
        return Fault.BLANK
    return Fault.BLURRED if width >= BLURRED_WIDTH else None


def edge_width(pixels: np.ndarray) -> float | None:
    """Over how many pixels the sharpest edge of a picture is spread, seen at no more than 128 pixels a side.

    That is the range of a channel divided by the largest difference between two neighbours, side by side or one above
    the other: the least over both directions and all channels. Averaging first makes pictures of 32 and of 512 pixels
    comparable and takes away the grain of noise and compression, which would pass for edges; the range makes the
    measure the same for strong and for faint contrast.

    Args:
        pixels: (height, width, 3) uint8.

    Returns:
        1 for an edge between two neighbours, about 2.5 times the radius for a Gaussian blur of an edge; None for a
        picture that shows nothing.

    Source: ours. The released test (align_sd `process_diffusion_db.py`) asks whether the largest difference is below
    10, takes it twice from left to right and never downwards, and with its sign: stripes that lie, and edges that
    only rise to the right, are blurred to it, and so is every faint picture; a veil over a small picture is not.
    """
    view = _from_afar(pixels.astype(np.float32))
    ranges = np.ptp(view, axis=(0, 1))  # (3,)
    if ranges.max() <= BLANK_RANGE:
        return None
    steps = np.maximum(_largest_step(view, axis=0), _largest_step(view, axis=1))
    seen = ranges > BLANK_RANGE
    return float((ranges[seen] / np.maximum(steps[seen], np.finfo(np.float32).tiny)).min())


def _largest_step(view: np.ndarray, axis: int) -> np.ndarray:
    """(3,) largest difference between neighbours along an axis, whichever of the two is brighter."""
    steps: np.ndarray = np.abs(np.diff(view, axis=axis)).max(axis=(0, 1), initial=0)
    return steps


def _from_afar(pixels: np.ndarray) -> np.ndarray:
    """The picture averaged over squares, so that its longer side has at most `VIEW` pixels."""
    height, width, channels = pixels.shape
    side = min(-(-max(height, width) // VIEW), height, width)
    rows, columns = height // side, width // side
    squares = pixels[: rows * side, : columns * side].reshape(rows, side, columns, side, channels)
    view: np.ndarray = squares.mean(axis=(1, 3))
    return view
