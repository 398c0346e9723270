"""Brings images into a campaign in the background: from an upload, a bucket, the library, or another campaign."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.db.models.functions import Now

from annotations.imports.containers import Container, open_archive, open_prefix, without_gzip
from annotations.imports.image_sets import import_image_sets
from annotations.models import Campaign, Upload
from annotations.services.sources import Dealt, Pairing, Progress, deal_as_in, deal_from_library, selection_of
from annotations.services.uploads import STALE_AFTER, open_upload, remove_upload
from worker.models import Run, RunQuerySet
from worker.services.execution import Reporter, RunStopped
from worker.services.runs import OpenedRun, UnableToRetryRun, open_run


class UnableToRunImport(ValueError):
    """The run does not say what to import, or that is no longer there; the message says what to do."""


def perform_import(run: Run, reporter: Reporter, _workdir: Path) -> dict[str, Any]:
    """Do the work of an import run.

    Its config: `source`, one of `upload` (with `upload`, its id), `bucket` (with `bucket` and `prefix`), `library`
    (with the fields of `Selection`) and `campaign` (with `campaign`, a slug). For the first two also `skips_bad` and
    `pairing`.

    Returns:
        What came in, as counts.

    Raises:
        UnableToRunImport: the config lacks something, or names what is not there.
        UnableToImport, UnableToDeal, UploadIncomplete: with what to do.
        RunStopped: cancelled.
    """
    if run.campaign is None:
        raise UnableToRunImport("An import needs a campaign that takes the images. Begin it from the campaign's page.")
    source = run.config.get("source")
    if source not in SOURCES:
        raise UnableToRunImport(f"An import comes from one of {', '.join(SOURCES)}, not from {source!r}.")
    return SOURCES[source](run.campaign, run.config, progress_of(reporter))


def import_without_bad_rows(*, run: Run, by: User | None = None) -> OpenedRun:
    """Open an import like one that failed for bad rows, which leaves them out.

    Raises:
        UnableToRetryRun: the run did not fail for bad rows.
    """
    if not run.failed_for_bad_rows:
        raise UnableToRetryRun("Only an import that failed for bad rows can be started again without them.")
    return open_run(
        kind=run.kind, preset=run.preset, config={**run.config, "skips_bad": True}, campaign=run.campaign, by=by
    )


def progress_of(reporter: Reporter) -> Progress:
    """What an import tells its progress to: the run hears of it, and stops the import when it must."""
    stage = ""

    def progress(name: str, done: int, total: int) -> None:
        nonlocal stage
        if name != stage:
            stage = name
            reporter.stage(name)
        reporter.step(done, max(done, total))
        if reporter.should_stop():
            raise RunStopped

    return progress


def from_upload(campaign: Campaign, config: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """What a person sent; its parts stay until `remove_read_uploads` finds that the run succeeded."""
    upload = _upload(config.get("upload"))
    with open_upload(upload) as sent, without_gzip(upload.name, sent) as file:
        return _from_container(campaign, open_archive(upload.name, file), config, progress)


def from_bucket(campaign: Campaign, config: dict[str, Any], progress: Progress) -> dict[str, Any]:
    container = open_prefix(bucket=str(config.get("bucket", "")), prefix=str(config.get("prefix", "")))
    return _from_container(campaign, container, config, progress)


def from_library(campaign: Campaign, config: dict[str, Any], progress: Progress) -> dict[str, Any]:
    return _figures(deal_from_library(campaign=campaign, selection=selection_of(config), progress=progress))


def from_campaign(campaign: Campaign, config: dict[str, Any], progress: Progress) -> dict[str, Any]:
    original = Campaign.objects.filter(slug=config.get("campaign")).first()
    if original is None:
        raise UnableToRunImport(f"There is no campaign {config.get('campaign')!r} to take tasks from.")
    return _figures(deal_as_in(campaign=campaign, original=original, progress=progress))


SOURCES: dict[str, Callable[[Campaign, dict[str, Any], Progress], dict[str, Any]]] = {
    "upload": from_upload,
    "bucket": from_bucket,
    "library": from_library,
    "campaign": from_campaign,
}


def remove_read_uploads() -> int:
    """Forget uploads that were read, and those that nobody came back for within a week; gives how many.

    An upload that a run still reads or waits for is kept however old it is.
    """
    imports = Run.objects.filter(kind=Run.Kind.IMPORT, config__source="upload")
    read = _uploads_of(imports.filter(state=Run.State.SUCCEEDED))
    wanted = _uploads_of(imports.active())
    removed = 0
    for upload in Upload.objects.filter(Q(public_id__in=read) | Q(created_at__lt=Now() - STALE_AFTER)):
        if upload.public_id not in wanted:
            remove_upload(upload=upload)
            removed += 1
    return removed


def _uploads_of(runs: RunQuerySet) -> set[UUID]:
    """The uploads that runs name; a run that the API opened may name anything."""
    there = {str(public_id): public_id for public_id in Upload.objects.values_list("public_id", flat=True)}
    named = runs.values_list("config__upload", flat=True)
    return {there[str(name)] for name in named if str(name) in there}


def _from_container(
    campaign: Campaign, container: Container, config: dict[str, Any], progress: Progress
) -> dict[str, Any]:
    imported = import_image_sets(
        campaign=campaign,
        container=container,
        skips_bad=bool(config.get("skips_bad")),
        pairing=str(config.get("pairing", Pairing.ROUNDS)),
        progress=progress,
    )
    return imported.as_json()


def _figures(dealt: Dealt) -> dict[str, Any]:
    return {"tasks": dealt.tasks, "prompts": dealt.prompts, "without": dealt.without}


def _upload(public_id: object) -> Upload:
    try:
        upload = Upload.objects.filter(public_id=str(public_id)).first()
    except ValidationError:
        upload = None
    if upload is None:
        raise UnableToRunImport("The upload is no longer there. Send the file again.")
    return upload
