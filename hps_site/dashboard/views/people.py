"""The people who vote: a list with figures, one person with pictures, and their state with a preview of the effect."""

from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from annotations.models import Annotator, Campaign
from annotations.services.moderation import UnableToModerate, exclude_person, pause_person, restore_person
from hps_site.dashboard import charts, pictures
from hps_site.dashboard.queries import people as queries
from hps_site.dashboard.queries.people import PersonRow
from scoring.metrics import Estimate
from worker.views.staff import staff_only

PEOPLE_ON_A_PAGE = 50


def _value(estimate: Estimate | None) -> float:
    """What is not known sorts last."""
    return -1.0 if estimate is None or estimate.value is None else estimate.value


# By what the list can be sorted, each with its best first.
SORTS: dict[str, Callable[[PersonRow], Any]] = {
    "suspicions": lambda row: (-len(row.suspicions), -row.figures.said),
    "votes": lambda row: -row.figures.said,
    "time": lambda row: row.figures.median_ms or 0,
    "too_fast": lambda row: -_value(row.figures.too_fast),
    "gold": lambda row: -_value(row.figures.gold),
    "repeats": lambda row: -_value(row.figures.repeats),
    "fit": lambda row: -_value(row.figures.fit),
    "place": lambda row: -_value(row.favourite),
    "ties": lambda row: -_value(row.figures.ties),
    "skips": lambda row: -_value(row.figures.skips),
    "reliability": lambda row: -_value(row.figures.reliability),
    "last": lambda row: -row.figures.last_at.timestamp(),
}


@require_safe
@staff_only
def people(request: HttpRequest) -> HttpResponse:
    """Everyone who voted, in one campaign or in all, and whom to look at."""
    slug = request.GET.get("campaign", "")
    campaigns = list(Campaign.objects.order_by("name"))
    chosen = [campaign for campaign in campaigns if campaign.slug == slug] if slug else campaigns
    if slug and not chosen:
        raise Http404
    report = queries.people_report(chosen)
    sort = request.GET.get("sort", "suspicions").removeprefix("-")
    sort = sort if sort in SORTS else "suspicions"
    is_reversed = request.GET.get("sort", "").startswith("-")
    rows = sorted(report.rows, key=SORTS[sort], reverse=is_reversed)
    context = {
        "campaigns": campaigns,
        "slug": slug,
        "page": Paginator(rows, PEOPLE_ON_A_PAGE).get_page(request.GET.get("page")),
        "sort": sort,
        "is_reversed": is_reversed,
        "columns": _columns(sort, is_reversed=is_reversed),
        "suspicions": report.suspicions,
        "is_partly_synthetic": any(row.annotator.is_synthetic for row in rows),
    }
    return render(request, "dashboard/people/list.html", context)


@require_safe
@staff_only
def person(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """One person in numbers and pictures, over all campaigns."""
    annotator = get_object_or_404(Annotator, public_id=public_id)
    report = queries.people_report(queries.campaigns_of(annotator))
    row = next((row for row in report.rows if row.annotator == annotator), None)
    context: dict[str, Any] = {
        "annotator": annotator,
        "row": row,
        "changes": annotator.state_changes.all(),
        "is_beside_simulated": any(other.annotator.is_synthetic for other in report.rows),
    }
    if row is not None:
        context |= {
            "figures": row.figures,
            "usual": queries.medians([other.figures for other in report.rows if other is not row]),
            "shares_chart": pictures.person_chart(row.figures),
            "places_chart": pictures.places_chart(row.figures.places) if row.figures.places else None,
            "days": charts.daily_bars(queries.daily_counts(report.said, str(annotator.pk))),
            "others_of_ring": {one.others for one in row.suspicions if one.others},
        }
    return render(request, "dashboard/people/person.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@staff_only
@permission_required("annotations.change_annotator", raise_exception=True)
def change_state(request: HttpRequest, public_id: UUID, action: str) -> HttpResponse:
    """What pausing, excluding or restoring a person would change, and the button that does it."""
    annotator = get_object_or_404(Annotator, public_id=public_id)
    counts = action == "exclude" or (action == "restore" and annotator.state == Annotator.State.EXCLUDED)
    effect = queries.effect_of(annotator) if counts else None
    if request.method == "POST":
        wanted: dict[str, Any] = {
            "annotator": annotator,
            "by": cast(User, request.user),
            "reason": request.POST.get("reason", ""),
        }
        record = effect.to_record() if effect else {}
        try:
            match action:
                case "pause":
                    change = pause_person(**wanted)
                case "exclude":
                    change = exclude_person(**wanted, effect=record)
                case _:
                    change = restore_person(**wanted, effect=record)
        except UnableToModerate as error:
            messages.error(request, str(error))
        else:
            messages.success(
                request, _("%(person)s: now %(state)s.") % {"person": annotator, "state": change.get_to_display()}
            )
            return redirect("dashboard:person", public_id)
    context = {
        "annotator": annotator,
        "action": action,
        "effect": effect,
        "is_beside_simulated": effect is not None and any(one.campaign.is_synthetic for one in effect.campaigns),
    }
    return render(request, "dashboard/people/change.html", context)


def _columns(sort: str, *, is_reversed: bool) -> list[dict[str, str]]:
    """The sortable heads of the table: what a click sorts by, and how it is sorted now."""
    labels = {
        "votes": _("Votes"),
        "gold": _("Gold right"),
        "repeats": _("Repeats alike"),
        "fit": _("As the decided crowd"),
        "reliability": _("Reliability"),
        "place": _("Favourite place"),
        "ties": _("Ties"),
        "skips": _("Skips, flags"),
        "time": _("Median time"),
        "too_fast": _("Too fast"),
        "last": _("Last vote"),
    }
    return [
        {
            "name": name if name != sort or is_reversed else f"-{name}",
            "label": label,
            "sorted": "none" if name != sort else "ascending" if is_reversed != (name == "time") else "descending",
        }
        for name, label in labels.items()
    ]
