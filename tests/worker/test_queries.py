"""What is read in the machine's room."""

import pytest
from django.utils import timezone

from tests.worker.test_runs import make_run, make_running
from worker.models import RunEvent
from worker.queries import Curve, active_run, current_version, curves_of, is_worker_online, log_of, previous_version
from worker.services.presence import report_presence


def test_is_worker_online_without_any_sign_of_life(db: None) -> None:
    make_running(lease_seconds=-1)

    assert not is_worker_online()


def test_is_worker_online_when_one_reported(db: None) -> None:
    report_presence(queues=["default"])
    assert not is_worker_online("gpu")

    report_presence(queues=["gpu"])
    assert is_worker_online("gpu")


def test_is_worker_online_while_one_holds_a_run(db: None) -> None:
    make_running(lease_seconds=30)

    assert is_worker_online("gpu")
    assert not is_worker_online("default")


def test_active_run_is_the_one_that_is_queued_or_running(db: None) -> None:
    make_run(kind="classifier", state="cancelled", finished_at=timezone.now())
    running = make_running(lease_seconds=30, kind="adapter")

    assert (active_run("classifier"), active_run("adapter")) == (None, running)


def test_log_of_gives_the_last_lines_the_oldest_first(db: None) -> None:
    run = make_run()
    for number in range(5):
        RunEvent.objects.create(run=run, attempt=1, text=f"line {number}")
        RunEvent.objects.create(run=run, attempt=1, step=number, metrics={"loss": 1.0})

    assert [event.text for event in log_of(run, limit=2)] == ["line 3", "line 4"]


def test_curves_of_a_repeated_step_keep_the_later_attempt(db: None) -> None:
    run = make_run()
    for attempt, step, loss in [(1, 1, 0.9), (1, 2, 0.8), (2, 2, 0.7), (2, 3, None)]:
        RunEvent.objects.create(run=run, attempt=attempt, step=step, metrics={"loss": loss, "rate": step / 10})

    assert curves_of(run) == [
        Curve("loss", ((1, 0.9), (2, 0.7))),
        Curve("rate", ((1, 0.1), (2, 0.2), (3, 0.3))),
    ]


def test_curves_of_a_long_run_are_thinned_and_keep_both_ends(db: None) -> None:
    run = make_run()
    RunEvent.objects.bulk_create(
        RunEvent(run=run, attempt=1, step=step, metrics={"loss": 1.0}) for step in range(1, 1001)
    )

    (curve,) = curves_of(run, limit=5)

    assert [step for step, _value in curve.points] == [1, 251, 501, 750, 1000]


@pytest.mark.parametrize("read", [current_version, previous_version])
def test_versions_of_a_family_that_was_never_used(db: None, read: object) -> None:
    assert callable(read)
    assert read("hps") is None
