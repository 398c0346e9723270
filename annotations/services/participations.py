"""One person's part in one campaign, from the first look to the end."""

import secrets
from datetime import timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from annotations.models import Annotator, Campaign, Outcome, Participation, Recruitment, Slot, Task, Vote
from annotations.queries import people as queries
from annotations.queries.voting import progress_of
from annotations.services.leases import open_again

# No letter or digit that is easily taken for another.
CODE_ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
CODE_LENGTH = 12


class UnableToFinish(Exception):
    """There is more to do before a code is given; the message says what."""


def participation_of(*, annotator: Annotator, campaign: Campaign) -> Participation:
    """The person's part in the campaign, begun on the first need; safe when asked twice at the same moment."""
    return Participation.objects.get_or_create(annotator=annotator, campaign=campaign)[0]


def after_vote(*, vote: Vote) -> None:
    """Note that the person is there, and end their part where this vote is the last that is wanted of them.

    Part of the transaction in which the vote is recorded. Who gets too few gold tasks right is screened out; who was
    recruited and has given all votes that were asked for has completed. Either gets their code at the same moment.
    """
    campaign = vote.slot.campaign
    part = _locked(vote.annotator, campaign)
    if part is None and vote.task.purpose == Task.Purpose.GOLD and campaign.screen_out_after is not None:
        participation_of(annotator=vote.annotator, campaign=campaign)
        part = _locked(vote.annotator, campaign)
    if part is None or part.state != Participation.State.ACTIVE:
        return
    part.annotator, part.campaign = vote.annotator, campaign  # known already, and not to be read again with each vote
    if vote.task.purpose == Task.Purpose.GOLD and _fails_gold(part):
        _end(part, Participation.State.SCREENED_OUT)
    elif part.recruitment is not None and _judged(part) >= part.recruitment.votes_wanted:
        _end(part, Participation.State.COMPLETED)
    else:
        Participation.objects.filter(pk=part.pk).update(seen_at=Now())


def finish(*, participation: Participation) -> Participation:
    """The part of a recruited person ended early, with its code, because nothing is left that they could do.

    Asking again gives the same code.

    Raises:
        UnableToFinish: there is work left, no vote was given yet, or nobody promised a code.
    """
    with transaction.atomic():
        part = _locked(participation.annotator, participation.campaign)
        if part is None or part.recruitment is None:
            raise UnableToFinish(_("No code was promised here. Stop whenever you like: every vote is kept."))
        if part.state != Participation.State.ACTIVE:
            return part
        if not _judged(part):
            raise UnableToFinish(_("You have not voted yet. If there is nothing to vote on, please return your place."))
        if part.campaign.state != Campaign.State.CLOSED and progress_of(part.annotator, part.campaign).left:
            raise UnableToFinish(_("There are still images for you to vote on."))
        return _end(part, Participation.State.COMPLETED)


def give_back(*, participation: Participation, unseen_for: timedelta | None = None) -> Participation:
    """The place of a recruited person who does not go on, free for somebody else; their votes are kept.

    Args:
        unseen_for: leave those alone who were seen within this time, however long they seemed to be away.
    """
    with transaction.atomic():
        part = _locked(participation.annotator, participation.campaign)
        if part is None or part.recruitment is None or part.state != Participation.State.ACTIVE:
            return part or participation
        if unseen_for and Participation.objects.filter(pk=part.pk, seen_at__gte=Now() - unseen_for).exists():
            return part
        return _end(part, Participation.State.RETURNED)


def _locked(annotator: Annotator, campaign: Campaign) -> Participation | None:
    """The part, locked before anything is counted: of two last votes at the same moment the second sees the first."""
    parts = Participation.objects.select_related("recruitment")
    return parts.select_for_update(of=("self",), no_key=True).filter(annotator=annotator, campaign=campaign).first()


def _judged(part: Participation) -> int:
    return queries.judged_by(part.annotator, [part.campaign]).get(part.campaign_id, 0)


def _fails_gold(part: Participation) -> bool:
    """Whether of enough answered gold tasks too few were right; a tie or 'all bad' is an answer, a skip is none."""
    campaign = part.campaign
    if campaign.screen_out_after is None:
        return False
    said = Vote.objects.standing().filter(
        annotator=part.annotator,
        slot__campaign=campaign,
        task__purpose=Task.Purpose.GOLD,
        outcome__in=Outcome.judgements(),
    )
    answers = list(said.values_list("image", "task__expected"))
    right = sum(chosen == expected for chosen, expected in answers)
    return len(answers) >= max(1, campaign.screen_out_after) and right < campaign.screen_out_below * len(answers)


def _end(part: Participation, state: Participation.State) -> Participation:
    part.state = state
    part.code = part.code or _code_for(part.recruitment, state)
    Participation.objects.filter(pk=part.pk).update(state=state, code=part.code, finished_at=Now(), seen_at=Now())
    # What is being answered at this moment is left alone; it will be one vote more than was asked for.
    free = _held_slots(part).select_for_update(skip_locked=True).values_list("pk", flat=True)
    open_again(Slot.objects.filter(pk__in=list(free)))
    part.refresh_from_db(fields=["finished_at", "seen_at"])
    return part


def _code_for(recruitment: Recruitment | None, state: Participation.State) -> str:
    if recruitment is None or state == Participation.State.RETURNED:
        return ""
    if state == Participation.State.SCREENED_OUT:
        return recruitment.screen_out_code
    if recruitment.codes == Recruitment.Codes.SHARED:
        return recruitment.completion_code
    # One of 10^17: that two people are given the same is less likely than a fault of the machine.
    return "".join(secrets.choice(CODE_ALPHABET) for _letter in range(CODE_LENGTH))


def _held_slots(part: Participation) -> QuerySet[Slot]:
    return Slot.objects.filter(annotator=part.annotator_id, campaign=part.campaign_id, state=Slot.State.LEASED)
