"""Lets a campaign's policy draw the matchups to ask about, by chances that are worked out now and then."""

import time
from dataclasses import dataclass

import numpy as np
from django.core.cache import cache

from annotations.models import Campaign
from annotations.policies import POLICIES, Floats, chances
from annotations.queries.standings import standing_of

# Chances are worked out anew when they are as old as this many times what that took: a campaign with few votes has
# them fresh for nearly every claim, one with a million every few minutes, and neither gives much time to it.
AGE_PER_COST = 20

# As long as nobody asks, nothing needs to be kept.
KEPT_SECONDS = 3600

# So many matchups are tried for one claim; where all have nothing for this person, the queue has.
MOST_DRAWN = 100

_random = np.random.default_rng()


@dataclass(frozen=True)
class Chances:
    """The probability with which each matchup with work is dealt next."""

    matchups: list[str]
    probabilities: Floats
    """(matchups,), above 0 and with sum 1."""

    stale_at: float
    """Seconds of `time.time()`."""


@dataclass(frozen=True)
class Draw:
    """Matchups in the order in which they are to be tried, without repeats."""

    matchups: list[str]
    propensities: list[float]
    """For each, the probability with which it came up among those that had not come up before it."""


def draw_matchups(campaign: Campaign) -> Draw:
    """Draw the order in which matchups are tried for one claim; empty where the queue decides alone.

    So it does under the uniform policy, and where all that is left is one matchup or of unknown origin.
    """
    if campaign.pair_policy == Campaign.PairPolicy.UNIFORM:
        return Draw([], [])
    current = _chances(campaign)
    if len(current.matchups) < 2:
        return Draw([], [])
    count = min(len(current.matchups), MOST_DRAWN)
    drawn = _random.choice(len(current.matchups), size=count, replace=False, p=current.probabilities)
    probabilities = current.probabilities[drawn]
    not_before = np.maximum(1 - np.concatenate([[0], probabilities.cumsum()[:-1]]), probabilities)
    propensities = probabilities / not_before
    return Draw([current.matchups[number] for number in drawn], propensities.tolist())


def _chances(campaign: Campaign) -> Chances:
    """From the cache, unless stale; then one process works them out, and those who ask meanwhile get the old ones."""
    key = f"chances-{campaign.pk}-{campaign.pair_policy}-{campaign.random_share}"
    known: Chances | None = cache.get(key)
    if known is not None and (time.time() < known.stale_at or not cache.add(f"{key}-renewed", value=True, timeout=60)):
        return known
    started = time.time()
    standing = standing_of(campaign)
    probabilities = chances(standing, policy=POLICIES[campaign.pair_policy], random_share=campaign.random_share)
    possible = np.flatnonzero(probabilities)
    fresh = Chances(
        matchups=[standing.matchups[number] for number in possible],
        probabilities=probabilities[possible],
        stale_at=time.time() + AGE_PER_COST * (time.time() - started),
    )
    cache.set(key, fresh, KEPT_SECONDS)
    cache.delete(f"{key}-renewed")
    return fresh
