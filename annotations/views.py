"""The pages on which people choose; all of them work without JavaScript."""

from dataclasses import asdict
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import RedirectURLMixin
from django.db import transaction
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST, require_safe
from django.views.generic import FormView
from knox.auth import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed

from annotations import queries
from annotations.forms import RegistrationForm, VoteForm
from annotations.models import Annotator, Campaign, Image, Invite
from annotations.services import people, voting

CONTENT_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
ONE_YEAR = 365 * 24 * 60 * 60
MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"

# Stands in addresses that the voting screen completes with the id of a vote.
NO_ID = UUID(int=0)


@require_safe
@never_cache
def home(request: HttpRequest) -> HttpResponse:
    """The campaigns in which one may vote."""
    return render(request, "annotations/home.html", {"offers": queries.offers_for(queries.annotator_of(request.user))})


@method_decorator([sensitive_post_parameters(), never_cache], name="dispatch")
class Register(RedirectURLMixin, FormView):
    """A new account, logged in at once."""

    template_name = "registration/register.html"
    form_class = RegistrationForm
    next_page = "annotations:home"

    def form_valid(self, form: RegistrationForm) -> HttpResponse:
        with transaction.atomic():
            user = form.save()
            people.register_annotator(user=user)
        login(self.request, user, backend=MODEL_BACKEND)
        return redirect(self.get_success_url())

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(next=self.get_redirect_url(), **kwargs)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def join(request: HttpRequest, slug: str, code: str) -> HttpResponse:
    """An invite link: a welcome, and a button that lets the person in. Opening the link alone changes nothing."""
    invite = get_object_or_404(Invite.objects.select_related("campaign"), campaign__slug=slug, code=code)
    member = request.user if request.user.is_authenticated else None
    try:
        if request.method == "POST":
            annotator = people.redeem_invite(invite=invite, user=member)
            if member is None:
                login(request, annotator.user, backend=MODEL_BACKEND)
            return redirect(invite.campaign)
        if not queries.may_enter(queries.annotator_of(request.user), invite.campaign) or member is None:
            people.check_invite(invite)
    except people.UnableToJoin as problem:
        return render(request, "annotations/join.html", {"invite": invite, "problem": problem}, status=410)
    return render(request, "annotations/join.html", {"invite": invite})


@require_safe
@never_cache
def campaign(request: HttpRequest, slug: str) -> HttpResponse:
    """What is asked, how far one is, and where to start."""
    campaign = _campaign_for(request, slug)
    annotator = queries.annotator_of(request.user)
    is_allowed = queries.may_enter(annotator, campaign)
    context = {
        "campaign": campaign,
        "is_allowed": is_allowed,
        "progress": queries.progress_of(annotator, campaign),
        "collected": queries.collected_in(campaign),
    }
    return render(request, "annotations/campaign.html", context, status=200 if is_allowed else 403)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def vote(request: HttpRequest, slug: str) -> HttpResponse:
    """The voting screen. To look at it changes nothing; to post claims the next task, after a vote if there is one."""
    campaign = _campaign_for(request, slug)
    if request.method == "POST":
        return _vote_and_go_on(request, campaign)
    annotator = queries.annotator_of(request.user)
    slots = list(queries.live_slots(annotator, campaign)) if annotator else []
    progress = queries.progress_of(annotator, campaign)
    if not slots and (progress.left == 0 or not campaign.is_running):
        return redirect("annotations:done", slug=slug)
    if not queries.may_enter(annotator, campaign):
        return redirect(campaign)
    claims = queries.shown_claims(slots)
    last_vote = queries.latest_vote(annotator, campaign) if annotator else None
    context = {
        "campaign": campaign,
        "claim": claims[0] if claims else None,
        "key": uuid4(),
        "progress": progress,
        "last_vote": last_vote,
        "flag_reasons": voting.FlagReason.choices,
        "screen": {
            "claims": [asdict(claim) for claim in claims],
            "progress": asdict(progress),
            "last_vote": last_vote and last_vote.public_id,
            "lease_seconds": campaign.lease_seconds,
            "person": request.user.pk,
            "addresses": _addresses(campaign),
            "texts": _texts(),
        },
    }
    return render(request, "annotations/vote.html", context)


@login_required
@require_POST
def undo(request: HttpRequest, slug: str) -> HttpResponse:
    """Take one's latest vote back and see its images again."""
    campaign = _campaign_for(request, slug)
    annotator = people.annotator_for(request.user)
    latest = queries.latest_vote(annotator, campaign)
    if latest is None:
        messages.info(request, _("There is no vote to undo."))
    else:
        try:
            voting.undo_vote(annotator=annotator, vote=latest)
        except voting.VotingRefused as refusal:
            messages.warning(request, str(refusal))
    return redirect("annotations:vote", slug=slug)


@login_required
@require_safe
@never_cache
def done(request: HttpRequest, slug: str) -> HttpResponse:
    """Thanks, and what is next."""
    campaign = _campaign_for(request, slug)
    annotator = queries.annotator_of(request.user)
    others = [offer for offer in queries.offers_for(annotator) if offer.campaign != campaign and offer.mine.left]
    context = {
        "campaign": campaign,
        "progress": queries.progress_of(annotator, campaign),
        "last_vote": queries.latest_vote(annotator, campaign) if annotator else None,
        "others": others,
    }
    return render(request, "annotations/done.html", context)


@require_GET
def image(request: HttpRequest, public_id: UUID) -> HttpResponseBase:
    """One picture, for people who are logged in or have a token. What it is comes from our record of it."""
    is_staff = request.user.is_staff
    if not request.user.is_authenticated and not _has_token(request):
        raise Http404
    image = get_object_or_404(Image.objects.all() if is_staff else queries.visible_images(), public_id=public_id)
    response = _content_of(image)
    response["Content-Disposition"] = f'inline; filename="{image.public_id}.{image.extension}"'
    response["Cache-Control"] = f"private, max-age={ONE_YEAR}, immutable"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _campaign_for(request: HttpRequest, slug: str) -> Campaign:
    campaigns = (
        Campaign.objects.all() if request.user.is_staff else Campaign.objects.exclude(state=Campaign.State.DRAFT)
    )
    return get_object_or_404(campaigns, slug=slug)


def _vote_and_go_on(request: HttpRequest, campaign: Campaign) -> HttpResponse:
    annotator = people.annotator_for(request.user)
    if "token" in request.POST:
        _record(request, annotator)
    try:
        slots = voting.claim_slots(annotator=annotator, campaign=campaign, count=1)
    except voting.VotingRefused as refusal:
        messages.warning(request, str(refusal))
        return redirect(campaign)
    return redirect("annotations:vote" if slots else "annotations:done", slug=campaign.slug)


def _record(request: HttpRequest, annotator: Annotator) -> None:
    form = VoteForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("That vote could not be read. Please choose again."))
        return
    try:
        voting.record_vote(annotator=annotator, **form.cleaned_data)
    except voting.VotingRefused as refusal:
        messages.warning(request, str(refusal))


def _content_of(image: Image) -> HttpResponseBase:
    content_type = CONTENT_TYPES[image.format]
    if settings.MEDIA_ACCEL_PREFIX:
        response = HttpResponse(content_type=content_type)
        response["X-Accel-Redirect"] = f"{settings.MEDIA_ACCEL_PREFIX.rstrip('/')}/{image.file.name}"
        return response
    try:
        return FileResponse(image.file.open("rb"), content_type=content_type)
    except FileNotFoundError:
        raise Http404 from None


def _has_token(request: HttpRequest) -> bool:
    try:
        return TokenAuthentication().authenticate(request) is not None
    except AuthenticationFailed:
        return False


def _addresses(campaign: Campaign) -> dict[str, str]:
    return {
        "claims": reverse("api-claims", args=[campaign.slug]),
        "release": reverse("api-release", args=[campaign.slug]),
        "progress": reverse("api-progress", args=[campaign.slug]),
        "votes": reverse("api-votes"),
        "undo": reverse("api-undo", args=[NO_ID]),
        "campaign": campaign.get_absolute_url(),
        "done": reverse("annotations:done", args=[campaign.slug]),
        "login": f"{reverse('login')}?next={reverse('annotations:vote', args=[campaign.slug])}",
    }


def _texts() -> dict[str, str]:
    """What the voting screen says by itself; {braces} are filled in there."""
    return {
        "image": _("Image {n}"),
        "progress": _("{voted} voted, {left} left"),
        "recorded_choice": _("Recorded: image {n}."),
        "recorded_tie": _("Recorded: no clear winner."),
        "recorded_all_bad": _("Recorded: all bad."),
        "recorded_skip": _("Skipped."),
        "recorded_flag": _("Flagged. Thank you."),
        "undone": _("Undone. The same images again."),
        "nothing_to_undo": _("There is no vote to undo."),
        "one_waiting": _("1 vote waiting to be sent"),
        "many_waiting": _("{n} votes waiting to be sent"),
        "loading": _("Loading the next images…"),
        "offline": _("No connection. Your votes are safe on this device and are sent as soon as it is back."),
        "undo_offline": _("This vote is on its way. It can be undone when the connection is back."),
        "claim_lost": _(
            "That task had been given to somebody else, so your vote was not counted. Here is the next one."
        ),
        "not_taken": _("A vote was not taken: {detail}"),
        "login": _("You are logged out. Log in again to send your votes."),
        "image_failed": _("An image could not be loaded."),
    }
