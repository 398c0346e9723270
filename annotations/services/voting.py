"""Votes: recorded once and for ever, undone by their own people; every answered slot begins with a claim."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from annotations.models import Annotator, Campaign, Image, Outcome, Slot, Task, Vote
from annotations.queries import people
from annotations.queries import voting as queries
from annotations.services import checks, participations
from annotations.services.answers import FLAG_REASONS, SKIP_REASONS, Answer, Reason, VoteRejected, checked_answer
from annotations.services.claims import (
    MAX_LIVE_CLAIMS,
    AnnotatorExcluded,
    AnnotatorPaused,
    CampaignNotRunning,
    CapReached,
    ConsentNeeded,
    InviteNeeded,
    PlaceGivenBack,
    VotingRefused,
    claim_slots,
    extend_claims,
    release_claims,
)
from annotations.services.leases import end_of_lease, lock_claims, open_again
from annotations.services.tasks import queue_place

__all__ = [
    "FLAG_REASONS",
    "SKIP_REASONS",
    "AnnotatorExcluded",
    "AnnotatorPaused",
    "CampaignNotRunning",
    "CapReached",
    "ClaimLost",
    "ConsentNeeded",
    "InviteNeeded",
    "KeyReused",
    "PlaceGivenBack",
    "RecordedVote",
    "UndoRefused",
    "VoteRejected",
    "VotingRefused",
    "claim_slots",
    "extend_claims",
    "leave",
    "record_vote",
    "release_claims",
    "undo_vote",
]

# Slots added for a skip or a flag are numbered from here, so that an undo takes away exactly what its skip added.
FIRST_EXTRA_NUMBER = 20_000

# Skips may add twice the votes that were wanted, three times as many slots in all; then the task rests.
EXTRA_SLOTS_PER_VOTE = 2

# For so long the work of somebody who left the page is kept for them.
SECONDS_TO_COME_BACK = 30


class ClaimLost(VotingRefused):
    code = "claim_lost"


class KeyReused(VotingRefused):
    code = "key_reused"


class UndoRefused(VotingRefused):
    code = "undo_refused"


@dataclass(frozen=True)
class RecordedVote:
    """A vote in the database, and whether this call put it there."""

    vote: Vote
    is_new: bool


def record_vote(
    *,
    annotator: Annotator,
    token: UUID,
    outcome: str,
    image: UUID | None = None,
    reason: str = "",
    shown_ms: int | None = None,
    hidden_ms: int = 0,
    client: dict[str, Any] | None = None,
    idempotency_key: UUID,
) -> RecordedVote:
    """The vote for a claim, stored once, however often and from wherever it is sent.

    The same key with the same body gives the same vote again. A vote that comes after its lease ran out still
    counts as long as nobody else was given the slot. A skip or a flag is no judgement: it ends the claim and
    opens one more slot of the task, so that the wanted number of judgements can still come together.

    Args:
        token: names the claim, from `claim_slots`.
        outcome: a code of `Outcome`; which ones are allowed is the campaign's business.
        image: the public id of the chosen image, for a choice and for nothing else.
        reason: why, at most 200 characters; needed for a flag, allowed for a skip.
        shown_ms: for how long the images were in sight, in milliseconds, by the clock of the client.
        hidden_ms: for how long the page was out of sight meanwhile, in milliseconds; no part of `shown_ms`.
        client: how the vote was given, by the names of `answers.CLIENT_FACTS`; all of them may be left out.
        idempotency_key: made by the client for this one vote and kept until it is answered.

    Raises:
        VoteRejected: what was said makes no sense for this claim.
        KeyReused: the key belongs to another vote.
        ClaimLost: the claim is not this person's, was answered, undone or given to somebody else.
        AnnotatorExcluded: this person's votes are no longer wanted.
    """
    answer = checked_answer(
        outcome=outcome, image=image, reason=reason, shown_ms=shown_ms, hidden_ms=hidden_ms, client=client
    )
    try:
        with transaction.atomic():
            return _record(annotator=annotator, token=token, answer=answer, key=idempotency_key)
    except IntegrityError:
        # Somebody was quicker between our look and our write. What the database kept is the answer.
        slot = Slot.objects.filter(token=token, annotator=annotator).first()
        replayed = _replay(annotator=annotator, slot=slot, answer=answer, key=idempotency_key)
        if replayed is None:
            raise _claim_lost() from None
        return replayed


def undo_vote(*, annotator: Annotator, vote: Vote) -> Slot:
    """The task of one's latest vote again, with its images in the same order, to be answered anew.

    The old vote stays in the database as withdrawn. Undoing further goes further back; undoing the same vote
    twice gives the same claim. What a skip added to the task is taken away, unless somebody already has it.

    Returns:
        The leased slot, with a new token.

    Raises:
        UndoRefused: not this person's latest standing vote in its campaign, or the campaign is closed.
        AnnotatorExcluded: this person's votes are no longer wanted.
    """
    _check_not_excluded(annotator)
    with transaction.atomic():
        lock_claims(annotator)
        slots = Slot.objects.select_related("campaign", "task__prompt").select_for_update(of=("self",))
        slot = slots.get(pk=vote.slot_id)
        vote = Vote.objects.get(pk=vote.pk)
        if vote.withdrawn_at and slot.annotator_id == annotator.pk and slot.state == Slot.State.LEASED:
            return slot
        _check_undoable(annotator=annotator, vote=vote, campaign=slot.campaign)
        Vote.objects.filter(pk=vote.pk).update(withdrawn_at=Now())
        if vote.outcome not in Outcome.judgements():
            _remove_extra_slot(slot.task)
        _make_room(annotator=annotator, campaign=slot.campaign)
        _lease_again(slot)
    return slot


def leave(*, annotator: Annotator, campaign: Campaign) -> int:
    """Let the leases of somebody who left the page end soon; gives how many there are.

    Who comes back in time, by a reload or on another device, finds the same sets in the same order; after that
    others are given them. A vote that is still on its way counts unless somebody else was given its slot.
    """
    soon = Now() + timedelta(seconds=SECONDS_TO_COME_BACK)
    return queries.live_slots(annotator, campaign).filter(lease_until__gt=soon).update(lease_until=soon)


def _record(*, annotator: Annotator, token: UUID, answer: Answer, key: UUID) -> RecordedVote:
    # Whoever excludes this person waits for the vote, or the vote for them; after both, nothing is uncounted.
    annotator = Annotator.objects.select_for_update(no_key=True).get(pk=annotator.pk)
    # The row lock lets all who answer this claim wait for the first; only then is it decided who was first.
    claimed = Slot.objects.select_for_update(of=("self",)).select_related("campaign", "task")
    slot = claimed.filter(token=token, annotator=annotator).first()
    replayed = _replay(annotator=annotator, slot=slot, answer=answer, key=key)
    if replayed is not None:
        return replayed
    if slot is None or slot.state != Slot.State.LEASED:
        raise _claim_lost()
    _check_not_excluded(annotator)
    vote = _store(annotator=annotator, slot=slot, answer=answer, key=key)
    Slot.objects.filter(pk=slot.pk).update(state=Slot.State.DONE, lease_until=None)
    if answer.outcome not in Outcome.judgements() and slot.task.purpose == Task.Purpose.REGULAR:
        _add_extra_slot(slot.task, campaign=slot.campaign)
    checks.after_vote(vote=vote)
    participations.after_vote(vote=vote)
    if answer.outcome == Outcome.FLAG and answer.reason != Reason.PROMPT_UNCLEAR:
        _put_away_flagged(slot)
    return RecordedVote(vote=vote, is_new=True)


def _replay(*, annotator: Annotator, slot: Slot | None, answer: Answer, key: UUID) -> RecordedVote | None:
    vote = Vote.objects.filter(annotator=annotator, idempotency_key=key).first()
    if vote is None:
        return None
    if Answer.of(vote) != answer or (slot is not None and slot.pk != vote.slot_id):
        raise KeyReused("This idempotency key belongs to another vote. Make a new key for each vote.")
    return RecordedVote(vote=vote, is_new=False)


def _store(*, annotator: Annotator, slot: Slot, answer: Answer, key: UUID) -> Vote:
    campaign = slot.campaign
    if answer.outcome not in campaign.outcomes:
        allowed = ", ".join(campaign.outcomes)
        raise VoteRejected(f"This campaign does not take the outcome {answer.outcome}; it takes {allowed}.")
    return Vote.objects.create(
        slot=slot,
        task=slot.task,
        annotator=annotator,
        outcome=answer.outcome,
        image=_chosen_image(slot, answer.image),
        reason=answer.reason,
        order=slot.order or [],
        shown_ms=answer.shown_ms,
        hidden_ms=answer.hidden_ms,
        client=answer.client,
        is_too_fast=answer.shown_ms is not None and answer.shown_ms < campaign.too_fast_ms,
        instructions_version=campaign.instructions_version,
        idempotency_key=key,
        served_at=slot.leased_at,
    )


def _chosen_image(slot: Slot, public_id: UUID | None) -> Image | None:
    if public_id is None:
        return None
    image = Image.objects.filter(public_id=public_id, pk__in=slot.order or []).only("pk", "public_id").first()
    if image is None:
        raise VoteRejected("The chosen image is not one of this task.")
    return image


def _claim_lost() -> ClaimLost:
    return ClaimLost(
        _(
            "This set is no longer yours: you answered it before, or it was given to somebody else. "
            "The vote was not counted; go on with the next one."
        )
    )


def _check_not_excluded(annotator: Annotator) -> None:
    if annotator.state == Annotator.State.EXCLUDED:
        raise AnnotatorExcluded(_("You can no longer vote here. Please write to the people who invited you."))


def _check_undoable(*, annotator: Annotator, vote: Vote, campaign: Campaign) -> None:
    if campaign.state == Campaign.State.CLOSED:
        raise UndoRefused(_("This campaign is closed; its votes stand."))
    if people.is_finished(annotator, campaign):
        raise UndoRefused(_("Your part is finished; its votes stand."))
    if vote != queries.latest_vote(annotator, campaign):
        raise UndoRefused(_("Only your own latest vote can be undone."))


def _lease_again(slot: Slot) -> None:
    """The order stays and so does the moment of serving: the same images were first shown then, and come first now."""
    slots = Slot.objects.filter(pk=slot.pk)
    slots.update(state=Slot.State.LEASED, token=uuid4(), lease_until=end_of_lease(slot.campaign))
    slot.refresh_from_db(fields=["state", "token", "lease_until"])


def _make_room(*, annotator: Annotator, campaign: Campaign) -> None:
    """Give the last of five claims back before an undone one is added."""
    held = list(queries.held_slots(annotator, campaign).values_list("pk", flat=True))
    open_again(Slot.objects.filter(pk__in=held[MAX_LIVE_CLAIMS - 1 :]))


def _add_extra_slot(task: Task, *, campaign: Campaign) -> None:
    _lock(task)
    extras = task.slots.filter(number__gte=FIRST_EXTRA_NUMBER)
    if extras.count() >= EXTRA_SLOTS_PER_VOTE * campaign.votes_per_task:
        return
    last = extras.aggregate(last=Max("number"))["last"]
    task.slots.create(
        campaign=campaign,
        number=FIRST_EXTRA_NUMBER if last is None else last + 1,
        sort_key=queue_place(campaign.votes_per_task),  # after all that was wanted from the start
        matchup=task.matchup,
    )


def _put_away_flagged(slot: Slot) -> None:
    """Give back what this person holds with an image they just flagged; `claim_slots` deals them none of it again."""
    held = Slot.objects.filter(annotator=slot.annotator, state=Slot.State.LEASED, order__overlap=slot.order)
    open_again(held)


def _remove_extra_slot(task: Task) -> None:
    """Only if there are more of them than skips and flags that still stand, and only one that nobody has."""
    _lock(task)
    extras = task.slots.filter(number__gte=FIRST_EXTRA_NUMBER)
    still_skipped = Vote.objects.standing().filter(task=task).exclude(outcome__in=Outcome.judgements())
    if extras.count() > still_skipped.count():
        free = extras.filter(state=Slot.State.OPEN).select_for_update(skip_locked=True).order_by("-number")
        Slot.objects.filter(pk__in=[slot.pk for slot in free[:1] if not slot.votes.exists()]).delete()


def _lock(task: Task) -> None:
    """Let those who add and take away slots of a task wait for each other, but not those who vote on it."""
    Task.objects.select_for_update(no_key=True).get(pk=task.pk)
