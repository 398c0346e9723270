"""Who hears the bell, and that a deaf Redis keeps nobody waiting."""

import time
from collections.abc import Iterator

import pytest
from celery import Celery
from kombu import Connection
from kombu.exceptions import OperationalError

from hps_site.celery import app

# Broker, results and whoever asks for it alone: Celery reads the timeout in three places.
PLACES_OF_TIMEOUT = ("broker_transport_options", "result_backend_transport_options")


@pytest.fixture
def connection() -> Iterator[Connection]:
    with app.connection_for_write() as connection:
        yield connection
        for name in ("default", "gpu"):
            connection.default_channel.queue_purge(name)


def test_a_message_reaches_the_queue_it_is_for_and_no_other(connection: Connection) -> None:
    for queue in app.conf.task_queues:
        queue(connection.default_channel).declare()
        # The broker in memory is that of the whole test process: other tests may have rung.
        queue(connection.default_channel).purge()

    app.send_task("worker.any", queue="gpu", connection=connection)

    waiting = {name: connection.default_channel.queue_declare(name).message_count for name in ("default", "gpu")}
    assert waiting == {"default": 0, "gpu": 1}


def test_the_settings_that_keep_long_jobs_alive_and_single() -> None:
    conf = app.conf

    assert {
        "task_acks_late": conf.task_acks_late,
        "task_ignore_result": conf.task_ignore_result,
        "task_reject_on_worker_lost": conf.task_reject_on_worker_lost,
        "worker_prefetch_multiplier": conf.worker_prefetch_multiplier,
        "cancel": conf.worker_cancel_long_running_tasks_on_connection_loss,
        "accept_content": conf.accept_content,
        "task_create_missing_queues": conf.task_create_missing_queues,
    } == {
        "task_acks_late": False,
        "task_ignore_result": True,
        "task_reject_on_worker_lost": False,
        "worker_prefetch_multiplier": 1,
        "cancel": False,
        "accept_content": ["json"],
        "task_create_missing_queues": False,
    }
    assert [conf[place]["visibility_timeout"] for place in PLACES_OF_TIMEOUT] == [conf.visibility_timeout] * 2


def test_the_clock_asks_for_a_job_that_exists() -> None:
    app.loader.import_default_modules()

    assert {entry["task"] for entry in app.conf.beat_schedule.values()} <= set(app.tasks)


def test_ringing_for_a_redis_that_is_away_fails_soon() -> None:
    away = Celery("away", broker="redis://127.0.0.1:1/0", set_as_current=False)
    away.conf.broker_transport_options = app.conf.broker_transport_options
    began = time.monotonic()

    with pytest.raises(OperationalError):
        away.send_task("worker.any")

    assert time.monotonic() - began < 5
