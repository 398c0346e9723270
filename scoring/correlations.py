"""Correlations of scores with what people said, each by its right name: they are three different numbers.

Scores of different prompts often can't be compared, so only images of one set are held against each other. With a
single set the three are the usual coefficients.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse, stats

from scoring import choice_model, rankings
from scoring.choice_model import Counts, Floats
from scoring.intervals import correlation_interval, interval_of_biased
from scoring.metrics import Estimate, UnableToMeasure, resampled_sums, tau_b
from scoring.preferences import Choice


@dataclass(frozen=True)
class RatedSet:
    """Things that may be compared with each other, with two numbers each."""

    cluster: str
    """What is resampled as a whole: the prompt."""

    scores: ArrayLike
    """(n,) finite numbers."""

    ratings: ArrayLike
    """(n,) finite numbers, of the same things."""


@dataclass(frozen=True)
class Correlations:
    """The three coefficients on the same sets, -1..1, with intervals resampled by cluster."""

    tau_b: Estimate
    spearman: Estimate
    pearson: Estimate

    def to_record(self) -> dict[str, object]:
        """The coefficients as plain values for JSON."""
        return asdict(self)


def correlations(sets: Sequence[RatedSet], *, seed: int = 0) -> Correlations:
    """Kendall's tau-b, Spearman's rho and Pearson's r between scores and ratings, within sets.

    Each is Sxy / sqrt(Sxx Syy) with sums over all sets, where x and y of a set are

    - tau-b: the signs of the differences of each two things;
    - Spearman: the ranks within the set (ties share the mean of theirs), less their mean;
    - Pearson: the numbers themselves, less their mean in the set.

    Larger sets weigh more, by the number of their pairs or the spread of their ranks or numbers. A set of which all
    scores or all ratings are equal tells nothing, yet its spread still counts against the coefficient.

    Args:
        sets: of any sizes.
        seed: of the intervals' resampling.

    Returns:
        n counts things. Of one cluster there is no interval.

    Raises:
        UnableToMeasure: the two numbers of a set have different lengths, or one is not finite.
    """
    pairs = [_checked(one) for one in sets]
    clusters = [one.cluster for one in sets]
    n = sum(len(scores) for scores, _ in pairs)

    def coefficient(name: str, products: Sequence[Floats]) -> Estimate:
        return _ratio(name, np.array(products).reshape(-1, 3), clusters, n, seed)

    return Correlations(
        tau_b=coefficient("Kendall's tau-b", [_products(_signs(x), _signs(y)) for x, y in pairs]),
        spearman=coefficient("Spearman's rho", [_products(_centred_ranks(x), _centred_ranks(y)) for x, y in pairs]),
        pearson=coefficient("Pearson's r", [_products(_centred(x), _centred(y)) for x, y in pairs]),
    )


def vote_shares(choices: Sequence[Choice], scores: Mapping[str, float]) -> list[RatedSet]:
    """Each judged set with the score of each image and its share of the votes.

    Args:
        choices: a tie gives each image an equal part of its vote; all-bad answers are left out.
        scores: by image; sets with an image that has none are left out.
    """
    shares: dict[tuple[str, tuple[str, ...]], Floats] = defaultdict(lambda: np.zeros(0))
    for choice in choices:
        _, images = choice.task
        if choice.outcome == "all_bad" or not all(image in scores for image in images):
            continue
        vote = np.full(len(images), 1 / len(images))
        if choice.is_decided:
            vote = np.array([float(image == choice.answer) for image in images])
        shares[choice.task] = shares[choice.task] + vote if choice.task in shares else vote
    return [
        RatedSet(prompt, [scores[image] for image in images], votes / votes.sum())
        for (prompt, images), votes in shares.items()
    ]


def generator_agreement(choices: Sequence[Choice], scores: Mapping[str, float], *, seed: int = 0) -> Estimate:
    """Kendall's tau-b between the ranking of generators by people and the one by a scorer, from the same sets.

    The scorer votes in place of each person for the image that it scores highest (a tie where several are), and both
    sets of votes are ranked by the model of `rankings.ranking`; so scores need not be comparable between prompts.

    Args:
        choices: with generators; all-bad answers are left out.
        scores: by image; choices with an image that has none are left out.
        seed: of the interval's resampling.

    Returns:
        -1..1, n counts generators; undefined with fewer than two. The interval resamples prompts, for people and scorer
        alike, and moves both fits by one Newton step each; see `interval_of_biased`. Of one prompt there is none, nor
        where hardly a resample ranks the generators otherwise.
    """
    name = "Kendall's tau-b of generator rankings"
    judged = [one for one in choices if _is_ranked(one) and all(image in scores for image in one.images)]
    names, _ = rankings.tabulate(judged)
    if len(names) < 2:
        reason = f"Ranking needs choices between at least two named generators, there are {len(names)}."
        return Estimate(name, None, None, None, 0, "generators", reason)
    # In the order of the rows of a table: by size of the set.
    judged.sort(key=lambda one: len(one.generators))
    prompts, places = np.unique([one.prompt for one in judged], return_inverse=True)
    people, scorer = (_worths(votes, places) for votes in (judged, [_vote(one, scores) for one in judged]))
    tau = tau_b(_rounded(scorer.worths), _rounded(people.worths))
    if tau.value is None:
        return Estimate(name, None, None, None, len(names), "generators", tau.reason)
    if len(prompts) == 1:
        reason = "All are of one prompt: no interval."
        return Estimate(name, tau.value, None, None, len(names), "generators", reason)
    steps = np.hstack([people.steps, scorer.steps])
    moved = np.concatenate(list(resampled_sums(steps, seed))) - steps.sum(axis=0)
    drawn = _rounded(np.hstack([people.worths, scorer.worths]) + moved).reshape(-1, 2, len(names))
    low, high = interval_of_biased(tau.value, _taus(drawn), lowest=-1, highest=1)
    if np.isclose(low, high):
        # So it is with certain rankings, but with two prompts as well.
        reason = "The same in 95 % of the resamples: no interval."
        return Estimate(name, tau.value, None, None, len(names), "generators", reason)
    return Estimate(name, tau.value, low, high, len(names), "generators")


def _is_ranked(choice: Choice) -> bool:
    """Whether `rankings.tabulate` makes a row of it."""
    return bool(choice.generators) and None not in choice.generators and choice.outcome != "all_bad"


@dataclass(frozen=True)
class _Worths:
    """What some votes say of generators, and how far each prompt's votes move it."""

    worths: Floats
    """(generators,) natural logarithms."""

    steps: Floats
    """(prompts, generators) that the log-worths go where a prompt counts once more."""


def _worths(votes: Sequence[Choice], places: NDArray[np.intp]) -> _Worths:
    """Fit votes in the order of the rows of their table; `places` tells the prompt of each."""
    names, tables = rankings.tabulate(votes)
    groups = [Counts(table.members, table.answers, np.ones(len(table.answers)), has_places=False) for table in tables]
    has_ties = any(vote.outcome == "tie" for vote in votes)
    model = choice_model.Model(len(names), has_ties, 0, rankings.PRIOR)
    values, curvature = choice_model.fit(model, groups)
    rows = np.arange(len(votes))
    of_prompt = sparse.coo_matrix((np.ones(len(votes)), (places, rows))).tocsr()
    gradients = (of_prompt @ choice_model.scores(model, groups, values)).toarray()
    steps = np.linalg.solve(curvature, gradients.T).T
    return _Worths(values[: len(names)], steps[:, : len(names)])


def _taus(drawn: Floats) -> Floats:
    """(at most R,) tau-b of each two rankings in (R, 2, n) numbers, where neither has all its numbers equal."""
    agreed, told = np.zeros(len(drawn)), np.zeros((len(drawn), 2))
    for place in range(drawn.shape[2] - 1):
        signs = np.sign(drawn[:, :, place, None] - drawn[:, :, place + 1 :])
        agreed += signs.prod(axis=1).sum(axis=1)
        told += np.abs(signs).sum(axis=2)
    is_defined = told.all(axis=1)
    taus: Floats = agreed[is_defined] / np.sqrt(told[is_defined].prod(axis=1))
    return taus


def _rounded(worths: Floats) -> Floats:
    """Worths that differ by the last digits of the fit are the same place."""
    return np.round(worths, 6)


def _vote(choice: Choice, scores: Mapping[str, float]) -> Choice:
    numbers = [scores[image] for image in choice.images]
    best = max(numbers)
    chosen = numbers.index(best) if numbers.count(best) == 1 else None
    return Choice(
        choice.prompt,
        choice.images,
        "tie" if chosen is None else "choice",
        chosen,
        "scorer",
        choice.split,
        choice.generators,
    )


def _checked(one: RatedSet) -> tuple[Floats, Floats]:
    scores, ratings = np.asarray(one.scores, dtype=float), np.asarray(one.ratings, dtype=float)
    if scores.shape != ratings.shape:
        raise UnableToMeasure(f"{one.cluster}: {scores.size} scores for {ratings.size} ratings.")
    if not (np.isfinite(scores).all() and np.isfinite(ratings).all()):
        raise UnableToMeasure(f"{one.cluster}: a score or a rating is not a finite number.")
    return scores, ratings


def _products(x: Floats, y: Floats) -> Floats:
    return np.array([x @ y, x @ x, y @ y])


def _signs(numbers: Floats) -> Floats:
    above, below = np.triu_indices(len(numbers), 1)
    return np.sign(numbers[above] - numbers[below])


def _centred(numbers: Floats) -> Floats:
    # Equal numbers have no spread; their mean may differ from them in the last digit.
    return numbers - numbers.mean() if np.ptp(numbers) else np.zeros_like(numbers)


def _centred_ranks(numbers: Floats) -> Floats:
    return _centred(stats.rankdata(numbers).astype(np.float64))


def _ratio(name: str, products: Floats, clusters: Sequence[str], n: int, seed: int) -> Estimate:
    _, places = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    sums = np.stack([np.bincount(places, weights=column) for column in products.T], axis=1).astype(np.float64)
    total = sums.sum(axis=0)
    if not (len(sums) and total[1] > 0 and total[2] > 0):
        return Estimate(name, None, None, None, n, "things", "All scores or all ratings of a set are equal.")
    value = float(total[0] / np.sqrt(total[1] * total[2]))
    if len(sums) == 1:
        return Estimate(name, value, None, None, n, "things", "All are of one prompt: no interval.")
    drawn = np.concatenate(list(resampled_sums(sums, seed)))
    spread = drawn[:, 1] * drawn[:, 2]
    low, high = correlation_interval(value, drawn[spread > 0, 0] / np.sqrt(spread[spread > 0]), len(sums))
    return Estimate(name, value, low, high, n, "things")
