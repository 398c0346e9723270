"""The Plackett-Luce model of a first choice among 2 to 9, with ties and a leaning to a place on the screen: its fit.

Somebody shown candidates i = 1..n at places p(i) chooses i with a probability proportional to exp(worth_i + lean_p(i)),
or sees no winner with one proportional to exp(tie + mean of those). Between two that is Bradley-Terry with Davidson's
ties; without ties and leanings, Luce's choice axiom. A normal prior on all parameters keeps them finite.

Sources: Maystre & Grossglauser, Fast and accurate inference of Plackett-Luce models (2015); Davidson, On extending the
Bradley-Terry model to accommodate ties (1970).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]

# Rows worked on at once: what they take stays within the processor's cache and far below 100 MB.
CHUNK = 20_000

MOST_STEPS = 200

# Nats. Newton's steps shrink quadratically: after one that would gain so little there is none worth the work.
SMALLEST_GAIN = 1e-8

SAMPLE = 50_000


@dataclass(frozen=True)
class Counts:
    """Equal answers to equal sets of one size, collapsed."""

    members: NDArray[np.int32]
    """(R, n) who was shown; in the order shown where places count."""

    answers: NDArray[np.int32]
    """(R,) which of them was chosen, 0..n-1, or n for no winner."""

    counts: Floats
    """(R,) how often."""


@dataclass(frozen=True)
class Model:
    """Which parameters there are: a log-worth each, then the tie's, then a leaning for each place."""

    worths: int
    """How many are ranked."""

    has_ties: bool
    """Whether anybody saw no winner."""

    places: int
    """How many places have a leaning; 0: they don't count."""

    prior: float
    """Precision of the normal prior on every parameter."""

    @property
    def size(self) -> int:
        return self.worths + self.has_ties + self.places

    def design(self, n: int) -> Floats:
        """(answers, local parameters) of a set of n: each row times the local parameters is an answer's utility."""
        own = np.eye(n) if not self.places else np.hstack([np.eye(n), np.eye(n)])
        if not self.has_ties:
            return own
        # The tie's parameter stands behind the members' and before the places'.
        with_tie = np.vstack([own, own.mean(axis=0)])
        return np.insert(with_tie, n, np.append(np.zeros(n), 1.0), axis=1)

    def parameters(self, members: NDArray[np.int32]) -> NDArray[np.int32]:
        """(R, local parameters) index of each local parameter among all."""
        n = members.shape[1]
        others = list(range(self.worths, self.worths + self.has_ties))
        if self.places:
            others += range(self.worths + self.has_ties, self.worths + self.has_ties + n)
        fixed = np.broadcast_to(np.array(others, dtype=np.int32), (len(members), len(others)))
        return np.hstack([members, fixed]).astype(np.int32)


def fit(model: Model, groups: Sequence[Counts], start: Floats | None = None) -> tuple[Floats, Floats]:
    """The likeliest parameters, (size,), and the curvature there, (size, size): Newton's method with halved steps.

    Many rows are first fitted on a part of them, whose estimate is next to that of all.
    """
    values = np.zeros(model.size) if start is None else start
    rows = sum(len(group.counts) for group in groups)
    if start is None and rows > 2 * SAMPLE:
        some = slice(None, None, rows // SAMPLE)
        part = [Counts(group.members[some], group.answers[some], group.counts[some]) for group in groups]
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
    size = model.size
    loss = model.prior / 2 * float(values @ values)
    gradient = model.prior * values
    curvature = model.prior * np.eye(size)
    for group, design, places in _pieces(model, groups):
        logs, shares, expected = _shares(design, values[places])
        loss -= float(group.counts @ logs[np.arange(len(places)), group.answers])
        gradient += _scattered(places, group.counts[:, None] * (expected - design[group.answers]), size)
        # The covariance of the answers' rows of the design: mean of the squares less the square of the mean.
        curvature -= _squares(places, expected * np.sqrt(group.counts)[:, None], size)
        for answer, row in enumerate(design):
            used = np.flatnonzero(row)
            amounts = np.sqrt(shares[:, answer] * group.counts)[:, None] * row[used]
            curvature += _squares(places[:, used], amounts, size)
    return loss, gradient, curvature


def scores(model: Model, groups: Sequence[Counts], values: Floats) -> sparse.csr_matrix:
    """(R, size) what one answer of each row adds to the gradient of the log-likelihood, rows of all groups in order."""
    blocks = []
    for group, design, places in _pieces(model, groups):
        _, _, expected = _shares(design, values[places])
        pointers = np.arange(len(places) + 1) * places.shape[1]
        data = (design[group.answers] - expected).astype(np.float32).ravel()
        blocks.append(sparse.csr_matrix((data, places.ravel(), pointers), shape=(len(places), model.size)))
    return sparse.vstack(blocks, format="csr")


def _pieces(model: Model, groups: Sequence[Counts]) -> Iterator[tuple[Counts, Floats, NDArray[np.int32]]]:
    for group in groups:
        design = model.design(group.members.shape[1])
        for start in range(0, len(group.counts), CHUNK):
            some = slice(start, start + CHUNK)
            piece = Counts(group.members[some], group.answers[some], group.counts[some])
            yield piece, design, model.parameters(piece.members)


def _shares(design: Floats, local: Floats) -> tuple[Floats, Floats, Floats]:
    """Of each answer in each set the log-probability and the probability, and the expected row of the design."""
    utilities = local @ design.T
    logs = utilities - utilities.max(axis=1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
    shares = np.exp(logs)
    return logs, shares, shares @ design


def _scattered(places: NDArray[np.int32], amounts: Floats, size: int) -> Floats:
    return np.bincount(places.ravel(), weights=amounts.ravel(), minlength=size).astype(np.float64)


def _squares(places: NDArray[np.int32], amounts: Floats, size: int) -> Floats:
    """(size, size) sum of the outer products of sparse rows with themselves."""
    if places.shape[1] == 1:
        return np.diag(_scattered(places, amounts**2, size))
    pointers = np.arange(len(places) + 1) * places.shape[1]
    rows = sparse.csr_matrix((amounts.ravel(), places.ravel(), pointers), shape=(len(places), size))
    squares: Floats = (rows.T @ rows).toarray()
    return squares
