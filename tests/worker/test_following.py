"""Waiting for a run, with and without a worker."""

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from tests.worker.test_execution import wait_until
from tests.worker.test_runs import make_run
from worker.models import Run
from worker.services import execution, following, presence
from worker.services.execution import Reporter, execute_run
from worker.services.following import RunFailed, follow_run
from worker.services.runs import request_cancel


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(following, "SECONDS_BETWEEN_LOOKS", 0.02)


@pytest.fixture
def _quick_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(_run: Run, reporter: Reporter, _workdir: Path) -> dict[str, Any]:
        reporter.stage("training")
        reporter.step(4, 4, loss=0.5)
        return {"accuracy": 0.75}

    monkeypatch.setattr(execution, "performer_for", lambda _kind: work)


@pytest.mark.usefixtures("_quick_work")
def test_follow_run_without_a_worker_says_so_and_does_the_work_here(
    transactional_db: None, capsys: pytest.CaptureFixture[str]
) -> None:
    run = follow_run(run=make_run())

    told = capsys.readouterr().err
    assert (run.state, run.metrics, run.attempt) == ("succeeded", {"accuracy": 0.75}, 1)
    assert f"process {os.getpid()}" in run.worker
    assert "No worker is online, so the work is done in this process." in told
    assert "Finished." in told


@pytest.mark.usefixtures("_quick_work")
def test_follow_run_here_starts_at_once_and_can_be_silent(
    transactional_db: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PATIENCE_SECONDS", 1000)
    monkeypatch.setattr(following, "is_worker_online", lambda: True)

    run = follow_run(run=make_run(), is_here=True, is_shown=False)

    assert run.state == "succeeded"
    assert "No worker" not in capsys.readouterr().err


@pytest.mark.usefixtures("_quick_work")
def test_follow_run_leaves_the_work_to_a_worker_that_is_online(transactional_db: None) -> None:
    presence.report_presence(queues=["gpu"])
    run = make_run()

    def work_later() -> None:
        time.sleep(0.5)
        execute_run(run_id=run.pk, worker="gpu-1")
        connection.close()

    worker = threading.Thread(target=work_later)
    worker.start()
    followed = follow_run(run=run)
    worker.join()

    assert (followed.state, followed.worker) == ("succeeded", "gpu-1")


def test_follow_run_that_fails_says_why(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*_given: object) -> dict[str, Any]:
        raise MemoryError

    monkeypatch.setattr(execution, "performer_for", lambda _kind: work)

    with pytest.raises(RunFailed, match="ran out of memory"):
        follow_run(run=make_run(), is_here=True)


def test_follow_run_that_is_cancelled_has_failed(transactional_db: None) -> None:
    run = make_run()
    request_cancel(run=run)

    with pytest.raises(RunFailed, match="The run was cancelled"):
        follow_run(run=run)


def test_follow_run_interrupted_puts_its_work_back(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()

    def work(_run: Run, reporter: Reporter, _workdir: Path) -> dict[str, Any]:
        wait_until(reporter.should_stop)
        return {}

    def interrupt(_seconds: float) -> None:
        wait_until(lambda: Run.objects.filter(state="running").exists())
        raise KeyboardInterrupt

    monkeypatch.setattr(execution, "performer_for", lambda _kind: work)
    monkeypatch.setattr(following, "_pause", interrupt)

    with pytest.raises(KeyboardInterrupt):
        follow_run(run=run, is_here=True)

    run.refresh_from_db()
    assert (run.state, run.attempt) == ("queued", 0)
