"""Making a campaign, and its own page: is it ready, how is it set, what does it still need."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotations.models import Campaign, Task
from annotations.queries.readiness import obstacles, readiness_of
from annotations.services import campaigns as services
from annotations.services.campaigns import SETTINGS, SlugTaken, UnableToChangeCampaign
from annotations.services.instructions import InstructionsRejected, examples_of, revise_instructions
from annotations.services.sources import UnableToDeal, found_by, selection_of
from hps_site.dashboard import pictures
from hps_site.dashboard.forms import (
    CloneForm,
    ExampleForms,
    ForecastForm,
    InstructionsForm,
    NewCampaignForm,
    SettingsForm,
    SourceForm,
    examples_in,
)
from hps_site.dashboard.queries import ballots, forecasts
from worker.models import Run
from worker.queries import is_worker_online, queue_of
from worker.services.runs import OpenedRun, open_run
from worker.views.staff import staff_only

BAD_ROWS_SHOWN = 50
WIDTH_POINTS = 10

may_add = permission_required("annotations.add_campaign", raise_exception=True)
may_change = permission_required("annotations.change_campaign", raise_exception=True)

STEPS = {
    "start": services.start_campaign,
    "pause": services.pause_campaign,
    "close": services.close_campaign,
}


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@staff_only
@may_add
def new(request: HttpRequest) -> HttpResponse:
    """A whole campaign in one page; the images come in the background."""
    person = _person(request)
    data, files = _sent(request)
    form, source = NewCampaignForm(data), SourceForm(data, user=person)
    examples = ExampleForms(data, files, prefix="examples")
    if data is not None and all([form.is_valid(), source.is_valid(), examples.is_valid()]):
        try:
            made = _make(form, source, examples, person)
        except (SlugTaken, InstructionsRejected) as error:
            form.add_error("slug" if isinstance(error, SlugTaken) else "question", str(error))
        else:
            messages.success(request, _("%(name)s is a draft now.") % {"name": made})
            return redirect("dashboard:campaign-page", made.slug)
    _keep_pictures(examples)
    context = {"form": form, "source": source, "examples": examples, "upload_texts": _upload_texts()}
    return render(request, "dashboard/campaigns/new.html", context, status=_status(data))


@require_safe
@staff_only
@may_add
def found(request: HttpRequest) -> HttpResponse:
    """How many prompts and images a selection finds, for the page that makes campaigns."""
    chosen = {
        "generators": request.GET.getlist("generators"),
        "tag": request.GET.get("tag", ""),
        "campaign": request.GET.get("shown_in", ""),
        "needs_all": request.GET.get("source") == "matchups",
    }
    try:
        return render(request, "dashboard/campaigns/_found.html", {"found": found_by(selection_of(chosen))})
    except UnableToDeal as error:
        return render(request, "dashboard/campaigns/_found.html", {"problem": str(error)})


@require_safe
@never_cache
@staff_only
def campaign(request: HttpRequest, slug: str) -> HttpResponse:
    """One campaign as it is set and as it stands; its import is looked at every two seconds while it runs."""
    shown = get_object_or_404(Campaign, slug=slug)
    run = Run.objects.filter(campaign=shown, kind=Run.Kind.IMPORT).order_by("-pk").first()
    if request.htmx:  # type: ignore[attr-defined]
        response = render(request, "dashboard/campaigns/campaign.html#import", _import_context(run))
        if run is None or not run.is_active:
            response["HX-Refresh"] = "true"
        return response
    checks = readiness_of(shown)
    bad = shown.manifest_rows.exclude(problem="").order_by("number")
    context = {
        "campaign": shown,
        **_import_context(run),
        "checks": checks,
        "is_ready": not obstacles(checks),
        "bad_rows": bad[:BAD_ROWS_SHOWN],
        "bad_row_count": bad.count(),
        "counts": _task_counts(shown),
        "settings": _settings_shown(shown),
        "versions": shown.instruction_texts.select_related("created_by"),
        "instructions": shown.current_instructions,
        **_forecast(request, shown),
    }
    return render(request, "dashboard/campaigns/campaign.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@staff_only
@may_change
def settings(request: HttpRequest, slug: str) -> HttpResponse:
    """How a campaign is answered, by whom, and what is done about quality."""
    changed = get_object_or_404(Campaign, slug=slug)
    data, _files = _sent(request)
    form = SettingsForm(data, instance=changed)
    if data is not None and form.is_valid():
        try:
            services.change_settings(campaign=Campaign.objects.get(pk=changed.pk), settings=dict(form.cleaned_data))
        except UnableToChangeCampaign as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, _("The settings are changed."))
            return redirect("dashboard:campaign-page", slug)
    context = {"campaign": changed, "form": form}
    return render(request, "dashboard/campaigns/settings.html", context, status=_status(data))


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@staff_only
@may_change
def instructions(request: HttpRequest, slug: str) -> HttpResponse:
    """The wording of a campaign; what is saved is its next version."""
    revised = get_object_or_404(Campaign, slug=slug)
    present = revised.current_instructions
    data, files = _sent(request)
    form = InstructionsForm(data, initial={"question": revised.question, "text": revised.instructions})
    there = [
        {"image": example.image.public_id, "caption": example.caption, "is_good": example.is_good}
        for example in (examples_of(present) if present else [])
    ]
    examples = ExampleForms(data, files, prefix="examples", initial=there)
    if data is not None and all([form.is_valid(), examples.is_valid()]):
        before = revised.instructions_version
        try:
            with transaction.atomic():
                version = revise_instructions(
                    campaign=revised, examples=examples_in(examples), by=_person(request), **form.cleaned_data
                )
        except InstructionsRejected as error:
            form.add_error("question", str(error))
        else:
            said = _("Version %(number)d is shown from now on.") if version.number > before else _("Nothing changed.")
            messages.success(request, said % {"number": version.number} if version.number > before else said)
            return redirect("dashboard:campaign-page", slug)
    _keep_pictures(examples)
    context = {"campaign": revised, "form": form, "examples": examples}
    return render(request, "dashboard/campaigns/instructions.html", context, status=_status(data))


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@staff_only
@may_change
def images(request: HttpRequest, slug: str) -> HttpResponse:
    """More images for a campaign that is there."""
    fed = get_object_or_404(Campaign, slug=slug)
    data, _files = _sent(request)
    source = SourceForm(data, user=_person(request), may_wait=False)
    if data is not None and source.is_valid():
        opened = _open_import(fed, source.cleaned_data["config"], _person(request))
        if not opened.is_new:
            messages.info(request, _("Images are being imported already; wait for that to end."))
        return redirect("dashboard:campaign-page", slug)
    context = {"campaign": fed, "source": source, "upload_texts": _upload_texts()}
    return render(request, "dashboard/campaigns/images.html", context, status=_status(data))


@require_POST
@staff_only
@may_change
def change_state(request: HttpRequest, slug: str) -> HttpResponse:
    """Start, pause or close a campaign."""
    changed = get_object_or_404(Campaign, slug=slug)
    step = STEPS.get(request.POST.get("step", ""))
    if step is None:
        messages.error(request, _("Press one of the buttons."))
        return redirect("dashboard:campaign-page", slug)
    try:
        step(campaign=changed, by=_person(request))
    except UnableToChangeCampaign as error:
        messages.error(request, str(error))
    else:
        text = _("%(campaign)s is now %(state)s.")
        messages.success(request, text % {"campaign": changed, "state": changed.get_state_display()})
    return redirect("dashboard:campaign-page", slug)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@staff_only
@may_add
def clone(request: HttpRequest, slug: str) -> HttpResponse:
    """A draft that asks as this campaign does, with or without its tasks."""
    original = get_object_or_404(Campaign, slug=slug)
    suggested = {"name": _("%(name)s, again") % {"name": original.name}, "slug": f"{original.slug[:72]}-again"}
    data, _files = _sent(request)
    form = CloneForm(data, initial=suggested | {"with_tasks": True})
    if data is not None and form.is_valid():
        wanted = form.cleaned_data
        try:
            with transaction.atomic():
                made = services.clone_campaign(
                    campaign=original, slug=wanted["slug"], name=wanted["name"], by=_person(request)
                )
                if wanted["with_tasks"]:
                    _open_import(made, {"source": "campaign", "campaign": slug}, _person(request))
        except SlugTaken as error:
            form.add_error("slug", str(error))
        else:
            messages.success(request, _("%(name)s is a draft now.") % {"name": made})
            return redirect("dashboard:campaign-page", made.slug)
    context = {"campaign": original, "form": form}
    return render(request, "dashboard/campaigns/clone.html", context, status=_status(data))


def _person(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # staff_only lets nobody else in
    return request.user


def _sent(request: HttpRequest) -> tuple[Any, Any]:
    """What a form was filled with, and its files; None of both where it is only looked at."""
    return (request.POST, request.FILES) if request.method == "POST" else (None, None)


def _status(data: Any) -> int:
    """Of a form that is shown: filled in and shown again means that something was wrong with it."""
    return 200 if data is None else 422


def _keep_pictures(examples: Any) -> None:
    """Where forms are shown again, so that nobody has to choose their files once more."""
    if examples.is_bound:
        for form in examples:
            form.keep_picture()


@transaction.atomic
def _make(form: NewCampaignForm, source: SourceForm, examples: Any, person: User) -> Campaign:
    values = form.cleaned_data
    made = services.create_campaign(
        slug=values["slug"],
        name=values["name"],
        settings={name: values[name] for name in SETTINGS},
        examples=examples_in(examples),
        by=person,
    )
    if source.cleaned_data["config"]:
        _open_import(made, source.cleaned_data["config"], person)
    return made


def _upload_texts() -> dict[str, str]:
    """What the page says while it sends a file; {braces} are filled in there."""
    return {
        "looking": _("Looking at what is there already…"),
        "sending": _("{done} of {size} MB sent"),
        "offline": _("No connection. The upload goes on by itself as soon as it is back."),
        "sent": _("{name} is sent."),
        "stopped": _("Stopped. Choose the same file again to go on."),
        "wait": _("Please wait until the file is sent."),
        "logged_out": _("You are logged out. Log in in another tab; the upload goes on then."),
        "not_secure": _("The browser sends files only to a site with https. Ask the operator, or use a bucket."),
        "empty": _("The folder is empty."),
        "failed": _("{detail}"),
    }


def _open_import(campaign: Campaign, config: dict[str, Any], person: User) -> OpenedRun:
    return open_run(kind=Run.Kind.IMPORT, preset="", config=config, campaign=campaign, by=person)


def _import_context(run: Run | None) -> dict[str, Any]:
    return {"import_run": run, "is_worker_online": is_worker_online(queue_of(Run.Kind.IMPORT))}


def _task_counts(campaign: Campaign) -> list[tuple[str, int]]:
    """How many tasks there are of each purpose that has any, regular ones first."""
    counts = dict(campaign.tasks.order_by().values_list("purpose").annotate(Count("pk")))
    return [(str(purpose.label), counts[purpose]) for purpose in Task.Purpose if counts.get(purpose)]


def _settings_shown(campaign: Campaign) -> list[tuple[str, Any]]:
    """Names and values of the settings, as the forms call them."""
    form = SettingsForm(instance=campaign)
    shown = []
    for bound in form:
        display = getattr(campaign, f"get_{bound.name}_display", None)
        value = display() if display else getattr(campaign, bound.name)
        shown.append((str(bound.label), value))
    return shown


def _forecast(request: HttpRequest, campaign: Campaign) -> dict[str, Any]:
    """What is still needed, in words and as a picture; nothing before the first vote."""
    choices = ballots.read_choices([campaign])
    pace = forecasts.pace_of(campaign, now=timezone.now())
    rivals = forecasts.rivals_in(choices)
    if len(rivals) < 2:
        return {"pace": pace}
    start = {"first": rivals[0], "second": rivals[1], "width": WIDTH_POINTS}
    form = ForecastForm({**start, **request.GET.dict()}, generators=rivals)
    if not form.is_valid():
        return {"pace": pace, "forecast_form": form}
    wanted = form.cleaned_data
    precision = forecasts.precision_of(
        choices, first=wanted["first"], second=wanted["second"], width=wanted["width"] / 100
    )
    chart = pictures.precision_chart(precision) if precision else None
    return {
        "pace": pace,
        "forecast_form": form,
        "precision": precision,
        "precision_chart": chart,
        "hours_to_precision": pace.hours_for(precision.still_needed_of_campaign) if precision else None,
    }
