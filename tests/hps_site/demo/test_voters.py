"""Simulated annotators vote through the services of the site."""

from collections import Counter

import pytest

from annotations.models import Annotator, Slot, Vote
from hps_site.demo import voters, world
from hps_site.demo.pictures import pixels_of
from hps_site.demo.simulator import SimulatedAnnotator
from hps_site.demo.truth import utility

pytestmark = pytest.mark.django_db


def test_vote_until_done_fills_every_slot_once():
    campaign = world.draw_campaign(prompts=3)
    people = [SimulatedAnnotator(name=name, seed=seed) for seed, name in enumerate("ABCDE")]

    votes = voters.vote_until_done(campaign=campaign, panel=people)

    assert votes == Vote.objects.count() == 3 * world.VOTES_PER_TASK
    assert set(campaign.slots.values_list("state", flat=True)) == {Slot.State.DONE}
    assert max(Counter(Vote.objects.values_list("task", "annotator")).values()) == 1
    assert set(Annotator.objects.values_list("source", "is_synthetic")) == {("simulated", True)}


def test_vote_until_done_ends_when_nobody_is_left_to_ask():
    campaign = world.draw_campaign(prompts=2)

    assert voters.vote_until_done(campaign=campaign, panel=[SimulatedAnnotator(name="A")]) == 2
    assert campaign.slots.filter(state=Slot.State.OPEN).count() == 2 * (world.VOTES_PER_TASK - 1)


def test_a_person_of_great_skill_chooses_the_drawing_of_highest_true_quality():
    campaign = world.draw_campaign(prompts=6)
    voters.vote_until_done(campaign=campaign, panel=[SimulatedAnnotator(name="A", skill=1000.0)])

    for vote in Vote.objects.select_related("task__prompt", "image"):
        best = max(vote.task.images.all(), key=lambda image: utility(pixels_of(image), vote.task.prompt.text))
        assert vote.image == best


def test_answers_that_name_no_image_are_recorded_as_such():
    campaign = world.draw_campaign(prompts=2)
    voters.vote_until_done(campaign=campaign, panel=[SimulatedAnnotator(name="A", all_bad_below=1000.0)])

    assert set(Vote.objects.values_list("outcome", "image")) == {("all_bad", None)}


@pytest.mark.django_db(transaction=True)
def test_people_who_vote_at_the_same_moment_fill_every_slot_once():
    campaign = world.draw_campaign(prompts=4)
    people = [SimulatedAnnotator(name=name, seed=seed) for seed, name in enumerate("ABCDEF")]

    votes = voters.vote_until_done(campaign=campaign, panel=people, at_once=3)

    assert votes == Vote.objects.count() == 4 * world.VOTES_PER_TASK
    assert max(Counter(Vote.objects.values_list("task", "annotator")).values()) == 1
