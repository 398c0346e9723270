"""Starting, pausing and closing campaigns."""

import logging

import pytest

from annotations.models import Campaign, Candidate, Slot
from annotations.services.campaigns import UnableToChangeCampaign, close_campaign, pause_campaign, start_campaign
from annotations.services.voting import claim_slots
from tests.annotations.factories import make_annotator, make_campaign, make_user

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("state", [Campaign.State.DRAFT, Campaign.State.PAUSED, Campaign.State.RUNNING])
def test_start_campaign_takes_votes(state: Campaign.State) -> None:
    campaign = make_campaign(state=state)

    assert start_campaign(campaign=campaign) is campaign
    assert Campaign.objects.get().state == "running"
    assert len(claim_slots(annotator=make_annotator(), campaign=campaign, count=1)) == 1


def test_start_campaign_says_who_did_it(caplog: pytest.LogCaptureFixture) -> None:
    campaign = make_campaign(slug="birds", state=Campaign.State.DRAFT)

    with caplog.at_level(logging.INFO, logger="annotations.services.campaigns"):
        start_campaign(campaign=campaign, by=make_user("ada"))

    assert caplog.messages == ["campaign birds: draft -> running by ada"]


def test_start_campaign_refuses_one_without_tasks() -> None:
    with pytest.raises(UnableToChangeCampaign, match=r"has no tasks\. Import or generate images for it first"):
        start_campaign(campaign=make_campaign(tasks=0, state=Campaign.State.DRAFT))


def test_start_campaign_refuses_tasks_with_one_image() -> None:
    campaign = make_campaign(tasks=2, state=Campaign.State.DRAFT)
    Candidate.objects.filter(position=1, task=campaign.tasks.first()).delete()

    with pytest.raises(UnableToChangeCampaign, match=r"1 task has fewer than 2 images\. Remove it"):
        start_campaign(campaign=campaign)


def test_start_campaign_refuses_one_with_nothing_left() -> None:
    campaign = make_campaign(state=Campaign.State.DRAFT)
    Slot.objects.all().delete()

    with pytest.raises(UnableToChangeCampaign, match="all the votes it wants"):
        start_campaign(campaign=campaign)


def test_start_campaign_refuses_a_closed_one() -> None:
    with pytest.raises(UnableToChangeCampaign, match="closed and stays so"):
        start_campaign(campaign=make_campaign(state=Campaign.State.CLOSED))


def test_pause_campaign_gives_out_no_more_work_but_takes_none_away() -> None:
    campaign = make_campaign()
    claim_slots(annotator=make_annotator(), campaign=campaign, count=2)

    pause_campaign(campaign=campaign)

    assert Campaign.objects.get().state == "paused"
    assert campaign.slots.filter(state="leased").count() == 2


def test_pause_campaign_refuses_one_that_does_not_run() -> None:
    with pytest.raises(UnableToChangeCampaign, match="Only a running campaign"):
        pause_campaign(campaign=make_campaign(state=Campaign.State.DRAFT))


def test_close_campaign_takes_claims_back() -> None:
    campaign = make_campaign()
    claim_slots(annotator=make_annotator(), campaign=campaign, count=2)

    close_campaign(campaign=campaign)

    assert Campaign.objects.get().state == "closed"
    assert campaign.slots.filter(state="open").count() == 3
