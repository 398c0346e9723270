"""The toy campaign: drawn once, found again."""

import pytest

from annotations.models import Campaign, Image, Slot, Task
from hps_site.demo import world
from hps_site.demo.scenes import Scene

pytestmark = pytest.mark.django_db


def test_draw_campaign_asks_about_one_drawing_of_each_painter_per_prompt():
    campaign = world.draw_campaign(prompts=3)

    assert campaign.is_running
    assert campaign.is_synthetic
    captions = sorted(scene.caption for scene in world.chosen_scenes(3))
    tasks = Task.objects.filter(campaign=campaign).select_related("prompt")
    assert sorted(task.prompt.text for task in tasks) == captions
    for task in tasks:
        assert sorted(image.generator.name for image in task.images.all()) == sorted(world.PAINTERS)
        assert {image.prompt_id for image in task.images.all()} == {task.prompt_id}
    assert Slot.objects.count() == 3 * world.VOTES_PER_TASK


def test_draw_campaign_again_changes_nothing():
    first = world.draw_campaign(prompts=3)
    before = set(Image.objects.values_list("pk", "sha256"))

    assert world.draw_campaign(prompts=3) == first
    assert set(Image.objects.values_list("pk", "sha256")) == before
    assert Campaign.objects.count() == 1


def test_draw_campaign_goes_on_where_an_earlier_one_was_ended():
    world.draw_campaign(prompts=2)

    campaign = world.draw_campaign(prompts=4)

    assert campaign.tasks.count() == 4
    assert Image.objects.count() == 4 * len(world.PAINTERS)


def test_chosen_scenes_are_all_different_and_the_same_every_time():
    scenes = world.chosen_scenes()

    assert len(set(scenes)) == world.PROMPTS
    assert scenes == world.chosen_scenes()
    assert scenes[:5] == world.chosen_scenes(5)
    assert all(isinstance(scene, Scene) for scene in scenes)


def test_open_visitors_campaigns_leaves_places_for_people_once():
    world.draw_campaign(prompts=3)

    four, pairs = world.open_visitors_campaigns(prompts=2)

    assert [four.candidates, pairs.candidates] == [4, 2]
    for campaign in (four, pairs):
        campaign.refresh_from_db()
        assert campaign.is_running
        assert campaign.is_synthetic
        assert campaign.slots.filter(state=Slot.State.OPEN).count() == 2 * world.VISITORS
        assert {task.images.count() for task in campaign.tasks.all()} == {campaign.candidates}
        assert campaign.invites.count() == 1
    assert world.open_visitors_campaigns(prompts=2) == [four, pairs]
    assert Slot.objects.count() == 3 * world.VOTES_PER_TASK + 2 * 2 * world.VISITORS
