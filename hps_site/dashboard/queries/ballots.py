"""Counted votes as choices that the science understands, read once and looked at from several sides."""

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from django.db.models import Count, Q
from django.db.models.functions import TruncDate
from scipy import stats

from annotations.models import Annotator, Campaign, Candidate, Outcome, Slot, Task, Vote
from scoring import agreement
from scoring.intervals import CONFIDENCE
from scoring.metrics import Estimate
from scoring.preferences import Choice

# Votes fetched from the database at once.
CHUNK = 5000

ALL_VOTES = Q()

# Votes that came in from a file have its order of the images, which may be that of the answers: HPD v3 names the chosen
# one first. Where the images stood is known of votes that were given on this site.
IMPORTED = Q(annotator__source=Annotator.Source.IMPORTED)
GIVEN_HERE = ~IMPORTED


class NothingToReport(Exception):
    """There is nothing to report on; the message says where it would come from."""


class Ballot(NamedTuple):
    """One counted vote: a judgement on a regular task by a person who is not excluded."""

    choice: Choice
    """With the ids of prompt, images and annotator as texts, the images in the order in which they were shown."""
    is_order_shown: bool
    """False for an imported vote: the order is that of a file."""
    shown_ms: int | None
    day: date


@dataclass(frozen=True)
class CampaignFigures:
    """The first line of numbers of a campaign."""

    votes: int
    people: int
    prompts: int
    slots: int
    slots_done: int
    median_ms: float | None
    """Of the counted votes whose time is known."""
    timed_votes: int
    imported_votes: int
    """Counted votes of which nobody knows where the images stood."""

    @property
    def progress_percent(self) -> int:
        return 100 * self.slots_done // self.slots if self.slots else 0


@dataclass(frozen=True)
class OutcomeCount:
    """How often one thing was said."""

    outcome: Outcome
    count: int
    share: float
    """Of everything said, skips and flags included."""


@dataclass(frozen=True)
class AgreementReport:
    """How often people say the same of the same images."""

    percent: Estimate
    """Two people on one task gave the same answer; a tie is an answer."""
    alpha: Estimate
    """The same beyond chance."""


@dataclass(frozen=True)
class PositionShare:
    """How often the image at one place was chosen."""

    position: int
    """Counted from 1, in reading order."""
    chosen: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PositionReport:
    """Whether it matters where an image stands, among the sets of the commonest size."""

    shares: list[PositionShare]
    images: int
    """Images shown at a time."""
    choices: int
    chi_square: float
    """Pearson's, of the counts against equal ones."""
    p_value: float
    """How often places that don't matter give counts at least as uneven."""

    @property
    def even_share(self) -> float:
        """The share of each place if it does not matter."""
        return 1 / self.images

    @property
    def is_even(self) -> bool:
        """Nothing else was shown, by the usual level of 5 %."""
        return self.p_value >= 1 - CONFIDENCE


def campaigns_to_report(slug: str = "") -> list[Campaign]:
    """The campaign of that slug; without one all campaigns of people, or the synthetic ones where there are no others.

    Raises:
        NothingToReport: there is no such campaign, or none at all.
    """
    if slug:
        named = list(Campaign.objects.filter(slug=slug))
        if not named:
            known = ", ".join(Campaign.objects.order_by("slug").values_list("slug", flat=True)) or "none"
            raise NothingToReport(f"There is no campaign {slug!r}. Campaigns: {known}.")
        return named
    campaigns = list(Campaign.objects.order_by("pk"))
    if not campaigns:
        raise NothingToReport("There is no campaign yet: make one in the admin, or bring one in with import_choices.")
    return [campaign for campaign in campaigns if not campaign.is_synthetic] or campaigns


def read_ballots(campaigns: Sequence[Campaign]) -> list[Ballot]:
    """Every counted vote of the campaigns in the order of the votes; two SQL statements."""
    return list(each_ballot(campaigns))


def each_ballot(campaigns: Sequence[Campaign], among: Q = ALL_VOTES) -> Iterator[Ballot]:
    """The same one at a time, for what doesn't keep them: a million votes as a list would take a gigabyte.

    Args:
        campaigns: whose votes.
        among: which of them, `IMPORTED` or `GIVEN_HERE`; by default all.
    """
    generators = dict(
        Candidate.objects.filter(task__campaign__in=campaigns, image__generator__isnull=False)
        .order_by()
        .values_list("image_id", "image__generator__name")
        .distinct()
    )
    rows = (
        Vote.objects.counted()
        .filter(among, task__campaign__in=campaigns)
        .order_by("pk")
        .values_list(
            "task__prompt_id",
            "task__prompt__split",
            "annotator_id",
            "annotator__source",
            "outcome",
            "image_id",
            "order",
            "shown_ms",
            TruncDate("created_at"),
        )
    )
    for prompt, split, annotator, source, outcome, image, order, shown_ms, day in rows.iterator(CHUNK):
        yield Ballot(
            choice=Choice(
                prompt=str(prompt),
                images=tuple(map(str, order)),
                outcome=outcome,
                chosen=None if image is None else order.index(image),
                annotator=str(annotator),
                split=split,
                generators=tuple(generators.get(shown) for shown in order),
            ),
            is_order_shown=source != Annotator.Source.IMPORTED,
            shown_ms=shown_ms,
            day=day,
        )


def read_choices(campaigns: Sequence[Campaign]) -> list[Choice]:
    """Every counted vote of the campaigns as a choice; two SQL statements."""
    return [ballot.choice for ballot in read_ballots(campaigns)]


def campaign_figures(campaign: Campaign, ballots: Sequence[Ballot]) -> CampaignFigures:
    """Counts of votes, people, prompts and wanted votes, and the median time; one SQL statement."""
    slots = Slot.objects.filter(campaign=campaign, task__purpose=Task.Purpose.REGULAR).aggregate(
        total=Count("id"), done=Count("id", filter=Q(state=Slot.State.DONE))
    )
    times = [ballot.shown_ms for ballot in ballots if ballot.shown_ms is not None]
    return CampaignFigures(
        votes=len(ballots),
        people=len({ballot.choice.annotator for ballot in ballots}),
        prompts=len({ballot.choice.prompt for ballot in ballots}),
        slots=slots["total"],
        slots_done=slots["done"],
        median_ms=statistics.median(times) if times else None,
        timed_votes=len(times),
        imported_votes=sum(not ballot.is_order_shown for ballot in ballots),
    )


def outcome_counts(campaign: Campaign) -> list[OutcomeCount]:
    """What was said of the regular tasks, in the order of the outcomes; empty without votes; one SQL statement."""
    said = (
        Vote.objects.standing()
        .filter(task__campaign=campaign, task__purpose=Task.Purpose.REGULAR)
        .exclude(annotator__state=Annotator.State.EXCLUDED)
        .order_by()
        .values("outcome")
        .annotate(total=Count("id"))
    )
    counts = {row["outcome"]: row["total"] for row in said}
    total = sum(counts.values())
    if not total:
        return []
    return [
        OutcomeCount(outcome=outcome, count=counts.get(outcome, 0), share=counts.get(outcome, 0) / total)
        for outcome in Outcome
    ]


def daily_votes(ballots: Sequence[Ballot]) -> dict[date, int]:
    """Counted votes of each day that has any."""
    return dict(Counter(ballot.day for ballot in ballots))


def agreement_report(choices: Sequence[Choice]) -> AgreementReport:
    """How far people agree with each other; without values where no two people have done the same task."""
    counts = agreement.answer_counts(choices)
    return AgreementReport(percent=agreement.percent_agreement(choices), alpha=agreement.krippendorff_alpha(counts))


def position_report(ballots: Sequence[Ballot]) -> PositionReport | None:
    """How often each place was chosen, with Wilson's interval; None where no image was ever chosen on this site.

    Votes count as independent here, since each had its own random order; imported ones, which had not, are left out.
    Only sets of the commonest size are compared: a place among two is no place among four.
    """
    choices = [ballot.choice for ballot in ballots if ballot.is_order_shown]
    sizes = Counter(len(choice.images) for choice in choices if choice.is_decided)
    if not sizes:
        return None
    images, total = max(sizes.items(), key=lambda size: (size[1], size[0]))
    chosen = Counter(choice.chosen for choice in choices if choice.is_decided and len(choice.images) == images)
    test = stats.chisquare([chosen[position] for position in range(images)])
    return PositionReport(
        shares=[_position_share(position, chosen[position], total) for position in range(images)],
        images=images,
        choices=total,
        chi_square=float(test.statistic),
        p_value=float(test.pvalue),
    )


def _position_share(position: int, chosen: int, total: int) -> PositionShare:
    interval = stats.binomtest(chosen, total).proportion_ci(CONFIDENCE, method="wilson")
    return PositionShare(
        position=position + 1,
        chosen=chosen,
        value=chosen / total,
        low=float(interval.low),
        high=float(interval.high),
    )
