"""Pausing, excluding and restoring people: reversible, written down, and the votes that leave are collected anew."""

from collections import Counter
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Count, Exists, OuterRef

from annotations.models import Annotator, Campaign, Outcome, Slot, StateChange, Task, Vote
from annotations.services.leases import lock_claims, open_again
from annotations.services.tasks import queue_place
from annotations.services.voting import FIRST_EXTRA_NUMBER

State = Annotator.State

# Slots that stand in for an excluded person's votes are numbered from here, below those that skips add.
FIRST_REPLACEMENT_NUMBER = 10_000

BATCH = 2000


class UnableToModerate(Exception):
    """A change of state that makes no sense; the message says why. Nothing was changed."""


def pause_person(*, annotator: Annotator, by: AbstractBaseUser | None, reason: str) -> StateChange:
    """Give a person no more work. Their votes count on, and what they hold they may still answer.

    Raises:
        UnableToModerate: they are paused or excluded already, or the reason is missing.
    """
    with transaction.atomic():
        _lock(annotator)
        if annotator.state != State.ACTIVE:
            raise UnableToModerate(f"{annotator} is {annotator.get_state_display()} already.")
        return _change(annotator, State.PAUSED, by=by, reason=reason)


def exclude_person(
    *, annotator: Annotator, by: AbstractBaseUser | None, reason: str, effect: dict[str, Any] | None = None
) -> StateChange:
    """Count none of a person's votes any more, and collect new ones in their place; nothing is deleted.

    What the person holds goes back to others. Each judgement that leaves a task of a campaign that is not closed opens
    one more slot there.

    Args:
        effect: what it changes beyond votes and slots, as it was shown to whoever decided; kept with the change.

    Raises:
        UnableToModerate: they are excluded already, or the reason is missing.
    """
    with transaction.atomic():
        _lock(annotator)
        if annotator.state == State.EXCLUDED:
            raise UnableToModerate(f"{annotator} is excluded already.")
        votes = Vote.objects.counted().filter(annotator=annotator).count()
        open_again(Slot.objects.filter(annotator=annotator))
        change = _change(annotator, State.EXCLUDED, by=by, reason=reason)
        opened = _balance(_tasks_judged_by(annotator))
        return _note(change, {**(effect or {}), "votes": -votes, "slots_opened": opened})


def restore_person(
    *, annotator: Annotator, by: AbstractBaseUser | None, reason: str, effect: dict[str, Any] | None = None
) -> StateChange:
    """Let a paused or excluded person vote again and count all their votes as before.

    Slots that were opened in place of their votes and that nobody has taken yet go away; votes given in them stay.

    Raises:
        UnableToModerate: they are active, or the reason is missing.
    """
    with transaction.atomic():
        _lock(annotator)
        if annotator.state == State.ACTIVE:
            raise UnableToModerate(f"{annotator} is active already.")
        was_excluded = annotator.state == State.EXCLUDED
        change = _change(annotator, State.ACTIVE, by=by, reason=reason)
        if not was_excluded:
            return change
        closed = -_balance(_tasks_judged_by(annotator))
        votes = Vote.objects.counted().filter(annotator=annotator).count()
        return _note(change, {**(effect or {}), "votes": votes, "slots_closed": closed})


def _lock(annotator: Annotator) -> None:
    """Let claims and votes of this person wait for the change, and the change for them; read the person anew."""
    lock_claims(annotator)
    annotator.refresh_from_db(from_queryset=Annotator.objects.select_for_update(no_key=True))


def _change(annotator: Annotator, state: Annotator.State, *, by: AbstractBaseUser | None, reason: str) -> StateChange:
    reason = reason.strip()
    if not reason:
        raise UnableToModerate("Say why, in a few words; whoever reads this later wants to know.")
    if len(reason) > 300:
        raise UnableToModerate("Say why in at most 300 characters.")
    annotator.state = state
    annotator.save(update_fields=["state"])
    return StateChange.objects.create(annotator=annotator, to=state, reason=reason, by_id=by.pk if by else None)


def _note(change: StateChange, effect: dict[str, Any]) -> StateChange:
    change.effect = effect
    change.save(update_fields=["effect"])
    return change


def _tasks_judged_by(annotator: Annotator) -> list[int]:
    """The regular tasks of campaigns that are not closed on which a judgement of this person stands."""
    votes = Vote.objects.standing().filter(
        annotator=annotator,
        outcome__in=Outcome.judgements(),
        task__purpose=Task.Purpose.REGULAR,
    )
    return list(
        votes.exclude(task__campaign__state=Campaign.State.CLOSED).order_by("task").values_list("task", flat=True)
    )


def _balance(tasks: list[int]) -> int:
    """Make each task have as many stand-in slots as judgements by excluded people; gives how many more there are.

    Too many go only while nobody has them. So it may be repeated, and several exclusions and restorations in any order
    end alike.
    """
    difference = 0
    for start in range(0, len(tasks), BATCH):
        batch = tasks[start : start + BATCH]
        # In one order, so that two changes never wait for each other in a circle.
        list(Task.objects.select_for_update(no_key=True).filter(pk__in=batch).order_by("pk").values_list("pk"))
        difference += _balance_batch(batch)
    return difference


def _balance_batch(tasks: list[int]) -> int:
    lost = Vote.objects.standing().filter(
        task__in=tasks, outcome__in=Outcome.judgements(), annotator__state=State.EXCLUDED
    )
    wanted = Counter(dict(lost.order_by().values_list("task").annotate(Count("pk"))))
    standing_in: dict[int, list[Slot]] = {task: [] for task in tasks}
    slots = Slot.objects.filter(task__in=tasks, number__gte=FIRST_REPLACEMENT_NUMBER, number__lt=FIRST_EXTRA_NUMBER)
    for slot in slots.order_by("number"):
        standing_in[slot.task_id].append(slot)
    new, gone = [], []
    for task in Task.objects.filter(pk__in=tasks).select_related("campaign"):
        there = standing_in[task.pk]
        missing = wanted[task.pk] - len(there)
        number = there[-1].number + 1 if there else FIRST_REPLACEMENT_NUMBER
        new += [
            Slot(
                campaign=task.campaign,
                task=task,
                number=number + extra,
                sort_key=queue_place(task.campaign.votes_per_task),
                matchup=task.matchup,
            )
            for extra in range(max(missing, 0))
        ]
        free = [slot.pk for slot in there if slot.state == Slot.State.OPEN]
        gone += free[: max(-missing, 0)]
    Slot.objects.bulk_create(new, batch_size=BATCH)
    # Whoever is being given one of them at this moment keeps it.
    unused = Slot.objects.filter(
        ~Exists(Vote.objects.filter(slot=OuterRef("pk"))), pk__in=gone, state=Slot.State.OPEN
    ).select_for_update(skip_locked=True)
    deleted = Slot.objects.filter(pk__in=[slot.pk for slot in unused]).delete()[0]
    return len(new) - deleted
