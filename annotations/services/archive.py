"""Keeps choices that people made elsewhere, as done tasks of a campaign that asks nobody."""

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from annotations.models import Annotator, Campaign, Image, Outcome, Slot, Task, Vote
from annotations.services.tasks import CandidateSet, queue_place, record_tasks

BATCH = 2000


@dataclass(frozen=True)
class PastChoice:
    """One person's judgement, as it was made."""

    annotator: Annotator
    candidates: CandidateSet
    """The images in the order in which they were shown."""
    outcome: Outcome
    chosen: Image | None
    idempotency_key: uuid.UUID
    """Names the vote in its source; it becomes its public id as well."""
    voted_at: datetime | None = None
    """None where the source doesn't say; the vote then bears the time of the import."""
    shown_ms: int | None = None
    hidden_ms: int = 0
    is_too_fast: bool = False
    instructions_version: int | None = None
    details: dict[str, Any] = field(default_factory=dict)


def get_or_create_archive(
    *, slug: str, name: str, candidates: int, outcomes: Collection[Outcome], is_synthetic: bool
) -> Campaign:
    """The campaign of this slug; a new one is closed, so that nobody is asked and nobody can vote on it.

    Name, candidates (images per task at most, 2 to 9), outcomes (those that occur) and is_synthetic are given to a new
    one only.
    """
    campaign, _is_new = Campaign.objects.get_or_create(
        slug=slug,
        defaults={
            "name": name,
            "candidates": candidates,
            "votes_per_task": 1,
            "allows_tie": Outcome.TIE in outcomes,
            "allows_all_bad": Outcome.ALL_BAD in outcomes,
            "state": Campaign.State.CLOSED,
            "access": Campaign.Access.INVITED,
            "is_synthetic": is_synthetic,
        },
    )
    return campaign


@transaction.atomic
def get_or_create_imported_annotators(*, external_ids: Iterable[str], is_synthetic: bool) -> dict[str, Annotator]:
    """People of another data set by their ids there; `is_synthetic` is given to new ones only."""
    external_ids = list(dict.fromkeys(external_ids))
    Annotator.objects.bulk_create(
        (
            Annotator(source=Annotator.Source.IMPORTED, external_id=external_id, is_synthetic=is_synthetic)
            for external_id in external_ids
        ),
        batch_size=BATCH,
        ignore_conflicts=True,
    )
    return {
        annotator.external_id: annotator
        for start in range(0, len(external_ids), BATCH)
        for annotator in Annotator.objects.filter(external_id__in=external_ids[start : start + BATCH])
        if annotator.external_id is not None
    }


@transaction.atomic
def record_past_choices(*, campaign: Campaign, choices: Sequence[PastChoice]) -> list[Vote]:
    """Votes with their done slots; each different set of images under a prompt is one task.

    Raises:
        UnableToCreateTasks: a set of images makes no task; nothing is recorded.
        IntegrityError: a choice is there already, or a person chose twice in one set.
    """
    tasks, _new = record_tasks(campaign=campaign, sets=[choice.candidates for choice in choices])
    slots = Slot.objects.bulk_create(
        (
            Slot(
                campaign=campaign,
                task=task,
                number=number,
                sort_key=queue_place(number),
                state=Slot.State.DONE,
                annotator=choice.annotator,
                order=[image.pk for image in choice.candidates.images],
            )
            for choice, task, number in zip(choices, tasks, next_numbers(tasks), strict=True)
        ),
        batch_size=BATCH,
    )
    now = timezone.now()
    return Vote.objects.bulk_create(
        (
            Vote(
                public_id=choice.idempotency_key,
                slot=slot,
                task=slot.task,
                annotator=choice.annotator,
                outcome=choice.outcome,
                image=choice.chosen,
                order=[image.pk for image in choice.candidates.images],
                shown_ms=choice.shown_ms,
                hidden_ms=choice.hidden_ms,
                is_too_fast=choice.is_too_fast,
                client=choice.details,
                instructions_version=choice.instructions_version or campaign.instructions_version,
                idempotency_key=choice.idempotency_key,
                created_at=choice.voted_at or now,
            )
            for choice, slot in zip(choices, slots, strict=True)
        ),
        batch_size=BATCH,
    )


def next_numbers(tasks: Sequence[Task]) -> Iterator[int]:
    """For each task in turn, the number of its next slot."""
    pks = list({task.pk for task in tasks})
    used: defaultdict[int, int] = defaultdict(int)
    for start in range(0, len(pks), BATCH):
        last = Slot.objects.filter(task__in=pks[start : start + BATCH]).values_list("task").annotate(Max("number"))
        used.update({task: number + 1 for task, number in last})
    for task in tasks:
        yield used[task.pk]
        used[task.pk] += 1
