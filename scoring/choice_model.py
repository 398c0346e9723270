"""The Plackett-Luce model of a first choice among 2 to 9, with ties and a leaning to a place on the screen: its fit.

Somebody shown candidates i = 1..n at places p(i) chooses i with a probability proportional to exp(worth_i + lean_p(i)),
or sees no winner with one proportional to exp(tie + mean of those). Between two that is Bradley-Terry with Davidson's
ties; without ties and leanings, Luce's choice axiom. A normal prior on all parameters keeps them finite.

Sources: Maystre & Grossglauser, Fast and accurate inference of Plackett-Luce models (2015); Davidson, On extending the
Bradley-Terry model to accommodate ties (1970).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]

# Rows worked on at once: what they take stays near the processor's cache.
CHUNK = 5_000

MOST_STEPS = 200

# Nats. Newton's steps shrink quadratically: after one that would gain so little there is none worth the work.
SMALLEST_GAIN = 1e-8

SAMPLE = 50_000


@dataclass(frozen=True)
class Counts:
    """Equal answers to equal sets of one size, collapsed."""

    members: NDArray[np.int32]
    """(R, n) who was shown; in the order shown where that is known."""

    answers: NDArray[np.int32]
    """(R,) which of them was chosen, 0..n-1, or n for no winner."""

    counts: Floats
    """(R,) how often."""

    has_places: bool
    """Whether the order of the members is that on the screen, so that a leaning to their places counts."""

    @property
    def size(self) -> int:
        """How many are in a set."""
        return int(self.members.shape[1])

    def at(self, some: slice) -> Self:
        """Some of the rows."""
        return replace(self, members=self.members[some], answers=self.answers[some], counts=self.counts[some])


@dataclass(frozen=True)
class Model:
    """Which parameters there are: a log-worth each, then the tie's, then a leaning for each place."""

    worths: int
    """How many are ranked."""

    has_ties: bool
    """Whether anybody saw no winner."""

    places: int
    """How many places have a leaning; 0: the order is known of no set."""

    prior: float
    """Precision of the normal prior on every parameter."""

    @property
    def size(self) -> int:
        return self.worths + self.has_ties + self.places

    def tie(self) -> slice:
        """Where the tie's parameter stands; empty without ties."""
        return slice(self.worths, self.worths + self.has_ties)

    def leanings(self, counts: Counts) -> slice:
        """Where the leanings to the places of these sets stand; empty where their order is not known."""
        start = self.worths + self.has_ties
        return slice(start, start + counts.size if counts.has_places else start)

    def parameters(self, counts: Counts) -> NDArray[np.int32]:
        """(R, n + ties + leanings) where the parameters of each set stand: its members', the tie's, its places'."""
        everywhere = np.arange(self.size, dtype=np.int32)
        others = np.concatenate([everywhere[self.tie()], everywhere[self.leanings(counts)]])
        return np.hstack([counts.members, np.broadcast_to(others, (len(counts.members), len(others)))])


def fit(model: Model, groups: Sequence[Counts], start: Floats | None = None) -> tuple[Floats, Floats]:
    """The likeliest parameters, (size,), and the curvature there, (size, size): Newton's method with halved steps.

    Many rows are first fitted on a part of them, whose estimate is next to that of all.
    """
    values = np.zeros(model.size) if start is None else start
    rows = sum(len(group.counts) for group in groups)
    if start is None and rows > 2 * SAMPLE:
        some = slice(None, None, rows // SAMPLE)
        part = [group.at(some) for group in groups]
        values, _ = fit(model, part, values)
    loss, gradient, curvature = likelihood(model, groups, values)
    for _ in range(MOST_STEPS):
        step = np.linalg.solve(curvature, gradient)
        if gradient @ step < SMALLEST_GAIN:
            return values - step, curvature
        share = 1.0
        tried = likelihood(model, groups, values - step)
        while tried[0] > loss and share > 1e-6:
            share /= 2
            tried = likelihood(model, groups, values - share * step)
        values = values - share * step
        loss, gradient, curvature = tried
    return values, curvature


def likelihood(model: Model, groups: Sequence[Counts], values: Floats) -> tuple[float, Floats, Floats]:
    """Negative log-likelihood with the prior, its gradient and its curvature."""
    loss = model.prior / 2 * float(values @ values)
    gradient = model.prior * values
    curvature = model.prior * np.eye(model.size)
    for piece in _pieces(groups):
        said = _Expectation.of(model, piece, values)
        loss -= float(piece.counts @ said.log_likelihoods)
        _add_gradient(model, piece, said, gradient)
        _add_curvature(model, piece, said, curvature)
    return loss, gradient, curvature


def scores(model: Model, groups: Sequence[Counts], values: Floats) -> sparse.csr_matrix:
    """(R, size) what one answer of each row adds to the gradient of the log-likelihood, rows of all groups in order."""
    blocks = []
    for piece in _pieces(groups):
        said = _Expectation.of(model, piece, values)
        parts = [said.surprise] + [said.tie_surprise[:, None]] * model.has_ties + [said.surprise] * piece.has_places
        data, places = np.hstack(parts), model.parameters(piece)
        pointers = np.arange(len(places) + 1) * places.shape[1]
        shape = (len(places), model.size)
        blocks.append(sparse.csr_matrix((data.astype(np.float32).ravel(), places.ravel(), pointers), shape=shape))
    return sparse.vstack(blocks, format="csr")


def _pieces(groups: Sequence[Counts]) -> Iterator[Counts]:
    for group in groups:
        for start in range(0, len(group.counts), CHUNK):
            yield group.at(slice(start, start + CHUNK))


@dataclass(frozen=True)
class _Expectation:
    """What the model expects of each set of a piece, and how far the answers are from it.

    A choice gives one member the credit of 1, no winner gives each of n members 1 / n: the derivative of an answer's
    utility by the members' worths, and by the leanings to their places.
    """

    log_likelihoods: Floats
    """(R,) of the answers given."""
    shares: Floats
    """(R, n) probability that a member is chosen."""
    tie_share: Floats
    """(R,) probability of no winner; 0 in a model without."""
    credit: Floats
    """(R, n) expected credit of the members."""
    surprise: Floats
    """(R, n) credit by the answer less the expected one."""
    tie_surprise: Floats
    """(R,) 1 where nobody won, else 0, less the probability of it."""

    @classmethod
    def of(cls, model: Model, piece: Counts, values: Floats) -> Self:
        rows, n = np.arange(len(piece.answers)), piece.size
        utilities = values[piece.members]
        if piece.has_places:
            utilities += values[model.leanings(piece)]
        if model.has_ties:
            utilities = np.hstack([utilities, utilities.mean(axis=1, keepdims=True) + values[model.tie()]])
        logs = utilities - utilities.max(axis=1, keepdims=True)
        logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
        chances = np.exp(logs)
        is_tie = piece.answers == n
        tie_share = chances[:, n] if model.has_ties else np.zeros(len(rows))
        shares = chances[:, :n]
        credit = shares + tie_share[:, None] / n
        surprise = np.where(is_tie[:, None], 1 / n, np.arange(n) == piece.answers[:, None]) - credit
        return cls(logs[rows, piece.answers], shares, tie_share, credit, surprise, is_tie - tie_share)


def _add_gradient(model: Model, piece: Counts, said: _Expectation, gradient: Floats) -> None:
    amounts = piece.counts[:, None] * said.surprise
    gradient[: model.worths] -= np.bincount(piece.members.ravel(), amounts.ravel(), model.worths)
    gradient[model.tie()] -= piece.counts @ said.tie_surprise
    if piece.has_places:
        gradient[model.leanings(piece)] -= amounts.sum(axis=0)


def _add_curvature(model: Model, piece: Counts, said: _Expectation, curvature: Floats) -> None:
    """The covariance of the credits that the answers give, summed over the rows where their parameters stand."""
    members, n = piece.members.astype(np.int64), piece.size
    # Mean of the products, less the product of the means: a choice credits one member alone, no winner all of them.
    products = said.tie_share[:, None, None] / n**2 - said.credit[:, :, None] * said.credit[:, None, :]
    products[:, range(n), range(n)] += said.shares
    products *= piece.counts[:, None, None]
    pairs = members[:, :, None] * model.size + members[:, None, :]
    np.add.at(curvature.reshape(-1), pairs.ravel(), products.ravel())
    beside_tie = (piece.counts * said.tie_share)[:, None] * (1 / n - said.credit)
    tie, leanings = model.tie(), model.leanings(piece)
    if model.has_ties:
        by_worth = np.bincount(members.ravel(), beside_tie.ravel(), model.worths)[:, None]
        curvature[: model.worths, tie] += by_worth
        curvature[tie, : model.worths] += by_worth.T
        curvature[tie, tie] += piece.counts @ (said.tie_share * (1 - said.tie_share))
    if piece.has_places:
        by_place = [np.bincount(members.ravel(), products[:, :, place].ravel(), model.worths) for place in range(n)]
        curvature[: model.worths, leanings] += np.transpose(by_place)
        curvature[leanings, : model.worths] += by_place
        curvature[leanings, leanings] += products.sum(axis=0)
        curvature[leanings, tie] += beside_tie.sum(axis=0)[:, None]
        curvature[tie, leanings] += beside_tie.sum(axis=0)
