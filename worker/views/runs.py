"""The pages on which staff open, watch, cancel and retry runs."""

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.core.paginator import Paginator
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from worker import queries
from worker.charts import CURVES, line_chart
from worker.figures import figures_of
from worker.forms.generation import GenerationForm
from worker.forms.runs import OpenRunForm
from worker.models import Run, RunSample
from worker.proof_tables import proof_tables
from worker.services import runs as run_services
from worker.services.generation_runs import open_generation
from worker.services.importing import import_without_bad_rows
from worker.services.runs import UnableToCancelRun
from worker.views.staff import go_to_opened, person_of, staff_only

RUNS_PER_PAGE = 25


@require_safe
@never_cache
@staff_only
def runs(request: HttpRequest) -> HttpResponse:
    """All runs, the newest first, with the buttons that open new ones."""
    page = Paginator(queries.runs_by_age(), RUNS_PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "is_worker_online": queries.is_worker_online(),
        "may_open_runs": request.user.has_perm("worker.add_run"),
        **queries.run_choices(),
    }
    return render(request, "worker/runs.html", context)


@require_safe
@never_cache
@staff_only
def run(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """One run: how far it is, what it says, what came of it; asked for again by htmx while it is active."""
    found = _run_or_404(public_id)
    curves = {curve.name: curve for curve in queries.curves_of(found)}
    context = {
        "run": found,
        "log": queries.log_of(found),
        "samples": queries.samples_of(found),
        "charts": [line_chart(curves[name]) for name in CURVES if name in curves],
        "took": _duration(found),
        "images": queries.newest_images_of(found),
        "figures": figures_of(found.metrics),
        "version": getattr(found, "version", None),
        "proof": proof_tables(found.metrics) if found.kind == Run.Kind.PROOF and found.metrics else None,
        "is_worker_online": queries.is_worker_online(queries.queue_of(found.kind)),
        "may_change": request.user.has_perm("worker.change_run"),
        "may_add": request.user.has_perm("worker.add_run"),
    }
    if not request.htmx:  # type: ignore[attr-defined]
        return render(request, "worker/run.html", context)
    response = render(request, "worker/run.html#live", context)
    if not found.is_active:
        # The whole page has changed: other buttons, and nothing to ask for any more.
        response["HX-Refresh"] = "true"
    return response


@require_POST
@staff_only
@permission_required("worker.add_run", raise_exception=True)
def open_run(request: HttpRequest) -> HttpResponse:
    """Open a run, or go to the one that is active already."""
    form = OpenRunForm(request.POST)
    if not form.is_valid():
        messages.error(request, " ".join(str(message) for errors in form.errors.values() for message in errors))
        return redirect("worker:runs")
    return go_to_opened(request, lambda: run_services.open_run(**form.order(), by=person_of(request)))


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@staff_only
@permission_required("worker.add_run", raise_exception=True)
def generate(request: HttpRequest) -> HttpResponse:
    """Who draws what: opens a run that makes images. A GET may fill in fields by its query."""
    is_sent = request.method == "POST"
    form = GenerationForm(request.POST, request.FILES) if is_sent else GenerationForm(initial=request.GET.dict())
    if is_sent and form.is_valid():
        return go_to_opened(request, lambda: open_generation(**form.cleaned_data["run"], by=person_of(request)))
    context = {"form": form, "is_worker_online": queries.is_worker_online()}
    return render(request, "worker/generate.html", context, status=422 if is_sent else 200)


@require_POST
@staff_only
@permission_required("worker.add_run", raise_exception=True)
def retry_run(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """Start a run that failed once more, as a new one; an import without its bad rows where that is asked for."""
    found = _run_or_404(public_id)
    retry = import_without_bad_rows if request.POST.get("without") == "bad_rows" else run_services.retry_run
    return go_to_opened(request, lambda: retry(run=found, by=person_of(request)))


@require_POST
@staff_only
@permission_required("worker.change_run", raise_exception=True)
def cancel_run(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """Ask a run to stop."""
    found = _run_or_404(public_id)
    try:
        cancelled = run_services.request_cancel(run=found, by=person_of(request))
    except UnableToCancelRun as error:
        messages.error(request, str(error))
    else:
        is_over = not cancelled.is_active
        messages.success(request, _("Run cancelled.") if is_over else _("The run stops after its current step."))
    return redirect(found)


@require_safe
@staff_only
@permission_required("annotations.view_snapshot", raise_exception=True)
def snapshot_file(_request: HttpRequest, public_id: UUID) -> HttpResponse | FileResponse:
    """The choices that a run saw, as JSON lines."""
    snapshot = _run_or_404(public_id).snapshot
    if snapshot is None or not snapshot.file.storage.exists(str(snapshot.file.name)):
        raise Http404(_("This run has no snapshot."))
    return FileResponse(
        snapshot.file.open("rb"),
        as_attachment=True,
        filename=f"choices-{snapshot.sha256[:12]}.jsonl",
        content_type="application/jsonl",
    )


@require_safe
@staff_only
def sample(_request: HttpRequest, public_id: UUID, step: int, place: int) -> HttpResponseBase:
    """One picture that a model in training made."""
    found = get_object_or_404(RunSample, run__public_id=public_id, step=step, place=place)
    response: HttpResponseBase
    if settings.MEDIA_ACCEL_PREFIX:
        response = HttpResponse(content_type="image/png")
        response["X-Accel-Redirect"] = f"{settings.MEDIA_ACCEL_PREFIX.rstrip('/')}/{found.file.name}"
    else:
        try:
            response = FileResponse(found.file.open("rb"), content_type="image/png")
        except FileNotFoundError:
            raise Http404(_("The file of this sample is gone.")) from None
    response["Cache-Control"] = "private, max-age=31536000, immutable"
    return response


def _duration(run: Run) -> str:
    """How long a run took from its first start to its end, such as 1:02:03; empty while it has not ended."""
    if run.started_at is None or run.finished_at is None:
        return ""
    return str(timedelta(seconds=round((run.finished_at - run.started_at).total_seconds())))


def _run_or_404(public_id: UUID) -> Run:
    return get_object_or_404(queries.runs_by_age().select_related("snapshot"), public_id=public_id)
