"""Who works on what: slots are claimed for a while, kept, and given back."""

from datetime import timedelta
from typing import ClassVar

from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from annotations.models import Annotator, Campaign, Slot
from annotations.queries import voting as queries

MAX_LIVE_CLAIMS = 5

# The first of the two keys of the advisory locks taken here; the second one names the annotator.
CLAIMS_LOCK = 0x5107

# One statement finds a free slot, takes it and shuffles its images. SKIP LOCKED sends people who ask at the
# same moment to different slots. One slot per statement, since two slots of one task must not go to one
# person and only the next statement sees what the last one took. `state <> 'done'` stands there as text
# because the partial index serves the claim only when the planner can read it.
CLAIM_ONE_SLOT = """
    WITH next AS MATERIALIZED (
        SELECT slot.id
        FROM annotations_slot AS slot
        WHERE slot.campaign_id = %(campaign)s
          AND slot.state <> 'done'
          AND (slot.state = 'open' OR slot.lease_until <= statement_timestamp())
          AND NOT EXISTS (
              SELECT FROM annotations_slot AS own
              WHERE own.task_id = slot.task_id AND own.annotator_id = %(annotator)s
          )
          AND NOT EXISTS (
              SELECT FROM annotations_vote AS said
              WHERE said.task_id = slot.task_id AND said.annotator_id = %(annotator)s
          )
          AND NOT EXISTS (
              SELECT FROM annotations_candidate AS candidate
              JOIN annotations_image AS image ON image.id = candidate.image_id
              WHERE candidate.task_id = slot.task_id AND image.is_hidden
          )
          AND NOT EXISTS (
              SELECT FROM annotations_candidate AS candidate
              WHERE candidate.task_id = slot.task_id AND candidate.image_id IN (
                  SELECT unnest(flagged."order") FROM annotations_vote AS flagged
                  WHERE flagged.annotator_id = %(annotator)s AND flagged.outcome = 'flag'
                    AND flagged.reason <> 'prompt_unclear' AND flagged.withdrawn_at IS NULL
              )
          )
        ORDER BY slot.sort_key
        LIMIT 1
        FOR UPDATE OF slot SKIP LOCKED
    )
    UPDATE annotations_slot AS slot
    SET state = 'leased',
        annotator_id = %(annotator)s,
        token = gen_random_uuid(),
        "order" = (
            SELECT array_agg(candidate.image_id ORDER BY random())
            FROM annotations_candidate AS candidate
            WHERE candidate.task_id = slot.task_id
        ),
        leased_at = statement_timestamp(),
        lease_until = statement_timestamp() + make_interval(secs => %(lease_seconds)s)
    FROM next
    WHERE slot.id = next.id
"""


class VotingRefused(Exception):
    """Somebody may not do what was asked; `code` names the reason for programs, the message says what to do."""

    code: ClassVar[str] = "refused"


class CampaignNotRunning(VotingRefused):
    code = "campaign_not_running"


class AnnotatorPaused(VotingRefused):
    code = "annotator_paused"


class AnnotatorExcluded(VotingRefused):
    code = "annotator_excluded"


class InviteNeeded(VotingRefused):
    code = "invite_needed"


def claim_slots(*, annotator: Annotator, campaign: Campaign, count: int) -> list[Slot]:
    """The work in this person's hands, topped up to `count` live claims; asking twice gives the same work.

    What is held already comes first and in the order in which it was given out. Leases of one's own that ran
    out or will soon are made long again, those of others that ran out may be taken. A task that this person
    holds or ever voted on is never given out to them again.

    Args:
        count: how many claims are wanted, 1 to 5.

    Returns:
        At most `count` leased slots, fewer or none when nothing is left; prompt and task are loaded.

    Raises:
        ValueError: count is not within 1 to 5.
        CampaignNotRunning, AnnotatorPaused, AnnotatorExcluded, InviteNeeded: this person may not vote here now.
    """
    if not 1 <= count <= MAX_LIVE_CLAIMS:
        raise ValueError(f"Ask for 1 to {MAX_LIVE_CLAIMS} claims, not for {count}.")
    with transaction.atomic():
        lock_claims(annotator)
        check_may_vote(annotator=annotator, campaign=campaign)
        _renew_leases(annotator=annotator, campaign=campaign)
        held = len(queries.held_slots(annotator, campaign))
        for _missing in range(held, count):
            if not _claim_one_slot(annotator=annotator, campaign=campaign):
                break
        return list(queries.held_slots(annotator, campaign)[:count])


def extend_claims(*, annotator: Annotator, campaign: Campaign) -> int:
    """Make all of one's own leases in a campaign last a full lease from now; gives how many there are."""
    return queries.held_slots(annotator, campaign).update(lease_until=end_of_lease(campaign))


def release_claims(*, annotator: Annotator, campaign: Campaign | None = None) -> int:
    """Give work that is not done back to others, in one campaign or in all; gives how many claims went."""
    held = Slot.objects.filter(annotator=annotator, state=Slot.State.LEASED)
    if campaign is not None:
        held = held.filter(campaign=campaign)
    with transaction.atomic():
        lock_claims(annotator)
        return open_again(held)


def open_again(slots: QuerySet[Slot]) -> int:
    """Make these leased slots free for anyone."""
    return slots.filter(state=Slot.State.LEASED).update(
        state=Slot.State.OPEN, annotator=None, token=None, order=None, leased_at=None, lease_until=None
    )


def lock_claims(annotator: Annotator) -> None:
    """Let one claim, release or undo of a person wait for the other, until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [CLAIMS_LOCK, annotator.pk % 2**31])


def check_may_vote(*, annotator: Annotator, campaign: Campaign) -> None:
    """Raise what stands between this person and voting in this campaign, as the database has it now."""
    match Annotator.objects.values_list("state", flat=True).get(pk=annotator.pk):
        case Annotator.State.EXCLUDED:
            raise AnnotatorExcluded(_("You can no longer vote here. Please write to the people who invited you."))
        case Annotator.State.PAUSED:
            raise AnnotatorPaused(_("Your voting is paused. Please write to the people who invited you."))
    if not Campaign.objects.running().filter(pk=campaign.pk).exists():
        raise CampaignNotRunning(_("This campaign takes no votes at the moment. Please come back later."))
    if not queries.may_enter(annotator, campaign):
        raise InviteNeeded(_("This campaign is by invitation. Please open the invite link that you were sent."))


def end_of_lease(campaign: Campaign) -> CombinedExpression:
    """The moment, by the clock of the database, at which a lease that begins now ends."""
    return Now() + timedelta(seconds=campaign.lease_seconds)


def _renew_leases(*, annotator: Annotator, campaign: Campaign) -> None:
    """Only leases in their second half, so that a claim in the middle of work writes nothing."""
    half_a_lease = timedelta(seconds=campaign.lease_seconds / 2)
    ending = queries.held_slots(annotator, campaign).filter(lease_until__lt=Now() + half_a_lease)
    ending.update(lease_until=end_of_lease(campaign))


def _claim_one_slot(*, annotator: Annotator, campaign: Campaign) -> bool:
    wanted = {"campaign": campaign.pk, "annotator": annotator.pk, "lease_seconds": campaign.lease_seconds}
    with connection.cursor() as cursor:
        cursor.execute(CLAIM_ONE_SLOT, wanted)
        return bool(cursor.rowcount == 1)
