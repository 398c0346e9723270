"""What people agree to before they vote."""

import pytest

from annotations.models import Campaign, Participation, text_sha256
from annotations.queries.people import participation_in
from annotations.services.claims import ConsentNeeded, claim_slots
from annotations.services.consent import ConsentTextChanged, agree, decline
from annotations.services.recruiting import Arrival, enter
from tests.annotations.factories import make_annotator, make_campaign, make_recruitment

pytestmark = pytest.mark.django_db

TEXT = "We keep your choices."


def test_nobody_gets_work_before_they_agreed_to_the_text_as_it_stands() -> None:
    campaign, ada = make_campaign(consent=TEXT), make_annotator()
    with pytest.raises(ConsentNeeded, match="whether you agree"):
        claim_slots(annotator=ada, campaign=campaign, count=1)

    part = agree(annotator=ada, campaign=campaign, text_hash=text_sha256(TEXT))
    assert len(claim_slots(annotator=ada, campaign=campaign, count=1)) == 1

    assert (part.consent_hash, part.consented_at is not None) == (text_sha256(TEXT), True)
    campaign.consent = "We keep your choices and sell them."
    with pytest.raises(ConsentNeeded):
        claim_slots(annotator=ada, campaign=campaign, count=1)


def test_a_campaign_without_a_text_asks_for_nothing() -> None:
    assert len(claim_slots(annotator=make_annotator(), campaign=make_campaign(), count=1)) == 1


def test_agree_keeps_the_first_moment() -> None:
    campaign, ada = make_campaign(consent=TEXT), make_annotator()
    first = agree(annotator=ada, campaign=campaign, text_hash=text_sha256(TEXT))

    assert agree(annotator=ada, campaign=campaign, text_hash=text_sha256(TEXT)).consented_at == first.consented_at


def test_agree_refuses_a_text_that_is_no_longer_the_campaigns() -> None:
    campaign, ada = make_campaign(consent=TEXT), make_annotator()

    for stale in (text_sha256("Something milder."), ""):
        with pytest.raises(ConsentTextChanged):
            agree(annotator=ada, campaign=campaign, text_hash=stale)
    assert Participation.objects.count() == 0


def test_decline_takes_consent_back_and_the_place_of_who_was_recruited() -> None:
    campaign = make_campaign(consent=TEXT)
    part = enter(recruitment=make_recruitment(campaign), arrival=Arrival("5f3a", "s", "t"))
    agree(annotator=part.annotator, campaign=campaign, text_hash=text_sha256(TEXT))

    decline(annotator=part.annotator, campaign=campaign)

    part.refresh_from_db()
    assert (part.state, part.consent_hash, part.consented_at) == ("returned", "", None)


def test_decline_of_who_never_began_stores_nothing() -> None:
    campaign: Campaign = make_campaign(consent=TEXT)
    ada = make_annotator()

    decline(annotator=ada, campaign=campaign)

    assert participation_in(ada, campaign) is None
