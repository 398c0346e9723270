"""How often one may try to log in or to register."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import timezone

from annotations.services.throttles import (
    Throttle,
    TooManyAttempts,
    count_attempt,
    forget_attempts,
    forgive_attempt,
)

QUARTER_OF_AN_HOUR, HOUR = 15 * 60, 60 * 60

# A name is guessed at from anywhere, and an address guesses at many names; but a whole class may share an address.
LOGINS_OF_NAME = Throttle("login-name", limit=10, seconds=QUARTER_OF_AN_HOUR)
LOGINS_FROM_ADDRESS = Throttle("login-address", limit=60, seconds=QUARTER_OF_AN_HOUR)
REGISTRATIONS_FROM_ADDRESS = Throttle("register-address", limit=100, seconds=HOUR)

View = Callable[..., HttpResponseBase]


def throttled_login(view: View) -> View:
    """A view that checks a name and a password; each try counts until it turns out right."""

    @wraps(view)
    def throttled(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method != "POST":
            return view(request, *args, **kwargs)
        name, address = request.POST.get("username", "").casefold(), client_address(request)
        try:
            count_attempt(throttle=LOGINS_FROM_ADDRESS, who=address)
            count_attempt(throttle=LOGINS_OF_NAME, who=name)
        except TooManyAttempts as refusal:
            return _wait(request, refusal)
        response = view(request, *args, **kwargs)
        if request.user.is_authenticated:
            forgive_attempt(throttle=LOGINS_FROM_ADDRESS, who=address)
            forget_attempts(throttle=LOGINS_OF_NAME, who=name)
        return response

    return throttled


def throttled_registration(view: View) -> View:
    """A view that makes accounts."""

    @wraps(view)
    def throttled(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method == "POST":
            try:
                count_attempt(throttle=REGISTRATIONS_FROM_ADDRESS, who=client_address(request))
            except TooManyAttempts as refusal:
                return _wait(request, refusal)
        return view(request, *args, **kwargs)

    return throttled


def client_address(request: HttpRequest) -> str:
    """Where a request comes from: the last address that a trusted proxy wrote, or else the peer itself."""
    heard = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
    if 0 < settings.TRUSTED_PROXIES <= len(heard):
        return heard[-settings.TRUSTED_PROXIES]
    return str(request.META.get("REMOTE_ADDR", ""))


def _wait(request: HttpRequest, refusal: TooManyAttempts) -> HttpResponseBase:
    seconds = max(1, round((refusal.until - timezone.now()).total_seconds()))
    response = render(request, "429.html", {"minutes": -(-seconds // 60)}, status=429)
    response["Retry-After"] = str(seconds)
    return response
