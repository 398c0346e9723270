"""The pages before and after voting: the campaigns, an account, an invite, thanks."""

from typing import Any

from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import RedirectURLMixin
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe
from django.views.generic import FormView

from annotations.forms import RegistrationForm
from annotations.models import Invite, Participation
from annotations.queries import people as people_queries
from annotations.queries import voting as queries
from annotations.services import people
from annotations.views.campaigns import campaign_for

MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"


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
    campaign = campaign_for(request, slug)
    annotator = queries.annotator_of(request.user)
    is_allowed = queries.may_enter(annotator, campaign)
    part = people_queries.part_in(annotator, campaign)
    participation = part.participation if part is not None else None
    context = {
        "campaign": campaign,
        "part": part,
        "participation": participation,
        "lacks_consent": people_queries.lacks_consent(participation, campaign),
        "may_tell": annotator is not None and campaign.asks_about_people and not hasattr(annotator, "demographics"),
        "is_allowed": is_allowed,
        "progress": queries.progress_of(annotator, campaign),
        "collected": queries.collected_in(campaign),
    }
    return render(request, "annotations/campaign.html", context, status=200 if is_allowed else 403)


@login_required
@require_safe
@never_cache
def done(request: HttpRequest, slug: str) -> HttpResponse:
    """Thanks, and what is next."""
    campaign = campaign_for(request, slug)
    annotator = queries.annotator_of(request.user)
    others = [offer for offer in queries.offers_for(annotator) if offer.campaign != campaign and offer.mine.left]
    part = people_queries.part_in(annotator, campaign)
    participation = part.participation if part is not None else None
    if participation is not None and participation.state == Participation.State.RETURNED:
        return redirect("annotations:goodbye", slug=slug)
    recruitment = participation and participation.recruitment
    context = {
        "campaign": campaign,
        "part": part,
        "participation": participation,
        "recruitment": recruitment,
        "return_link": recruitment.return_link(participation.code) if recruitment and participation else "",
        "progress": queries.progress_of(annotator, campaign),
        "last_vote": queries.latest_vote(annotator, campaign) if annotator else None,
        "others": others,
    }
    return render(request, "annotations/done.html", context)
