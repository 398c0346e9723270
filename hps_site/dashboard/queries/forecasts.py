"""What a campaign still needs: votes and hours at today's pace, and until a difference is known well enough."""

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import combinations

import numpy as np

from annotations.models import Campaign, Slot, Task, Vote
from scoring import metrics, power
from scoring.metrics import Estimate
from scoring.preferences import Choice

TIMED_VOTES = 500
"""The latest ones tell how long a vote takes now."""


@dataclass(frozen=True)
class Pace:
    """How fast votes come, and how long the missing ones take."""

    missing: int
    """Votes still wanted on regular tasks."""
    last_day: int
    """Counted votes of the last 24 hours."""
    seconds_per_vote: float | None
    """Median of the latest votes; None where no time is known."""

    @property
    def hours_left(self) -> float | None:
        """Until all wanted votes are there, at the pace of the last 24 hours; None where there was none."""
        return self.hours_for(self.missing)

    @property
    def hours_of_work(self) -> float | None:
        """That people spend on the missing votes."""
        return None if self.seconds_per_vote is None else self.missing * self.seconds_per_vote / 3600

    def hours_for(self, votes: float) -> float | None:
        """Hours in which so many votes come, at the pace of the last 24 hours."""
        return 24 * votes / self.last_day if self.last_day else None


@dataclass(frozen=True)
class Precision:
    """How well a difference between two generators is known, and what it takes to know it better."""

    first: str
    second: str
    share: Estimate
    """Of the votes between the two, for the first; the interval is the wider of two: resampled by prompt, and Wilson's
    for independent votes, since resampling few prompts, or prompts that are alike, gives too narrow a one."""
    width: float
    """The wanted width of the interval, 0..1."""
    needed: int
    """Votes between the two for that width, those there included."""
    to_tell_apart: int | None
    """Votes that find a difference of the present size four times of five; None where the share is one half."""
    per_vote: float
    """Votes between the two for one vote of the campaign, as it went so far; above 0."""

    @property
    def still_needed(self) -> int:
        return max(0, self.needed - self.share.n)

    @property
    def still_needed_of_campaign(self) -> int:
        """Votes of the whole campaign until enough of them are between the two."""
        return math.ceil(self.still_needed / self.per_vote)


def pace_of(campaign: Campaign, *, now: datetime) -> Pace:
    """Three statements, whatever the size of the campaign."""
    missing = Slot.objects.filter(campaign=campaign, task__purpose=Task.Purpose.REGULAR).exclude(state=Slot.State.DONE)
    counted = Vote.objects.counted().filter(task__campaign=campaign)
    times = counted.filter(shown_ms__isnull=False).order_by("-pk").values_list("shown_ms", flat=True)[:TIMED_VOTES]
    known = [time for time in times if time is not None]
    return Pace(
        missing=missing.count(),
        last_day=counted.filter(created_at__gt=now - timedelta(days=1)).count(),
        seconds_per_vote=statistics.median(known) / 1000 if known else None,
    )


def rivals_in(choices: Sequence[Choice]) -> list[str]:
    """The generators that were compared; the two that met most often come first."""
    met = Counter(
        pair
        for choice in choices
        if choice.outcome != "all_bad"
        for pair in combinations(sorted({name for name in choice.generators if name}), 2)
    )
    if not met:
        return []
    most = max(met, key=lambda pair: (met[pair], pair))
    return list(dict.fromkeys([*most, *sorted({name for pair in met for name in pair})]))


def precision_of(choices: Sequence[Choice], *, first: str, second: str, width: float) -> Precision | None:
    """How well the share of `first` against `second` is known; None where the two never met.

    Of larger sets those choices count in which one of the two was chosen. A tie is half a vote for each.

    Args:
        choices: counted votes of a campaign.
        first: name of a generator.
        second: name of another.
        width: wanted of the interval, 0..1.
    """
    between = [choice for choice in choices if {first, second} <= set(choice.generators)]
    votes = [(choice.prompt, credit) for choice in between if (credit := _credit(choice, first, second)) is not None]
    if not votes:
        return None
    credits = np.array([credit for _prompt, credit in votes])
    resampled = metrics.clustered_mean(credits, [prompt for prompt, _credit in votes], name="share of votes")
    value = float(credits.mean())
    share, effect = _cautious(resampled, value)
    return Precision(
        first=first,
        second=second,
        share=share,
        width=width,
        needed=power.votes_for_width(width, share=value, design_effect=effect),
        to_tell_apart=None if math.isclose(value, 0.5) else power.votes_to_tell_apart(value, design_effect=effect),
        per_vote=share.n / len(choices),
    )


def _cautious(resampled: Estimate, value: float) -> tuple[Estimate, float]:
    """The estimate with the wider interval, and how many of its votes say as much as one independent vote."""
    votes = resampled.n
    if resampled.low is not None and resampled.high is not None:
        effect = power.design_effect(resampled.high - resampled.low, votes=votes, share=value)
        if effect > 1:
            return resampled, effect
    low, high = power.interval(votes, value)
    return replace(resampled, low=low, high=high, reason=""), 1.0


def _credit(choice: Choice, first: str, second: str) -> float | None:
    """1 for the first, 0 for the second, one half for a tie; None where it says nothing of the two."""
    if choice.outcome == "tie":
        return 0.5
    chosen = None if choice.chosen is None else choice.generators[choice.chosen]
    return {first: 1.0, second: 0.0}.get(chosen) if chosen is not None else None
