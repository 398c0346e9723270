"""Registration and invite links."""

from datetime import timedelta
from functools import partial

import pytest
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from annotations.models import Annotator, Campaign, Invite
from annotations.services.people import (
    CampaignOver,
    InviteExpired,
    InviteFull,
    InviteSwitchedOff,
    annotator_for,
    check_invite,
    redeem_invite,
    register_annotator,
)
from tests.annotations.factories import make_annotator, make_campaign, make_invite, make_user
from tests.annotations.races import at_once

pytestmark = pytest.mark.django_db


def test_register_annotator_makes_one_profile_for_a_user() -> None:
    ada = make_user("ada")

    first = register_annotator(user=ada)

    assert (first.user, first.source, first.state) == (ada, "registered", "active")
    assert register_annotator(user=ada) == first


def test_register_annotator_makes_one_profile_for_an_external_id() -> None:
    first = register_annotator(user=None, source=Annotator.Source.IMPORTED, external_id="discord:7", is_synthetic=True)

    assert (first.user, first.source, first.external_id, first.is_synthetic) == (None, "imported", "discord:7", True)
    assert register_annotator(user=None, source=Annotator.Source.IMPORTED, external_id="discord:7") == first
    assert register_annotator(user=None, source=Annotator.Source.SIMULATED) != first


def test_annotator_for_gives_the_profile_that_is_there() -> None:
    ada = make_annotator("ada", source=Annotator.Source.INVITED)

    assert annotator_for(ada.user) == ada
    assert annotator_for(make_user("ben")).source == "registered"


def test_annotator_for_refuses_visitors() -> None:
    with pytest.raises(TypeError, match="logged in"):
        annotator_for(AnonymousUser())


def test_redeem_invite_makes_a_guest_who_cannot_log_in_by_password() -> None:
    invite = make_invite(make_campaign())

    guest = redeem_invite(invite=invite)

    assert (guest.source, guest.invite) == ("invited", invite)
    assert guest.user.username.startswith("guest-")
    assert not guest.user.has_usable_password()
    assert Invite.objects.get().uses == 1


def test_redeem_invite_lets_somebody_with_an_account_in_and_counts_them_once() -> None:
    invite, ada = make_invite(make_campaign()), make_user("ada")

    first = redeem_invite(invite=invite, user=ada)
    again = redeem_invite(invite=invite, user=ada)

    assert first == again
    assert (first.user, first.source, first.invite) == (ada, "registered", invite)
    assert Invite.objects.get().uses == 1


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"is_active": False}, InviteSwitchedOff),
        ({"expires_at": timezone.now() - timedelta(minutes=1)}, InviteExpired),
        ({"max_uses": 2, "uses": 2}, InviteFull),
    ],
)
def test_redeem_invite_refuses_links_that_let_nobody_in(fields: dict[str, object], error: type[Exception]) -> None:
    invite = make_invite(make_campaign(), **fields)

    with pytest.raises(error, match="Please ask"):
        redeem_invite(invite=invite)
    with pytest.raises(error):
        check_invite(invite)
    assert Annotator.objects.count() == 0


def test_redeem_invite_refuses_when_the_campaign_is_over() -> None:
    invite = make_invite(make_campaign(state=Campaign.State.CLOSED))

    with pytest.raises(CampaignOver):
        redeem_invite(invite=invite)


def test_check_invite_lets_a_good_link_pass() -> None:
    assert check_invite(make_invite(make_campaign(), max_uses=1, expires_at=timezone.now() + timedelta(days=1))) is None


@pytest.mark.django_db(transaction=True)
def test_redeem_invite_race_lets_no_more_in_than_there_are_places() -> None:
    invite = make_invite(make_campaign(), max_uses=5)

    results = at_once([partial(redeem_invite, invite=invite)] * 20)

    assert sum(isinstance(result, Annotator) for result in results) == 5
    assert sum(isinstance(result, InviteFull) for result in results) == 15
    assert (Invite.objects.get().uses, Annotator.objects.count()) == (5, 5)


@pytest.mark.django_db(transaction=True)
def test_annotator_for_race_makes_one_profile() -> None:
    ada = make_user("ada")

    results = at_once([partial(annotator_for, ada)] * 20)

    assert {*results} == {Annotator.objects.get()}
