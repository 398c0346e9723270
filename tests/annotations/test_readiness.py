"""What a campaign lacks before it can start, each thing with what to do about it."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db.models.functions import Now
from django.utils import timezone

from annotations.models import RESERVED_SLUGS, Campaign, Candidate, Image, Slot, Task
from annotations.queries.readiness import obstacles, readiness_of
from tests.annotations.factories import make_campaign, make_invite, make_task

pytestmark = pytest.mark.django_db


def draft(**fields: Any) -> Campaign:
    return make_campaign(state=Campaign.State.DRAFT, instructions="Look.", **fields)


def unmet(campaign: Campaign) -> dict[str, bool]:
    """What is not as it should be, and whether it is in the way."""
    return {check.name: check.is_needed for check in readiness_of(campaign) if not check.is_met}


def test_a_campaign_with_all_it_needs_is_ready() -> None:
    assert unmet(draft()) == {}


def test_what_is_in_the_way() -> None:
    empty, lonely, finished = draft(tasks=0), draft(), draft()
    Candidate.objects.filter(position=1, task__campaign=lonely).delete()
    Slot.objects.filter(campaign=finished).delete()
    closed = make_campaign(state=Campaign.State.CLOSED, instructions="Look.")

    assert [unmet(campaign) for campaign in (empty, lonely, finished, closed)] == [
        {"tasks": True},
        {"candidates": True},
        {"votes": True},
        {"open": True},
    ]


def test_a_running_campaign_with_all_its_votes_is_advised_and_not_faulted() -> None:
    campaign = make_campaign(instructions="Look.", state=Campaign.State.RUNNING)
    Slot.objects.filter(campaign=campaign).delete()

    assert unmet(campaign) == {"votes": False}


def test_large_numbers_can_be_read() -> None:
    campaign = draft()
    task = campaign.tasks.first()
    Slot.objects.bulk_create(
        Slot(campaign=campaign, task=task, number=number, sort_key=0) for number in range(10, 1200)
    )
    wanted = campaign.slots.count()

    assert f"1,{wanted - 1000:03} votes are wanted." in [check.text for check in readiness_of(campaign)]


def test_gold_and_practice_are_needed_where_the_settings_promise_them() -> None:
    campaign = draft(gold_share=0.1, practice_tasks=2)
    make_task(campaign=campaign, purpose=Task.Purpose.PRACTICE)

    assert unmet(campaign) == {"gold": True, "practice": True}

    make_task(campaign=campaign, purpose=Task.Purpose.PRACTICE)
    gold = make_task(campaign=campaign, purpose=Task.Purpose.GOLD)
    assert unmet(campaign) == {}

    Task.objects.filter(pk=gold.pk).update(retired_at=Now())
    assert unmet(campaign) == {"gold": True}


def test_images_that_are_not_read_yet_are_in_the_way() -> None:
    campaign = draft()
    row = campaign.manifest_rows.create(source="x", number=1, file="a.png")

    [check] = obstacles(readiness_of(campaign))
    assert check.advice == "1 image of the manifest is not read yet. Wait for the import, or start it again."
    row.problem = "file: it is no image"
    row.save()
    assert unmet(campaign) == {}


def test_hidden_images_are_in_the_way_only_where_nothing_else_is_left() -> None:
    campaign = draft(tasks=2)
    first, second = campaign.tasks.all()
    Image.objects.filter(tasks=first).update(is_hidden=True)

    assert unmet(campaign) == {"visible": False}
    Image.objects.filter(tasks=second).update(is_hidden=True)
    assert unmet(campaign) == {"visible": True}


def test_people_must_be_able_to_come_and_to_agree() -> None:
    campaign = make_campaign(state=Campaign.State.DRAFT, access="invited", asks_about_people=True)
    make_invite(campaign, expires_at=timezone.now() - timedelta(hours=1))

    assert unmet(campaign) == {"consent": True, "instructions": False, "invites": False}

    make_invite(campaign)
    Campaign.objects.update(consent="We keep your votes.", instructions="Look.")
    assert unmet(Campaign.objects.get()) == {}


@pytest.mark.parametrize("tasks", [1, 3])
def test_readiness_takes_the_same_statements_for_one_task_and_three(tasks: int, django_assert_num_queries: Any) -> None:
    campaign = draft(tasks=tasks)

    with django_assert_num_queries(7):
        readiness_of(campaign)


@pytest.mark.parametrize("slug", sorted(RESERVED_SLUGS))
def test_a_campaign_cannot_have_the_address_of_a_page(slug: str) -> None:
    with pytest.raises(ValidationError, match="is the address of a page"):
        Campaign(slug=slug, name="x").full_clean()
