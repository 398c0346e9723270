"""The links by which panels send people."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from csp.decorators import csp_replace
from django.conf import settings
from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.clickjacking import xframe_options_exempt
from django.views.decorators.http import require_http_methods, require_safe

from annotations.models import Participation, Recruitment
from annotations.queries import people as people_queries
from annotations.queries import voting as queries
from annotations.services import recruiting
from annotations.services.people import UnableToJoin
from annotations.views.entry import MODEL_BACKEND
from annotations.views.people import next_step


def keeps_ids_to_itself(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A page whose address holds a person's id: what it loads and links to is told the site alone."""

    @wraps(view)
    def wrapped(*args: Any, **kwargs: Any) -> HttpResponse:
        response = view(*args, **kwargs)
        response["Referrer-Policy"] = "strict-origin"
        return response

    return wrapped


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@keeps_ids_to_itself
def recruit(request: HttpRequest, slug: str, code: str) -> HttpResponse:
    """A welcome, and a button that takes a place and lets the person in. Opening the link alone changes nothing."""
    recruitment = _recruitment(slug, code)
    context: dict[str, Any] = {"recruitment": recruitment, "campaign": recruitment.campaign}
    try:
        arrival = recruiting.read_arrival(recruitment=recruitment, given=request.GET)
        if arrival.is_preview:
            recruiting.check_welcome(recruitment)
            return render(request, "annotations/recruit.html", {**context, "is_preview": True})
        if request.method == "POST":
            annotator = recruiting.enter(recruitment=recruitment, arrival=arrival).annotator
            login(request, annotator.user, backend=MODEL_BACKEND)
            return redirect(next_step(annotator, recruitment.campaign))
        part = recruiting.part_of_person(recruitment=recruitment, person=arrival.person)
        if part is None or part.state == Participation.State.RETURNED:
            recruiting.check_welcome(recruitment)
        elif part.annotator == queries.annotator_of(request.user):
            return redirect(next_step(part.annotator, recruitment.campaign))
    except UnableToJoin as problem:
        return render(request, "annotations/recruit.html", {**context, "problem": problem}, status=_status_of(problem))
    return render(request, "annotations/recruit.html", context)


@require_safe
@never_cache
@keeps_ids_to_itself
@xframe_options_exempt
@csp_replace({"frame-ancestors": list(recruiting.MTURK_SITES), "form-action": list(recruiting.MTURK_SITES)})
def mturk_frame(request: HttpRequest, slug: str, code: str) -> HttpResponse:
    """What MTurk shows in its frame: the way to the task in a tab of its own, and at the end the way to hand in.

    No cookie reaches a frame in another site's page, so who is there is read from the address alone; the page tells no
    more than whether this assignment is done.
    """
    recruitment = _recruitment(slug, code)
    if recruitment.panel != Recruitment.Panel.MTURK:
        return redirect(recruitment)
    context: dict[str, Any] = {"recruitment": recruitment, "campaign": recruitment.campaign}
    try:
        arrival = recruiting.read_arrival(recruitment=recruitment, given=request.GET)
        part = None
        if not arrival.is_preview:
            part = recruiting.part_of_person(recruitment=recruitment, person=arrival.person)
        if part is None or part.state == Participation.State.RETURNED:
            recruiting.check_welcome(recruitment)
    except UnableToJoin as problem:
        return render(request, "annotations/mturk.html", {**context, "problem": problem}, status=_status_of(problem))
    if arrival.is_preview:
        return render(request, "annotations/mturk.html", {**context, "is_preview": True})
    ids = {name: request.GET[name] for name in recruitment.parameters}
    context |= {
        "link": f"{settings.SITE_URL}{recruitment.get_absolute_url()}?{urlencode(ids)}",
        "part": part if part is not None and part.state in people_queries.FINISHED else None,
        "is_this_assignment": part is not None and part.session_id == arrival.session,
        "submit_address": recruiting.mturk_submit_address(request.GET.get("turkSubmitTo", "")),
    }
    return render(request, "annotations/mturk.html", context)


def _status_of(problem: UnableToJoin) -> int:
    """Of a page that lets nobody in: the address is wrong, or there is nothing here any longer."""
    return 400 if isinstance(problem, recruiting.IdsRejected) else 410


def _recruitment(slug: str, code: str) -> Recruitment:
    return get_object_or_404(Recruitment.objects.select_related("campaign"), campaign__slug=slug, code=code)
