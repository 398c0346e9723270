"""The doors through which Celery comes in."""

import os
import signal
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.db import DatabaseError, connection
from django.utils import timezone

from annotations.models import Attempts, Participation
from annotations.services.recruiting import Arrival, enter
from tests.annotations.factories import make_campaign, make_recruitment
from tests.worker.test_runs import make_run, make_running
from worker import jobs
from worker.models import Run
from worker.queries import is_worker_online
from worker.services import execution, presence, runs
from worker.services.execution import Reporter


@pytest.fixture
def stopped_by(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Why the work of each run was told to stop; the work asks for ever."""
    reasons: list[str] = []

    def work(_run: Run, reporter: Reporter, _workdir: Path) -> dict[str, Any]:
        if not reporter.should_stop():
            os.kill(os.getpid(), signal.SIGTERM)
        assert reporter.should_stop()
        reasons.append(str(reporter.stop_reason))
        return {}

    monkeypatch.setattr(execution, "performer_for", lambda _kind: work)
    return reasons


def test_execute_run_of_a_process_that_gets_sigterm_puts_the_run_back(
    transactional_db: None, stopped_by: list[str]
) -> None:
    run = make_run()
    before = signal.getsignal(signal.SIGTERM)

    jobs.execute_run(run_id=run.pk, something_of_a_later_release=True)

    run.refresh_from_db()
    assert (run.state, stopped_by) == ("queued", ["shutdown"])
    assert signal.getsignal(signal.SIGTERM) is before


def test_execute_run_tells_who_listened_to_sigterm_before(transactional_db: None, stopped_by: list[str]) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: heard.append(number))

    try:
        jobs.execute_run(run_id=make_run().pk)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert heard == [signal.SIGTERM]


def test_execute_run_of_a_worker_that_shuts_down_puts_the_run_back(
    transactional_db: None, stopped_by: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs._is_shutting_down, "value", 0)
    jobs.ask_to_stop()
    run = make_run()

    jobs.execute_run(run_id=run.pk)

    run.refresh_from_db()
    assert (run.state, stopped_by) == ("queued", ["shutdown"])


def test_execute_run_works_outside_the_main_thread(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "performer_for", lambda _kind: lambda *_given: {})
    run = make_run()

    def work() -> None:
        jobs.execute_run(run_id=run.pk)
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    run.refresh_from_db()
    assert run.state == "succeeded"


def test_sweep_runs_sweeps(db: None, rung: list[int]) -> None:
    run = make_running(lease_seconds=-1)

    jobs.sweep_runs()

    assert rung == [run.pk]


class FakeWorker:
    """The part of Celery's worker that says what it listens on."""

    class app:  # noqa: N801
        class amqp:  # noqa: N801
            class queues:  # noqa: N801
                consume_from = {"gpu": None}


@pytest.fixture
def _silent_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_queues", [])
    monkeypatch.setattr(jobs, "_reported_at", 0.0)


@pytest.mark.usefixtures("_silent_worker")
def test_report_presence_makes_the_queues_of_the_worker_seen(db: None) -> None:
    jobs.remember_queues(instance=FakeWorker())

    jobs.report_presence()

    assert (is_worker_online("gpu"), is_worker_online("default")) == (True, False)


@pytest.mark.usefixtures("_silent_worker")
def test_report_presence_reports_every_ten_seconds_only(db: None) -> None:
    jobs.remember_queues(instance=FakeWorker())
    jobs.report_presence()
    cache.clear()

    jobs.report_presence()

    assert not is_worker_online("gpu")


@pytest.mark.usefixtures("_silent_worker")
def test_report_presence_without_a_cache_does_not_stop_the_worker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**_queues: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(presence, "report_presence", fail)

    jobs.report_presence()

    assert "could not report" in caplog.text


def test_sweep_at_start_sweeps_and_leaves_no_connection_open(transactional_db: None, rung: list[int]) -> None:
    run = make_running(lease_seconds=-1)

    jobs.sweep_at_start()

    assert rung == [run.pk]
    assert connection.connection is None


def test_sweep_at_start_without_a_database_lets_the_worker_start(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise DatabaseError

    monkeypatch.setattr(runs, "sweep_runs", fail)

    jobs.sweep_at_start()

    assert "could not be swept" in caplog.text


def test_give_back_places_frees_the_places_of_who_left(db: None, caplog: pytest.LogCaptureFixture) -> None:
    part = enter(recruitment=make_recruitment(make_campaign()), arrival=Arrival("5f3a", "study1", "session1"))
    Participation.objects.update(seen_at=timezone.now() - timedelta(minutes=121))
    Attempts.objects.create(key="old", count=3, until=timezone.now() - timedelta(seconds=1))

    with caplog.at_level("INFO"):
        jobs.give_back_places(something_of_a_later_release=True)
        jobs.give_back_places()

    part.refresh_from_db()
    assert (part.state, Attempts.objects.count()) == ("returned", 0)
    assert [record.getMessage() for record in caplog.records if record.name == "worker.jobs"] == ["1 places given back"]
