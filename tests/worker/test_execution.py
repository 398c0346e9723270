"""Claiming a run, holding it, and recording how it ended."""

import errno
import itertools
import math
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from tests.worker.test_runs import in_threads, log_of, make_run, make_running
from worker.models import Run
from worker.services import execution
from worker.services.execution import (
    Heartbeat,
    Reporter,
    RunStopped,
    StopReason,
    claim_run,
    describe_error,
    execute_run,
    performer_for,
    workdir_of,
)
from worker.services.runs import request_cancel, sweep_runs

Work = Callable[[Run, Reporter, Path], dict[str, Any]]


@pytest.fixture
def perform(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> Callable[[Work], None]:
    """Make a function the performer of every kind."""
    settings.ARTEFACTS_DIR = tmp_path / "artefacts"
    return lambda work: monkeypatch.setattr(execution, "performer_for", lambda _kind: work)


def claimed(run: Run) -> Run:
    taken = claim_run(run_id=run.pk, worker="gpu-1")
    assert taken is not None
    return taken


def expire_lease(run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


def wait_until(is_true: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_claim_run_takes_a_queued_run(db: None) -> None:
    run = make_run()

    taken = claim_run(run_id=run.pk, worker="gpu-1")

    run.refresh_from_db()
    assert taken == run
    assert (run.state, run.attempt, run.fence, run.worker) == ("running", 1, 1, "gpu-1")
    assert run.started_at is not None
    assert run.lease_until is not None
    assert 40 < (run.lease_until - timezone.now()).total_seconds() <= 45


def test_claim_run_by_twenty_workers_at_once_has_one_winner(transactional_db: None) -> None:
    run = make_run()

    taken = in_threads(20, lambda number: claim_run(run_id=run.pk, worker=f"gpu-{number}"))

    winners = [one for one in taken if one is not None]
    run.refresh_from_db()
    assert len(winners) == 1
    assert (run.attempt, run.fence, run.worker) == (1, 1, winners[0].worker)


def test_claim_run_leaves_a_run_that_is_held(db: None) -> None:
    run = make_running(lease_seconds=30)

    assert claim_run(run_id=run.pk, worker="gpu-2") is None


def test_claim_run_takes_over_when_the_lease_ran_out(db: None) -> None:
    run = make_running(lease_seconds=-1, fence=1)

    taken = claimed(run)

    assert (taken.attempt, taken.fence) == (2, 2)


@pytest.mark.parametrize(
    "fields",
    [
        {"state": "succeeded", "finished_at": timezone.now()},
        {"attempt": 3},
        {"cancel_requested_at": timezone.now()},
    ],
    ids=["finished", "attempts used up", "to be cancelled"],
)
def test_claim_run_leaves_a_run_that_must_not_start(db: None, fields: dict[str, Any]) -> None:
    run = make_run(**fields)

    assert claim_run(run_id=run.pk, worker="gpu-1") is None


def test_execute_run_records_success_with_its_figures(transactional_db: None, perform: Any) -> None:
    run = make_run()

    def work(run: Run, reporter: Reporter, workdir: Path) -> dict[str, Any]:
        (workdir / "state").write_text("half")
        reporter.stage("training")
        reporter.step(2, 2, loss=0.5)
        return {"accuracy": 0.75}

    perform(work)

    state = execute_run(run_id=run.pk, worker="gpu-1")

    run.refresh_from_db()
    assert (state, run.state, run.metrics, run.lease_until) == ("succeeded", "succeeded", {"accuracy": 0.75}, None)
    assert (run.stage, run.step, run.total_steps) == ("training", 2, 2)
    assert list(run.events.values_list("attempt", "step", "text", "metrics")) == [
        (1, None, "Attempt 1 of 3, by gpu-1.", {}),
        (1, None, "training", {}),
        (1, 2, "", {"loss": 0.5}),
        (1, None, "Finished.", {}),
    ]
    assert not workdir_of(run).exists()


def test_execute_run_by_a_doubled_message_works_once(transactional_db: None, perform: Any) -> None:
    run = make_run()
    worked: list[int] = []

    def work(run: Run, _reporter: Reporter, _workdir: Path) -> dict[str, Any]:
        worked.append(run.pk)
        time.sleep(0.2)
        return {}

    perform(work)

    states = in_threads(3, lambda number: execute_run(run_id=run.pk, worker=f"gpu-{number}"))
    late = execute_run(run_id=run.pk, worker="gpu-9")

    assert sorted(states, key=str) == [None, None, "succeeded"]
    assert (worked, late) == ([run.pk], None)


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (MemoryError(), "out_of_memory", "ran out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out_of_memory", "smaller batch"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA"), "out_of_memory", "ran out of memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "no_space", "free some space"),
        (type("NotEnoughChoices", (Exception,), {})("Two more votes."), "not_enough_choices", "Two more votes."),
        (ZeroDivisionError(), "zero_division_error", "ZeroDivisionError"),
    ],
    ids=["memory", "memory of torch", "memory of cuda", "disk", "named error", "program error"],
)
def test_execute_run_that_fails_says_why(
    transactional_db: None, perform: Any, error: Exception, code: str, text: str
) -> None:
    run = make_run()

    def work(*_given: object) -> dict[str, Any]:
        raise error

    perform(work)

    state = execute_run(run_id=run.pk, worker="gpu-1")

    run.refresh_from_db()
    assert (state, run.state, run.error_code) == ("failed", "failed", code)
    assert text in run.error_text
    assert log_of(run)[-1] == f"Failed: {run.error_text}"
    assert describe_error(error) == (code, run.error_text)


def test_execute_run_with_figures_that_cannot_be_stored_fails_instead_of_hanging(
    transactional_db: None, perform: Any
) -> None:
    run = make_run()
    perform(lambda *_given: {"accuracy": object()})

    state = execute_run(run_id=run.pk, worker="gpu-1")

    run.refresh_from_db()
    assert (state, run.state, run.error_code) == ("failed", "failed", "type_error")


def test_execute_run_that_is_cancelled_stops_after_its_step(transactional_db: None, perform: Any) -> None:
    run = make_run()
    steps: list[int] = []

    def work(run: Run, reporter: Reporter, _workdir: Path) -> dict[str, Any]:
        for step in range(1, 1001):
            if reporter.should_stop():
                raise RunStopped
            steps.append(step)
            reporter.step(step, 1000, loss=1.0)
            if step == 1:
                request_cancel(run=run)
            time.sleep(0.01)
        return {}

    perform(work)

    state = execute_run(run_id=run.pk, worker="gpu-1")

    run.refresh_from_db()
    assert (state, run.state, run.finished_at is not None) == ("cancelled", "cancelled", True)
    assert len(steps) < 100
    assert log_of(run)[-1] == "Cancelled."


def test_execute_run_that_returns_after_being_told_to_stop_has_not_succeeded(
    transactional_db: None, perform: Any
) -> None:
    run = make_run()

    def work(run: Run, reporter: Reporter, _workdir: Path) -> dict[str, Any]:
        request_cancel(run=run)
        reporter.say("one more line")
        return {"is_stopped": reporter.should_stop()}

    perform(work)

    assert execute_run(run_id=run.pk, worker="gpu-1") == "cancelled"


def test_execute_run_of_a_worker_that_shuts_down_waits_for_the_next_without_losing_an_attempt(
    transactional_db: None, perform: Any
) -> None:
    run = make_run()

    def work(_run: Run, reporter: Reporter, workdir: Path) -> dict[str, Any]:
        (workdir / "state").write_text("half")
        assert reporter.should_stop()
        raise RunStopped

    perform(work)

    state = execute_run(run_id=run.pk, worker="gpu-1", is_shutting_down=lambda: True)

    run.refresh_from_db()
    assert (state, run.state, run.attempt, run.lease_until) == ("queued", "queued", 0, None)
    assert (workdir_of(run) / "state").read_text() == "half"
    assert claimed(run).fence == 2


def test_execute_run_that_is_interrupted_puts_the_run_back(transactional_db: None, perform: Any) -> None:
    run = make_run()

    def work(*_given: object) -> dict[str, Any]:
        raise KeyboardInterrupt

    perform(work)

    with pytest.raises(KeyboardInterrupt):
        execute_run(run_id=run.pk, worker="gpu-1")

    run.refresh_from_db()
    assert (run.state, run.attempt) == ("queued", 0)


def test_execute_run_by_a_zombie_changes_nothing(transactional_db: None, perform: Any, rung: list[int]) -> None:
    run = make_run()
    published: list[str] = []

    def work(run: Run, reporter: Reporter, _workdir: Path) -> dict[str, Any]:
        expire_lease(run)
        sweep_runs()
        claimed(run)
        reporter.say("I am still here")
        reporter.step(9, 9, loss=0.1)
        with reporter.holding():
            published.append("a version")
        return {"accuracy": 1.0}

    perform(work)

    state = execute_run(run_id=run.pk, worker="zombie")

    run.refresh_from_db()
    assert (state, published) == (None, [])
    assert (run.state, run.fence, run.attempt, run.step, run.metrics) == ("running", 2, 2, 0, {})
    assert log_of(run) == [
        "Attempt 1 of 3, by zombie.",
        "The worker zombie was lost in attempt 1 of 3; the run is queued again.",
        "Attempt 2 of 3, by gpu-1.",
    ]


def test_execute_run_of_a_zombie_that_finishes_does_not_record_it(
    transactional_db: None, perform: Any, rung: list[int]
) -> None:
    run = make_run()

    def work(run: Run, _reporter: Reporter, _workdir: Path) -> dict[str, Any]:
        expire_lease(run)
        claimed(run)
        return {"accuracy": 1.0}

    perform(work)

    assert execute_run(run_id=run.pk, worker="zombie") is None
    assert list(Run.objects.values_list("state", "metrics")) == [("running", {})]


def test_execute_run_records_its_end_when_the_database_comes_back(
    transactional_db: None, perform: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    perform(lambda *_given: {"accuracy": 0.75})
    write_end, failures = execution._write_end, [OperationalError("starting up"), OperationalError("starting up")]

    def write_after_a_while(*given: Any) -> str | None:
        if failures:
            raise failures.pop()
        return write_end(*given)

    monkeypatch.setattr(execution, "_write_end", write_after_a_while)
    monkeypatch.setattr(execution.time, "sleep", lambda _seconds: None)

    assert execute_run(run_id=run.pk, worker="gpu-1") == "succeeded"


def test_heartbeat_extends_the_lease_from_its_own_connection(transactional_db: None) -> None:
    run = claimed(make_run())
    Run.objects.filter(pk=run.pk).update(lease_until=timezone.now() + timedelta(seconds=5))

    with Heartbeat(Reporter(run), seconds=0.02):
        wait_until(lambda: Run.objects.filter(lease_until__gt=timezone.now() + timedelta(seconds=40)).exists())

    assert threading.active_count() == 1 or not any("heartbeat" in thread.name for thread in threading.enumerate())


def test_heartbeat_stops_the_work_when_the_run_was_taken_over(transactional_db: None) -> None:
    run = claimed(make_run())
    reporter = Reporter(run)
    expire_lease(run)
    second = claimed(run)

    with Heartbeat(reporter, seconds=0.02):
        wait_until(reporter.should_stop)

    before = second.lease_until
    second.refresh_from_db()
    assert (reporter.stop_reason, second.lease_until) == (StopReason.LOST, before)


def test_heartbeat_sees_that_a_cancel_was_asked_for(transactional_db: None) -> None:
    run = claimed(make_run())
    reporter = Reporter(run)
    request_cancel(run=run)

    with Heartbeat(reporter, seconds=0.02):
        wait_until(reporter.should_stop)

    assert reporter.stop_reason is StopReason.CANCELLED


def test_heartbeat_gives_its_connection_back(transactional_db: None) -> None:
    run = claimed(make_run())

    def in_use() -> int:
        stats = connection.pool.get_stats()  # type: ignore[attr-defined]
        return int(stats["pool_size"] - stats["pool_available"])

    before = in_use()
    with Heartbeat(Reporter(run), seconds=0.02):
        wait_until(lambda: in_use() > before)
        time.sleep(0.1)

    assert in_use() == before


def test_reporter_step_writes_at_most_twice_a_second_and_the_last_step_always(db: None) -> None:
    run = claimed(make_run())
    a_tenth_later = itertools.count(10, 1)
    reporter = Reporter(run, clock=lambda: next(a_tenth_later) / 10)

    for step in range(1, 14):
        reporter.step(step, 13, loss=1 / step)

    run.refresh_from_db()
    points = list(run.events.filter(step__isnull=False).values_list("step", "metrics"))
    assert points == [(1, {"loss": 1.0}), (6, {"loss": 1 / 6}), (11, {"loss": 1 / 11}), (13, {"loss": 1 / 13})]
    assert (run.step, run.total_steps) == (13, 13)


def test_reporter_step_keeps_a_figure_of_a_step_that_was_passed_over(db: None) -> None:
    reporter = Reporter(claimed(make_run()), clock=lambda: 0.0)

    reporter.step(1, 3, loss=1.0)
    reporter.step(2, 3, loss=0.5, accuracy=0.75)
    reporter.step(3, 3, loss=0.25)

    assert list(reporter.run.events.filter(step__isnull=False).values_list("step", "metrics")) == [
        (1, {"loss": 1.0}),
        (3, {"loss": 0.25, "accuracy": 0.75}),
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_reporter_step_with_a_figure_that_is_no_number_stores_nothing_for_it(db: None, value: float | None) -> None:
    reporter = Reporter(claimed(make_run()))

    reporter.step(1, 1, loss=value)

    assert list(reporter.run.events.filter(step=1).values_list("metrics", flat=True)) == [{"loss": None}]


def test_reporter_record_sets_fields_of_the_row(db: None) -> None:
    reporter = Reporter(claimed(make_run()))

    reporter.record(is_synthetic=True)

    assert Run.objects.get().is_synthetic
    assert reporter.run.is_synthetic


def test_reporter_record_by_a_zombie_stops_it(db: None) -> None:
    run = claimed(make_run())
    expire_lease(run)
    claimed(run)

    with pytest.raises(RunStopped):
        Reporter(run).record(is_synthetic=True)

    assert not Run.objects.get().is_synthetic


def test_performer_for_knows_every_kind() -> None:
    assert all(callable(performer_for(kind)) for kind in Run.Kind.values)


def test_performer_for_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="no runs of kind 'dreaming'"):
        performer_for("dreaming")
