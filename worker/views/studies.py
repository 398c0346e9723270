"""What staff do with an adapter: have it measured, put it before people, decide."""

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from annotations.models import Generator
from worker.forms.studies import EFFECT, StudyForm
from worker.models import ModelVersion, Run
from worker.services.runs import open_run
from worker.services.versions import UnableToReject, reject_version
from worker.views.staff import go_to_opened, person_of, staff_only
from worker.views.study_plans import plan_of

may_open = permission_required("worker.add_run", raise_exception=True)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@staff_only
@may_open
def new_study(request: HttpRequest) -> HttpResponse:
    """Two generators against each other: the plan is worked out as the form is filled in, a POST has it made."""
    if request.method == "POST":
        form = StudyForm(request.POST)
        if form.is_valid():
            return go_to_opened(request, lambda: open_run(
                kind=Run.Kind.STUDY, preset="", config=form.config, by=person_of(request)
            ))  # fmt: skip
        return render(request, "worker/study.html", {"form": form, **plan_of(form)}, status=422)
    asked = {"effect": EFFECT, **request.GET.dict()}
    context = plan_of(StudyForm(asked))
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "worker/_study_plan.html", context)
    return render(request, "worker/study.html", {"form": StudyForm(initial=asked), **context})


@require_POST
@staff_only
@may_open
def prove(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """Have an adapter measured in four arms, with the settings of the shop; FID and KID to the generator named."""
    version = get_object_or_404(ModelVersion, public_id=public_id, family=ModelVersion.Family.ADAPTER)
    config = {"version": str(version)}
    if reference := request.POST.get("reference"):
        config["reference"] = get_object_or_404(Generator, name=reference).name
    return go_to_opened(request, lambda: open_run(kind=Run.Kind.PROOF, preset="", config=config, by=person_of(request)))


@require_POST
@staff_only
@permission_required("worker.change_modelversion", raise_exception=True)
def reject(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """Decide against a version, with a reason."""
    version = get_object_or_404(ModelVersion, public_id=public_id)
    try:
        reject_version(version=version, reason=request.POST.get("reason", ""), by=person_of(request))
    except UnableToReject as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("%(version)s is rejected. A promotion takes that back.") % {"version": version})
    return redirect(version)
