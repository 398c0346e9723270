"""Whether a scorer is as sure as it may be: its probabilities beside how often people chose."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from scoring.metrics import Estimate, Scores, as_arrays, clustered_mean
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

    error: float | None
    """Expected calibration error: the mean distance of predicted and observed over all images, 0..1, or None."""

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
    n = len(predicted)
    distance = sum(one.observed.n * abs(one.predicted - (one.observed.value or 0.0)) for one in made)
    return Calibration(bins=made, error=distance / n if n else None, n=n)
