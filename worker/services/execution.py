"""Executing a run: claim it, keep hold of it, let its performer work, and record truthfully how it ended."""

import contextlib
import errno
import logging
import math
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Now

from worker.models import Run, RunEvent, RunQuerySet

logger = logging.getLogger(__name__)

# Who holds a run says so every ten seconds; a worker that is silent for 45 is taken for lost.
LEASE = timedelta(seconds=45)
HEARTBEAT_SECONDS = 10.0

# Points of the curves are written at most twice a second.
SECONDS_BETWEEN_STEPS = 0.5

# How long the end of a run waits for a database that is being restarted.
DATABASE_PATIENCE_SECONDS = 120.0


class RunStopped(Exception):
    """Raised by a performer that stopped before its work was done, because `Reporter.should_stop` said so."""


class StopReason(StrEnum):
    """Why a performer is told to stop."""

    CANCELLED = "cancelled"
    LOST = "lost"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True)
class End:
    """How the work of a run ended."""

    state: str
    text: str
    metrics: dict[str, Any] = field(default_factory=dict)
    error_code: str = ""
    error_text: str = ""


class Reporter:
    """What a performer sees of its run: where to report to, and whether to go on.

    Everything is written only while the run is still held, that is where its fence is the one that was claimed; a
    worker that was taken for lost and came back changes nothing.
    """

    def __init__(
        self, run: Run, *, is_shutting_down: Callable[[], bool] = bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.run = run
        self._clock = clock
        self.was_told_to_stop = False
        self._is_shutting_down = is_shutting_down
        self._reason: StopReason | None = None
        self._unwritten: dict[str, float | None] = {}
        self._written_at = -math.inf

    @property
    def stop_reason(self) -> StopReason | None:
        """Why the work should stop, or None where it should go on."""
        if self._reason is None and self._is_shutting_down():
            self._reason = StopReason.SHUTDOWN
        return self._reason

    def stop(self, reason: StopReason) -> None:
        """Make `should_stop` true; a run that is lost stays lost."""
        if self._reason is not StopReason.LOST:
            self._reason = reason

    def should_stop(self) -> bool:
        """Whether the work must stop now: cancelled, taken over by another worker, or this worker shuts down.

        A performer asks between two steps, keeps its checkpoint, and raises `RunStopped` or simply returns; what it
        returns after a yes is not taken for finished work.
        """
        self.was_told_to_stop = self.was_told_to_stop or self.stop_reason is not None
        return self.was_told_to_stop

    def stage(self, text: str) -> None:
        """Say what is being done now, in a few words."""
        self._write(text=text, fields={"stage": text[:200]})

    def say(self, text: str) -> None:
        """Add a line to the run's log."""
        self._write(text=text)

    def step(self, step: int, total: int, **metrics: float | None) -> None:
        """Report that `step` of `total` steps are done, with figures for the curves, if there are any.

        Written at most twice a second, the last step always; a figure of a step that was passed over goes with the
        next one that is written, unless that brings its own.
        """
        self._unwritten |= {name: _finite(value) for name, value in metrics.items()}
        now = self._clock()
        if step < total and now - self._written_at < SECONDS_BETWEEN_STEPS:
            return
        point, self._unwritten, self._written_at = self._unwritten, {}, now
        self._write(step=step if point else None, metrics=point, fields={"step": step, "total_steps": total})

    def record(self, **fields: Any) -> None:
        """Set fields of the run's row, such as its snapshot.

        Raises:
            RunStopped: the run is held by another worker now.
        """
        with self.holding():
            _held(self.run).update(**fields)
        for name, value in fields.items():
            setattr(self.run, name, value)

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """A transaction in which nobody can take the run away, for publishing what it made.

        Raises:
            RunStopped: the run is held by another worker now.
        """
        with transaction.atomic():
            if not _held(self.run).select_for_update(no_key=True).exists():
                self.stop(StopReason.LOST)
                raise RunStopped
            yield

    def _write(
        self,
        *,
        text: str = "",
        step: int | None = None,
        metrics: Mapping[str, Any] | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        if text:
            logger.info("run %s: %s", self.run.public_id, text)
        try:
            with self.holding():
                if fields:
                    _held(self.run).update(**fields)
                if text or step is not None:
                    RunEvent.objects.create(
                        run=self.run, attempt=self.run.attempt, step=step, text=text, metrics=metrics or {}
                    )
                cancel_requested_at = _held(self.run).values_list("cancel_requested_at", flat=True).get()
        except RunStopped:
            return
        except (OperationalError, InterfaceError) as error:
            # A database that restarts costs some lines of the log, not the work of hours.
            logger.warning("run %s: not written, the database can't be reached: %s", self.run.public_id, error)
            connection.close_if_unusable_or_obsolete()
            return
        if cancel_requested_at is not None:
            self.stop(StopReason.CANCELLED)


class Heartbeat:
    """While the block runs, a thread with its own database connection extends the lease of the run."""

    def __init__(self, reporter: Reporter, seconds: float = HEARTBEAT_SECONDS) -> None:
        self._reporter = reporter
        self._seconds = seconds
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"heartbeat of run {reporter.run.pk}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _beat(self) -> None:
        try:
            while not self._is_over.wait(self._seconds):
                self._extend()
        finally:
            connection.close()

    def _extend(self) -> None:
        run = self._reporter.run
        try:
            if not _held(run).update(lease_until=Now() + LEASE):
                self._reporter.stop(StopReason.LOST)
            elif _held(run).filter(cancel_requested_at__isnull=False).exists():
                self._reporter.stop(StopReason.CANCELLED)
        except (OperationalError, InterfaceError) as error:
            logger.warning("run %s: heartbeat failed, the database can't be reached: %s", run.public_id, error)
            connection.close()


Performer = Callable[[Run, Reporter, Path], dict[str, Any]]
"""Does the work of one kind of run.

Takes the run, its reporter and a folder for its checkpoints (which may hold those of an earlier attempt); gives back
the figures for `Run.metrics`. Errors it raises end the run as failed, with their text for people.
"""


def execute_run(*, run_id: int, worker: str, is_shutting_down: Callable[[], bool] = bool) -> str | None:
    """Claim a run, do its work and record how it ended.

    Args:
        run_id: primary key of the run.
        worker: name of who executes it, for people.
        is_shutting_down: asked between steps; a yes puts the run back into the queue, to go on elsewhere.

    Returns:
        The state in which it was left, or None where there was nothing to claim (a doubled message, a run that
        ended or is held by another) or the run was taken away while it ran.
    """
    run = claim_run(run_id=run_id, worker=worker)
    if run is None:
        return None
    reporter = Reporter(run, is_shutting_down=is_shutting_down)
    with Heartbeat(reporter):
        try:
            end = _perform(run, reporter)
        except BaseException:
            # The process is being ended: what was done so far stays in the checkpoints.
            _record_end(run, _put_back())
            raise
        return _record_end(run, end)


def claim_run(*, run_id: int, worker: str) -> Run | None:
    """Take a run that waits, or one whose worker was lost: one conditional UPDATE, by the database's clock.

    Returns:
        The run with its new attempt and fence, or None where there is nothing to take.
    """
    is_free = Q(state=Run.State.QUEUED) | Q(state=Run.State.RUNNING, lease_until__lt=Now())
    free = Run.objects.filter(is_free, pk=run_id, attempt__lt=F("max_attempts"), cancel_requested_at=None)
    with transaction.atomic():
        is_mine = free.update(
            state=Run.State.RUNNING,
            attempt=F("attempt") + 1,
            fence=F("fence") + 1,
            lease_until=Now() + LEASE,
            worker=worker[:200],
            started_at=Coalesce("started_at", Now()),
        )
        if not is_mine:
            return None
        # The row is locked until this transaction ends, so this is the fence that was just set.
        run = Run.objects.select_related("campaign", "requested_by").get(pk=run_id)
        text = f"Attempt {run.attempt} of {run.max_attempts}, by {run.worker}."
        RunEvent.objects.create(run=run, attempt=run.attempt, text=text)
    return run


def performer_for(kind: str) -> Performer:
    """Who does the work of runs of this kind; torch is loaded only here, in the process that needs it."""
    match kind:
        case Run.Kind.CLASSIFIER:
            from worker.services.training import perform_classifier  # slow import

            return perform_classifier
        case Run.Kind.AESTHETIC:
            from worker.services.training import perform_aesthetic  # slow import

            return perform_aesthetic
        case Run.Kind.LABELLING:
            from worker.services.labelling import perform_labelling  # slow import

            return perform_labelling
        case Run.Kind.ADAPTER:
            from worker.services.adapting import perform_adapter  # slow import

            return perform_adapter
        case Run.Kind.GENERATION:
            from worker.services.generation_runs import perform_generation  # slow import

            return perform_generation
        case Run.Kind.SCORING:
            from worker.services.scoring import perform_scoring  # slow import

            return perform_scoring
        case Run.Kind.LEAVE_OUT:
            from worker.services.generalisation import perform_leave_out  # slow import

            return perform_leave_out
        case Run.Kind.SETS:
            from worker.services.image_sets import perform_sets  # slow import

            return perform_sets
        case Run.Kind.IMPORT:
            from worker.services.importing import perform_import  # as the others: only where it is done

            return perform_import
        case Run.Kind.PROOF:
            from worker.services.proof import perform_proof  # slow import

            return perform_proof
        case Run.Kind.STUDY:
            from worker.services.studies import perform_study  # slow import

            return perform_study
        case _:
            raise ValueError(f"There are no runs of kind {kind!r}.")


def workdir_of(run: Run) -> Path:
    """Where a run keeps its checkpoints while it is active."""
    return Path(settings.ARTEFACTS_DIR) / "runs" / str(run.public_id)


def _perform(run: Run, reporter: Reporter) -> End:
    workdir = workdir_of(run)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        metrics = performer_for(run.kind)(run, reporter, workdir)
    except RunStopped:
        return _stopped(reporter)
    except Exception as error:
        if reporter.stop_reason is StopReason.LOST:
            return _stopped(reporter)
        logger.exception("run %s failed", run.public_id)
        return _failed(error)
    if reporter.was_told_to_stop:
        return _stopped(reporter)
    return End(Run.State.SUCCEEDED, "Finished.", metrics=metrics)


def _stopped(reporter: Reporter) -> End:
    match reporter.stop_reason:
        case StopReason.CANCELLED:
            return End(Run.State.CANCELLED, "Cancelled.")
        case StopReason.SHUTDOWN:
            return _put_back()
        case StopReason.LOST:
            return End("", "")
        case _:
            return End(
                Run.State.FAILED,
                "Stopped for no reason.",
                error_code="stopped",
                error_text="The work stopped although nobody asked it to.",
            )


def _put_back() -> End:
    return End(Run.State.QUEUED, "The worker shuts down; the run waits, to go on from its last checkpoint.")


def _failed(error: Exception) -> End:
    code, text = describe_error(error)
    return End(Run.State.FAILED, f"Failed: {text}", error_code=code, error_text=text)


def describe_error(error: Exception) -> tuple[str, str]:
    """A code for machines and a text for people, of whatever ended a run."""
    message = str(error).strip()
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or _is_allocation_failure(message):
        return "out_of_memory", "The worker ran out of memory; choose a smaller batch, or a machine with more."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no_space", "The disk of the worker is full; free some space and start the run again."
    code = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(error).__name__).lower()[:80]
    return code, message or f"An error of the program: {type(error).__name__}."


def _is_allocation_failure(message: str) -> bool:
    return any(sign in message.lower() for sign in ("out of memory", "can't allocate memory", "cannot allocate memory"))


def _record_end(run: Run, end: End) -> str | None:
    """Write how a run ended, if it is still ours; waits for a database that is being restarted."""
    if not end.state:
        return None
    deadline = time.monotonic() + DATABASE_PATIENCE_SECONDS
    while True:
        try:
            return _write_end(run, end)
        except (OperationalError, InterfaceError) as error:
            if time.monotonic() > deadline:
                raise
            logger.warning("run %s: its end is not written yet: %s", run.public_id, error)
            connection.close_if_unusable_or_obsolete()
            time.sleep(1)


def _write_end(run: Run, end: End) -> str | None:
    fields: dict[str, Any] = {"state": end.state, "lease_until": None}
    if end.state == Run.State.QUEUED:
        # Being sent away is no failed attempt.
        fields |= {"attempt": F("attempt") - 1, "dispatched_at": None, "worker": ""}
    else:
        fields |= {
            "finished_at": Now(),
            "metrics": end.metrics,
            "error_code": end.error_code,
            "error_text": end.error_text,
        }
    try:
        with transaction.atomic():
            if not _held(run).update(**fields):
                return None
            RunEvent.objects.create(run=run, attempt=run.attempt, text=end.text)
    except (OperationalError, InterfaceError):
        raise
    except (DatabaseError, TypeError, ValueError) as error:
        if end.state != Run.State.SUCCEEDED:
            raise
        # Figures that can't be stored must not leave the run hanging.
        return _write_end(run, _failed(error))
    if end.state != Run.State.QUEUED:
        shutil.rmtree(workdir_of(run), ignore_errors=True)
    return end.state


def _held(run: Run) -> RunQuerySet:
    """The row of a run, if whoever claimed it with this fence still holds it."""
    return Run.objects.filter(pk=run.pk, fence=run.fence, state=Run.State.RUNNING)


def _finite(value: float | None) -> float | None:
    """A number that JSON can hold; a loss that ran away is stored as nothing."""
    return None if value is None or not math.isfinite(value) else float(value)
