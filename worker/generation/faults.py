"""What can be wrong with a picture that a model drew, told before anybody is shown it."""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

# Noise of an encoder aside, a picture whose channels vary by no more than this (of 255) shows nothing.
BLANK_RANGE = 4


class Fault(StrEnum):
    """Why a picture is not shown to annotators."""

    BROKEN = "broken"
    """The model computed no finite numbers, or the picture is not of the size that was asked for."""
    UNSAFE = "unsafe"
    """The pipeline's own safety checker blocked it."""
    BLANK = "blank"
    """It is of one colour."""


def is_blank(pixels: NDArray[np.uint8]) -> bool:
    """Whether a picture (height, width, channels) is of one colour."""
    return bool((np.ptp(pixels.reshape(-1, pixels.shape[-1]), axis=0) <= BLANK_RANGE).all())
