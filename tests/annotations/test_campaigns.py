"""Starting, pausing and closing campaigns."""

import logging

import pytest
from django.db import connection

from annotations.models import Campaign, Candidate, Slot
from annotations.services.campaigns import (
    SETTINGS,
    SlugTaken,
    UnableToChangeCampaign,
    change_settings,
    clone_campaign,
    close_campaign,
    create_campaign,
    pause_campaign,
    start_campaign,
)
from annotations.services.instructions import Example
from annotations.services.voting import claim_slots
from tests.annotations.factories import make_annotator, make_campaign, make_image, make_user

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


def test_start_campaign_tells_the_planner_how_much_there_is_to_claim() -> None:
    campaign = make_campaign(tasks=3, state=Campaign.State.DRAFT)

    start_campaign(campaign=campaign)

    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples FROM pg_class WHERE relname = %s", [Slot._meta.db_table])
        assert cursor.fetchone() == (Slot.objects.count(),)


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


def test_create_campaign_makes_a_draft_with_its_first_instructions() -> None:
    example = Example(make_image(has_file=False), "A tail")

    campaign = create_campaign(
        slug="foxes", name="Foxes", settings={"question": "Which?", "candidates": 4}, examples=[example]
    )

    assert (campaign.state, campaign.candidates, campaign.instructions_version) == ("draft", 4, 1)
    [version] = campaign.instruction_texts.all()
    assert (version.number, version.question, version.examples.get().caption) == (1, "Which?", "A tail")


def test_create_campaign_refuses_a_taken_slug_and_unknown_settings() -> None:
    make_campaign(slug="foxes", tasks=0)

    with pytest.raises(SlugTaken, match="'foxes' already; choose another slug"):
        create_campaign(slug="foxes", name="Foxes", settings={})
    with pytest.raises(ValueError, match="no setting 'state'"):
        create_campaign(slug="owls", name="Owls", settings={"state": "running"})
    assert Campaign.objects.count() == 1


def test_clone_campaign_takes_every_setting_and_nothing_else() -> None:
    original = make_campaign(
        tasks=1,
        question="Which?",
        gold_share=0.1,
        votes_per_person=30,
        consent="We keep your votes.",
        access="invited",
        tie_after_ms=900,
        is_synthetic=True,
    )

    clone = clone_campaign(campaign=original, slug="again", name="Again", by=make_user("ada"))

    clone.refresh_from_db()
    assert {name: getattr(clone, name) for name in SETTINGS} == {name: getattr(original, name) for name in SETTINGS}
    own = {"id", "slug", "name", "state", "created_at", "created_by", "instructions_version"}
    assert {field.name for field in Campaign._meta.fields} == own | set(SETTINGS)
    assert (clone.state, clone.tasks.count(), clone.invites.count()) == ("draft", 0, 0)


def test_change_settings_leaves_the_facts_of_tasks_alone() -> None:
    campaign = make_campaign(tasks=1)

    with pytest.raises(UnableToChangeCampaign, match="has tasks, so candidates stays as it is"):
        change_settings(campaign=campaign, settings={"candidates": 4, "votes_per_task": 9})
    with pytest.raises(ValueError, match="'question' is not changed here"):
        change_settings(campaign=campaign, settings={"question": "Which?"})
    change_settings(campaign=campaign, settings={"candidates": 2, "votes_per_task": 9})

    campaign.refresh_from_db()
    assert (campaign.candidates, campaign.votes_per_task) == (2, 9)
