"""Whether a scorer is as sure as it may be: its probabilities beside how often people chose."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from scoring.intervals import interval_of_biased
from scoring.metrics import Estimate, Scores, as_arrays, clustered_mean, resampled_sums
from scoring.preferences import Choice

BINS = 10


@dataclass(frozen=True)
class Bin:
    """The images to which a scorer gave about the same probability of being chosen."""

    low: float
    high: float
    predicted: float
    """Mean probability."""
    observed: Estimate
    """The share that was chosen, with its interval resampled by prompt."""


@dataclass(frozen=True)
class Calibration:
    """Predicted probabilities against observed shares."""

    bins: list[Bin]
    """From low to high probability; empty ones are left out."""

    error: Estimate
    """Expected calibration error: the mean distance of predicted and observed over all images, 0..1, by prompt."""

    n: int
    """Images shown in the choices, each as often as it was shown."""

    def to_record(self) -> dict[str, object]:
        """The curve as plain values for JSON."""
        return asdict(self)


def calibration(choices: Sequence[Choice], scores: Scores, *, bins: int = BINS, seed: int = 0) -> Calibration:
    """The softmax of a set's scores against what was chosen, in bins of equal width.

    A scorer trained by Plackett-Luce says the probability with which each image is chosen. One whose scores have
    another scale may rank well and still be far from the diagonal: read this beside the accuracy, not instead.

    Args:
        choices: ties and all-bad answers are left out.
        scores: in logits.
        bins: how many.
        seed: of the intervals' resampling.

    Raises:
        UnableToMeasure: scores are missing, too many, or not finite.
    """
    values, mask, chosen = as_arrays(choices, scores)
    rows, columns = np.nonzero(mask & (chosen >= 0)[:, None])
    exponentials = np.exp(values - values.max(axis=1, initial=-np.inf, keepdims=True))
    predicted = (exponentials / exponentials.sum(axis=1, keepdims=True))[rows, columns]
    observed = (chosen[rows] == columns).astype(float)
    prompts = np.array([choice.prompt for choice in choices], dtype=object)[rows]
    places = np.minimum((predicted * bins).astype(int), bins - 1)
    made = [
        Bin(
            low=place / bins,
            high=(place + 1) / bins,
            predicted=float(predicted[places == place].mean()),
            observed=clustered_mean(
                observed[places == place], list(prompts[places == place]), name="chosen", seed=seed, unit="images"
            ),
        )
        for place in np.unique(places).tolist()
    ]
    error = _error(predicted - observed, places, prompts, bins=bins, seed=seed)
    return Calibration(bins=made, error=error, n=len(predicted))


def _error(
    excess: NDArray[np.float64], places: NDArray[np.int64], prompts: NDArray[np.object_], *, bins: int, seed: int
) -> Estimate:
    """The mean over images of how far their bin's mean probability is from its share, both from sums by prompt."""
    name, unit, n = "expected calibration error", "images", len(excess)
    if n == 0:
        return Estimate(name, None, None, None, 0, unit, "There is nothing to measure yet.")
    names, rows = np.unique(prompts.astype(str), return_inverse=True)
    cells = np.bincount(rows * bins + places, weights=excess, minlength=len(names) * bins).reshape(-1, bins)
    value = float(np.abs(cells.sum(axis=0)).sum() / n)
    if len(names) == 1:
        return Estimate(name, value, None, None, n, unit, "All are of one prompt: no interval.")
    sums = np.column_stack([cells, np.bincount(rows)])
    drawn = np.concatenate(list(resampled_sums(sums, seed)))
    resampled = np.abs(drawn[:, :bins]).sum(axis=1) / drawn[:, bins]
    low, high = interval_of_biased(value, resampled, lowest=0, highest=1)
    return Estimate(name, value, low, high, n, unit)
