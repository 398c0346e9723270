"""Opening, ringing for, cancelling and reaping runs: the database is the queue, Celery the doorbell."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from celery import current_app
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from kombu.exceptions import KombuError

from annotations.models import Campaign
from worker.models import Run, RunEvent, RunQuerySet
from worker.queries import PRESETS, queue_of

logger = logging.getLogger(__name__)

EXECUTE_JOB = "worker.execute_run"

# A message may be lost, so a run that still waits after this time is rung for again.
RING_AGAIN_AFTER = timedelta(seconds=30)

# A request of a person waits for the broker no longer than this.
BROKER_SECONDS = 2

OPEN_ATTEMPTS = 5


class UnknownPreset(ValueError):
    """No preset of this name for this kind of run; the message lists those there are."""


class UnableToCancelRun(Exception):
    """The run has ended already."""


class UnableToRetryRun(Exception):
    """Only a run that failed or was cancelled can be started again."""


class UnableToOpenRun(Exception):
    """Runs of this kind came and went faster than this one could be opened."""


@dataclass(frozen=True)
class OpenedRun:
    """A run, and whether this call made it or found it active."""

    run: Run
    is_new: bool


@dataclass(frozen=True)
class Sweep:
    """What one round of the reaper did, in runs."""

    cancelled: int
    requeued: int
    failed: int
    rung: int


def open_run(
    *,
    kind: str,
    preset: str = "tiny",
    config: Mapping[str, Any] | None = None,
    campaign: Campaign | None = None,
    by: User | None = None,
) -> OpenedRun:
    """Queue a run, or find the one of its kind that is active: never two at once. Of imports, one per campaign.

    The row is written in the caller's transaction; the message goes out when that commits. A broker that is down
    does not matter: the row waits, and `sweep_runs` rings again.

    Args:
        kind: one of `Run.Kind`.
        preset: name of the settings to start from; "" where the kind has none.
        config: settings that differ from the preset's.
        campaign: whose votes are meant; None means those of all campaigns.
        by: who asked.

    Raises:
        UnknownPreset: the kind has no such preset.
        UnableToOpenRun: others opened and ended runs of this kind five times while this one tried.
    """
    check_preset(kind=kind, preset=preset)
    for _attempt in range(OPEN_ATTEMPTS):
        try:
            with transaction.atomic():
                run = Run.objects.create(
                    kind=kind,
                    preset=preset,
                    config=dict(config or {}),
                    campaign=campaign,
                    requested_by=by,
                    is_synthetic=campaign is not None and campaign.is_synthetic,
                )
        except IntegrityError:
            active = _active(kind, campaign)
            if active is not None:
                return OpenedRun(active, is_new=False)
        else:
            run.refresh_from_db()
            _ring_on_commit(run.pk)
            return OpenedRun(run, is_new=True)
    raise UnableToOpenRun("Other runs of this kind were opened and ended at this moment; try again.")


def _active(kind: str, campaign: Campaign | None) -> Run | None:
    """The run that stands in the way of another one of this kind."""
    active = Run.objects.active().filter(kind=kind)
    return active.filter(campaign=campaign).first() if kind == Run.Kind.IMPORT else active.first()


def check_preset(*, kind: str, preset: str) -> None:
    """Refuse a preset that the kind does not have.

    Raises:
        UnknownPreset: with the names there are.
    """
    names = PRESETS.get(kind)
    if names is not None and preset not in names:
        raise UnknownPreset(f"There is no preset {preset!r} for {kind} runs; choose one of: {', '.join(names)}.")


def retry_run(*, run: Run, by: User | None = None) -> OpenedRun:
    """Open a new run with the settings of one that failed or was cancelled.

    Raises:
        UnableToRetryRun: the run is active or succeeded.
    """
    if run.state not in (Run.State.FAILED, Run.State.CANCELLED):
        raise UnableToRetryRun("Only a run that failed or was cancelled can be started again.")
    return open_run(kind=run.kind, preset=run.preset, config=run.config, campaign=run.campaign, by=by)


def request_cancel(*, run: Run, by: User | None = None) -> Run:
    """End a queued run at once, or ask a running one to stop after its current step; asking twice is harmless.

    Returns:
        The run as it now stands in the database.

    Raises:
        UnableToCancelRun: it has ended already.
    """
    who = by.get_username() if by is not None else "the command line"
    with transaction.atomic():
        row = Run.objects.select_for_update().get(pk=run.pk)
        if not row.is_active:
            raise UnableToCancelRun(f"This run has ended already: {row.get_state_display()}.")
        if row.state == Run.State.QUEUED:
            _end(Run.objects.filter(pk=row.pk), state=Run.State.CANCELLED, cancel_requested_at=Now())
            _log(row, f"Cancelled by {who} before it started.")
        elif row.cancel_requested_at is None:
            Run.objects.filter(pk=row.pk).update(cancel_requested_at=Now())
            _log(row, f"{who} asked to cancel.")
    row.refresh_from_db()
    return row


def sweep_runs() -> Sweep:
    """Bring every active run back to the truth: cancel, queue again, give up, ring again.

    - cancelled: asked to be, and no worker holds it.
    - requeued: its worker's lease ran out; it goes on from its last checkpoint.
    - failed: the same, but its attempts are used up.
    - rung: still waiting, and no message was sent for 30 seconds.

    Safe to call at any time, from several places at once: each change is one conditional UPDATE.
    """
    expired = Run.objects.filter(state=Run.State.RUNNING, lease_until__lt=Now())
    waiting = Run.objects.filter(state=Run.State.QUEUED)
    cancelled = _cancel_unheld(expired | waiting)
    failed = _fail_exhausted(expired)
    requeued = _requeue(expired)
    rung = _ring_again(waiting)
    return Sweep(cancelled=cancelled, requeued=requeued, failed=failed, rung=rung)


def _cancel_unheld(runs: RunQuerySet) -> int:
    count = 0
    for run in runs.filter(cancel_requested_at__isnull=False):
        with transaction.atomic():
            if _end(_unchanged(run), state=Run.State.CANCELLED):
                _log(run, "Cancelled.")
                count += 1
    return count


def _fail_exhausted(expired: RunQuerySet) -> int:
    count = 0
    for run in expired.filter(attempt__gte=F("max_attempts")):
        text = f"The worker {run.worker} was lost in attempt {run.attempt} of {run.max_attempts}."
        with transaction.atomic():
            if _end(_unchanged(run), state=Run.State.FAILED, error_code="worker_lost", error_text=text):
                _log(run, text)
                count += 1
    return count


def _requeue(expired: RunQuerySet) -> int:
    count = 0
    for run in expired.filter(attempt__lt=F("max_attempts")):
        with transaction.atomic():
            if _unchanged(run).update(state=Run.State.QUEUED, lease_until=None, worker="", dispatched_at=None):
                _log(
                    run,
                    f"The worker {run.worker} was lost in attempt {run.attempt} of {run.max_attempts};"
                    " the run is queued again.",
                )
                count += 1
    return count


def _ring_again(waiting: RunQuerySet) -> int:
    is_due = Q(dispatched_at=None) | Q(dispatched_at__lt=Now() - RING_AGAIN_AFTER)
    return sum(_ring(run_id) for run_id in waiting.filter(is_due).values_list("pk", flat=True))


def _unchanged(run: Run) -> RunQuerySet:
    """The row, if nobody changed its state, its holder or its lease since it was read."""
    return Run.objects.filter(pk=run.pk, state=run.state, fence=run.fence, lease_until=run.lease_until)


def _end(runs: RunQuerySet, *, state: str, **fields: Any) -> int:
    """Give the selected runs their final state; how many there were."""
    count: int = runs.update(state=state, lease_until=None, finished_at=Now(), **fields)
    return count


def _log(run: Run, text: str) -> None:
    RunEvent.objects.create(run=run, attempt=run.attempt, text=text)


def _ring_on_commit(run_id: int) -> None:
    transaction.on_commit(lambda: _ring(run_id))


def _ring(run_id: int) -> bool:
    """Tell the workers that a run waits; False where the broker can't be reached, which loses nothing."""
    try:
        _send(run_id)
    except (KombuError, OSError) as error:
        logger.warning("The broker can't be reached, run %s waits in the database: %s", run_id, error)
        return False
    Run.objects.filter(pk=run_id, state=Run.State.QUEUED).update(dispatched_at=Now())
    return True


def _send(run_id: int) -> None:
    queue = queue_of(Run.objects.values_list("kind", flat=True).get(pk=run_id))
    with current_app.connection_for_write(connect_timeout=BROKER_SECONDS) as connection:
        connection.ensure_connection(max_retries=1, timeout=BROKER_SECONDS)
        current_app.send_task(EXECUTE_JOB, kwargs={"run_id": run_id}, queue=queue, connection=connection, retry=False)
