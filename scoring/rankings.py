"""Which generator people choose: Plackett-Luce worths from choices among 2 to 9 images, with intervals and bands."""

import zlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, repeat

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats
from scipy.sparse import csgraph

from scoring import choice_model
from scoring.choice_model import Counts, Floats, Model
from scoring.preferences import Choice

# Precision of the normal prior on the log-worths, mean 0. Too weak to move a generator with a handful of choices
# by more than a hundredth, strong enough that one never chosen gets a finite place.
PRIOR = 1e-3

RESAMPLES = 1000

# At most so many blocks of votes are resampled: what the draws take stays small however many prompts there are.
BLOCKS = 2000

LARGEST_NUMBER = 2**63 - 1

_UPPER_TAIL = 0.975


class UnableToRank(ValueError):
    """There is nothing to rank; the message says why."""


@dataclass(frozen=True)
class RankedGenerator:
    """One generator's place among those people chose between."""

    generator: str
    """Its name."""

    chosen: int
    """How often one of its images was chosen."""

    shown: int
    """In how many judgements one of its images was shown, ties included."""

    log_worth: float
    """Natural logarithm of its worth, the mean over all generators being 0: between two, the odds are exp(a - b)."""

    low: float
    """Lower end of the 95 % interval of the log-worth."""

    high: float
    """Upper end of it."""

    def to_record(self) -> dict[str, object]:
        """The place as plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Ranking:
    """All places, and what should be known before they are read."""

    places: list[RankedGenerator]
    """Best first."""

    bands: dict[str, tuple[int, int]]
    """Best and worst rank that each generator's interval allows, 1 being the best: those whose intervals lie wholly
    above are ahead, those whose intervals lie wholly below are behind."""

    components: list[list[str]]
    """Groups of generators that were compared with each other, directly or by way of others, largest first; between two
    groups nothing is known, and their places in one list mean nothing."""

    tie: float | None
    """Log-odds of no winner against a choice of either of two equals; None where nobody saw no winner."""

    leanings: tuple[float, ...]
    """By place on the screen, how much it adds to the log-worth of what stands there, their mean being 0; empty where
    nobody's places are known."""

    def band(self, generator: str) -> str:
        """The ranks that a generator's interval allows as a text, such as `2` or `2-4`."""
        return "-".join(str(rank) for rank in dict.fromkeys(self.bands[generator]))


@dataclass(frozen=True)
class Votes:
    """Judgements on sets of one size as arrays."""

    members: NDArray[np.int32]
    """(V, n) index of the generator of each image."""

    answers: NDArray[np.int32]
    """(V,) which image was chosen, 0..n-1, or n for no winner."""

    prompts: NDArray[np.uint32] | None = None
    """(V,) a number for each one's prompt: votes of one prompt resemble each other, and are resampled together. None
    where every vote has a prompt of its own."""

    has_places: bool = False
    """Whether `members` are in the order in which they stood on the screen."""


def ranking(
    choices: Iterable[Choice], *, placed: Iterable[Choice] = (), prior: float = PRIOR, seed: int = 0
) -> Ranking:
    """Rank generators by a Plackett-Luce model of first choices; of two images each, that is Bradley-Terry.

    All-bad answers say nothing of who is better and are left out, as are choices that don't name all generators. A tie
    is an answer of its own (Davidson's), so that many ties don't draw the worths together.

    Args:
        choices: of 2 to 9 images, in an order that says nothing; read once, and not kept.
        placed: further ones, whose `images` are in the order in which they stood on the screen: a leaning to a place is
            estimated from them beside the worths and taken out of these.
        prior: precision of a normal prior on each log-worth, above 0; see `PRIOR`.
        seed: of the resampling.

    Raises:
        UnableToRank: no choice names its generators, fewer than two are named, or the prior is not above 0.
    """
    names, votes = tabulate(choices, placed)
    return rank_votes(names, votes, prior=prior, seed=seed)


def tabulate(choices: Iterable[Choice], placed: Iterable[Choice] = ()) -> tuple[list[str], list[Votes]]:
    """Names of the generators, sorted, and the judgements by size of the set and whether their places are known.

    See `ranking` for what is left out.
    """
    seen: dict[str, int] = {}
    members: dict[tuple[int, bool], list[int]] = {}
    answers: dict[tuple[int, bool], list[int]] = {}
    prompts: dict[tuple[int, bool], array[int]] = {}
    for choice, has_places in chain(zip(choices, repeat(False)), zip(placed, repeat(True))):
        generators = choice.generators
        if not generators or choice.outcome == "all_bad" or None in generators:
            continue
        n = len(generators)
        kind = n, has_places
        members.setdefault(kind, []).extend([seen.setdefault(str(name), len(seen)) for name in generators])
        answers.setdefault(kind, []).append(n if choice.chosen is None else choice.chosen)
        prompts.setdefault(kind, array("I")).append(zlib.crc32(choice.prompt.encode()))
    names = sorted(seen)
    sorted_place = np.empty(len(names), dtype=np.int32)
    sorted_place[[seen[name] for name in names]] = np.arange(len(names))
    return names, [
        Votes(
            sorted_place[np.array(members.pop((n, has_places)), dtype=np.int32)].reshape(-1, n),
            np.array(answers.pop((n, has_places)), dtype=np.int32),
            np.array(prompts.pop((n, has_places)), dtype=np.uint32),
            has_places,
        )
        for n, has_places in sorted(members)
    ]


def rank_votes(
    names: Sequence[str],
    votes: Sequence[Votes],
    *,
    prior: float = PRIOR,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Ranking:
    """As `ranking`, for judgements that are arrays already: a million of them in seconds.

    The interval of each log-worth is the widest of three, at each end: the middle 95 % of fits to resamples of whole
    prompts, drawn with replacement; what the variance between prompts says (the sandwich covariance, with Student's t
    for few of them); and what the curvature of the likelihood says. Where a generator always or never won, every prompt
    says so too, and only the curvature knows how little that means. Of a single prompt, too, there is the curvature
    alone, and the interval is about that prompt.

    Raises:
        UnableToRank: fewer than two generators, or the prior is not above 0.
    """
    if prior <= 0:
        raise UnableToRank(f"The prior's precision must be above 0, not {prior}.")
    if len(names) < 2:
        raise UnableToRank(f"Ranking needs choices between at least two named generators, there are {len(names)}.")
    groups, rows = zip(*map(_collapsed, votes), strict=True)
    widest = max((group.size for group in groups if group.has_places), default=0)
    has_ties = any((group.answers == group.size).any() for group in groups)
    model = Model(len(names), has_ties, widest, prior)
    values, curvature = choice_model.fit(model, groups)
    rng = np.random.default_rng(seed)
    gradients = _of_blocks(model, groups, rows, _blocks(votes, rng), values)
    centre = np.eye(len(names), model.size)
    centre[:, : len(names)] -= 1 / len(names)
    worths = centre @ values
    inverse = centre @ np.linalg.inv(curvature)
    low, high = _intervals(
        worths,
        _half_widths(inverse @ centre.T, inverse @ gradients.T),
        worths + _drawn(gradients, model.prior * values, rng, resamples) @ inverse.T,
    )
    chosen, shown = _tallies(groups, len(names))
    leanings = values[len(names) + has_ties :]
    order = sorted(range(len(names)), key=lambda place: (-worths[place], names[place]))
    return Ranking(
        places=[
            RankedGenerator(
                generator=names[place],
                chosen=int(chosen[place]),
                shown=int(shown[place]),
                log_worth=float(worths[place]),
                low=float(low[place]),
                high=float(high[place]),
            )
            for place in order
        ],
        bands={
            names[place]: (1 + int((low > high[place]).sum()), len(names) - int((high < low[place]).sum()))
            for place in order
        },
        components=_components(groups, names),
        tie=float(values[len(names)]) if has_ties else None,
        leanings=tuple((leanings - leanings.mean()).tolist()) if widest else (),
    )


def _collapsed(votes: Votes) -> tuple[Counts, NDArray[np.int32]]:
    """Equal answers to equal sets, counted, each being named by a number; and for each vote which of them it is.

    Of so many generators in sets so large that there are not numbers enough, equal ones are rare, and are left alone.
    """
    members, answers = votes.members, votes.answers
    n = members.shape[1]
    if not votes.has_places:
        chosen = np.take_along_axis(members, answers.clip(max=n - 1)[:, None], axis=1)
        members = np.sort(members, axis=1)
        answers = np.where(answers < n, (members == chosen).argmax(axis=1), n).astype(np.int32)
    generators = int(members.max(initial=0)) + 1
    if generators**n * (n + 1) > LARGEST_NUMBER:
        uncounted = Counts(members, answers, np.ones(len(answers)), votes.has_places)
        return uncounted, np.arange(len(answers), dtype=np.int32)
    numbers = answers.astype(np.int64)
    for column in members.T:
        numbers = numbers * generators + column
    _, first, row_of_vote, counts = np.unique(numbers, return_index=True, return_inverse=True, return_counts=True)
    counted = Counts(members[first], answers[first], counts.astype(np.float64), votes.has_places)
    return counted, row_of_vote.astype(np.int32)


def _blocks(votes: Sequence[Votes], rng: np.random.Generator) -> NDArray[np.int32]:
    """(V,) the block of each vote: one for each prompt, or `BLOCKS` into which the prompts fall by chance.

    Sums over blocks into which independent prompts fall vary as the prompts do.
    """
    prompts, taken = [], 0
    for of_size in votes:
        if of_size.prompts is None:
            prompts.append(2**32 + taken + np.arange(len(of_size.answers)))
            taken += len(of_size.answers)
        else:
            prompts.append(of_size.prompts.astype(np.int64))
    names, prompt_of_vote = np.unique(np.concatenate(prompts), return_inverse=True)
    if len(names) <= BLOCKS:
        return prompt_of_vote.astype(np.int32)
    return rng.integers(0, BLOCKS, len(names), dtype=np.int32)[prompt_of_vote]


def _of_blocks(
    model: Model,
    groups: Sequence[Counts],
    rows: Sequence[NDArray[np.int32]],
    block_of_vote: NDArray[np.int32],
    values: Floats,
) -> Floats:
    """(blocks, parameters) what the votes of each block add to the gradient of the log-likelihood."""
    starts = np.cumsum([0, *(len(group.counts) for group in groups)])
    row_of_vote = np.concatenate([start + of_group for start, of_group in zip(starts, rows, strict=False)])
    ones = np.ones(len(row_of_vote), dtype=np.float32)
    in_block = sparse.coo_matrix((ones, (block_of_vote, row_of_vote)), shape=(block_of_vote.max() + 1, starts[-1]))
    gradients: Floats = (in_block.tocsr() @ choice_model.scores(model, groups, values)).toarray().astype(np.float64)
    return gradients


def _drawn(gradients: Floats, of_prior: Floats, rng: np.random.Generator, resamples: int) -> Floats:
    """(resamples, parameters) the gradient, at the estimate, of as many blocks drawn with replacement.

    One Newton step along it is the score bootstrap of Kline & Santos (2012): as good as a fit of its own to the order
    of the square of the interval.
    """
    blocks = len(gradients)
    drawn: Floats = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=resamples) @ gradients - of_prior
    return drawn


def _half_widths(covariance: Floats, of_blocks: Floats) -> Floats:
    """Half of the 95 % interval of each log-worth: by the curvature, or by how much (worths, blocks) each block moves.

    With few blocks their variance is uncertain itself, hence the factor and Student's t.
    """
    by_curvature: Floats = stats.norm.ppf(_UPPER_TAIL) * np.sqrt(np.diag(covariance))
    blocks = of_blocks.shape[1]
    if blocks == 1:
        return by_curvature
    sandwich = np.sqrt(blocks / (blocks - 1) * (of_blocks**2).sum(axis=1))
    wider: Floats = np.maximum(by_curvature, stats.t.ppf(_UPPER_TAIL, blocks - 1) * sandwich)
    return wider


def _intervals(worths: Floats, halves: Floats, fits: Floats) -> tuple[Floats, Floats]:
    """The wider of two 95 % intervals at each end: that of the resampled fits and that of the half-widths."""
    if not len(fits):
        return worths - halves, worths + halves
    low, high = np.quantile(fits, [1 - _UPPER_TAIL, _UPPER_TAIL], axis=0)
    return np.minimum(low, worths - halves), np.maximum(high, worths + halves)


def _tallies(groups: Sequence[Counts], size: int) -> tuple[Floats, Floats]:
    """How often each was chosen, and in how many judgements each was shown, once however many of its images were."""
    chosen, shown = np.zeros(size), np.zeros(size)
    for group in groups:
        n = group.size
        decided = group.answers < n
        winners = np.take_along_axis(group.members, group.answers.clip(max=n - 1)[:, None], axis=1)[:, 0]
        chosen += np.bincount(winners[decided], weights=group.counts[decided], minlength=size)
        sorted_members = np.sort(group.members, axis=1)
        for column in range(n):
            is_first = column == 0 or sorted_members[:, column] != sorted_members[:, column - 1]
            shown += np.bincount(sorted_members[:, column], weights=group.counts * is_first, minlength=size)
    return chosen, shown


def _components(groups: Sequence[Counts], names: Sequence[str]) -> list[list[str]]:
    """Who was compared with whom, directly or not; largest first."""
    one = np.concatenate([np.repeat(group.members[:, 0], group.size - 1) for group in groups])
    two = np.concatenate([group.members[:, 1:].ravel() for group in groups])
    graph = sparse.coo_matrix((np.ones(len(one)), (one, two)), shape=(len(names), len(names)))
    count, labels = csgraph.connected_components(graph, directed=False)
    found = [[name for name, label in zip(names, labels, strict=True) if label == wanted] for wanted in range(count)]
    return sorted(found, key=lambda component: (-len(component), component))
