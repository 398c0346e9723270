"""Opening, cancelling and reaping runs."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from celery import current_app
from django.db import connection, transaction
from django.utils import timezone
from kombu import Connection

from tests.annotations.factories import make_campaign, make_user
from worker.models import Run, RunEvent
from worker.services import runs
from worker.services.runs import (
    OpenedRun,
    Sweep,
    UnableToCancelRun,
    UnableToRetryRun,
    UnknownPreset,
    open_run,
    request_cancel,
    retry_run,
    sweep_runs,
)


def make_run(**fields: Any) -> Run:
    return Run.objects.create(**{"kind": Run.Kind.CLASSIFIER, **fields})


def make_running(*, lease_seconds: float, **fields: Any) -> Run:
    return make_run(
        state=Run.State.RUNNING,
        worker="gpu-1",
        attempt=fields.pop("attempt", 1),
        lease_until=timezone.now() + timedelta(seconds=lease_seconds),
        **fields,
    )


def log_of(run: Run) -> list[str]:
    return list(run.events.values_list("text", flat=True))


def in_threads(count: int, act: Callable[[int], Any]) -> list[Any]:
    """What `act` gives in each of so many threads that start at the same moment."""
    barrier = threading.Barrier(count)
    given: list[Any] = [None] * count

    def enter(number: int) -> None:
        try:
            barrier.wait()
            given[number] = act(number)
        finally:
            connection.close()

    threads = [threading.Thread(target=enter, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return given


def test_open_run_writes_a_row_and_rings_with_its_id_when_the_transaction_commits(
    db: None, rung: list[int], django_capture_on_commit_callbacks: Any
) -> None:
    ada = make_user("ada")
    campaign = make_campaign(tasks=0, is_synthetic=True)

    with django_capture_on_commit_callbacks(execute=True):
        opened = open_run(kind="classifier", preset="tiny", config={"steps": 5}, campaign=campaign, by=ada)
        assert rung == []

    run = Run.objects.get()
    assert opened == OpenedRun(run, is_new=True)
    assert (run.kind, run.state, run.preset, run.config) == ("classifier", "queued", "tiny", {"steps": 5})
    assert (run.campaign, run.requested_by, run.is_synthetic, run.attempt) == (campaign, ada, True, 0)
    assert rung == [run.pk]
    assert run.dispatched_at is not None


def test_open_run_that_is_rolled_back_rings_for_nothing(transactional_db: None, rung: list[int]) -> None:
    with transaction.atomic():
        open_run(kind="classifier")
        transaction.set_rollback(True)

    assert (rung, Run.objects.count()) == ([], 0)


def test_open_run_gives_back_the_active_run_of_the_kind(db: None, rung: list[int]) -> None:
    first = open_run(kind="classifier", preset="tiny")

    second = open_run(kind="classifier", preset="paper")
    other = open_run(kind="adapter")

    assert second == OpenedRun(first.run, is_new=False)
    assert other.is_new
    assert Run.objects.count() == 2


def test_open_run_in_eight_places_at_once_opens_one(transactional_db: None, rung: list[int]) -> None:
    opened = in_threads(8, lambda _number: open_run(kind="classifier"))

    assert sorted(one.is_new for one in opened) == [False] * 7 + [True]
    assert {one.run.pk for one in opened} == {Run.objects.get().pk}
    assert rung == [Run.objects.get().pk]


def test_open_run_with_an_unknown_preset_says_which_there_are(db: None) -> None:
    with pytest.raises(UnknownPreset, match="'huge' for classifier runs; choose one of: tiny, paper"):
        open_run(kind="classifier", preset="huge")


def test_open_run_with_the_broker_down_leaves_the_run_waiting(
    db: None, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any, tmp_path: Any
) -> None:
    nobody = f"redis+socket://{tmp_path}/nobody.sock"
    monkeypatch.setattr(current_app, "connection_for_write", lambda **options: Connection(nobody, **options))
    started_at = time.monotonic()

    with django_capture_on_commit_callbacks(execute=True):
        opened = open_run(kind="classifier")

    run = Run.objects.get()
    assert opened.is_new
    assert (run.state, run.dispatched_at) == ("queued", None)
    assert time.monotonic() - started_at < 5


def test_request_cancel_ends_a_queued_run_at_once(db: None) -> None:
    run = make_run()

    cancelled = request_cancel(run=run, by=make_user("ada"))

    assert (cancelled.state, cancelled.finished_at is not None) == ("cancelled", True)
    assert log_of(run) == ["Cancelled by ada before it started."]


def test_request_cancel_asks_a_running_run_once(db: None) -> None:
    run = make_running(lease_seconds=45)

    asked = request_cancel(run=run, by=make_user("ada"))
    again = request_cancel(run=run)

    assert (asked.state, asked.cancel_requested_at is not None) == ("running", True)
    assert again.cancel_requested_at == asked.cancel_requested_at
    assert log_of(run) == ["ada asked to cancel."]


def test_request_cancel_of_a_finished_run_is_refused(db: None) -> None:
    run = make_run(state=Run.State.SUCCEEDED, finished_at=timezone.now())

    with pytest.raises(UnableToCancelRun, match="ended already: succeeded"):
        request_cancel(run=run)


def test_retry_run_opens_a_new_run_with_the_same_settings(db: None, rung: list[int]) -> None:
    campaign = make_campaign(tasks=0)
    failed = make_run(
        state=Run.State.FAILED,
        preset="tiny",
        config={"steps": 5},
        campaign=campaign,
        error_code="no_space",
        finished_at=timezone.now(),
    )

    opened = retry_run(run=failed)

    assert opened.is_new
    assert (opened.run.kind, opened.run.preset, opened.run.config, opened.run.campaign) == (
        "classifier",
        "tiny",
        {"steps": 5},
        campaign,
    )


def test_retry_run_of_a_run_that_succeeded_is_refused(db: None) -> None:
    run = make_run(state=Run.State.SUCCEEDED, finished_at=timezone.now())

    with pytest.raises(UnableToRetryRun):
        retry_run(run=run)


def test_sweep_runs_rings_again_for_what_nobody_heard(db: None, rung: list[int]) -> None:
    never = make_run(kind="classifier")
    long_ago = make_run(kind="adapter", dispatched_at=timezone.now() - timedelta(seconds=31))
    make_run(kind="scoring", dispatched_at=timezone.now() - timedelta(seconds=20))

    swept = sweep_runs()

    assert swept == Sweep(cancelled=0, requeued=0, failed=0, rung=2)
    assert sorted(rung) == [never.pk, long_ago.pk]
    assert sweep_runs() == Sweep(cancelled=0, requeued=0, failed=0, rung=0)


def test_sweep_runs_queues_again_a_run_whose_worker_was_lost(db: None, rung: list[int]) -> None:
    lost = make_running(lease_seconds=-1, fence=4, step=30)
    alive = make_running(lease_seconds=30, kind="adapter")

    swept = sweep_runs()

    lost.refresh_from_db()
    alive.refresh_from_db()
    assert swept == Sweep(cancelled=0, requeued=1, failed=0, rung=1)
    assert (lost.state, lost.lease_until, lost.attempt, lost.fence, lost.step) == ("queued", None, 1, 4, 30)
    assert (alive.state, rung) == ("running", [lost.pk])
    assert log_of(lost) == ["The worker gpu-1 was lost in attempt 1 of 3; the run is queued again."]


def test_sweep_runs_gives_up_when_the_attempts_are_used_up(db: None, rung: list[int]) -> None:
    run = make_running(lease_seconds=-1, attempt=3)

    swept = sweep_runs()

    run.refresh_from_db()
    assert swept == Sweep(cancelled=0, requeued=0, failed=1, rung=0)
    assert (run.state, run.error_code) == ("failed", "worker_lost")
    assert run.error_text == "The worker gpu-1 was lost in attempt 3 of 3."


def test_sweep_runs_cancels_what_was_asked_to_stop_and_is_held_by_nobody(db: None, rung: list[int]) -> None:
    now = timezone.now()
    lost = make_running(lease_seconds=-1, cancel_requested_at=now)
    put_back = make_run(kind="adapter", cancel_requested_at=now)
    alive = make_running(lease_seconds=30, kind="scoring", cancel_requested_at=now)

    swept = sweep_runs()

    assert swept == Sweep(cancelled=2, requeued=0, failed=0, rung=0)
    assert dict(Run.objects.values_list("pk", "state")) == {
        lost.pk: "cancelled",
        put_back.pk: "cancelled",
        alive.pk: "running",
    }


def test_sweep_runs_in_four_places_at_once_counts_each_run_once(transactional_db: None, rung: list[int]) -> None:
    run = make_running(lease_seconds=-1)

    swept = in_threads(4, lambda _number: sweep_runs())

    assert sum(one.requeued for one in swept) == 1
    assert RunEvent.objects.filter(run=run).count() == 1


class ReadBefore:
    """Runs as they were read a moment ago, in the place of a query."""

    def __init__(self, *stale: Run) -> None:
        self._stale = stale

    def filter(self, **_conditions: object) -> tuple[Run, ...]:
        return self._stale


@pytest.mark.parametrize("act", [runs._requeue, runs._fail_exhausted, runs._cancel_unheld])
def test_sweep_runs_leaves_a_run_that_was_claimed_since_it_was_read(db: None, act: Callable[[Any], int]) -> None:
    stale = make_running(lease_seconds=-1)
    Run.objects.update(lease_until=timezone.now() + timedelta(seconds=45), fence=1)

    assert act(ReadBefore(stale)) == 0
    assert list(Run.objects.values_list("state", "fence")) == [("running", 1)]


def test_execute_job_is_known_to_celery_by_the_name_that_is_rung() -> None:
    current_app.loader.import_default_modules()

    assert runs.EXECUTE_JOB in current_app.tasks
