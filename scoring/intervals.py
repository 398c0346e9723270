"""95 % intervals of numbers that chance moves to one side."""

import numpy as np
from numpy.typing import NDArray

from scoring.metrics import percentile_interval


def interval_of_biased(
    value: float, resampled: NDArray[np.float64], *, lowest: float, highest: float
) -> tuple[float, float]:
    """As far to both sides of a number as the further end of the middle 95 % of its resamples, and no further.

    Resampling adds noise to what has some. Where noise moves a number to one side, as it does a mean distance upwards
    and the agreement of two rankings downwards, the middle 95 % may leave the number itself out, and the truth lies as
    far on the other side.

    Args:
        value: the number.
        resampled: (resamples,) the same of each resample.
        lowest: the least that it can be.
        highest: the most.
    """
    low, high = percentile_interval(resampled)
    reach = max(value - low, high - value)
    return max(lowest, value - reach), min(highest, value + reach)
