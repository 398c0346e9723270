"""The wording of a campaign: versions that are never edited, and what votes refer to."""

from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from annotations.models import Campaign, Instructions, Vote
from annotations.services.claims import claim_slots
from annotations.services.instructions import Example, InstructionsRejected, examples_of, revise_instructions
from annotations.services.voting import record_vote
from tests.annotations.factories import make_annotator, make_campaign, make_image, make_user
from tests.annotations.races import at_once

pytestmark = pytest.mark.django_db


def written(campaign: Campaign) -> list[tuple[int, str, str]]:
    return [(each.number, each.question, each.text) for each in campaign.instruction_texts.order_by("number")]


def test_a_change_is_the_next_version_and_the_wording_before_is_kept() -> None:
    campaign = make_campaign(question="Which?", instructions="Look.")

    version = revise_instructions(campaign=campaign, question=" Which one? ", text="Look\r\nwell.", by=make_user("ada"))

    assert (version.number, version.created_by and version.created_by.username) == (2, "ada")
    assert written(campaign) == [(1, "Which?", "Look."), (2, "Which one?", "Look\nwell.")]
    campaign = Campaign.objects.get()
    assert (campaign.question, campaign.instructions, campaign.instructions_version) == ("Which one?", "Look\nwell.", 2)
    assert campaign.current_instructions == version


def test_the_same_wording_again_is_no_new_version() -> None:
    campaign = make_campaign(question="Which?", instructions="Look.")

    for _ in range(2):
        version = revise_instructions(campaign=campaign, question="Which?", text="Look.")

    assert version.number == 1
    assert written(campaign) == [(1, "Which?", "Look.")]


def test_examples_belong_to_a_version_and_stay_unless_others_are_given() -> None:
    campaign = make_campaign(question="Which?")
    tail, tails = make_image(has_file=False), make_image(has_file=False)
    shown = [Example(tail, "One tail"), Example(tails, "Two tails", is_good=False)]

    second = revise_instructions(campaign=campaign, question="Which?", examples=shown)
    third = revise_instructions(campaign=campaign, question="Which fox?")
    fourth = revise_instructions(campaign=campaign, question="Which fox?", examples=shown[:1])

    assert [each.number for each in (second, third, fourth)] == [2, 3, 4]
    assert [examples_of(each) for each in (second, third, fourth)] == [shown, shown, shown[:1]]


def test_votes_carry_the_version_under_which_they_were_given() -> None:
    campaign = make_campaign(tasks=2, question="Which?")
    person = make_annotator()
    for text in ("", "Look well."):
        revise_instructions(campaign=campaign, question="Which?", text=text)
        [slot] = claim_slots(annotator=person, campaign=Campaign.objects.get(), count=1)
        assert slot.token is not None
        record_vote(annotator=person, token=slot.token, outcome="tie", idempotency_key=uuid4())

    assert list(Vote.objects.order_by("pk").values_list("instructions_version", flat=True)) == [1, 2]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"question": " "}, "one line of at most 200"),
        ({"question": "x" * 201}, "one line of at most 200"),
        ({"examples": 7}, "At most 6 examples"),
        ({"caption": " "}, "Example 1 needs a caption"),
        ({"is_hidden": True}, "The image of example 1 is hidden"),
    ],
)
def test_what_is_no_wording_is_refused(changes: dict[str, Any], words: str) -> None:
    campaign = make_campaign(question="Which?")
    image = make_image(has_file=False, is_hidden=changes.get("is_hidden", False))
    examples = [Example(image, changes.get("caption", "A tail"))] * changes.get("examples", 1)

    with pytest.raises(InstructionsRejected, match=words):
        revise_instructions(campaign=campaign, question=changes.get("question", "Which one?"), examples=examples)
    campaign.refresh_from_db()
    assert (campaign.question, campaign.instructions_version) == ("Which?", 1)


@pytest.mark.django_db(transaction=True)
def test_revisions_at_the_same_moment_are_versions_one_after_the_other() -> None:
    campaign = make_campaign(question="Which?")

    at_once(
        [
            partial(revise_instructions, campaign=Campaign.objects.get(pk=campaign.pk), question=f"Which {number}?")
            for number in range(6)
        ]
    )

    assert list(Instructions.objects.order_by("number").values_list("number", flat=True)) == [1, 2, 3, 4, 5, 6, 7]
    newest = Instructions.objects.get(number=7)
    assert Campaign.objects.get().question == newest.question


def test_annotators_see_the_wording_with_its_examples_as_text(client: Client) -> None:
    campaign = make_campaign(question="Which?")
    image = make_image(has_file=False)
    revise_instructions(
        campaign=campaign, question="Which?", text="<b>Look</b>\nwell.", examples=[Example(image, "One <i>tail</i>")]
    )
    client.force_login(make_user())

    page = client.get(reverse("annotations:campaign", args=[campaign.slug])).content.decode()

    assert "&lt;b&gt;Look&lt;/b&gt;<br>well." in page
    assert "One &lt;i&gt;tail&lt;/i&gt;" in page
    assert image.get_absolute_url() in page
