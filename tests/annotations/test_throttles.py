"""How often one may try."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from django.utils import timezone

from annotations.models import Attempts
from annotations.services.throttles import (
    Throttle,
    TooManyAttempts,
    count_attempt,
    forget_attempts,
    forget_old_attempts,
    forgive_attempt,
)
from annotations.views import throttling
from annotations.views.throttling import client_address
from tests.annotations.races import at_once

pytestmark = pytest.mark.django_db

THREE_A_MINUTE = Throttle("test", limit=3, seconds=60)
tries: Callable[..., None] = partial(count_attempt, throttle=THREE_A_MINUTE)


def wrong_login(name: str = "ada", *, path: str = "/accounts/login/", **headers: str) -> int:
    form = {"username": name, "password": "wrong"}
    return Client().post(path, form, headers=headers).status_code


def test_count_attempt_lets_as_many_pass_as_the_limit() -> None:
    for _try in range(3):
        tries(who="ada")
    with pytest.raises(TooManyAttempts) as refusal:
        tries(who="ada")
    tries(who="ben")

    assert 50 < (refusal.value.until - timezone.now()).total_seconds() <= 60


def test_count_attempt_begins_anew_when_the_time_is_over() -> None:
    for _try in range(3):
        tries(who="ada")
    Attempts.objects.update(until=timezone.now() - timedelta(seconds=1))

    tries(who="ada")

    assert Attempts.objects.get().count == 1


def test_attempts_can_be_forgiven_and_forgotten() -> None:
    for _try in range(3):
        tries(who="ada")
    forgive_attempt(throttle=THREE_A_MINUTE, who="ada")
    tries(who="ada")
    with pytest.raises(TooManyAttempts):
        tries(who="ada")

    forget_attempts(throttle=THREE_A_MINUTE, who="ada")
    assert Attempts.objects.count() == 0


def test_attempts_do_not_tell_whose_they_are() -> None:
    tries(who="ada")

    assert "ada" not in str(Attempts.objects.values().get())


def test_forget_old_attempts_leaves_those_that_count() -> None:
    tries(who="ada")
    tries(who="ben")
    Attempts.objects.filter(key=THREE_A_MINUTE.key_of("ada")).update(until=timezone.now())

    assert forget_old_attempts() == 1
    assert Attempts.objects.get().key == THREE_A_MINUTE.key_of("ben")


@pytest.mark.django_db(transaction=True)
def test_tries_at_the_same_moment_are_all_counted() -> None:
    results = at_once([partial(tries, who="ada")] * 30)

    assert sum(result is None for result in results) == 3
    assert sum(isinstance(result, TooManyAttempts) for result in results) == 27


# Logging in and registering


@pytest.mark.parametrize("path", ["/accounts/login/", "/admin/login/"])
def test_the_password_of_one_person_is_guessed_at_ten_times_at_most_from_anywhere(path: str) -> None:
    User.objects.create_user("ada", password="tall-ships-9", is_staff=True)

    statuses = [
        wrong_login("ADA"[: n % 3] + "ada"[n % 3 :], path=path, X_Forwarded_For=f"10.0.0.{n}") for n in range(12)
    ]

    assert statuses == [200] * 10 + [429] * 2
    right = Client().post(path, {"username": "ada", "password": "tall-ships-9"})
    assert right.status_code == 429
    assert 0 < int(right["Retry-After"]) <= 900
    assert "Please wait" in right.content.decode()


def test_many_names_are_guessed_at_from_one_address_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttling, "LOGINS_FROM_ADDRESS", Throttle("login-address", limit=5, seconds=60))

    statuses = [wrong_login(f"person{n}") for n in range(7)]

    assert statuses == [200] * 5 + [429] * 2


def test_who_logs_in_is_not_counted() -> None:
    User.objects.create_user("ada", password="tall-ships-9")
    for _try in range(9):
        wrong_login()

    Client().post("/accounts/login/", {"username": "ada", "password": "tall-ships-9"})

    assert [wrong_login() for _try in range(10)] == [200] * 10


@pytest.mark.django_db(transaction=True)
def test_guesses_at_the_same_moment_are_not_more_than_ten() -> None:
    statuses = at_once([wrong_login] * 30)

    assert sorted(statuses) == [200] * 10 + [429] * 20


def test_accounts_are_registered_from_one_address_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttling, "REGISTRATIONS_FROM_ADDRESS", Throttle("register-address", limit=2, seconds=60))
    form = {"password1": "tall-ships-9", "password2": "tall-ships-9"}

    statuses = [Client().post("/accounts/register/", {**form, "username": f"p{n}"}).status_code for n in range(3)]

    assert statuses == [302, 302, 429]
    assert User.objects.count() == 2
    assert Client().get("/accounts/register/").status_code == 200


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "6.6.6.6", "127.0.0.1"),
        (1, "6.6.6.6, 10.0.0.7", "10.0.0.7"),
        (2, "6.6.6.6, 10.0.0.7, 10.0.0.8", "10.0.0.7"),
        (2, "10.0.0.8", "127.0.0.1"),
        (1, "", "127.0.0.1"),
    ],
)
def test_client_address_believes_trusted_proxies_only(
    settings: LazySettings, proxies: int, forwarded: str, address: str
) -> None:
    settings.TRUSTED_PROXIES = proxies

    assert client_address(RequestFactory().get("/", headers={"X-Forwarded-For": forwarded})) == address
