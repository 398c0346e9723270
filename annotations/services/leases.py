"""For how long a slot is somebody's, and how it is given back."""

from datetime import timedelta

from django.db import connection
from django.db.models import QuerySet
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now

from annotations.models import Annotator, Campaign, Slot

# The first of the two keys of the advisory locks taken here; the second one names the annotator.
CLAIMS_LOCK = 0x5107


def end_of_lease(campaign: Campaign) -> CombinedExpression:
    """The moment, by the clock of the database, at which a lease that begins now ends."""
    return Now() + timedelta(seconds=campaign.lease_seconds)


def open_again(slots: QuerySet[Slot]) -> int:
    """Make these leased slots free for anyone."""
    return slots.filter(state=Slot.State.LEASED).update(
        state=Slot.State.OPEN,
        annotator=None,
        token=None,
        order=None,
        policy="",
        propensity=None,
        leased_at=None,
        lease_until=None,
    )


def lock_claims(annotator: Annotator) -> None:
    """Let one claim, release or undo of a person wait for the other, until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [CLAIMS_LOCK, annotator.pk % 2**31])
