"""Which queues a worker is listening on, as the workers themselves report it."""

from collections.abc import Iterable

from django.core.cache import cache

from worker.queries import PRESENCE_SECONDS, presence_key


def report_presence(*, queues: Iterable[str]) -> None:
    """Say that a worker listens on these queues; believed for `PRESENCE_SECONDS`."""
    cache.set_many({presence_key(queue): True for queue in queues}, timeout=PRESENCE_SECONDS)
