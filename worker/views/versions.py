"""The pages on which staff look at model versions and decide which of them are in use."""

import json
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from worker import queries
from worker.figures import figures_of
from worker.models import ModelVersion, family_label
from worker.services import versions as version_services
from worker.services.adapters import put_into_use, told_of_generator
from worker.services.recipes import UnableToGenerate
from worker.services.versions import NothingToRollBackTo, VersionRejected
from worker.views.staff import person_of, staff_only
from worker.views.study_plans import adapter_context


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
        found = put_into_use(version=found, by=person_of(request), reason=request.POST.get("reason", ""))
    except (VersionRejected, UnableToGenerate) as error:
        messages.error(request, str(error))
    else:
        in_use = _("%(version)s is in use now.") % {"version": found}
        messages.success(request, f"{in_use} {told_of_generator(found)}".strip())
    return redirect(found)


@require_POST
@staff_only
@permission_required("worker.change_modelversion", raise_exception=True)
def roll_back(request: HttpRequest, family: str) -> HttpResponse:
    """Put the version before the current one back into use."""
    if not ModelVersion.objects.filter(family=family).exists():
        raise Http404
    try:
        restored = version_services.roll_back(family=family, by=person_of(request))
    except (NothingToRollBackTo, VersionRejected) as error:
        messages.error(request, str(error))
    else:
        in_use = _("%(version)s is in use again.") % {"version": restored}
        messages.success(request, f"{in_use} {told_of_generator(restored)}".strip())
    return redirect("worker:versions")
