"""The people behind the votes: their figures, whom to look at, and what excluding or restoring one would change."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from django.utils.timezone import localdate

from annotations.models import Annotator, Campaign, Slot, Task
from annotations.queries.quality import PersonFigures, Said, choices_of, people_figures, read_said
from annotations.queries.suspicions import Suspicion, suspicions
from hps_site.dashboard.queries.lineage import votes_by_person
from scoring import rankings
from scoring.metrics import Estimate
from scoring.preferences import Choice
from scoring.rankings import RankedGenerator
from worker.models import ModelVersion

State = Annotator.State


@dataclass(frozen=True)
class PersonRow:
    """One person in the list."""

    annotator: Annotator
    figures: PersonFigures
    suspicions: list[Suspicion]

    @property
    def favourite(self) -> Estimate | None:
        """The share of the place they chose most often."""
        places = self.figures.places
        return places.share(places.favourite) if places else None


@dataclass(frozen=True)
class PeopleReport:
    """Everyone who said something in some campaigns."""

    rows: list[PersonRow]
    suspicions: list[tuple[Annotator, Suspicion]]
    said: list[Said]


@dataclass(frozen=True)
class RankChange:
    """One generator before and after."""

    generator: str
    before: RankedGenerator
    after: RankedGenerator | None
    """None where nobody else's vote shows it."""
    rank_before: int
    rank_after: int | None

    @property
    def moves(self) -> bool:
        return self.rank_before != self.rank_after


@dataclass(frozen=True)
class CampaignEffect:
    """What changes in one campaign."""

    campaign: Campaign
    votes: int
    """Judgements of this person on regular tasks."""
    votes_before: int
    """Counted judgements of everybody, as things are."""
    changes: list[RankChange]
    """In the order of the ranking as it is; empty where there is nothing to rank."""

    @property
    def has_new_order(self) -> bool:
        return any(change.moves for change in self.changes)


@dataclass(frozen=True)
class TrainedVersion:
    """A model version that has learnt from this person."""

    version: ModelVersion
    votes: int
    of: int


@dataclass(frozen=True)
class Effect:
    """What excluding a person would change, or restoring one who is excluded."""

    campaigns: list[CampaignEffect]
    versions: list[TrainedVersion]
    """They keep what they learnt, whatever is done; only a new training leaves it out."""
    held: int
    """Claims in the person's hands."""

    @property
    def votes(self) -> int:
        return sum(effect.votes for effect in self.campaigns)

    def to_record(self) -> dict[str, Any]:
        """Plain values to keep with the change of state."""
        return {
            "campaigns": [
                {
                    "campaign": effect.campaign.slug,
                    "votes": effect.votes,
                    "of": effect.votes_before,
                    "ranking": [
                        {
                            "generator": change.generator,
                            "before": asdict(change.before),
                            "after": asdict(change.after) if change.after else None,
                        }
                        for change in effect.changes
                    ],
                }
                for effect in self.campaigns
            ],
            "versions": [{"version": str(one.version), "votes": one.votes} for one in self.versions],
        }


def people_report(campaigns: Sequence[Campaign]) -> PeopleReport:
    """Everyone who said something in these campaigns, with all figures; three SQL statements however many there are."""
    said = read_said(campaigns)
    annotators = {str(one.pk): one for one in Annotator.objects.filter(pk__in={int(vote.person) for vote in said})}
    excluded = {person for person, annotator in annotators.items() if annotator.state == State.EXCLUDED}
    figures = people_figures(said, excluded=excluded)
    crowd = [vote for vote in said if vote.person not in excluded]
    found = suspicions({person: of for person, of in figures.items() if person not in excluded}, crowd)
    return PeopleReport(
        rows=[
            PersonRow(annotators[person], of_person, [one for one in found if one.person == person])
            for person, of_person in figures.items()
        ],
        suspicions=[(annotators[one.person], one) for one in found],
        said=said,
    )


def daily_counts(said: Sequence[Said], person: str) -> dict[date, int]:
    """Votes of one person by day."""
    counts: dict[date, int] = {}
    for vote in said:
        if vote.person == person:
            day = localdate(vote.at)
            counts[day] = counts.get(day, 0) + 1
    return counts


def medians(others: Sequence[PersonFigures]) -> dict[str, float | None]:
    """The middle of these people for each share; None where it is known of nobody."""
    names = ("gold", "repeats", "fit", "reliability", "ties", "all_bad", "skips", "too_fast")
    shares = {name: [getattr(one, name).value for one in others if getattr(one, name).n] for name in names}
    return {name: statistics.median(values) if values else None for name, values in shares.items()}


def campaigns_of(annotator: Annotator) -> list[Campaign]:
    """The campaigns in which a person voted, by name."""
    return list(Campaign.objects.filter(tasks__votes__annotator=annotator).distinct().order_by("name"))


def effect_of(annotator: Annotator) -> Effect:
    """What excluding this person would change; for one who is excluded, what restoring them would."""
    excluded = {str(pk) for pk in Annotator.objects.filter(state=State.EXCLUDED).values_list("pk", flat=True)}
    person = str(annotator.pk)
    campaigns = []
    for campaign in campaigns_of(annotator):
        said = read_said([campaign])
        choices, imported = choices_of(said), {vote.person for vote in said if not vote.is_order_shown}
        others = [choice for choice in choices if choice.annotator not in excluded | {person}]
        with_them = [choice for choice in choices if choice.annotator not in excluded - {person}]
        before, after = (others, with_them) if person in excluded else (with_them, others)
        if votes := len(with_them) - len(others):
            changes = _changes(before, after, imported)
            campaigns.append(CampaignEffect(campaign, votes, len(before), changes))
    held = Slot.objects.filter(annotator=annotator, state=Slot.State.LEASED).count()
    return Effect(campaigns=campaigns, versions=_trained_on(annotator), held=held)


def check_tasks(campaign: Campaign) -> list[Task]:
    """Gold and practice tasks with prompt and images, the ones in use first."""
    tasks = Task.objects.filter(campaign=campaign, purpose__in=[Task.Purpose.GOLD, Task.Purpose.PRACTICE])
    return list(
        tasks.select_related("prompt", "expected").prefetch_related("candidates__image").order_by("-retired_at", "-pk")
    )


def _changes(before: list[Choice], after: list[Choice], imported: set[str]) -> list[RankChange]:
    """`imported`: the people whose votes came in from a file, which tells nothing of places."""
    was, becomes = _ranking(before, imported), _ranking(after, imported)
    rank_after = {place.generator: at for at, place in enumerate(becomes, start=1)}
    place_after = {place.generator: place for place in becomes}
    return [
        RankChange(place.generator, place, place_after.get(place.generator), at, rank_after.get(place.generator))
        for at, place in enumerate(was, start=1)
    ]


def _ranking(choices: list[Choice], imported: set[str]) -> list[RankedGenerator]:
    """Empty where there are not two generators to rank."""
    try:
        return rankings.ranking(
            (choice for choice in choices if choice.annotator in imported),
            placed=(choice for choice in choices if choice.annotator not in imported),
        ).places
    except rankings.UnableToRank:
        return []


def _trained_on(annotator: Annotator) -> list[TrainedVersion]:
    """Model versions whose snapshot holds votes of this person, the newest first."""
    versions = ModelVersion.objects.filter(snapshot__isnull=False).select_related("snapshot").order_by("-pk")
    counts: dict[int, Counter[str]] = {}
    trained = []
    for version in versions:
        snapshot = version.snapshot
        assert snapshot is not None
        if snapshot.pk not in counts:
            counts[snapshot.pk] = votes_by_person(snapshot)
        people = counts[snapshot.pk]
        if votes := people[str(annotator.public_id)]:
            trained.append(TrainedVersion(version, votes, people.total()))
    return trained
