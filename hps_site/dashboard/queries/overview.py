"""All campaigns at a glance, the model versions in use and the latest runs."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from django.db.models import Count, Max, Q
from django.db.models.functions import TruncDate
from django.utils.timezone import make_aware

from annotations.models import Campaign, Slot, Task, Vote
from worker.models import ModelVersion, Run

RECENT_DAYS = 14


@dataclass(frozen=True)
class CampaignSummary:
    """One campaign in the list."""

    campaign: Campaign
    votes: int
    """Counted votes: judgements on regular tasks by people who are not excluded, not undone."""
    people: int
    """Annotators with a counted vote."""
    slots: int
    """Votes wanted."""
    slots_done: int
    last_vote_at: datetime | None
    recent: list[int]
    """Counted votes of each of the last 14 days, today last."""

    @property
    def progress_percent(self) -> int:
        """Full hundreds only when every wanted vote is there."""
        return 100 * self.slots_done // self.slots if self.slots else 0

    @property
    def recent_votes(self) -> int:
        return sum(self.recent)

    @property
    def votes_per_day(self) -> float:
        """Over the last seven days, today included."""
        return sum(self.recent[-7:]) / 7


def campaign_summaries(*, today: date) -> list[CampaignSummary]:
    """Every campaign, running ones first and then the newest; four SQL statements however many there are."""
    slots = _slots()
    votes = _votes()
    recent = _recent_votes(today)
    days = [today - timedelta(days=ago) for ago in reversed(range(RECENT_DAYS))]
    summaries = []
    for campaign in Campaign.objects.order_by("-created_at", "-pk"):
        wanted, done = slots.get(campaign.pk, (0, 0))
        counted, people, last_vote_at = votes.get(campaign.pk, (0, 0, None))
        summaries.append(
            CampaignSummary(
                campaign=campaign,
                votes=counted,
                people=people,
                slots=wanted,
                slots_done=done,
                last_vote_at=last_vote_at,
                recent=[recent[campaign.pk].get(day, 0) for day in days],
            )
        )
    return sorted(summaries, key=lambda summary: not summary.campaign.is_running)


def versions_in_use() -> list[ModelVersion]:
    """The current version of each family, in the order of the families, one's own behind; one SQL statement."""
    places = {str(family): place for place, family in enumerate(ModelVersion.Family)}
    versions = ModelVersion.objects.current().select_related("snapshot", "run").order_by("family")
    return sorted(versions, key=lambda version: places.get(version.family, len(places)))


def latest_runs(*, count: int = 6) -> list[Run]:
    """The newest runs, whatever their kind and state; one SQL statement."""
    return list(Run.objects.select_related("campaign").order_by("-id")[:count])


def _slots() -> dict[int, tuple[int, int]]:
    """By campaign: votes wanted, and of these done."""
    regular = Slot.objects.filter(task__purpose=Task.Purpose.REGULAR)
    rows = regular.values("campaign").annotate(total=Count("id"), done=Count("id", filter=Q(state=Slot.State.DONE)))
    return {row["campaign"]: (row["total"], row["done"]) for row in rows}


def _votes() -> dict[int, tuple[int, int, datetime | None]]:
    """By campaign: counted votes, the people behind them, and when the last was cast."""
    rows = (
        Vote.objects.counted()
        .values("task__campaign")
        .annotate(total=Count("id"), people=Count("annotator", distinct=True), last=Max("created_at"))
    )
    return {row["task__campaign"]: (row["total"], row["people"], row["last"]) for row in rows}


def _recent_votes(today: date) -> defaultdict[int, dict[date, int]]:
    first = today - timedelta(days=RECENT_DAYS - 1)
    rows = (
        Vote.objects.counted()
        .filter(created_at__gte=make_aware(datetime.combine(first, time.min)))
        .annotate(day=TruncDate("created_at"))
        .values("task__campaign", "day")
        .annotate(total=Count("id"))
    )
    recent: defaultdict[int, dict[date, int]] = defaultdict(dict)
    for row in rows:
        recent[row["task__campaign"]][row["day"]] = row["total"]
    return recent
