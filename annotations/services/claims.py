"""Who works on what: slots are claimed for a while, kept, and given back."""

from datetime import timedelta
from typing import ClassVar

from django.db import connection, transaction
from django.db.models import Count, Q
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from annotations.models import Annotator, Campaign, Participation, Slot, Task
from annotations.queries import people
from annotations.queries import voting as queries
from annotations.services.checks import deal_check
from annotations.services.draws import Draw, draw_matchups
from annotations.services.leases import end_of_lease, lock_claims, open_again

MAX_LIVE_CLAIMS = 5

# One statement finds a free slot, takes it and orders its images. SKIP LOCKED sends people who ask at the same moment
# to different slots. One slot per statement, since two slots of one task must not go to one person and only the
# next statement sees what the last one took. `state <> 'done'` stands there as text because the partial indexes serve
# the claim only when the planner can read it.
NEXT_FREE_SLOT = """
          slot.campaign_id = %(campaign)s
          AND slot.state <> 'done'
          AND (slot.state = 'open' OR slot.lease_until <= statement_timestamp())
          AND EXISTS (
              SELECT FROM annotations_task AS task WHERE task.id = slot.task_id AND task.purpose = 'regular'
          )
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
"""

# The first slot of the queue.
NEXT_IN_QUEUE = """
        SELECT slot.id, NULL::float8 AS propensity
        FROM annotations_slot AS slot
        WHERE {next_free}
"""

# The first slot of the first matchup that has one; those after it are not looked at.
NEXT_IN_MATCHUPS = """
        SELECT first.id, drawn.propensity
        FROM unnest(%(matchups)s::text[], %(propensities)s::float8[]) AS drawn (matchup, propensity)
        CROSS JOIN LATERAL (
            SELECT slot.id
            FROM annotations_slot AS slot
            WHERE slot.matchup = drawn.matchup AND {next_free}
        ) AS first
        LIMIT 1
"""

# The order of the images is random, and every second slot of a task has that of the slot before it turned round, so
# that each image stands as often to the left as to the right.
TAKE_SLOT = """
    WITH next AS MATERIALIZED ({next})
    UPDATE annotations_slot AS slot
    SET state = 'leased',
        annotator_id = %(annotator)s,
        token = gen_random_uuid(),
        "order" = (
            SELECT array_agg(
                candidate.image_id
                ORDER BY hashtext(concat_ws('-', slot.task_id, slot.number / 2, candidate.image_id))::bigint
                         * (1 - 2 * (slot.number %% 2))
            )
            FROM annotations_candidate AS candidate
            WHERE candidate.task_id = slot.task_id
        ),
        policy = %(policy)s,
        propensity = next.propensity,
        leased_at = statement_timestamp(),
        lease_until = statement_timestamp() + make_interval(secs => %(lease_seconds)s)
    FROM next
    WHERE slot.id = next.id
"""

CLAIM_IN_QUEUE = TAKE_SLOT.format(next=NEXT_IN_QUEUE.format(next_free=NEXT_FREE_SLOT))
CLAIM_IN_MATCHUPS = TAKE_SLOT.format(next=NEXT_IN_MATCHUPS.format(next_free=NEXT_FREE_SLOT))

# A page that stays open and does nothing keeps its work for so long, and no longer.
KEPT_BY_HEARTBEATS = timedelta(minutes=30)


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


class CapReached(VotingRefused):
    code = "cap_reached"


class ConsentNeeded(VotingRefused):
    code = "consent_needed"


class PlaceGivenBack(VotingRefused):
    code = "place_given_back"


def claim_slots(*, annotator: Annotator, campaign: Campaign, count: int) -> list[Slot]:
    """The work in this person's hands, topped up to `count` live claims; asking twice gives the same work.

    What is held already comes first and in the order in which it was given out. Leases of one's own that ran
    out or will soon are made long again, those of others that ran out may be taken. A task that this person
    holds or ever voted on is never given out to them again.

    Args:
        count: how many claims are wanted, 1 to 5.

    Returns:
        At most `count` leased slots, fewer or none when nothing is left or nothing more is wanted of this person;
        prompt and task are loaded.

    Raises:
        ValueError: count is not within 1 to 5.
        CampaignNotRunning, AnnotatorPaused, AnnotatorExcluded, InviteNeeded, ConsentNeeded, PlaceGivenBack: this
            person may not vote here now.
        CapReached: this person gave all the votes that the campaign takes of one person.
    """
    if not 1 <= count <= MAX_LIVE_CLAIMS:
        raise ValueError(f"Ask for 1 to {MAX_LIVE_CLAIMS} claims, not for {count}.")
    with transaction.atomic():
        lock_claims(annotator)
        count = min(count, people.votes_left(annotator, campaign, at_most=count))
        if count == 0:
            return []
        check_may_vote(annotator=annotator, campaign=campaign)
        _renew_leases(annotator=annotator, campaign=campaign)
        is_dealt_check = _top_up(annotator=annotator, campaign=campaign, count=count)
    # A check holds its task to the end of the transaction: two people who held one each could wait for that of the
    # other, so the next claim begins another one.
    while is_dealt_check:
        with transaction.atomic():
            lock_claims(annotator)
            is_dealt_check = _top_up(annotator=annotator, campaign=campaign, count=count)
    return list(queries.held_slots(annotator, campaign)[:count])


def extend_claims(*, annotator: Annotator, campaign: Campaign) -> int:
    """The heartbeat of an open page: one's own leases in a campaign last a full lease from now; gives how many.

    Not those given out more than half an hour ago, and none of people whose votes are no longer wanted.
    """
    if annotator.state == Annotator.State.EXCLUDED:
        return 0
    kept = queries.held_slots(annotator, campaign).filter(leased_at__gt=Now() - KEPT_BY_HEARTBEATS)
    return kept.update(lease_until=end_of_lease(campaign))


def release_claims(*, annotator: Annotator, campaign: Campaign | None = None) -> int:
    """Give work that is not done back to others, in one campaign or in all; gives how many claims went."""
    held = Slot.objects.filter(annotator=annotator, state=Slot.State.LEASED)
    if campaign is not None:
        held = held.filter(campaign=campaign)
    with transaction.atomic():
        lock_claims(annotator)
        return open_again(held)


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
    part = people.participation_in(annotator, campaign)
    if people.lacks_consent(part, campaign):
        raise ConsentNeeded(_("Before you go on, please read what taking part means, and say whether you agree."))
    if part is not None and part.state == Participation.State.RETURNED:
        raise PlaceGivenBack(_("Your place was given to somebody else. To come back, open the link that brought you."))


def _renew_leases(*, annotator: Annotator, campaign: Campaign) -> None:
    """Only leases in their second half, so that a claim in the middle of work writes nothing."""
    half_a_lease = timedelta(seconds=campaign.lease_seconds / 2)
    ending = queries.held_slots(annotator, campaign).filter(lease_until__lt=Now() + half_a_lease)
    ending.update(lease_until=end_of_lease(campaign))


def _top_up(*, annotator: Annotator, campaign: Campaign, count: int) -> bool:
    """The claims that are missing, as far as there are any, up to the first check; whether there was one."""
    for _missing in range(_claims_missing(annotator=annotator, campaign=campaign, count=count)):
        if deal_check(annotator=annotator, campaign=campaign):
            return True
        if not _claim_regular_slot(annotator=annotator, campaign=campaign):
            break
    return False


def _claims_missing(*, annotator: Annotator, campaign: Campaign, count: int) -> int:
    """How many claims this person lacks of `count`, or of those that they may still have.

    Both numbers come from one statement: a vote in between would count as held and as done, or as neither.

    Raises:
        CapReached: all votes that the campaign takes of one person are given.
    """
    own = Slot.objects.filter(annotator=annotator, campaign=campaign)
    is_done = Q(state=Slot.State.DONE) & ~Q(task__purpose=Task.Purpose.PRACTICE)
    totals = own.aggregate(held=Count("pk", filter=Q(state=Slot.State.LEASED)), done=Count("pk", filter=is_done))
    held, done = int(totals["held"]), int(totals["done"])
    cap = campaign.votes_per_person
    if cap is None:
        return count - held
    if done >= cap:
        raise CapReached(_("You have given all the votes that we take of one person here. Thank you!"))
    return min(count, cap - done) - held


def _claim_regular_slot(*, annotator: Annotator, campaign: Campaign) -> bool:
    """The set that the policy draws, else the next of the queue; whether there was one."""
    return _claim_drawn(draw_matchups(campaign), annotator=annotator, campaign=campaign) or _claim(
        CLAIM_IN_QUEUE, annotator=annotator, campaign=campaign, policy=Campaign.PairPolicy.UNIFORM
    )


def _claim_drawn(draw: Draw, *, annotator: Annotator, campaign: Campaign) -> bool:
    return bool(draw.matchups) and _claim(
        CLAIM_IN_MATCHUPS,
        annotator=annotator,
        campaign=campaign,
        policy=campaign.pair_policy,
        matchups=draw.matchups,
        propensities=draw.propensities,
    )


def _claim(
    statement: str, *, annotator: Annotator, campaign: Campaign, policy: str, **drawn: list[str] | list[float]
) -> bool:
    wanted = {
        "campaign": campaign.pk,
        "annotator": annotator.pk,
        "lease_seconds": campaign.lease_seconds,
        "policy": policy,
        **drawn,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement, wanted)
        return bool(cursor.rowcount == 1)
