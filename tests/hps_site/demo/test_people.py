"""The demo's logins."""

import stat

import pytest
from django.contrib.auth import authenticate, get_user_model

from hps_site.demo.people import logins_path, open_logins

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def home(settings):
    settings.HPS_SITE_HOME.mkdir(parents=True, exist_ok=True)


def test_open_logins_makes_an_admin_and_an_annotator_who_can_log_in():
    logins = open_logins()

    assert {name: authenticate(username=name, password=word) is not None for name, word in logins.items()} == {
        "admin": True,
        "annotator": True,
    }
    users = get_user_model().objects
    assert list(users.order_by("username").values_list("username", "is_staff")) == [
        ("admin", True),
        ("annotator", False),
    ]
    assert users.get(username="annotator").annotator.is_synthetic is False


def test_open_logins_again_keeps_the_passwords():
    assert open_logins() == open_logins()


def test_open_logins_makes_a_missing_user_anew():
    open_logins()
    get_user_model().objects.get(username="admin").delete()

    logins = open_logins()

    assert authenticate(username="admin", password=logins["admin"]) is not None


def test_the_passwords_are_for_their_owner_alone():
    open_logins()

    assert stat.S_IMODE(logins_path().stat().st_mode) == 0o600
