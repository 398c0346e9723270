"""What pages for staff share: who may see them, who is looking, and the way to a run that was asked for."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _

from worker.services.recipes import FieldRejected
from worker.services.runs import OpenedRun, UnableToOpenRun, UnableToRetryRun, UnknownPreset

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


def person_of(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # staff_only lets nobody else in
    return request.user


def go_to_opened(request: HttpRequest, open_one: Callable[[], OpenedRun]) -> HttpResponse:
    """Open a run, or go to the one that is active already."""
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
