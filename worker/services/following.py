"""Waiting for a run from the command line; where no worker answers, its work is done in this process."""

import os
import socket
import sys
import threading
import time
from typing import Self

from django.db import connection
from tqdm import tqdm

from worker.models import Run
from worker.queries import is_worker_online
from worker.services.execution import execute_run

# How long a worker has to take a run before this process looks whether there is any.
PATIENCE_SECONDS = 5.0

SECONDS_BETWEEN_LOOKS = 0.5


class RunFailed(Exception):
    """The run ended without success; the message says why, for people."""


def follow_run(*, run: Run, is_here: bool = False, is_shown: bool = True) -> Run:
    """Wait until a run has ended, with its progress on standard error.

    A run that nobody takes for five seconds while no worker is online is executed in this process, claimed as any
    worker would; that is said. Interrupted with Ctrl-C, such a run goes back into the queue with its checkpoints; one
    that a worker does goes on there.

    Args:
        run: an open run.
        is_here: execute it in this process at once.
        is_shown: whether to print.

    Returns:
        The run as it ended.

    Raises:
        RunFailed: it failed or was cancelled.
    """
    is_interrupted = threading.Event()
    helper: threading.Thread | None = None
    waiting_since = time.monotonic()
    with _Display(is_shown=is_shown) as display:
        try:
            while True:
                run.refresh_from_db()
                display.show(run)
                if not run.is_active:
                    break
                is_free = run.state == Run.State.QUEUED and (helper is None or not helper.is_alive())
                if is_free and (is_here or _nobody_answers(waiting_since)):
                    if not is_here:
                        display.say("No worker is online, so the work is done in this process.")
                    helper = threading.Thread(target=_execute, args=(run.pk, is_interrupted), name="run")
                    helper.start()
                _pause(SECONDS_BETWEEN_LOOKS)
        finally:
            is_interrupted.set()
            if helper is not None:
                helper.join()
    if run.state != Run.State.SUCCEEDED:
        raise RunFailed(run.error_text or f"The run was {run.get_state_display()}.")
    return run


def _pause(seconds: float) -> None:
    time.sleep(seconds)


def _nobody_answers(waiting_since: float) -> bool:
    return time.monotonic() - waiting_since > PATIENCE_SECONDS and not is_worker_online()


def _execute(run_id: int, is_interrupted: threading.Event) -> None:
    try:
        worker = f"{socket.gethostname()}, process {os.getpid()}"
        execute_run(run_id=run_id, worker=worker, is_shutting_down=is_interrupted.is_set)
    finally:
        connection.close()


class _Display:
    """Lines and a bar on standard error."""

    def __init__(self, *, is_shown: bool) -> None:
        self._is_shown = is_shown
        self._bar: tqdm[None] | None = None
        self._stage = ""
        self._last_event = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def say(self, text: str) -> None:
        if self._is_shown:
            tqdm.write(text, file=sys.stderr)

    def show(self, run: Run) -> None:
        for event in run.events.exclude(text="").filter(pk__gt=self._last_event):
            self._last_event = event.pk
            self.say(event.text)
        if not self._is_shown or not run.total_steps:
            return
        if self._bar is None or self._stage != run.stage:
            self.__exit__()
            self._stage = run.stage
            self._bar = tqdm(desc=run.stage, total=run.total_steps, file=sys.stderr, leave=False, mininterval=0)
        self._bar.total = run.total_steps
        self._bar.n = min(run.step, run.total_steps)
        self._bar.refresh()
