"""How many votes it takes: to know a share to a wanted width, or to show that people prefer one of two."""

import math
from dataclasses import dataclass

from scipy import stats

_Z95 = 1.959963984540054

# Odd, so that a pair without ties has a winner; the paper's study has 20.
VOTES_PER_PAIR = (5, 7, 9, 11, 15, 21)

FEWEST_PROMPTS = 30
"""An interval that is resampled from fewer prompts comes out too narrow."""

LIKENESS = 0.2
"""How alike the votes on one pair are, as an intraclass correlation: a cautious guess for adapted against original.

The paper's 74 % of prompts won and 22 % lost at 20 votes each would be about .1 around a share of .62.
"""


class UnableToPlan(ValueError):
    """No number of votes does what was asked; the message says why."""


def interval(votes: int, share: float) -> tuple[float, float]:
    """The 95 % interval of a share of independent votes, its lower and its upper end.

    Args:
        votes: 1 or more; a tie is half a vote for each of two.
        share: 0..1, of the votes.

    Raises:
        UnableToPlan: no vote, or a share out of range.

    Source: Wilson, Probable inference, the law of succession, and statistical inference (1927).
    """
    _check_share(share)
    if votes < 1:
        raise UnableToPlan(f"An interval needs at least one vote, not {votes}.")
    shrunk = 1 + _Z95**2 / votes
    middle = (share + _Z95**2 / (2 * votes)) / shrunk
    reach = _Z95 / shrunk * math.sqrt(share * (1 - share) / votes + _Z95**2 / (4 * votes**2))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def interval_width(votes: int, share: float) -> float:
    """Upper less lower end of `interval`, 0..1; it shrinks with every vote."""
    low, high = interval(votes, share)
    return high - low


def votes_for_width(width: float, *, share: float = 0.5, design_effect: float = 1.0) -> int:
    """The fewest votes with which the 95 % interval of a share is at most as wide as wanted.

    Args:
        width: above 0 and below 1, upper less lower end.
        share: what the share is expected to be; one half is the most cautious guess.
        design_effect: how many votes say as much as one independent vote, 1 or more; votes on the same prompt resemble
            each other.

    Raises:
        UnableToPlan: the width is not between 0 and 1, or the share or the design effect is out of range.
    """
    _check_share(share)
    if not 0 < width < 1:
        raise UnableToPlan(f"The width lies between 0 and 1, not at {width}.")
    _check_design_effect(design_effect)
    low, high = 0, 1
    while interval_width(high, share) > width:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if interval_width(middle, share) > width else (low, middle)
    return math.ceil(high * design_effect)


def votes_to_tell_apart(share: float, *, power: float = 0.8, level: float = 0.05, design_effect: float = 1.0) -> int:
    """The fewest votes with which a two-sided test finds, as often as wanted, that people prefer one of two.

    Args:
        share: of the preferred one, 0..1 and not one half.
        power: how often the test shall find it, 0..1.
        level: how often it may find something where there is nothing, 0..1.
        design_effect: as for `votes_for_width`.

    Returns:
        By the normal approximation: 194 for a share of .6.

    Raises:
        UnableToPlan: the share is one half, which no number of votes tells from one half; or a value is out of range.

    Source: Fleiss, Levin & Paik, Statistical Methods for Rates and Proportions (2003), section 2.4.
    """
    _check_share(share)
    _check_design_effect(design_effect)
    if not 0 < power < 1 or not 0 < level < 1:
        raise UnableToPlan(f"Power and level lie between 0 and 1, not at {power} and {level}.")
    if math.isclose(share, 0.5):
        raise UnableToPlan("People who don't mind cannot be told from people who don't mind: the share is one half.")
    under_chance = float(stats.norm.ppf(1 - level / 2)) * 0.5
    under_share = float(stats.norm.ppf(power)) * math.sqrt(share * (1 - share))
    independent = ((under_chance + under_share) / abs(share - 0.5)) ** 2
    return math.ceil(math.ceil(max(1.0, independent)) * design_effect)


@dataclass(frozen=True)
class PairPlan:
    """A study of two generators: so many prompts, each of them asked about so often."""

    share: float
    """Of the votes, that is to be told from one half."""
    prompts: int
    votes_per_pair: int
    power: float
    """How often a study of this size finds such a share, 0..1."""

    @property
    def votes(self) -> int:
        return self.prompts * self.votes_per_pair


def plan_pairs(
    share: float,
    *,
    available: int,
    power: float = 0.8,
    likeness: float = LIKENESS,
    prompts: int | None = None,
    votes_per_pair: int | None = None,
) -> PairPlan:
    """How many prompts and votes a study of two generators needs: rather more prompts than more votes on each.

    Args:
        share: of the votes for the better one, that is to be found; 0..1 and not one half.
        available: prompts there are.
        power: how often it shall be found.
        likeness: intraclass correlation of the votes on one pair, 0..1: 0 if the prompt made no difference, 1 if all
            people said the same. Votes on one pair count for m / (1 + (m - 1) likeness).
        prompts: their number where it is settled already.
        votes_per_pair: the same of the votes.

    Returns:
        The fewest votes per pair for which there are prompts enough. Where there are never enough, as many prompts as
        may be and the most votes: its `power` then says what that is worth.

    Raises:
        UnableToPlan: there is no prompt, or a value is out of range.
    """
    if not 0 <= likeness <= 1:
        raise UnableToPlan(f"A likeness lies between 0 and 1, not at {likeness}.")
    if min(available, prompts or 1, votes_per_pair or 1) < 1:
        raise UnableToPlan("A study needs a prompt and a vote on it at least.")
    for each in (votes_per_pair,) if votes_per_pair else VOTES_PER_PAIR:
        effect = 1 + (each - 1) * likeness
        needed = math.ceil(votes_to_tell_apart(share, power=power, design_effect=effect) / each)
        wanted = prompts or max(needed, FEWEST_PROMPTS)
        if needed <= min(wanted, available):
            break
    taken = min(wanted, available)
    return PairPlan(share, taken, each, power_of(share, votes=taken * each, design_effect=effect))


def power_of(share: float, *, votes: int, level: float = 0.05, design_effect: float = 1.0) -> float:
    """How often a two-sided test finds with so many votes that people prefer one of two; inverts `votes_to_tell_apart`.

    Raises:
        UnableToPlan: a value is out of range.
    """
    _check_share(share)
    _check_design_effect(design_effect)
    independent = votes / design_effect
    under_chance = float(stats.norm.ppf(1 - level / 2)) * 0.5
    spread = math.sqrt(share * (1 - share))
    if spread == 0:
        return float(math.sqrt(independent) * 0.5 > under_chance)
    return float(stats.norm.cdf((abs(share - 0.5) * math.sqrt(independent) - under_chance) / spread))


def smallest_share(votes: int, *, power: float = 0.8, design_effect: float = 1.0) -> float | None:
    """The share nearest to one half, above it, that so many votes find as often as wanted.

    Returns:
        .5 to 1, to within a ten-thousandth; None where even a share of 1 is not found so often.

    Raises:
        UnableToPlan: a value is out of range.
    """
    if power_of(1.0, votes=votes, design_effect=design_effect) < power:
        return None
    low, high = 0.5, 1.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        is_found = power_of(middle, votes=votes, design_effect=design_effect) >= power
        low, high = (low, middle) if is_found else (middle, high)
    return high


def design_effect(width: float, *, votes: int, share: float) -> float:
    """How many votes say as much as one independent one, from an interval that was resampled by prompt.

    Args:
        width: of that interval, upper less lower end.
        votes: on which it rests.
        share: its middle.

    Returns:
        1 or more; votes never count for more than one each.
    """
    return max(1.0, (width / interval_width(votes, share)) ** 2)


def _check_share(share: float) -> None:
    if not 0 <= share <= 1:
        raise UnableToPlan(f"A share lies between 0 and 1, not at {share}.")


def _check_design_effect(effect: float) -> None:
    if not effect >= 1:
        raise UnableToPlan(f"A design effect is 1 or more, not {effect}.")
