"""Real Celery workers that are killed, told to stop, or lose their messages in the middle of a training."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
import redis
from django.conf import settings as django_settings
from django.db import connection

from annotations.models import Campaign
from hps_site import supervisor
from tests.worker.worlds import make_voted_campaign, write_tiny_clip
from worker.models import ModelVersion, Run
from worker.queries import presence_key
from worker.services import runs
from worker.services.versions import promote_version, scorer_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.django_db(transaction=True)]

# 240 steps of some hundredths of a second, a checkpoint every five.
CONFIG = {"image_blocks": 1, "choices_per_batch": 3, "epochs": 40, "checkpoint_every": 5, "readers": 1}
STEPS, KILLED_AFTER_STEP = 240, 20

# The broker's; the cache has the next one.
REDIS_DATABASE = 13

# A worker imports torch and its friends before it is there.
SECONDS_TO_START = 90
SECONDS_TO_RECOVER = 90

Start = Callable[[str], subprocess.Popen[bytes]]


def redis_url() -> str:
    """A database of its own on the tests' Redis."""
    return redis_address(REDIS_DATABASE)


def redis_address(number: int) -> str:
    address = os.environ.get("REDIS_URL") or django_settings.REDIS_URL
    before, _, after = address.partition("?")
    if before.startswith("unix:"):
        return f"{before}?db={number}"
    return f"{before.rpartition('/')[0]}/{number}{'?' + after if after else ''}"


def database_url() -> str:
    """The tests' own database, for other processes."""
    facts = connection.settings_dict
    person = f"{quote(facts['USER'])}:{quote(facts['PASSWORD'] or '')}"
    return f"postgresql://{person}@:{facts['PORT'] or 5432}/{facts['NAME']}?{urlencode({'host': facts['HOST']})}"


@pytest.fixture
def broker() -> Iterator[redis.Redis]:
    """An empty broker, emptied again afterwards."""
    yield from an_empty_redis(REDIS_DATABASE)


@pytest.fixture
def cache() -> Iterator[redis.Redis]:
    """The cache of the workers, in which they report."""
    yield from an_empty_redis(REDIS_DATABASE + 1)


def an_empty_redis(number: int) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_address(number)) as client:
        client.flushdb()
        yield client
        client.flushdb()


@pytest.fixture
def start(files: Path, broker: redis.Redis) -> Iterator[Start]:
    """Starts one of the workers by name, in a process group of its own; none of them outlives the test."""
    files.mkdir(exist_ok=True)
    write_tiny_clip(files / "base-models" / "tiny-clip")
    environment = {
        **os.environ,
        "DATABASE_URL": database_url(),
        "REDIS_URL": redis_url(),
        "HPS_SITE_HOME": str(files),
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "default",
    }
    environment.pop("REDIS_CACHE_URL", None)
    started: list[subprocess.Popen[bytes]] = []

    def start_worker(name: str) -> subprocess.Popen[bytes]:
        command = supervisor.worker_commands()[name]
        process = subprocess.Popen(
            command, cwd=django_settings.BASE_DIR, env=environment, start_new_session=True, stderr=subprocess.DEVNULL
        )
        started.append(process)
        return process

    yield start_worker
    for process in started:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """kill -9 of a worker with everything it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture
def campaign() -> Campaign:
    return make_voted_campaign(has_files=True, is_synthetic=True)


@pytest.fixture
def run(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A training that waits; no message was sent, so that only the sweeper can bring it to a worker."""
    monkeypatch.setattr(runs, "_send", lambda _run_id: None)
    return runs.open_run(kind="classifier", preset="tiny", config=CONFIG, campaign=campaign).run


def wait_until(run: Run, is_so: Callable[[Run], bool], *, seconds: float) -> float:
    """Seconds until something is true of the run's row."""
    started_at = time.monotonic()
    while True:
        run.refresh_from_db()
        waited = time.monotonic() - started_at
        if is_so(run):
            return waited
        assert waited < seconds, f"after {waited:.0f} s: {run.state}, step {run.step}, {run.stage}, {run.error_text}"
        time.sleep(0.2)


def is_halfway(run: Run) -> bool:
    return run.state == "running" and run.stage == "training" and run.step >= KILLED_AFTER_STEP


def wait_for_report(cache: redis.Redis) -> None:
    """Until a GPU worker says that it is there."""
    cache.flushdb()
    deadline = time.monotonic() + SECONDS_TO_START
    while not cache.keys(f"*{presence_key('gpu')}"):
        assert time.monotonic() < deadline, "no worker reported"
        time.sleep(0.2)


def log_of(run: Run) -> list[str]:
    return list(run.events.exclude(text="").values_list("text", flat=True))


def step_resumed_from(run: Run) -> int:
    (line,) = [line for line in log_of(run) if line.startswith("Going on from step ")]
    return int(line.removeprefix("Going on from step ").rstrip("."))


def test_a_training_whose_worker_is_killed_goes_on_from_its_checkpoint(
    start: Start, run: Run, cache: redis.Redis
) -> None:
    clock, worker = start("worker"), start("gpu-worker")
    wait_until(run, is_halfway, seconds=SECONDS_TO_START)

    kill(worker)
    kill(clock)
    reached = Run.objects.get().step
    assert Run.objects.get().state == "running"
    start("worker")
    start("gpu-worker")
    wait_for_report(cache)
    recovered_in = wait_until(run, lambda run: not run.is_active, seconds=SECONDS_TO_RECOVER)

    print(f"killed at step {reached}, succeeded {recovered_in:.1f} s after the worker was back")
    assert (run.state, run.attempt, run.fence) == ("succeeded", 2, 2)
    # The row is written twice a second, the checkpoints every five steps: it may lag behind them, never run far ahead.
    assert max(1, reached - 10) <= step_resumed_from(run) < STEPS
    assert run.step == run.total_steps == STEPS
    version = ModelVersion.objects.get(family="hps")
    assert scorer_for(promote_version(version=version)).kind == "hps"
    assert any("was lost in attempt 1 of 3" in line for line in log_of(run))


def test_a_training_whose_worker_is_told_to_stop_goes_on_with_the_next(
    start: Start, run: Run, broker: redis.Redis
) -> None:
    start("worker")
    worker = start("gpu-worker")
    wait_until(run, is_halfway, seconds=SECONDS_TO_START)

    worker.terminate()
    worker.wait(timeout=30)
    run.refresh_from_db()
    assert (run.state, run.attempt, run.lease_until) == ("queued", 0, None)

    broker.flushdb()
    start("gpu-worker")
    wait_until(run, lambda run: not run.is_active, seconds=SECONDS_TO_START + SECONDS_TO_RECOVER)

    assert (run.state, run.attempt, run.fence) == ("succeeded", 1, 2)
    assert step_resumed_from(run) > 0
