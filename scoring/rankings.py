"""Which generator people choose: Plackett-Luce worths from choices among 2 to 9 images."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from scoring.preferences import Choice

# Precision of the normal prior on the log-worths, mean 0. Too weak to move a generator with a handful of choices
# by more than a hundredth, strong enough that one never chosen gets a finite place.
PRIOR = 1e-3

_Z95 = 1.959963984540054


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


def rank(choices: Sequence[Choice], *, prior: float = PRIOR) -> list[RankedGenerator]:
    """Rank generators by a Plackett-Luce model of first choices; of two images each, that is Bradley-Terry.

    A person chooses image i of a set with probability worth_i over the sum of the set's worths. A tie counts as a
    choice of every image shown, 1/n each; all-bad answers say nothing and are left out, as are choices that don't name
    all generators.

    Args:
        choices: of 2 to 9 images.
        prior: precision of a normal prior on each log-worth, above 0; see `PRIOR`.

    Returns:
        Best first. The intervals come from the curvature of the likelihood (Fisher information) and take the votes as
        independent; generators that were never compared, not even by way of others, get very wide ones.

    Raises:
        UnableToRank: no choice names its generators, fewer than two are named, or the prior is not above 0.

    Source: Maystre & Grossglauser, Fast and accurate inference of Plackett-Luce models (2015); checked against choix.
    """
    if prior <= 0:
        raise UnableToRank(f"The prior's precision must be above 0, not {prior}.")
    judged = [c for c in choices if c.generators and None not in c.generators and c.outcome != "all_bad"]
    names = sorted({name for choice in judged for name in choice.generators if name is not None})
    if len(names) < 2:
        raise UnableToRank(f"Ranking needs choices between at least two named generators, there are {len(names)}.")
    place = {name: number for number, name in enumerate(names)}
    shown, weights = _observations(judged, place)
    log_worths, covariance = fit_worths(shown, weights, prior)
    errors = np.sqrt(np.diag(covariance))
    times_chosen = Counter(choice.generators[choice.chosen] for choice in judged if choice.chosen is not None)
    times_shown = Counter(name for choice in judged for name in set(choice.generators))
    ranked = [
        RankedGenerator(
            generator=name,
            chosen=times_chosen[name],
            shown=times_shown[name],
            log_worth=float(log_worths[number]),
            low=float(log_worths[number] - _Z95 * errors[number]),
            high=float(log_worths[number] + _Z95 * errors[number]),
        )
        for name, number in place.items()
    ]
    return sorted(ranked, key=lambda generator: (-generator.log_worth, generator.generator))


def _observations(choices: Sequence[Choice], place: dict[str, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distinct sets as counts of each generator's images, (sets, generators), and the votes each got, alike."""
    votes: dict[tuple[int, ...], NDArray[np.float64]] = {}
    for choice in choices:
        members = [place[name] for name in choice.generators if name is not None]
        of_set = votes.setdefault(tuple(sorted(members)), np.zeros(len(place)))
        if choice.chosen is None:
            np.add.at(of_set, members, 1 / len(members))
        else:
            of_set[members[choice.chosen]] += 1
    shown = np.array([np.bincount(members, minlength=len(place)) for members in votes], dtype=np.float64)
    return shown, np.array(list(votes.values()))


def fit_worths(
    shown: NDArray[np.float64], votes: NDArray[np.float64], prior: float = PRIOR
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centred log-worths that make the votes likeliest, and their covariance, by Newton's method with halved steps.

    Args:
        shown: (sets, generators), how many images of each generator each distinct set holds.
        votes: (sets, generators), how often an image of each generator was chosen in each set; a tie is a vote in
            parts that sum to 1.
        prior: as in `rank`.

    Returns:
        (generators,) natural logarithms of the worths with mean 0, and (generators, generators) their covariance.
    """
    log_worths = np.zeros(shown.shape[1])
    loss, gradient, curvature = _likelihood(log_worths, shown, votes, prior)
    for _ in range(200):
        step = np.linalg.solve(curvature, gradient)
        if np.abs(step).max() < 1e-9:
            break
        size, rounding = 1.0, 1e-12 * abs(loss)
        while size > 1e-9 and _likelihood(log_worths - size * step, shown, votes, prior)[0] > loss + rounding:
            size /= 2
        log_worths = log_worths - size * step
        loss, gradient, curvature = _likelihood(log_worths, shown, votes, prior)
    centre = np.eye(len(log_worths)) - 1 / len(log_worths)
    return centre @ log_worths, centre @ np.linalg.inv(curvature) @ centre


def chances(log_worths: NDArray[np.float64], shown: NDArray[np.float64]) -> NDArray[np.float64]:
    """How likely an image of each generator is chosen in each set, (sets, generators); every row sums to 1."""
    top = _best_shown(log_worths, shown)
    worths = shown * np.exp(np.minimum(log_worths - top, 0))
    return np.asarray(worths / worths.sum(axis=1, keepdims=True))


def information(shares: NDArray[np.float64], votes: NDArray[np.float64]) -> NDArray[np.float64]:
    """What votes tell of the log-worths (Fisher information), (generators, generators).

    Args:
        shares: (sets, generators), from `chances`.
        votes: (sets,), how many each set got.
    """
    return np.asarray(np.diag(votes @ shares) - (shares * votes[:, None]).T @ shares)


def _likelihood(
    log_worths: NDArray[np.float64], shown: NDArray[np.float64], votes: NDArray[np.float64], prior: float
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Negative log-likelihood with the prior, its gradient and its curvature."""
    top = _best_shown(log_worths, shown)
    log_totals = np.log((shown * np.exp(np.minimum(log_worths - top, 0))).sum(axis=1)) + top[:, 0]
    shares = chances(log_worths, shown)
    of_set = votes.sum(axis=1)
    loss = of_set @ log_totals - (votes @ log_worths).sum() + prior / 2 * log_worths @ log_worths
    gradient = of_set @ shares - votes.sum(axis=0) + prior * log_worths
    return float(loss), gradient, information(shares, of_set) + prior * np.eye(len(log_worths))


def _best_shown(log_worths: NDArray[np.float64], shown: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest log-worth in each set, (sets, 1)."""
    return np.asarray(np.where(shown > 0, log_worths, -np.inf).max(axis=1, keepdims=True))
