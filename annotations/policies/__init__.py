"""Which sets are asked about first: each policy turns what a campaign knows into chances.

A *matchup* is a choice of generators, such as "3-7", and all sets that compare these generators. A policy is a
function that gives each matchup of a `Standing` a weight; `chances` makes probabilities of the weights, of which a
share is spread over all sets alike, whatever the policy. It knows neither Django nor the database.
"""

from collections.abc import Callable

import numpy as np

from annotations.policies.coverage import coverage
from annotations.policies.focused import focused
from annotations.policies.standing import Floats, Standing
from annotations.policies.uniform import uniform

__all__ = ["POLICIES", "Floats", "Policy", "Standing", "chances"]

Policy = Callable[[Standing], Floats]
"""Gives each matchup a weight of 0 or more, (matchups,); only their ratios matter."""

POLICIES: dict[str, Policy] = {"uniform": uniform, "focused": focused, "coverage": coverage}
"""By the names that campaigns use."""

# No matchup with work is out of reach, even where nothing is dealt at random.
LEAST_RANDOM_SHARE = 1e-3


def chances(standing: Standing, *, policy: Policy, random_share: float) -> Floats:
    """The probability with which each matchup is dealt next, (matchups,).

    They sum to 1, and are 0 for just those matchups that have nothing free. All 0 where nothing is free at all.

    Args:
        random_share: 0 to 1, the share that is dealt as `uniform` would.
    """
    has_work = standing.free > 0
    if not has_work.any():
        return np.zeros(len(standing.free))
    at_random = max(random_share, LEAST_RANDOM_SHARE)
    wanted = policy(standing) * has_work
    if not wanted.any():
        return _shares(uniform(standing))
    return at_random * _shares(uniform(standing)) + (1 - at_random) * _shares(wanted)


def _shares(weights: Floats) -> Floats:
    return np.asarray(weights / weights.sum())
