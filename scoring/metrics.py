"""How often a scorer agrees with people: named numbers with intervals that are resampled by prompt."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import chain
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from scoring.intervals import interval_about, wilson_interval
from scoring.preferences import Choice

Scores = Sequence[Sequence[float]]
"""One number per image, for each choice in turn, in the order of its `images`."""

Verdict = Literal["preferred", "no difference shown", "not preferred"]

RESAMPLES = 2000

# Where a mean can lie.
SHARE, DIFFERENCE_OF_SHARES, ANYWHERE = (0.0, 1.0), (-1.0, 1.0), (-np.inf, np.inf)

# Means of clusters that differ by less are the same but for rounding.
SAME = 1e-12

# Resampled prompt counts held in memory at once: 16 MB.
_CELLS = 2_000_000

# Counts of at most 2,000 prompts are kept for the next number of the same prompts: 16 MB.
_KEPT_CELLS = 4_000_000


class UnableToMeasure(ValueError):
    """What was given can't be measured as asked; the message says why."""


@dataclass(frozen=True)
class Estimate:
    """A number with its name, its 95 % interval and what it was measured on."""

    name: str
    """What the number is, such as `top-1 of n`."""

    value: float | None
    """The number, or None where it is not defined; `reason` then says why."""

    low: float | None
    """Lower end of the interval; None where there is none."""

    high: float | None
    """Upper end of the interval; None where there is none."""

    n: int
    """How many were measured."""

    unit: str = "choices"
    """What `n` counts."""

    reason: str = ""
    """Why there is no number, or no interval; else empty."""

    def to_record(self) -> dict[str, object]:
        """The estimate as plain values for JSON."""
        return asdict(self)


def top_one_accuracy(choices: Sequence[Choice], scores: Scores, *, seed: int = 0, name: str = "top-1 of n") -> Estimate:
    """How often the image that the person chose has the highest score of its set.

    Args:
        choices: ties and all-bad answers are left out, since they name no image.
        scores: where k images share the highest score, each has 1/k of it.
        seed: of the interval's resampling.
        name: of the result.

    Returns:
        0..1, to be read beside `chance_level` and `agreement.human_ceiling`; interval resampled by prompt.

    Raises:
        UnableToMeasure: scores are missing, too many, or not finite.
    """
    decided, credits = top_one_credits(choices, scores)
    return clustered_mean(credits, [choice.prompt for choice in decided], name=name, seed=seed)


def top_one_difference(
    choices: Sequence[Choice], scores: Scores, other: Scores, *, seed: int = 0, name: str = "top-1 of n, difference"
) -> Estimate:
    """How much oftener one scorer finds the chosen image than another, on the same choices.

    Returns:
        -1..1, positive where `scores` is better than `other`; the two are compared choice by choice before the prompts
        are resampled, so the interval is much narrower than those of the two accuracies.

    Raises:
        UnableToMeasure: scores are missing, too many, or not finite.
    """
    decided, credits = top_one_credits(choices, scores)
    _, others = top_one_credits(choices, other)
    prompts = [choice.prompt for choice in decided]
    return clustered_mean(credits - others, prompts, name=name, seed=seed, within=DIFFERENCE_OF_SHARES)


def pairwise_accuracy(
    choices: Sequence[Choice], scores: Scores, *, ties: Literal["half", "dropped"] = "half", seed: int = 0
) -> Estimate:
    """How often, of two images of which people preferred one, that one has the higher score.

    A choice among n images gives n - 1 pairs, the chosen one against each other. Equal scores count half.

    Args:
        choices: all-bad answers are left out.
        scores: one per image.
        ties: what to do with the pairs of a choice that ended in a tie. `half`: each counts half whatever the scorer
            says, as in Pick-a-Pic; then the best that can be reached is below 1. `dropped`: they are left out.
        seed: of the interval's resampling.

    Returns:
        0..1, chance .5; n counts pairs; interval resampled by prompt.

    Raises:
        UnableToMeasure: scores are missing, too many, or not finite.
    """
    values, mask, chosen = as_arrays(choices, scores)
    decided = chosen >= 0
    of_chosen = np.take_along_axis(values, np.maximum(chosen, 0)[:, None], axis=1)
    won = (
        np.where(mask, (of_chosen > values) + 0.5 * (of_chosen == values), 0.0).sum(axis=1) - 0.5
    )  # not against itself
    sizes = mask.sum(axis=1)
    pairs = np.where(decided, sizes - 1, 0)
    credits = np.where(decided, won, 0.0)
    if ties == "half":
        tied = np.array([choice.outcome == "tie" for choice in choices], dtype=bool)
        pairs = np.where(tied, sizes * (sizes - 1) // 2, pairs)
        credits = np.where(tied, pairs / 2, credits)
    name = f"pairwise, ties {'as half' if ties == 'half' else 'dropped'}"
    return clustered_mean(
        credits, [choice.prompt for choice in choices], name=name, weights=pairs, seed=seed, unit="pairs"
    )


def chance_level(choices: Sequence[Choice]) -> Estimate:
    """What a scorer that knows nothing reaches on `top_one_accuracy`: the mean of 1/n; exact, so without interval."""
    shares = [1 / len(choice.images) for choice in choices if choice.is_decided]
    if not shares:
        return Estimate("chance", None, None, None, 0, reason="Nobody chose an image yet.")
    return Estimate("chance", float(np.mean(shares)), None, None, len(shares), reason="Exact.")


def tau_b(scores: ArrayLike, ratings: ArrayLike) -> Estimate:
    """Kendall's tau-b between scores and people's ratings, which lets both have ties.

    Args:
        scores: (n,) finite numbers.
        ratings: (n,) finite numbers, of the same things.

    Returns:
        -1..1, 0 where the two are unrelated; without interval.

    Raises:
        UnableToMeasure: the two have different lengths.
    """
    first, second = np.asarray(scores, dtype=float), np.asarray(ratings, dtype=float)
    if first.shape != second.shape:
        raise UnableToMeasure(f"{first.size} scores for {second.size} ratings.")
    value = float(stats.kendalltau(first, second, variant="b").statistic) if first.size > 1 else float("nan")
    if np.isnan(value):
        return Estimate("tau-b", None, None, None, first.size, "things", "All scores or all ratings are equal.")
    return Estimate("tau-b", value, None, None, first.size, "things")


def vote_share(choices: Sequence[Choice], generator: str, *, seed: int = 0) -> Estimate:
    """The share of votes that went to one generator where it was shown against others.

    Args:
        choices: with generators; those in which it was not shown are left out. A tie gives it the share of its images
            among those shown; all-bad answers are left out.
        generator: name.
        seed: of the interval's resampling.

    Returns:
        0..1; between two generators, .5 means that people don't mind; interval resampled by prompt.
    """
    shown = [choice for choice in choices if generator in choice.generators and choice.outcome != "all_bad"]
    credits = np.array([_credit(choice, generator) for choice in shown])
    return clustered_mean(credits, [choice.prompt for choice in shown], name="share of votes", seed=seed)


def prompts_won(choices: Sequence[Choice], generator: str, *, seed: int = 0) -> Estimate:
    """The share of prompts on which a generator got more than half of the votes; a prompt split evenly counts half.

    Args:
        choices: as for `vote_share`.
        generator: name.
        seed: of the interval's resampling.

    Returns:
        0..1; n counts prompts. The user study of the HPS paper reports 74 % of 100 prompts by this count (20 votes
        each), evenly split ones not counted.
    """
    shown = [choice for choice in choices if generator in choice.generators and choice.outcome != "all_bad"]
    votes: dict[str, list[float]] = {}
    for choice in shown:
        votes.setdefault(choice.prompt, []).append(_credit(choice, generator))
    shares = np.array([np.mean(of_prompt) for of_prompt in votes.values()])
    won = (shares > 0.5) + 0.5 * np.isclose(shares, 0.5)
    return clustered_mean(won, list(votes), name="share of prompts won", seed=seed, unit="prompts")


def verdict(estimate: Estimate, against: float = 0.5) -> Verdict:
    """What an estimate shows: `preferred` or `not preferred` where the whole interval lies on one side of `against`."""
    if estimate.low is not None and estimate.low > against:
        return "preferred"
    if estimate.high is not None and estimate.high < against:
        return "not preferred"
    return "no difference shown"


def clustered_mean(
    values: NDArray[np.float64],
    clusters: Sequence[str],
    *,
    name: str,
    seed: int = 0,
    weights: NDArray[np.int64] | None = None,
    unit: str = "choices",
    within: tuple[float, float] = SHARE,
) -> Estimate:
    """A mean with a bootstrap interval that resamples whole clusters, such as prompts.

    Votes on one prompt resemble each other, so resampling single votes would give too narrow an interval.

    Args:
        values: (m,) one sum each.
        clusters: (m,) the cluster of each.
        name: of the result.
        seed: of the resampling; the same seed gives the same interval.
        weights: (m,) how many things each value sums up; by default one.
        unit: what the weights count.
        within: where the mean lies by its nature: `SHARE`, `DIFFERENCE_OF_SHARES` or `ANYWHERE`.

    Returns:
        sum(values) / sum(weights), with the 2.5 and 97.5 percentiles over 2,000 resamples, see `interval_about`. Where
        all clusters have the same mean, resampling is blind: a share then gets Wilson's interval for that many
        clusters, so that three unanimous prompts prove nothing. Of one cluster there is no interval.
    """
    counts = np.ones(len(values), dtype=np.int64) if weights is None else weights
    n = int(counts.sum())
    if n == 0:
        return Estimate(name, None, None, None, 0, unit, "There is nothing to measure yet.")
    _, places = np.unique(np.asarray(clusters, dtype=object).astype(str), return_inverse=True)
    sums = np.bincount(places, weights=values).astype(np.float64)
    sizes = np.bincount(places, weights=counts).astype(np.float64)
    sums, sizes = sums[sizes > 0], sizes[sizes > 0]
    value = float(sums.sum() / n)
    if len(sums) == 1:
        return Estimate(name, value, None, None, n, unit, "All are of one prompt: no interval.")
    if within == SHARE and np.ptp(sums / sizes) < SAME:
        low, high = wilson_interval(value, len(sums))
    else:
        totals = np.concatenate(list(resampled_sums(np.stack([sums, sizes], axis=1), seed)))
        low, high = interval_about(value, totals[:, 0] / totals[:, 1], len(sums))
        low, high = max(low, within[0]), min(high, within[1])
    return Estimate(name, value, low, high, n, unit)


def resampled_sums(sums: NDArray[np.float64], seed: int) -> Iterator[NDArray[np.float64]]:
    """Sums over clusters drawn with replacement, as many as there are, in blocks of (resamples, k).

    Args:
        sums: (clusters, k) what each cluster adds to each of k sums.
        seed: of the drawing.
    """
    clusters = len(sums)
    blocks = _kept_draws(clusters, seed) if RESAMPLES * clusters <= _KEPT_CELLS else _draws(clusters, seed)
    for drawn in blocks:
        yield drawn @ sums


def _draws(clusters: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """How often each cluster is drawn, in blocks of (resamples, clusters)."""
    rng = np.random.default_rng(seed)
    rows = max(1, _CELLS // clusters)
    for start in range(0, RESAMPLES, rows):
        # Counting drawn places is ten times as quick as drawing from the multinomial distribution of the counts.
        resamples = min(rows, RESAMPLES - start)
        places = rng.integers(clusters, size=(resamples, clusters)) + clusters * np.arange(resamples)[:, None]
        counts = np.bincount(places.ravel(), minlength=resamples * clusters).reshape(resamples, clusters)
        yield counts.astype(np.float32)


@lru_cache(maxsize=2)
def _kept_draws(clusters: int, seed: int) -> list[NDArray[np.float32]]:
    """The same draws, kept: several numbers of the same prompts are resampled one after the other."""
    return list(_draws(clusters, seed))


def _credit(choice: Choice, generator: str) -> float:
    mine = [index for index, name in enumerate(choice.generators) if name == generator]
    if choice.outcome == "tie":
        return len(mine) / len(choice.images)
    return float(choice.chosen in mine)


def top_one_credits(choices: Sequence[Choice], scores: Scores) -> tuple[list[Choice], NDArray[np.float64]]:
    """The choices that name an image, and for each 1 where it has the highest score; 1/k where k images share it."""
    values, _, chosen = as_arrays(choices, scores)
    decided = chosen >= 0
    highest = values == values.max(axis=1, initial=-np.inf, keepdims=True)
    hit = np.take_along_axis(highest, np.maximum(chosen, 0)[:, None], axis=1)[:, 0]
    credits = (hit / highest.sum(axis=1))[decided]
    return [choice for choice in choices if choice.is_decided], credits


def as_arrays(
    choices: Sequence[Choice], scores: Scores
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
    """Scores (m, widest) with minus infinity beyond a choice's own images, the mask, and the chosen index or -1."""
    if len(choices) != len(scores):
        raise UnableToMeasure(f"Scores are given for {len(scores)} choices, there are {len(choices)}.")
    sizes = np.array([len(choice.images) for choice in choices], dtype=np.int64)
    given = np.array([len(numbers) for numbers in scores], dtype=np.int64)
    if len(wrong := np.flatnonzero(sizes != given)):
        row = wrong[0]
        raise UnableToMeasure(f"Choice {row} has {sizes[row]} images and {given[row]} scores.")
    widest = int(sizes.max(initial=1))
    mask = np.arange(widest) < sizes[:, None]
    values = np.full((len(choices), widest), -np.inf)
    values[mask] = np.fromiter(chain.from_iterable(scores), dtype=float, count=int(sizes.sum()))
    if not np.isfinite(values[mask]).all():
        raise UnableToMeasure("A score is not a finite number; score the images again.")
    chosen = [-1 if choice.chosen is None else choice.chosen for choice in choices]
    return values, mask, np.array(chosen, dtype=np.int64)
