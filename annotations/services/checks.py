"""Which practice, gold and repeat tasks a person gets, and when: dealt between the others, alike to look at."""

import random
from dataclasses import dataclass
from uuid import UUID, uuid4

from django.db.models import Count, Exists, Max, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from annotations.models import Annotator, Campaign, Candidate, Outcome, Participation, Slot, Task, Vote
from annotations.queries.quality import gold_tally
from annotations.queries.voting import flagged_images
from annotations.services.leases import end_of_lease
from annotations.services.participations import participation_of
from annotations.services.tasks import queue_place
from scoring.reliability import doubt

Purpose = Task.Purpose

# The share of gold that a reliable person answers as expected; see `gold_rate`.
REQUIRED_ACCURACY = 0.8

# How far the rate of gold may move from the campaign's share, down for those who proved reliable, up for the doubtful.
GOLD_FACTOR = 3.0
HIGHEST_RATE = 0.5

# A repeat shows what was voted on so many votes ago: long enough to be forgotten, soon enough that tastes are the same.
REPEAT_AFTER, REPEAT_WITHIN = 10, 100


@dataclass(frozen=True)
class Feedback:
    """What somebody who practises gets to know after a vote."""

    is_right: bool
    expected: UUID
    """Public id of the obvious answer."""


def deal_check(*, annotator: Annotator, campaign: Campaign) -> bool:
    """Leases one practice, gold or repeat task to a person if one is due now; tells whether it did.

    Practice comes first, as long as the person has not practised; who asks for more claims than there is practice gets
    real ones behind it, so that no wait follows the last practice set. After that chance decides, so that nobody can
    count on when a check comes: gold at `gold_rate`, a repeat at the campaign's `probe_share`. Call it for each missing
    claim, within a transaction that holds the person's lock (`leases.lock_claims`) and that ends with the first check:
    its task is locked until then.
    """
    if campaign.practice_tasks and (is_practising := _deal_practice(annotator, campaign)) is not None:
        return is_practising
    draw = random.random()
    rate = gold_rate(annotator, campaign)
    if draw < rate:
        return _deal_gold(annotator, campaign, Purpose.GOLD)
    return draw < rate + campaign.probe_share and _deal_repeat(annotator, campaign)


def gold_rate(annotator: Annotator, campaign: Campaign) -> float:
    """The chance that a person's next task is gold.

    The campaign's share times 3 ** (2 * doubt - 1), where doubt is the probability that the person gets less than 80 %
    of gold right: from a third of the share for those who proved reliable to three times for those who fail, never
    more than one half. A new person begins at about twice the share.
    """
    if not campaign.gold_share:
        return 0.0
    right, n = gold_tally(annotator, campaign)
    factor = GOLD_FACTOR ** (2 * doubt(right, n, required=REQUIRED_ACCURACY) - 1)
    return float(min(HIGHEST_RATE, campaign.gold_share * factor))


def after_vote(*, vote: Vote) -> None:
    """Notes that a person has practised enough; part of the transaction that records the vote."""
    if vote.task.purpose != Purpose.PRACTICE:
        return
    campaign = vote.slot.campaign
    votes = Vote.objects.standing().filter(annotator=vote.annotator, task__campaign=campaign)
    if votes.filter(task__purpose=Purpose.PRACTICE).count() >= _practice_wanted(campaign):
        part = participation_of(annotator=vote.annotator, campaign=campaign)
        Participation.objects.filter(pk=part.pk, practised_at=None).update(practised_at=Now())


def feedback_on(vote: Vote) -> Feedback | None:
    """Whether a practice vote was right, and what would have been; None for every other vote."""
    if vote.task.purpose != Purpose.PRACTICE or vote.task.expected is None:
        return None
    return Feedback(is_right=vote.image_id == vote.task.expected_id, expected=vote.task.expected.public_id)


def checks_in_use(campaign: Campaign, purpose: Task.Purpose) -> QuerySet[Task]:
    """The gold or practice tasks that may be given out."""
    hidden = Candidate.objects.filter(task=OuterRef("pk"), image__is_hidden=True)
    return Task.objects.filter(~Exists(hidden), campaign=campaign, purpose=purpose, retired_at=None)


def _practice_wanted(campaign: Campaign) -> int:
    return min(campaign.practice_tasks, checks_in_use(campaign, Purpose.PRACTICE).count())


def _deal_practice(annotator: Annotator, campaign: Campaign) -> bool | None:
    """Whether a practice task was dealt; None where the person is through with practice, or there is none."""
    if participation_of(annotator=annotator, campaign=campaign).practised_at is not None:
        return None
    slots = Slot.objects.filter(annotator=annotator, campaign=campaign, task__purpose=Purpose.PRACTICE)
    if slots.count() < _practice_wanted(campaign) and _deal_gold(annotator, campaign, Purpose.PRACTICE):
        return True
    return False if slots.filter(state=Slot.State.LEASED).exists() else None


def _deal_gold(annotator: Annotator, campaign: Campaign, purpose: Task.Purpose) -> bool:
    """Of those that this person never had, the one that the fewest people had; among equals chance decides."""
    own = Q(annotator=annotator, task__campaign=campaign, task__candidates_hash=OuterRef("candidates_hash"))
    unknown = checks_in_use(campaign, purpose).exclude(Exists(Slot.objects.filter(own)))
    unknown = unknown.exclude(Exists(Vote.objects.filter(own))).exclude(Exists(_flagged(annotator, task="pk")))
    uses = Count("slots", filter=~Q(slots__state=Slot.State.OPEN))
    task = unknown.annotate(uses=uses).order_by("uses", "?").first()
    if task is None:
        return False
    images = list(task.candidates.values_list("image", flat=True))
    random.shuffle(images)
    _lease(task, annotator=annotator, order=images)
    return True


def _deal_repeat(annotator: Annotator, campaign: Campaign) -> bool:
    """One of this person's own earlier tasks once more, its images in the opposite order."""
    votes = Vote.objects.standing().filter(annotator=annotator, task__campaign=campaign)
    recent = list(votes.order_by("-created_at", "-pk").values_list("pk", flat=True)[:REPEAT_WITHIN])
    repeated = Slot.objects.filter(annotator=annotator, task__repeats=OuterRef("task"))
    hidden = Candidate.objects.filter(task=OuterRef("task"), image__is_hidden=True)
    vote = (
        votes.filter(pk__in=recent[REPEAT_AFTER:], outcome__in=Outcome.judgements(), task__purpose=Purpose.REGULAR)
        .exclude(Exists(repeated))
        .exclude(Exists(hidden))
        .exclude(Exists(_flagged(annotator, task="task")))
        .select_related("task")
        .order_by("?")
        .first()
    )
    if vote is None:
        return False
    _lease(_repeat_of(vote.task), annotator=annotator, order=vote.order[::-1])
    return True


def _flagged(annotator: Annotator, *, task: str) -> QuerySet[Candidate]:
    """The images of a task that this person flagged and is not shown again."""
    return Candidate.objects.filter(task=OuterRef(task), image__in=flagged_images(annotator))


def _repeat_of(task: Task) -> Task:
    """The probe of a task, made for the first person who gets it."""
    probe, is_new = Task.objects.get_or_create(
        campaign_id=task.campaign_id,
        purpose=Purpose.PROBE,
        candidates_hash=task.candidates_hash,
        defaults={"prompt_id": task.prompt_id, "repeats": task, "matchup": task.matchup},
    )
    if is_new:
        shown = task.candidates.values_list("image", "position")
        Candidate.objects.bulk_create(
            Candidate(task=probe, image_id=image, position=position) for image, position in shown
        )
    return probe


def _lease(task: Task, *, annotator: Annotator, order: list[int]) -> None:
    """A slot of their own for this person, one that somebody gave back where there is one."""
    Task.objects.select_for_update(no_key=True).get(pk=task.pk)  # people who get it at this moment come one by one
    campaign = task.campaign
    held = {
        "state": Slot.State.LEASED,
        "annotator": annotator,
        "token": uuid4(),
        "order": order,
        "leased_at": Now(),
        "lease_until": end_of_lease(campaign),
    }
    free = task.slots.filter(state=Slot.State.OPEN).order_by("number").first()
    if free is not None:
        Slot.objects.filter(pk=free.pk).update(**held)
        return
    last = task.slots.aggregate(last=Max("number"))["last"]
    number = 0 if last is None else last + 1
    Slot.objects.create(campaign=campaign, task=task, number=number, sort_key=queue_place(0), **held)
