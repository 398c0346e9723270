"""The pages on which staff watch runs and decide which versions are in use."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import Any, Concatenate, ParamSpec
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotations.models import Campaign
from worker import queries
from worker.forms import GenerationForm
from worker.models import ModelVersion, Run, RunSample, family_label
from worker.proof_tables import proof_tables
from worker.queries import Curve
from worker.services import runs as run_services
from worker.services import versions as version_services
from worker.services.adapters import put_into_use
from worker.services.generation_runs import open_generation
from worker.services.importing import import_without_bad_rows
from worker.services.recipes import FieldRejected, UnableToGenerate
from worker.services.runs import OpenedRun, UnableToCancelRun, UnableToOpenRun, UnableToRetryRun, UnknownPreset
from worker.services.versions import NothingToRollBackTo, VersionRejected
from worker.study_plans import adapter_context

RUNS_PER_PAGE = 25

CHART_WIDTH, CHART_HEIGHT = 640.0, 220.0
CHART_LEFT, CHART_RIGHT, CHART_TOP, CHART_BOTTOM = 56.0, 12.0, 12.0, 28.0

# The curves that are drawn, by the names under which performers report them.
CURVES: dict[str, Any] = {
    "loss": gettext_lazy("Loss"),
    "accuracy": gettext_lazy("Accuracy"),
    "learning_rate": gettext_lazy("Learning rate"),
}

# The order of the figures in the table of a version; others follow.
FIGURES: dict[str, Any] = {
    "top_one": gettext_lazy("This version"),
    "base_top_one": gettext_lazy("Base CLIP"),
    "chance": gettext_lazy("Chance"),
    "human_ceiling": gettext_lazy("Human ceiling"),
    "highest_attainable": gettext_lazy("Highest attainable"),
    "top_one_difference": gettext_lazy("Difference to base CLIP"),
    "in_use": gettext_lazy("Version in use at that time"),
    "in_use_difference": gettext_lazy("Difference to that version"),
    "pairwise": gettext_lazy("This version, by pairs"),
    "unseen_top_one": gettext_lazy("Trained without the generator"),
    "unseen_difference": gettext_lazy("Without it, difference to base CLIP"),
    "seen_top_one": gettext_lazy("Trained on all generators"),
    "seen_difference": gettext_lazy("Without it, difference to trained on all"),
}

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], Any]


def staff_only(view: View[P]) -> View[P]:
    """Sends those who are not logged in to the login page, and refuses all who are not staff."""

    @login_required
    @wraps(view)
    def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> Any:
        if not request.user.is_staff:
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return guarded


class OpenRunForm(forms.Form):
    """What to train, on whose votes, with which settings."""

    kind = forms.ChoiceField(choices=Run.Kind)
    preset = forms.CharField(max_length=40, required=False, empty_value="tiny")
    campaign = forms.ModelChoiceField(Campaign.objects.order_by("name"), to_field_name="slug", required=False)
    weigh_by_reliability = forms.BooleanField(required=False)

    def order(self) -> dict[str, Any]:
        """What `open_run` takes; people are weighed in trainings of the classifier alone."""
        wanted = {name: self.cleaned_data[name] for name in ("kind", "preset", "campaign")}
        is_weighed = self.cleaned_data["weigh_by_reliability"] and wanted["kind"] == Run.Kind.CLASSIFIER
        return wanted | {"config": {"weigh_by_reliability": True} if is_weighed else {}}

    def clean(self) -> dict[str, Any]:
        """What was sent, without a preset where the kind has none."""
        sent = super().clean() or {}
        return sent if sent.get("kind") in queries.PRESETS else sent | {"preset": ""}


@dataclass(frozen=True)
class Figure:
    """One row of a table of figures, as printed."""

    label: str
    name: str
    value: str
    interval: str
    n: int
    unit: str


@dataclass(frozen=True)
class Tick:
    """A mark on an axis, in the units of the drawing."""

    place: float
    label: str


@dataclass(frozen=True)
class LineChart:
    """A curve laid out for a drawing of 640 by 220."""

    name: str
    title: str
    points: str
    """For an SVG polyline."""

    last_x: float
    last_y: float
    first: str
    last: str
    last_step: int
    rows: tuple[Tick, ...]
    columns: tuple[Tick, ...]


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
    return _go_to_opened(request, lambda: run_services.open_run(**form.order(), by=_person(request)))


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@staff_only
@permission_required("worker.add_run", raise_exception=True)
def generate(request: HttpRequest) -> HttpResponse:
    """Who draws what: opens a run that makes images. A GET may fill in fields by its query."""
    is_sent = request.method == "POST"
    form = GenerationForm(request.POST, request.FILES) if is_sent else GenerationForm(initial=request.GET.dict())
    if is_sent and form.is_valid():
        return _go_to_opened(request, lambda: open_generation(**form.cleaned_data["run"], by=_person(request)))
    context = {"form": form, "is_worker_online": queries.is_worker_online()}
    return render(request, "worker/generate.html", context, status=422 if is_sent else 200)


@require_POST
@staff_only
@permission_required("worker.add_run", raise_exception=True)
def retry_run(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """Start a run that failed once more, as a new one; an import without its bad rows where that is asked for."""
    found = _run_or_404(public_id)
    retry = import_without_bad_rows if request.POST.get("without") == "bad_rows" else run_services.retry_run
    return _go_to_opened(request, lambda: retry(run=found, by=_person(request)))


@require_POST
@staff_only
@permission_required("worker.change_run", raise_exception=True)
def cancel_run(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """Ask a run to stop."""
    found = _run_or_404(public_id)
    try:
        cancelled = run_services.request_cancel(run=found, by=_person(request))
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


@require_safe
@never_cache
@staff_only
def versions(request: HttpRequest) -> HttpResponse:
    """All model versions by family, with which is in use."""
    families: dict[str, list[ModelVersion]] = {}
    for found in queries.versions_by_age():
        families.setdefault(found.family, []).append(found)
    context = {
        "families": [
            {
                "name": name,
                "label": family_label(name),
                "versions": members,
                "previous": queries.previous_version(name),
            }
            for name, members in families.items()
        ],
        "may_change": request.user.has_perm("worker.change_modelversion"),
    }
    return render(request, "worker/versions.html", context)


@require_safe
@never_cache
@staff_only
def version(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """One version: what it was made from, what it is worth, when it was in use."""
    found = get_object_or_404(ModelVersion.objects.select_related("run", "snapshot"), public_id=public_id)
    context = {
        "version": found,
        "figures": figures_of(found.metrics),
        "promotions": found.promotions.select_related("replaced", "by", "generator"),
        "rejections": found.rejections.select_related("by"),
        "rejection": queries.rejection_of(found),
        "manifest": json.dumps(found.manifest, indent=2, sort_keys=True, ensure_ascii=False),
        "previous": queries.previous_version(found.family) if found.is_current else None,
        "may_change": request.user.has_perm("worker.change_modelversion"),
        "may_open_runs": request.user.has_perm("worker.add_run"),
        **(adapter_context(found) if found.family == ModelVersion.Family.ADAPTER else {}),
    }
    return render(request, "worker/version.html", context)


@require_POST
@staff_only
@permission_required("worker.change_modelversion", raise_exception=True)
def promote_version(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """Put a version into use."""
    found = get_object_or_404(ModelVersion, public_id=public_id)
    try:
        put_into_use(version=found, by=_person(request), reason=request.POST.get("reason", ""))
    except (VersionRejected, UnableToGenerate) as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("%(version)s is in use now.") % {"version": found})
    return redirect(found)


@require_POST
@staff_only
@permission_required("worker.change_modelversion", raise_exception=True)
def roll_back(request: HttpRequest, family: str) -> HttpResponse:
    """Put the version before the current one back into use."""
    if not ModelVersion.objects.filter(family=family).exists():
        raise Http404
    try:
        restored = version_services.roll_back(family=family, by=_person(request))
    except (NothingToRollBackTo, VersionRejected) as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("%(version)s is in use again.") % {"version": restored})
    return redirect("worker:versions")


def figures_of(metrics: Mapping[str, Any]) -> list[Figure]:
    """The estimates among the figures of a run or version, as rows of a table."""
    estimates = {name: value for name, value in metrics.items() if isinstance(value, dict) and "value" in value}
    if isinstance(in_use := metrics.get("in_use"), dict):
        estimates["in_use"] = in_use["top_one"]
        estimates["in_use_difference"] = in_use["difference"]
    order = [*(name for name in FIGURES if name in estimates), *(name for name in estimates if name not in FIGURES)]
    return [
        _figure(
            str(FIGURES.get(name, name.replace("_", " "))),
            estimates[name],
            _points if name.endswith("difference") else _percent,
        )
        for name in order
    ]


def _figure(label: str, estimate: Mapping[str, Any], printed: Callable[[float], str]) -> Figure:
    if estimate["value"] is None:
        return Figure(label, estimate["name"], _("not known"), estimate.get("reason", ""), estimate["n"], "")
    low, high = estimate["low"], estimate["high"]
    interval = "" if low is None else _("%(low)s to %(high)s") % {"low": printed(low), "high": printed(high)}
    return Figure(label, estimate["name"], printed(estimate["value"]), interval, estimate["n"], estimate["unit"])


def _percent(share: float) -> str:
    return f"{number_format(100 * share, 1)} %"


def _points(difference: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    sign = "+" if difference > 0 else "\u2212" if difference < 0 else ""
    return _("%(sign)s%(points)s points") % {"sign": sign, "points": number_format(abs(100 * difference), 1)}


def _duration(run: Run) -> str:
    """How long a run took from its first start to its end, such as 1:02:03; empty while it has not ended."""
    if run.started_at is None or run.finished_at is None:
        return ""
    return str(timedelta(seconds=round((run.finished_at - run.started_at).total_seconds())))


def line_chart(curve: Curve) -> LineChart:
    """Lay out a curve: steps to the right, values upwards, round numbers at the axes."""
    steps, values = [step for step, _value in curve.points], [value for _step, value in curve.points]
    marks = round_marks(min(values), max(values))
    low, high = min(marks[0], *values), max(marks[-1], *values)
    last_step = max(steps[-1], 1)

    def across(step: float) -> float:
        return round(CHART_LEFT + (CHART_WIDTH - CHART_LEFT - CHART_RIGHT) * step / last_step, 1)

    def down(value: float) -> float:
        return round(CHART_TOP + (CHART_HEIGHT - CHART_TOP - CHART_BOTTOM) * (high - value) / (high - low), 1)

    return LineChart(
        name=curve.name,
        title=str(CURVES.get(curve.name, curve.name)),
        points=" ".join(f"{across(step)},{down(value)}" for step, value in curve.points),
        last_x=across(steps[-1]),
        last_y=down(values[-1]),
        first=f"{values[0]:.4g}",
        last=f"{values[-1]:.4g}",
        last_step=last_step,
        rows=tuple(Tick(down(mark), f"{mark:.4g}") for mark in marks),
        columns=tuple(Tick(across(step), f"{step:,}") for step in sorted({0, last_step // 2, last_step})),
    )


def round_marks(low: float, high: float, count: int = 4) -> Sequence[float]:
    """About `count` round numbers that enclose a range, at equal distances; never fewer than two."""
    span = (high - low) or abs(high) or 1.0
    size = 10 ** math.floor(math.log10(span / count))
    distance = next(factor * size for factor in (1, 2, 5, 10) if factor * size * count >= span)
    first, last = math.floor(low / distance), math.ceil(high / distance)
    return [number * distance for number in range(first, max(last, first + 1) + 1)]


def _person(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # staff_only lets nobody else in
    return request.user


def _run_or_404(public_id: UUID) -> Run:
    return get_object_or_404(queries.runs_by_age().select_related("snapshot"), public_id=public_id)


def _go_to_opened(request: HttpRequest, open_one: Callable[[], OpenedRun]) -> HttpResponse:
    try:
        opened = open_one()
    except (UnknownPreset, UnableToOpenRun, UnableToRetryRun, FieldRejected) as error:
        messages.error(request, str(error))
        return redirect("worker:runs")
    if opened.is_new:
        messages.success(request, _("Run opened."))
    else:
        messages.info(request, _("A run of this kind is active already; here it is."))
    return redirect(opened.run)
