"""95 % intervals: of shares, of what was resampled by prompt, and of numbers that chance moves to one side."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95

_TAIL = (1 - CONFIDENCE) / 2
_Z = float(stats.norm.ppf(1 - _TAIL))

# Correlations are brought no nearer to 1 and -1 than this where they are put on a scale without an end.
_NEAREST = 1e-9


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """Wilson's score interval of a share of n, which keeps to 0..1 and holds for few; need be no whole number of them.

    Source: Wilson, Probable inference (1927); equal to scipy's `binomtest(...).proportion_ci(method="wilson")`.
    """
    centre = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def percentile_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The middle 95 % of resampled values."""
    low, high = np.quantile(values, [_TAIL, 1 - _TAIL])
    return float(low), float(high)


def interval_about(value: float, resampled: NDArray[np.float64], clusters: int) -> tuple[float, float]:
    """The middle 95 % of what resampling whole clusters gave, made wider about the value where they are few.

    Percentiles of k resampled clusters take their variance for (k - 1) / k of what it is, and the normal distribution's
    tails for Student's: of five prompts that show nothing, every sixth interval would leave out the truth. The factor
    that makes up for both is 1.02 for a hundred clusters, 1.06 for thirty, 1.6 for five and 9 for two.
    Source: T. Hesterberg, What Teachers Should Know About the Bootstrap (2015), on its narrowness, who moves the
    percentiles instead; of two clusters even the outermost ones are too near.
    """
    low, high = percentile_interval(resampled)
    wider = stats.t.ppf(1 - _TAIL, clusters - 1) / _Z * np.sqrt(clusters / (clusters - 1))
    return float(value - wider * (value - low)), float(value + wider * (high - value))


def correlation_interval(value: float, resampled: NDArray[np.float64], clusters: int) -> tuple[float, float]:
    """As `interval_about`, on the scale of Fisher's z, where a correlation has the same room on both sides.

    Args:
        value: the correlation, -1..1.
        resampled: (resamples,) the same of each resample.
        clusters: how many were resampled.
    """
    low, high = interval_about(float(_on_scale(np.asarray(value))), _on_scale(resampled), clusters)
    return min(value, float(np.tanh(low))), max(value, float(np.tanh(high)))


def _on_scale(correlations: NDArray[np.float64]) -> NDArray[np.float64]:
    on_scale: NDArray[np.float64] = np.arctanh(np.clip(correlations, _NEAREST - 1, 1 - _NEAREST))
    return on_scale


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
