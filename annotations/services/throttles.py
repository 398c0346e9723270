"""How often something may be tried: counted in the database before it is tried, so that many at once count as many.

django-axes counts failures after they happened, which lets guesses made at the same moment all pass; and a counter in
Redis would be gone when Redis is.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import F
from django.db.models.functions import Now
from django.utils.crypto import salted_hmac

from annotations.models import Attempts

COUNT_ONE = """
    INSERT INTO annotations_attempts AS row (key, count, until)
    VALUES (%(key)s, 1, statement_timestamp() + make_interval(secs => %(seconds)s))
    ON CONFLICT (key) DO UPDATE SET
        count = CASE WHEN row.until <= statement_timestamp() THEN 1 ELSE row.count + 1 END,
        until = CASE WHEN row.until <= statement_timestamp() THEN excluded.until ELSE row.until END
    RETURNING count, until
"""


class TooManyAttempts(Exception):
    """More tries than are allowed; `until` is when the next ones are."""

    def __init__(self, until: datetime) -> None:
        super().__init__(f"Too many tries; wait until {until:%H:%M} UTC.")
        self.until = until


@dataclass(frozen=True)
class Throttle:
    """So many tries of one kind in so many seconds by the same name or address."""

    kind: str
    limit: int
    seconds: int

    def key_of(self, who: str) -> str:
        return salted_hmac("annotations.throttles", f"{self.kind}:{who}", algorithm="sha256").hexdigest()


def count_attempt(*, throttle: Throttle, who: str) -> None:
    """Count one try before it is made.

    Raises:
        TooManyAttempts: the limit was reached before; this try is not to be made.
    """
    with connection.cursor() as cursor:
        cursor.execute(COUNT_ONE, {"key": throttle.key_of(who), "seconds": throttle.seconds})
        count, until = cursor.fetchone()
    if count > throttle.limit:
        raise TooManyAttempts(until)


def forgive_attempt(*, throttle: Throttle, who: str) -> None:
    """Take one try back that turned out well."""
    Attempts.objects.filter(key=throttle.key_of(who), count__gt=0).update(count=F("count") - 1)


def forget_attempts(*, throttle: Throttle, who: str) -> None:
    """Begin to count anew."""
    Attempts.objects.filter(key=throttle.key_of(who)).delete()


def forget_old_attempts() -> int:
    """Delete what is no longer counted; gives how many rows went."""
    return Attempts.objects.filter(until__lte=Now()).delete()[0]
