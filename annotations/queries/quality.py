"""How people vote: gold, repeats, places, habits and the decided crowd, for each person of one or more campaigns."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from django.db.models import Count, F, Q

from annotations.models import Annotator, Campaign, Candidate, Outcome, Task, Vote
from scoring import reliability
from scoring.metrics import Estimate
from scoring.preferences import Choice
from scoring.reliability import Places

Purpose = Task.Purpose

# A taste of one's own is shown below this p value.
TASTE_LEVEL = 0.01


class Said(NamedTuple):
    """One standing vote on any task, the check tasks and the skips included."""

    person: str
    """Id of the annotator as a text."""
    purpose: str
    outcome: str
    prompt: str
    images: tuple[str, ...]
    """Ids in the order shown."""
    image: str | None
    """Id of the chosen one."""
    generators: tuple[str | None, ...]
    expected: str | None
    """Id of the obvious answer, of gold and practice tasks in use."""
    shown_ms: int | None
    is_too_fast: bool
    at: datetime
    is_order_shown: bool = True
    """Whether the images stood so on a screen; an imported vote has the order of its file."""

    @property
    def task(self) -> tuple[str, tuple[str, ...]]:
        """Equal for a task and its repeat."""
        return self.prompt, tuple(sorted(self.images))

    @property
    def answer(self) -> str:
        return self.image or self.outcome

    @property
    def is_judgement(self) -> bool:
        return self.outcome in Outcome.judgements()


@dataclass(frozen=True)
class PersonFigures:
    """How one person votes. Habits and places are of regular tasks; all shares have Wilson intervals."""

    person: str
    said: int
    """Votes on regular tasks, skips and flags included."""
    judgements: int
    median_ms: float | None
    last_at: datetime
    too_fast: Estimate
    ties: Estimate
    all_bad: Estimate
    skips: Estimate
    """Skips and flags."""
    places: Places | None
    gold: Estimate
    """Gold tasks answered as expected."""
    repeats: Estimate
    """Repeats with the sides swapped that got the same answer as the first time."""
    fit: Estimate
    """Choices that are the crowd's, where it is decided."""
    chance_fit: float
    """What somebody who guesses reaches there."""
    reliability: Estimate
    skill: float | None
    """By the one-coin model; None without a judgement on a regular task."""
    preference_p: float | None
    """How often somebody who guesses favours generators as much."""
    is_of_other_taste: bool
    """Follows a taste of their own and agrees less with the crowd: then the crowd says nothing of their reliability."""
    images: float
    """Images shown at a time, on average."""


def gold_tally(annotator: Annotator, campaign: Campaign) -> tuple[int, int]:
    """How many gold tasks of a campaign a person answered as expected, and how many they answered."""
    votes = Vote.objects.standing().filter(
        annotator=annotator,
        task__campaign=campaign,
        task__purpose=Purpose.GOLD,
        task__retired_at=None,
        outcome__in=Outcome.judgements(),
    )
    counts = votes.aggregate(n=Count("pk"), right=Count("pk", filter=Q(image=F("task__expected"))))
    return counts["right"], counts["n"]


def read_said(campaigns: Sequence[Campaign]) -> list[Said]:
    """Every standing vote of the campaigns in the order in which they came, whoever gave it; two SQL statements."""
    generators = dict(
        Candidate.objects.filter(task__campaign__in=campaigns, image__generator__isnull=False)
        .order_by()
        .values_list("image_id", "image__generator__name")
        .distinct()
    )
    rows: Iterable[tuple[Any, ...]] = (
        Vote.objects.standing()
        .filter(task__campaign__in=campaigns)
        .order_by("created_at", "pk")
        .values_list(
            "annotator_id",
            "task__purpose",
            "outcome",
            "task__prompt_id",
            "order",
            "image_id",
            "task__expected_id",
            "task__retired_at",
            "shown_ms",
            "is_too_fast",
            "created_at",
            "annotator__source",
        )
    )
    return [
        Said(
            person=str(person),
            purpose=purpose,
            outcome=outcome,
            prompt=str(prompt),
            images=tuple(map(str, order)),
            image=None if image is None else str(image),
            generators=tuple(generators.get(shown) for shown in order),
            expected=None if expected is None or retired else str(expected),
            shown_ms=shown_ms,
            is_too_fast=is_too_fast,
            at=at,
            is_order_shown=source != Annotator.Source.IMPORTED,
        )
        for person, purpose, outcome, prompt, order, image, expected, retired, shown_ms, is_too_fast, at, source in rows
    ]


def people_figures(said: Sequence[Said], *, excluded: Iterable[str] = ()) -> dict[str, PersonFigures]:
    """The figures of everyone who said something, by person.

    Args:
        said: in the order of time.
        excluded: people who are no part of the crowd that others are held against. They are held against it too.
    """
    outside = set(excluded)
    crowd = [vote for vote in said if vote.person not in outside]
    figures = _figures(crowd)
    if outside:
        figures |= {person: found for person, found in _figures(said).items() if person in outside}
    return figures


def reliabilities_of(campaign: Campaign | None) -> dict[str, float]:
    """How likely each person gives the answer that is clear, 0..1, by public id; see `PersonFigures.reliability`.

    Args:
        campaign: from what they said there; None means in all campaigns.
    """
    campaigns = list(Campaign.objects.all()) if campaign is None else [campaign]
    excluded = Annotator.objects.filter(state=Annotator.State.EXCLUDED).values_list("pk", flat=True)
    figures = people_figures(read_said(campaigns), excluded=map(str, excluded))
    public_ids = dict(Annotator.objects.filter(pk__in=figures).values_list("pk", "public_id"))
    return {
        str(public_ids[int(person)]): round(of_person.reliability.value, 6)
        for person, of_person in figures.items()
        if of_person.reliability.value is not None
    }


def choices_of(said: Iterable[Said]) -> list[Choice]:
    """The judgements on regular tasks as choices that the science understands."""
    return [_choice(vote) for vote in said if vote.is_judgement and vote.purpose == Purpose.REGULAR]


def same_twice(said: Iterable[Said]) -> dict[str, tuple[int, int]]:
    """How many repeats got the same answer as the first time, and how many there were, by person."""
    first = {(vote.person, vote.task): vote.answer for vote in said if vote.purpose == Purpose.REGULAR}
    counts: dict[str, tuple[int, int]] = {}
    for vote in said:
        if vote.purpose == Purpose.PROBE and vote.is_judgement and (vote.person, vote.task) in first:
            same, n = counts.get(vote.person, (0, 0))
            counts[vote.person] = same + (first[vote.person, vote.task] == vote.answer), n + 1
    return counts


def _figures(said: Sequence[Said]) -> dict[str, PersonFigures]:
    by_person: dict[str, list[Said]] = defaultdict(list)
    for vote in said:
        by_person[vote.person].append(vote)
    answers = reliability.answers_of(choices_of(said))
    place = {person: at for at, person in enumerate(answers.people)}
    fit = reliability.crowd_fit(answers)
    skills = reliability.one_coin(answers).skills if answers.people else np.zeros(0)
    usual_fit = fit.hits.sum() / max(1, fit.tasks.sum())
    repeats = same_twice(said)
    return {
        person: _figures_of_one(person, votes, place.get(person), fit, usual_fit, skills, repeats.get(person, (0, 0)))
        for person, votes in by_person.items()
    }


def _figures_of_one(
    person: str,
    votes: list[Said],
    place: int | None,
    fit: reliability.CrowdFit,
    usual_fit: float,
    skills: "np.typing.NDArray[np.float64]",
    repeats: tuple[int, int],
) -> PersonFigures:
    share = reliability.share
    regular = [vote for vote in votes if vote.purpose == Purpose.REGULAR]
    judged = [vote for vote in regular if vote.is_judgement]
    gold = [vote for vote in votes if vote.purpose == Purpose.GOLD and vote.is_judgement and vote.expected]
    right = sum(vote.image == vote.expected for vote in gold)
    outcomes = [vote.outcome for vote in judged]
    times = [vote.shown_ms for vote in regular if vote.shown_ms is not None]
    choices = [_choice(vote) for vote in judged]
    preference_p = reliability.preference_p_value(choices)
    hits, decided = (int(fit.hits[place]), int(fit.tasks[place])) if place is not None else (0, 0)
    of_crowd = share("as the decided crowd", hits, decided, "tasks")
    is_of_other_taste = (
        preference_p is not None
        and preference_p < TASTE_LEVEL
        and of_crowd.high is not None
        and of_crowd.high < usual_fit
    )
    clear = (0.0, 0.0)
    if place is not None and not is_of_other_taste:
        clear = float(fit.weighted_hits[place]), float(fit.weights[place])
    return PersonFigures(
        person=person,
        said=len(regular),
        judgements=len(judged),
        median_ms=statistics.median(times) if times else None,
        last_at=votes[-1].at,
        too_fast=share("too fast", sum(vote.is_too_fast for vote in regular), len(regular), "votes"),
        ties=share("ties", outcomes.count(Outcome.TIE), len(judged), "judgements"),
        all_bad=share("all bad", outcomes.count(Outcome.ALL_BAD), len(judged), "judgements"),
        skips=share("skips and flags", len(regular) - len(judged), len(regular), "votes"),
        places=reliability.places([_choice(vote) for vote in judged if vote.is_order_shown]),
        gold=share("gold", right, len(gold), "gold tasks"),
        repeats=share("same answer to repeats", *repeats, "repeats"),
        fit=of_crowd,
        chance_fit=float(fit.chance[place]) / decided if place is not None and decided else 0.0,
        reliability=reliability.reliability(right, len(gold), *clear),
        skill=float(skills[place]) if place is not None else None,
        preference_p=preference_p,
        is_of_other_taste=is_of_other_taste,
        images=float(np.mean([len(vote.images) for vote in votes])),
    )


def _choice(vote: Said) -> Choice:
    return Choice(
        prompt=vote.prompt,
        images=vote.images,
        outcome=vote.outcome,  # type: ignore[arg-type]
        chosen=None if vote.image is None else vote.images.index(vote.image),
        annotator=vote.person,
        split="train",
        generators=vote.generators,
    )
