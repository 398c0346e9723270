"""Reads that cross models: what a person may vote on, what they hold, how far they have come."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Count, Exists, F, Func, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from annotations.models import (
    Annotator,
    Campaign,
    Candidate,
    Image,
    InstructionsExample,
    Outcome,
    Participation,
    Slot,
    Task,
    Vote,
)
from annotations.queries import people


@dataclass(frozen=True)
class Progress:
    """How far one person has come in one campaign, practice apart.

    Gold and probes count as what they look like, work: a number that stood still after them would tell them apart.
    """

    voted: int
    """Tasks answered and not undone, skipped and flagged ones too."""

    left: int
    """Tasks that this person holds or can still be given, within the votes that are taken of one person."""

    @property
    def total(self) -> int:
        return self.voted + self.left


@dataclass(frozen=True)
class Collected:
    """How far a campaign has come with its regular tasks, whoever votes."""

    judgements: int
    """Votes that say something: a choice, a tie or 'all bad'."""

    wanted: int
    """Judgements when every slot is done."""

    @property
    def percent(self) -> int:
        return 100 * self.judgements // self.wanted if self.wanted else 0


@dataclass(frozen=True)
class CampaignOffer:
    """A campaign on the list of one person."""

    campaign: Campaign
    mine: Progress
    all: Collected


@dataclass(frozen=True)
class ShownImage:
    """All that an annotator gets to know of an image: nothing that tells where it comes from."""

    id: UUID
    url: str
    width: int
    height: int


@dataclass(frozen=True)
class ShownClaim:
    """A claim as its annotator sees it, with the images in the order to show."""

    token: UUID
    expires_at: datetime
    task: UUID
    prompt: str
    images: list[ShownImage]
    outcomes: list[str]
    is_practice: bool


def annotator_of(user: AbstractBaseUser | AnonymousUser) -> Annotator | None:
    """The voting profile of a user, or None where they have not voted yet."""
    if not user.is_authenticated:
        return None
    return Annotator.objects.filter(user_id=user.pk).first()


def may_enter(annotator: Annotator | None, campaign: Campaign) -> bool:
    """Whether this person may vote here as far as invitations go.

    Who came by an invite of the campaign may, who was sent by a panel, and who already holds or did work in it.
    Simulated annotators may vote in every synthetic campaign. Recruited people are paid for the work to which their
    panel sent them: campaigns that are open to all are not for them.
    """
    is_recruited = annotator is not None and annotator.source == Annotator.Source.RECRUITED
    if campaign.access == Campaign.Access.OPEN and not is_recruited:
        return True
    if annotator is None:
        return False
    if annotator.source == Annotator.Source.SIMULATED and campaign.is_synthetic:
        return True
    if annotator.invite is not None and annotator.invite.campaign_id == campaign.pk:
        return True
    was_sent = annotator.participations.filter(campaign=campaign, recruitment__isnull=False)
    return was_sent.exists() or Slot.objects.filter(annotator=annotator, campaign=campaign).exists()


def offers_for(annotator: Annotator | None) -> list[CampaignOffer]:
    """The running campaigns that this person may enter, those with work left first, then by name."""
    campaigns = list(_enterable(annotator).order_by("name", "pk"))
    mine = _progress_by_campaign(annotator, campaigns)
    everyone = _collected_by_campaign(campaigns)
    offers = [CampaignOffer(campaign, mine[campaign.pk], everyone[campaign.pk]) for campaign in campaigns]
    return sorted(offers, key=lambda offer: offer.mine.left == 0)


def progress_of(annotator: Annotator | None, campaign: Campaign) -> Progress:
    """How many tasks of a campaign this person has answered and how many are left for them."""
    return _progress_by_campaign(annotator, [campaign])[campaign.pk]


def collected_in(campaign: Campaign) -> Collected:
    """How many judgements a campaign has of those it wants."""
    return _collected_by_campaign([campaign])[campaign.pk]


def held_slots(annotator: Annotator, campaign: Campaign) -> QuerySet[Slot]:
    """All leased slots of this person in a campaign, run out or not, in the order in which they were given out."""
    held = Slot.objects.filter(annotator=annotator, campaign=campaign, state=Slot.State.LEASED)
    return held.select_related("campaign", "task__prompt").order_by("leased_at", "sort_key", "pk")


def live_slots(annotator: Annotator, campaign: Campaign) -> QuerySet[Slot]:
    """The leased slots of this person whose lease has not run out, by the clock of the database."""
    return held_slots(annotator, campaign).filter(lease_until__gt=Now())


def latest_vote(annotator: Annotator, campaign: Campaign) -> Vote | None:
    """The vote that an undo would take back: the person's last one in a campaign that still stands.

    Practice stays as it is: its answer was told.
    """
    votes = Vote.objects.standing().filter(annotator=annotator, slot__campaign=campaign)
    votes = votes.exclude(task__purpose=Task.Purpose.PRACTICE)
    return votes.order_by("-created_at", "-pk").first()


def images_in_order(slots: Iterable[Slot]) -> dict[int, list[Image]]:
    """The images of each slot in the order in which its person sees them, by the slot's id; one query."""
    slots = list(slots)
    images = Image.objects.in_bulk({image_id for slot in slots for image_id in slot.order or []})
    return {slot.pk: [images[image_id] for image_id in slot.order or []] for slot in slots}


def shown_claims(slots: Iterable[Slot]) -> list[ShownClaim]:
    """What the people who hold these leased slots are shown."""
    slots = list(slots)
    images = images_in_order(slots)
    return [
        ShownClaim(
            token=slot.token,
            expires_at=slot.lease_until,
            task=slot.task.public_id,
            prompt=slot.task.prompt.text,
            images=[
                ShownImage(id=image.public_id, url=image.get_absolute_url(), width=image.width, height=image.height)
                for image in images[slot.pk]
            ],
            outcomes=[str(outcome) for outcome in slot.campaign.outcomes],
            is_practice=slot.task.purpose == Task.Purpose.PRACTICE,
        )
        for slot in slots
        if slot.token is not None and slot.lease_until is not None
    ]


def visible_images() -> QuerySet[Image]:
    """The images that annotators may see."""
    return Image.objects.filter(is_hidden=False)


def open_examples() -> QuerySet[Image]:
    """The visible images in the instructions of campaigns that visitors may read: open ones, and those of a panel."""
    is_open = Q(instructions__campaign__access=Campaign.Access.OPEN)
    is_of_a_panel = Q(instructions__campaign__recruitments__is_active=True)
    shown = InstructionsExample.objects.filter(
        is_open | is_of_a_panel,
        instructions__number=F("instructions__campaign__instructions_version"),
    ).exclude(instructions__campaign__state=Campaign.State.DRAFT)
    return visible_images().filter(pk__in=shown.values("image"))


def flagged_images(annotator: Annotator) -> QuerySet[Vote, int]:
    """The ids of images that this person is not to see again. That a prompt makes no sense is no fault of them."""
    flags = Vote.objects.standing().filter(annotator=annotator, outcome=Outcome.FLAG).exclude(reason="prompt_unclear")
    return flags.values_list(Func("order", function="unnest"), flat=True)


def votes_listed() -> QuerySet[Vote]:
    """Votes with all that the list of the API shows of them."""
    return Vote.objects.select_related("task__prompt", "task__campaign", "annotator", "image", "slot__campaign")


def _enterable(annotator: Annotator | None) -> QuerySet[Campaign]:
    running = Campaign.objects.running()
    is_open = Q(access=Campaign.Access.OPEN)
    if annotator is None:
        return running.filter(is_open)
    if annotator.source == Annotator.Source.SIMULATED:
        is_open |= Q(is_synthetic=True)
    was_sent = Exists(annotator.participations.filter(campaign=OuterRef("pk"), recruitment__isnull=False))
    has_worked = Exists(Slot.objects.filter(annotator=annotator, campaign=OuterRef("pk")))
    is_theirs = Q(invites=annotator.invite_id) & Q(invites__isnull=False) | was_sent | has_worked
    if annotator.source != Annotator.Source.RECRUITED:
        is_theirs |= is_open
    return running.filter(is_theirs).distinct()


def _progress_by_campaign(annotator: Annotator | None, campaigns: list[Campaign]) -> dict[int, Progress]:
    left = _claimable_tasks(annotator, campaigns)
    voted: dict[int, int] = {}
    if annotator is not None:
        votes = Vote.objects.standing().filter(annotator=annotator, slot__campaign__in=campaigns)
        work = votes.exclude(task__purpose=Task.Purpose.PRACTICE)
        voted = _counts(work.values_list("slot__campaign").annotate(Count("pk")))
        left |= _left_of_those_asked_for(annotator, campaigns, left)
    return {
        campaign.pk: _capped(campaign, Progress(voted=voted.get(campaign.pk, 0), left=left.get(campaign.pk, 0)))
        for campaign in campaigns
    }


def _capped(campaign: Campaign, progress: Progress) -> Progress:
    if campaign.votes_per_person is None:
        return progress
    return replace(progress, left=min(progress.left, max(0, campaign.votes_per_person - progress.voted)))


def _left_of_those_asked_for(annotator: Annotator, campaigns: list[Campaign], left: dict[int, int]) -> dict[int, int]:
    """How many tasks are left, where a number of votes was asked of the person or their part is over."""
    parts = Participation.objects.filter(annotator=annotator, campaign__in=campaigns)
    parts = parts.exclude(state=Participation.State.ACTIVE, recruitment=None).select_related("recruitment")
    judged = people.judged_by(annotator, campaigns) if parts else {}
    return {
        part.campaign_id: min(
            left.get(part.campaign_id, 0), max(0, part.recruitment.votes_wanted - judged.get(part.campaign_id, 0))
        )
        if part.state == Participation.State.ACTIVE and part.recruitment is not None
        else 0
        for part in parts
    }


def _claimable_tasks(annotator: Annotator | None, campaigns: list[Campaign]) -> dict[int, int]:
    """Regular tasks with a slot that is free, without those this person answered or undid, and the work they hold."""
    is_free = Q(state=Slot.State.OPEN) | Q(state=Slot.State.LEASED, lease_until__lte=Now())
    slots = Slot.objects.filter(campaign__in=campaigns).exclude(state=Slot.State.DONE)
    is_unwanted = Q(image__is_hidden=True)
    if annotator is not None:
        is_unwanted |= Q(image__in=flagged_images(annotator))
    has_unwanted_image = Candidate.objects.filter(is_unwanted, task=OuterRef("task"))
    is_claimable = is_free & Q(task__purpose=Task.Purpose.REGULAR) & ~Exists(has_unwanted_image)
    if annotator is not None:
        own_slot = Slot.objects.filter(task=OuterRef("task"), annotator=annotator)
        own_vote = Vote.objects.filter(task=OuterRef("task"), annotator=annotator)
        is_held = Q(state=Slot.State.LEASED, annotator=annotator) & ~Q(task__purpose=Task.Purpose.PRACTICE)
        is_claimable = is_held | is_claimable & ~Exists(own_slot) & ~Exists(own_vote)
    return _counts(slots.filter(is_claimable).values_list("campaign").annotate(Count("task", distinct=True)))


def _collected_by_campaign(campaigns: list[Campaign]) -> dict[int, Collected]:
    judged = Vote.objects.standing().filter(
        outcome__in=Outcome.judgements(), slot__campaign__in=campaigns, task__purpose=Task.Purpose.REGULAR
    )
    judgements = _counts(judged.values_list("slot__campaign").annotate(Count("pk")))
    slots = Slot.objects.filter(campaign__in=campaigns, task__purpose=Task.Purpose.REGULAR)
    missing = _counts(slots.exclude(state=Slot.State.DONE).values_list("campaign").annotate(Count("pk")))
    return {
        campaign.pk: Collected(
            judgements=judgements.get(campaign.pk, 0),
            wanted=judgements.get(campaign.pk, 0) + missing.get(campaign.pk, 0),
        )
        for campaign in campaigns
    }


def _counts(rows: Iterable[tuple[int, int]]) -> dict[int, int]:
    return dict(rows)
