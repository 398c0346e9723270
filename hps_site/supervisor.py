"""Several programs that run as one: they start together, and when one ends the others are stopped."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from django.conf import settings

SECONDS_BETWEEN_LOOKS = 0.2
# A job stops after the step it is in and its run waits for the next worker; one that does not is killed.
SECONDS_TO_STOP = 20.0

Commands = Mapping[str, Sequence[str]]


class ChildEnded(Exception):
    """One of the programs ended by itself; the others were stopped."""


def web_command(*, bind: str) -> list[str]:
    """Gunicorn with threads, on an address such as 127.0.0.1:8000."""
    server = [sys.executable, "-m", "gunicorn", "hps_site.wsgi", "--bind", bind]
    # Browsers keep connections for longer than gunicorn's two seconds; a request on a closed one is an error.
    size = ["--workers", "2", "--worker-class", "gthread", "--threads", "8", "--keep-alive", "75"]
    return [*server, *size, "--no-control-socket", "--log-level", "warning"]


def worker_commands() -> dict[str, list[str]]:
    """Two Celery workers: short jobs with the clock beside them, and one long job at a time in a process of its own."""
    celery = [sys.executable, "-m", "celery", "--quiet", "--app", "hps_site", "worker", "--concurrency", "1"]
    quiet = ["--without-gossip", "--without-mingle", "--loglevel", "WARNING"]
    return {
        "worker": [*celery, *quiet, "--queues", "default", "--hostname", "default@%h", "--beat"],
        "gpu-worker": [*celery, *quiet, "--queues", "gpu", "--hostname", "gpu@%h", "--max-tasks-per-child", "1"],
    }


def run_together(commands: Commands) -> None:
    """Run programs until one of them ends or this process is interrupted; afterwards none of them runs.

    Raises:
        ChildEnded: one ended by itself.
    """
    with running(commands) as children:
        _wait_for_the_first_to_end(children)


@contextlib.contextmanager
def running(commands: Commands, *, log: IO[bytes] | None = None) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Programs that run while the block does, by name; afterwards none of them runs.

    Args:
        commands: what to run.
        log: an open file that takes what they print; without it they print where this process does.
    """
    children: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in commands.items():
            # Sessions of their own: Ctrl-C comes to this process alone, which passes it on.
            children[name] = subprocess.Popen(
                command, cwd=settings.BASE_DIR, start_new_session=True, stdout=log, stderr=log
            )
        yield children
    finally:
        _stop(list(children.values()))


def _wait_for_the_first_to_end(children: Mapping[str, subprocess.Popen[bytes]]) -> None:
    while True:
        for name, child in children.items():
            if child.poll() is not None:
                raise ChildEnded(f"The {name} ended with status {child.returncode}; everything else was stopped.")
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _stop(children: Sequence[subprocess.Popen[bytes]]) -> None:
    with _deaf_to_signals():
        for child in children:
            child.terminate()
        deadline = time.monotonic() + SECONDS_TO_STOP
        for child in children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, deadline - time.monotonic()))
        for child in children:
            _kill_what_is_left(child)


def _kill_what_is_left(child: subprocess.Popen[bytes]) -> None:
    """End the child and what it started, by its process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


@contextlib.contextmanager
def _deaf_to_signals() -> Iterator[None]:
    """A second Ctrl-C must not leave children behind."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
