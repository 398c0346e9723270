"""Where the ranking is least certain: the sets whose answers settle most of the order of the generators."""

import math

import numpy as np

from annotations.policies.standing import Floats, Standing
from scoring import rankings

# Precision of the prior on the log-worths, for the ranking by which sets are chosen: generators differ by about 1.
# With a much weaker one, a handful of lucky votes would send everybody after differences that are not there.
PRIOR = 1.0

# The gain is raised to this power: half the gain, 1/256 of the chance.
SHARPNESS = 8


def focused(standing: Standing) -> Floats:
    """How much one more answer on each matchup is expected to settle of the order of the generators.

    By the Plackett-Luce ranking of the answers so far, each two generators differ by d with standard error s, and
    the first is the better one with probability P = Phi(d / s). The doubt about the order is the sum of P (1 - P)
    over all pairs. An answer on a set narrows the covariance S of the log-worths by the set's Fisher information W,
    and moves P by phi(d / s) / s for each step of d, so that the expected fall of the doubt is, to first order,

        tr(W S M S) / (1 + tr(W S)),   M = sum over pairs of (phi(d / s) / s)^2 (e_i - e_j)(e_i - e_j)'.

    It is large for sets of neighbours whose order is open, and small for what is settled, and for what hardly anybody
    would answer otherwise than expected. Sets that people are looking at now count as answered.

    Returns:
        (matchups,), the gains relative to the largest, to the power of `SHARPNESS`; 0 where the generators are unknown.
    """
    weights = np.zeros(len(standing.matchups))
    known = standing.shown.any(axis=1)
    if not known.any():
        return weights
    log_worths, _covariance = rankings.fit_worths(standing.shown[known], standing.answers[known], PRIOR)
    shares = rankings.chances(log_worths, standing.shown[known])
    precision = rankings.information(shares, standing.asked[known]) + PRIOR * np.eye(len(log_worths))
    covariance = np.asarray(np.linalg.inv(precision), dtype=np.float64)
    narrowed = covariance @ _sensitivity(log_worths, covariance) @ covariance
    gains = _expected(shares, narrowed) / (1 + _expected(shares, covariance))
    if gains.max() > 0:
        weights[known] = (gains / gains.max()) ** SHARPNESS
    return weights


def _sensitivity(log_worths: Floats, covariance: Floats) -> Floats:
    """How the doubt about the order answers to steps of the log-worths: M above, (generators, generators)."""
    variances = np.diag(covariance)
    errors = np.sqrt(variances[:, None] + variances - 2 * covariance + np.eye(len(log_worths)))  # 1 on the diagonal
    slopes = np.exp(-(((log_worths[:, None] - log_worths) / errors) ** 2) / 2) / math.sqrt(2 * math.pi) / errors
    squares = slopes**2 * (1 - np.eye(len(log_worths)))
    return np.asarray(np.diag(squares.sum(axis=1)) - squares)


def _expected(shares: Floats, matrix: Floats) -> Floats:
    """tr(W matrix) for each set, (sets,), W being the Fisher information of one answer on it."""
    return np.asarray(shares @ np.diag(matrix) - ((shares @ matrix) * shares).sum(axis=1))
