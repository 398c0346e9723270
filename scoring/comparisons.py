"""Whether one scorer is better than another on the same choices, or only luckier."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from scoring.metrics import DIFFERENCE_OF_SHARES, Estimate, Scores, clustered_mean, top_one_credits
from scoring.preferences import Choice

FLIPS = 9999

# With so few prompts all ways to flip them are gone through, and the p-value is exact.
EXACT_PROMPTS = 12

# Signs held in memory at once: 16 MB.
_CELLS = 2_000_000


@dataclass(frozen=True)
class PairedTest:
    """Two scorers held against each other on the same choices."""

    name: str
    """What was tested, and how."""

    difference: Estimate
    """How much oftener the first finds the chosen image, with its interval."""

    p_value: float | None
    """Two-sided: how often prompts on which the scorers were exchanged at random differ at least as much. None where
    there is nothing to compare."""

    prompts: int
    """Prompts on which the two differ; the others say nothing."""

    def to_record(self) -> dict[str, object]:
        """The test as plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class ExchangeTest:
    """A distance of two sets of images, beside those of sets that were mixed at random."""

    name: str
    """The distance, such as `FID, chosen to rejected on Inception features`."""

    value: float

    p_value: float
    """How often sets that exchanged their images of a prompt, for half of the prompts, lie at least as far apart."""

    exchanges: int

    def to_record(self) -> dict[str, object]:
        """The test as plain values for JSON."""
        return asdict(self)


def paired_test(choices: Sequence[Choice], scores: Scores, other: Scores, *, seed: int = 0) -> PairedTest:
    """Test whether two scorers find the chosen image equally often: sign-flip permutation test by prompt.

    If the two were alike, exchanging them on any prompt would change nothing but the sign of that prompt's difference.
    Whole prompts are flipped, since votes on one prompt resemble each other. Up to 12 prompts all flips are counted;
    beyond, 9,999 random ones and the one observed, so that the smallest p-value is 1/10,000.

    Args:
        choices: ties and all-bad answers are left out.
        scores: of the first scorer.
        other: of the second.
        seed: of interval and flips.

    Raises:
        UnableToMeasure: scores are missing, too many, or not finite.
    """
    decided, credits = top_one_credits(choices, scores)
    _, others = top_one_credits(choices, other)
    prompts = [choice.prompt for choice in decided]
    difference = clustered_mean(
        credits - others, prompts, name="top-1 of n, difference", seed=seed, within=DIFFERENCE_OF_SHARES
    )
    _, places = np.unique(np.asarray(prompts, dtype=str), return_inverse=True)
    sums = np.bincount(places, weights=credits - others).astype(np.float64)
    moved = sums[np.abs(sums) > 1e-12]
    return PairedTest(
        name="paired sign-flip permutation test by prompt, two-sided",
        difference=difference,
        p_value=_sign_flip_p(moved, seed) if len(sums) else None,
        prompts=len(moved),
    )


def holm_adjusted(p_values: Sequence[float | None]) -> list[float | None]:
    """The p-values of several tests at once, each held against .05: that any is below by luck alone stays below .05.

    Args:
        p_values: (n,) 0..1 each, in any order; None where there was nothing to test, which counts as no test.

    Returns:
        (n,) in the order given: the k-th smallest of m times (m - k + 1), none below a smaller one's, at most 1.

    Source: Holm, A simple sequentially rejective multiple test procedure (1979).
    """
    tested = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    least = 0.0
    for rank, (p, place) in enumerate(tested):
        adjusted[place] = least = min(1.0, max(least, (len(tested) - rank) * p))
    return adjusted


def _sign_flip_p(sums: NDArray[np.float64], seed: int) -> float:
    observed = abs(sums.sum()) - 1e-9
    if len(sums) <= EXACT_PROMPTS:
        signs = 1 - 2 * (np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums)) & 1)
        return float((np.abs(signs @ sums) >= observed).mean())
    as_far = sum(int((np.abs(signs @ sums) >= observed).sum()) for signs in _random_signs(len(sums), seed))
    return (as_far + 1) / (FLIPS + 1)


def _random_signs(width: int, seed: int) -> Iterator[NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    rows = max(1, _CELLS // width)
    for start in range(0, FLIPS, rows):
        bits = rng.integers(2, size=(min(rows, FLIPS - start), width), dtype=np.int8)
        yield 1 - 2 * bits.astype(np.float64)
