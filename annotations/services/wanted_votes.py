"""Another number of votes for tasks that are there: slots are opened or taken away, and no vote is touched."""

from collections.abc import Mapping, Sequence
from itertools import count, islice

from django.db import transaction
from django.db.models import Count, Exists, F, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from annotations.models import Campaign, Slot, Task, Vote
from annotations.services.moderation import FIRST_REPLACEMENT_NUMBER
from annotations.services.tasks import queue_places, tell_planner
from annotations.services.voting import FIRST_EXTRA_NUMBER

BATCH = 2000


@transaction.atomic
def settle_slots(*, campaign: Campaign) -> int:
    """Let each regular task want as many votes as the campaign does now; gives how many slots came, less those gone.

    A task that lacks votes gets open slots, also one that was finished before. Of a task with too many, open slots go;
    votes that are given stay, and what people hold they may still answer. Repeated, it changes nothing.
    """
    # Whoever makes tasks, or settles them, waits; those who claim and vote don't.
    locked = Campaign.objects.select_for_update(no_key=True).get(pk=campaign.pk)
    tasks = Task.objects.filter(campaign=locked, purpose=Task.Purpose.REGULAR).order_by("pk")
    opened = closed = last = 0
    # Skips, undos and exclusions change the slots of a task under its lock as well; all take the locks in one order.
    while batch := list(tasks.select_for_update(no_key=True).filter(pk__gt=last)[:BATCH]):
        last = batch[-1].pk
        missing = _missing_votes(batch, wanted=locked.votes_per_task)
        opened += _open_slots(locked, [task for task in batch if missing[task.pk] > 0], missing)
        closed += _take_away({task: -number for task, number in missing.items() if number < 0})
    if opened:
        tell_planner()
    return opened - closed


def _missing_votes(tasks: Sequence[Task], *, wanted: int) -> dict[int, int]:
    """How many slots each task lacks, below zero where it has too many.

    One statement, so that a vote given meanwhile is seen as its slot or as a vote, never as both or neither.
    """
    votes = _count_of(Vote.objects.counted())
    slots = _count_of(Slot.objects.exclude(state=Slot.State.DONE))
    found = Task.objects.filter(pk__in=[task.pk for task in tasks]).annotate(there=votes + slots)
    return {pk: wanted - there for pk, there in found.values_list("pk", "there")}


def _count_of(rows: "QuerySet[Vote] | QuerySet[Slot]") -> Coalesce:
    of_task = rows.filter(task=OuterRef("pk")).order_by().values("task").annotate(number_of=Count("pk"))
    return Coalesce(Subquery(of_task.values("number_of"), output_field=IntegerField()), 0)


def _open_slots(campaign: Campaign, tasks: Sequence[Task], missing: Mapping[int, int]) -> int:
    """Each under the lowest number that is free, which is the round of the queue in which it comes."""
    used: dict[int, set[int]] = {task.pk: set() for task in tasks}
    there = Slot.objects.filter(task__in=tasks, number__lt=FIRST_REPLACEMENT_NUMBER)
    for task, number in there.values_list("task", "number"):
        used[task].add(number)
    rounds: dict[int, list[Task]] = {}
    for each in tasks:
        free = (number for number in count() if number not in used[each.pk])
        for number in islice(free, missing[each.pk]):
            rounds.setdefault(number, []).append(each)
    new = [
        Slot(campaign=campaign, task=task, number=number, sort_key=place, matchup=task.matchup)
        for number, of_round in rounds.items()
        for task, place in queue_places(of_round, number)
    ]
    return len(Slot.objects.bulk_create(new, batch_size=BATCH))


def _take_away(surplus: Mapping[int, int]) -> int:
    """Open slots, those of the latest rounds first and those that stand in for somebody's votes last."""
    free = Slot.objects.filter(~Exists(Vote.objects.filter(slot=OuterRef("pk"))), state=Slot.State.OPEN)
    stands_in = {"number__gte": FIRST_REPLACEMENT_NUMBER, "number__lt": FIRST_EXTRA_NUMBER}
    left, gone = dict(surplus), []
    for slots in (free.exclude(**stands_in), free.filter(**stands_in)):
        for pk, task in slots.filter(task__in=surplus).order_by(F("number").desc()).values_list("pk", "task"):
            if left[task] > 0:
                left[task] -= 1
                gone.append(pk)
    # Whoever is being given one of them at this moment keeps it.
    still_free = free.filter(pk__in=gone).select_for_update(skip_locked=True)
    return Slot.objects.filter(pk__in=[slot.pk for slot in still_free]).delete()[0]
