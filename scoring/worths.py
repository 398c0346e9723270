"""Worths of generators from counts by set, in a few milliseconds: what the next question needs to know.

`rankings` is for reports: it models ties and places and resamples whole prompts. Here a tie is a vote in parts, and the
answer is needed while somebody waits for a claim.
"""

import numpy as np
from numpy.typing import NDArray

# Precision of the normal prior on the log-worths, mean 0. Too weak to move a generator with a handful of choices
# by more than a hundredth, strong enough that one never chosen gets a finite place.
PRIOR = 1e-3


def fit_worths(
    shown: NDArray[np.float64], votes: NDArray[np.float64], prior: float = PRIOR
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centred log-worths that make the votes likeliest, and their covariance, by Newton's method with halved steps.

    Args:
        shown: (sets, generators), how many images of each generator each distinct set holds.
        votes: (sets, generators), how often an image of each generator was chosen in each set; a tie is a vote in
            parts that sum to 1.
        prior: precision of a normal prior on each log-worth, above 0; see `PRIOR`.

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
