"""The machine's doors: Celery calls these, they call one service each."""

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing.sharedctypes import RawValue
from types import FrameType
from typing import Any

from celery import Task, shared_task
from celery.signals import celeryd_after_setup, heartbeat_sent, worker_ready, worker_shutting_down
from django.db import DatabaseError, connections

from annotations.services import recruiting, throttles
from worker.services import execution, importing, presence, runs, score_requests

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_REPORTS = 10.0

# One byte that the main process of a worker shares with those it forks: "finish your step and stop".
_is_shutting_down = RawValue("b", 0)

_queues: list[str] = []
_reported_at = 0.0


@shared_task(name=runs.EXECUTE_JOB, bind=True, ignore_result=True)
def execute_run(self: "Task[Any, Any]", *, run_id: int, **_later: object) -> None:
    """Execute a run if it still waits; the row decides, the message only rings."""
    with _sigterm_as_request() as is_asked:
        execution.execute_run(
            run_id=run_id,
            worker=self.request.hostname or "worker",
            is_shutting_down=lambda: is_asked.is_set() or bool(_is_shutting_down.value),
        )


@shared_task(name="worker.sweep_runs", ignore_result=True)
def sweep_runs(**_later: object) -> None:
    """Bring back or end what died, and ring again for what waits."""
    swept = runs.sweep_runs()
    if swept != runs.Sweep(0, 0, 0, 0):
        logger.info("%s", swept)


@shared_task(name="worker.sweep_uploads", ignore_result=True)
def sweep_uploads(**_later: object) -> None:
    """Make room: forget uploads that were read, and those that nobody came back for."""
    if removed := importing.remove_read_uploads():
        logger.info("%s uploads removed", removed)


@shared_task(name=score_requests.ANSWER_JOB, ignore_result=True)
def answer_score_request(*, number: str, **_later: object) -> None:
    """Score images for somebody who waits."""
    score_requests.answer_score_request(number=number)


@shared_task(name="worker.give_back_places", ignore_result=True)
def give_back_places(**_later: object) -> None:
    """Free the places of recruited people who left, and forget tries that no longer count."""
    if count := recruiting.give_back_abandoned():
        logger.info("%d places given back", count)
    throttles.forget_old_attempts()


@contextlib.contextmanager
def _sigterm_as_request() -> Iterator[threading.Event]:
    """While the block runs, SIGTERM asks the work to stop after its step instead of ending the process.

    It reaches a forked process where a supervisor signals the whole group. Whoever listened before is told too:
    without a pool this is Celery itself, which must learn that it shall end.
    """
    is_asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield is_asked
        return
    before = signal.getsignal(signal.SIGTERM)

    def ask(number: int, frame: FrameType | None) -> None:
        is_asked.set()
        if callable(before):
            before(number, frame)

    signal.signal(signal.SIGTERM, ask)
    try:
        yield is_asked
    finally:
        signal.signal(signal.SIGTERM, before)


@worker_shutting_down.connect
def ask_to_stop(**_signal: object) -> None:
    """Tell the forked processes that the worker shuts down; Celery itself would wait until they are done."""
    _is_shutting_down.value = 1


@celeryd_after_setup.connect
def remember_queues(instance: Any, **_signal: object) -> None:
    """Note which queues this worker listens on."""
    _queues[:] = list(instance.app.amqp.queues.consume_from)


@heartbeat_sent.connect
def report_presence(**_signal: object) -> None:
    """Say every ten seconds that this worker is there; the main process does so while its children work."""
    global _reported_at
    if time.monotonic() - _reported_at < SECONDS_BETWEEN_REPORTS and _reported_at:
        return
    _reported_at = time.monotonic()
    try:
        presence.report_presence(queues=_queues)
    except Exception:
        # The cache may be away for a moment; the next report comes in ten seconds.
        logger.warning("This worker could not report that it is there.", exc_info=True)


@worker_ready.connect
def sweep_at_start(**_signal: object) -> None:
    """A worker that starts looks at once for runs that were left waiting."""
    try:
        runs.sweep_runs()
    except DatabaseError:
        logger.warning("The runs could not be swept at start; the next round comes with the beat.", exc_info=True)
    finally:
        _close_connections()


def _close_connections() -> None:
    """Leave nothing open in the main process of a worker: what it forks later would inherit it."""
    for connection in connections.all(initialized_only=True):
        connection.close()
        if connection.settings_dict["OPTIONS"].get("pool"):
            connection.close_pool()  # type: ignore[attr-defined]
