"""A person's own pages: what they agree to, what they tell of themselves, how far they are, and how they leave."""

from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotations.forms import DemographicsForm, ErasureForm
from annotations.models import Annotator, Campaign
from annotations.queries import people as people_queries
from annotations.queries import voting as queries
from annotations.services import consent as consents
from annotations.services import demographics, erasure, participations, people
from annotations.views.campaigns import campaign_for


def next_step(annotator: Annotator, campaign: Campaign) -> str:
    """The address of what comes before voting: the text to agree to, the questions about the person, the campaign."""
    part = people_queries.participation_in(annotator, campaign)
    if part is not None and part.state in people_queries.FINISHED:
        return reverse("annotations:done", args=[campaign.slug])
    if people_queries.lacks_consent(part, campaign):
        return reverse("annotations:consent", args=[campaign.slug])
    if campaign.asks_about_people and not hasattr(annotator, "demographics"):
        return reverse("annotations:about-you", args=[campaign.slug])
    return campaign.get_absolute_url()


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def consent(request: HttpRequest, slug: str) -> HttpResponse:
    """What taking part means; the person agrees or leaves."""
    campaign = campaign_for(request, slug)
    annotator = queries.annotator_of(request.user)
    if not campaign.consent or not queries.may_enter(annotator, campaign):
        return redirect(campaign)
    if request.method == "POST":
        return _answer_consent(request, campaign)
    part = people_queries.participation_in(annotator, campaign)
    context = {
        "campaign": campaign,
        "text_hash": people_queries.consent_hash(campaign),
        "agreed_at": part.consented_at if part and not people_queries.lacks_consent(part, campaign) else None,
        "is_recruited": part is not None and part.recruitment is not None,
    }
    return render(request, "annotations/consent.html", context)


def _answer_consent(request: HttpRequest, campaign: Campaign) -> HttpResponse:
    annotator = people.annotator_for(request.user)
    if request.POST.get("answer") != "agree":
        consents.decline(annotator=annotator, campaign=campaign)
        return redirect("annotations:goodbye", slug=campaign.slug)
    try:
        consents.agree(annotator=annotator, campaign=campaign, text_hash=request.POST.get("text", ""))
    except consents.ConsentTextChanged as problem:
        messages.warning(request, str(problem))
        return redirect("annotations:consent", slug=campaign.slug)
    return redirect(next_step(annotator, campaign))


@require_safe
@never_cache
def goodbye(request: HttpRequest, slug: str) -> HttpResponse:
    """For who does not want to take part."""
    campaign = campaign_for(request, slug)
    part = people_queries.participation_in(queries.annotator_of(request.user), campaign)
    return render(request, "annotations/goodbye.html", {"campaign": campaign, "part": part})


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def about_you(request: HttpRequest, slug: str) -> HttpResponse:
    """Questions about the person before a campaign; every one may be left open."""
    campaign = campaign_for(request, slug)
    if not campaign.asks_about_people or not queries.may_enter(queries.annotator_of(request.user), campaign):
        return redirect(campaign)
    return _ask_about_person(request, campaign=campaign, then=campaign.get_absolute_url())


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def my_answers(request: HttpRequest) -> HttpResponse:
    """The same questions at any later time, to change or delete the answers."""
    return _ask_about_person(request, campaign=None, then=reverse("annotations:me"))


def _ask_about_person(request: HttpRequest, *, campaign: Campaign | None, then: str) -> HttpResponse:
    annotator = queries.annotator_of(request.user)
    told = getattr(annotator, "demographics", None)
    form = DemographicsForm(request.POST if request.method == "POST" else None, instance=told)
    if request.method == "POST":
        annotator = annotator or people.annotator_for(request.user)
        if "delete" in request.POST:
            demographics.forget(annotator=annotator)
            messages.success(request, _("What you told us about yourself is deleted."))
            return redirect(then)
        if form.is_valid():
            demographics.tell(annotator=annotator, **form.cleaned_data)
            return redirect(then)
    context = {"campaign": campaign, "form": form, "has_told": told is not None}
    return render(request, "annotations/about_you.html", context)


@login_required
@require_POST
def finish(request: HttpRequest, slug: str) -> HttpResponse:
    """The completion code for who was recruited and has nothing left to do."""
    campaign = campaign_for(request, slug)
    part = people_queries.participation_in(queries.annotator_of(request.user), campaign)
    if part is not None:
        try:
            participations.finish(participation=part)
        except participations.UnableToFinish as problem:
            messages.warning(request, str(problem))
    return redirect("annotations:done", slug=slug)


@login_required
@require_POST
def leave(request: HttpRequest, slug: str) -> HttpResponse:
    """A recruited person gives their place back."""
    campaign = campaign_for(request, slug)
    part = people_queries.participation_in(queries.annotator_of(request.user), campaign)
    if part is not None:
        participations.give_back(participation=part)
    return redirect("annotations:goodbye", slug=slug)


@login_required
@require_safe
@never_cache
def me(request: HttpRequest) -> HttpResponse:
    """How far one is in each campaign, and what is kept of one. Nobody is compared with anybody."""
    annotator = queries.annotator_of(request.user)
    context = {
        "annotator": annotator,
        "parts": people_queries.parts_of(annotator) if annotator else [],
        "has_told": hasattr(annotator, "demographics"),
    }
    return render(request, "annotations/me.html", context)


@login_required
@require_safe
@never_cache
def my_data(request: HttpRequest) -> HttpResponse:
    """All that is kept of one, as a file."""
    annotator = queries.annotator_of(request.user)
    kept = people_queries.own_data(annotator) if annotator else {"profile": {"user_name": request.user.get_username()}}
    response = JsonResponse(kept, json_dumps_params={"indent": 2, "ensure_ascii": False})
    response["Content-Disposition"] = f'attachment; filename="my-data-{timezone.localdate()}.json"'
    return response


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def erase_me(request: HttpRequest) -> HttpResponse:
    """The end of an account: asked twice, and not to be undone."""
    form = ErasureForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            erasure.erase_identity(annotator=people.annotator_for(request.user))
        except erasure.UnableToErase as problem:
            form.add_error(None, str(problem))
        else:
            logout(request)
            return redirect("annotations:erased")
    return render(request, "annotations/erase.html", {"form": form})


@require_safe
@never_cache
def erased(request: HttpRequest) -> HttpResponse:
    """Said once the account is gone."""
    return render(request, "annotations/erased.html")
