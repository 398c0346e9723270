"""What an adapter will learn from: looked through before it is trained, and struck out where it is wrong."""

from typing import Any, cast
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from hps_site.dashboard.queries import labellings as queries
from hps_site.dashboard.spread_charts import spread_chart
from worker.models import Label, Labelling, Run
from worker.queries import PRESETS
from worker.services.adapting import UnableToTrainAdapter, check_adapter
from worker.services.label_review import UnableToStrikeOut, restore, strike_out
from worker.services.labelling import trainable_generators
from worker.services.runs import UnableToOpenRun, UnknownPreset, open_run
from worker.views.staff import staff_only

LABELLINGS_ON_A_PAGE = 25


@require_safe
@never_cache
@staff_only
def labellings(request: HttpRequest) -> HttpResponse:
    """All labellings, the newest first."""
    page = Paginator(queries.labellings_by_age(), LABELLINGS_ON_A_PAGE).get_page(request.GET.get("page"))
    return render(request, "dashboard/labellings/list.html", {"page": page, "presets": PRESETS})


@require_safe
@never_cache
@staff_only
def labelling(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """One labelling: preferred beside non-preferred images, prompt by prompt, and how sure it was."""
    shown = _labelling_or_404(public_id)
    wanted = queries.Wanted.of(request.GET)
    page, rows = queries.page_of_prompts(shown, wanted, request.GET.get("page"))
    kinds = queries.kind_counts(shown)
    context = {
        "labelling": shown,
        "left": queries.left_in(shown),
        "set_aside": [(kind.label, kinds[kind]) for kind in Label.Kind if kind in kinds and kind not in Label.LEARNT],
        "chart": spread_chart(shown.spread),
        "versions": queries.versions_trained_on(shown),
        "wanted": wanted,
        "choices": {"kinds": queries.KINDS, "sources": queries.SOURCES, "orders": queries.ORDERS},
        "page": page,
        "rows": rows,
        "presets": PRESETS[Run.Kind.ADAPTER],
        "preset": shown.run.preset if shown.run else "",
        "generators": trainable_generators().order_by("name").values_list("name", flat=True),
        **_rights(request),
    }
    return render(request, "dashboard/labellings/labelling.html", context)


@require_POST
@staff_only
@permission_required("worker.change_label", raise_exception=True)
def mark(request: HttpRequest, public_id: UUID, pk: int, *, is_struck_out: bool) -> HttpResponse:
    """Strike an image out, or take that back; htmx gets the image and the counts anew, others the page."""
    label = get_object_or_404(
        Label.objects.select_related("labelling__scorer", "image__generator"), labelling__public_id=public_id, pk=pk
    )
    try:
        label = strike_out(label=label, by=cast(User, request.user)) if is_struck_out else restore(label=label)
    except UnableToStrikeOut as error:
        messages.error(request, str(error))
        return redirect("dashboard:labelling", public_id)
    if request.htmx:  # type: ignore[attr-defined]
        context = {"label": label, "labelling": label.labelling, "left": queries.left_in(label.labelling)}
        return render(request, "dashboard/labellings/labelling.html#marked", context | _rights(request))
    page = reverse("dashboard:labelling", args=[public_id])
    return redirect(f"{page}?{request.GET.urlencode()}#label-{label.pk}")


@require_POST
@staff_only
@permission_required("worker.add_run", raise_exception=True)
def train(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """Open the training of an adapter on what is left of a labelling."""
    found = _labelling_or_404(public_id)
    config = {"labelling": str(found.public_id)}
    if generator := request.POST.get("generator"):
        config["generator"] = generator
    preset = request.POST.get("preset", "")
    try:
        check_adapter(config=config, preset=preset, campaign=None)
        opened = open_run(kind=Run.Kind.ADAPTER, preset=preset, config=config, by=cast(User, request.user))
    except (UnableToOpenRun, UnableToTrainAdapter, UnknownPreset) as error:
        messages.error(request, str(error))
        return redirect("dashboard:labelling", public_id)
    if not opened.is_new:
        messages.info(request, _("An adapter is being trained already; here is that run."))
    return redirect(opened.run)


def _labelling_or_404(public_id: UUID) -> Labelling:
    return get_object_or_404(Labelling.objects.select_related("run", "scorer"), public_id=public_id)


def _rights(request: HttpRequest) -> dict[str, Any]:
    return {"may_change": request.user.has_perm("worker.change_label")}
