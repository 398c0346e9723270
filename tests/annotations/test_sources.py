"""Sets of images from the library: every generator meets every other, the same images give the same sets."""

from collections import Counter
from itertools import combinations
from typing import Any

import pytest

from annotations.models import Campaign, Image, Prompt, Task
from annotations.services import sources
from annotations.services.instructions import store_example_image
from annotations.services.sources import (
    Dealt,
    Found,
    Pairing,
    Selection,
    UnableToDeal,
    deal_as_in,
    deal_from_library,
    found_by,
    prompt_tags,
    sets_of_prompt,
)
from tests.annotations.factories import (
    make_campaign,
    make_generator,
    make_image,
    make_prompt,
    make_task,
    picture_bytes,
)

pytestmark = pytest.mark.django_db


def silent(_stage: str, _done: int, _total: int) -> None:
    pass


def draft(**fields: Any) -> Campaign:
    return make_campaign(tasks=0, state=Campaign.State.DRAFT, **fields)


def library(makers: str, *, prompts: int = 1, seeds: int = 1, **fields: Any) -> list[Prompt]:
    """For each prompt an image of each maker (a letter) and seed."""
    generators = [make_generator(name) for name in makers]
    made = [make_prompt(**fields) for _ in range(prompts)]
    for prompt in made:
        for generator in generators:
            for seed in range(seeds):
                make_image(prompt=prompt, generator=generator, seed=seed, has_file=False)
    return made


def dealt(campaign: Campaign, **selection: Any) -> Dealt:
    return deal_from_library(campaign=campaign, selection=Selection(**selection), progress=silent)


def names_of(task: Task) -> str:
    return "".join(sorted(image.generator.name for image in task.images.select_related("generator") if image.generator))


def test_matchups_take_the_prompts_for_which_every_generator_has_an_image() -> None:
    library("ab", prompts=2)
    lonely = make_prompt()
    make_image(prompt=lonely, generator=Image.objects.filter(generator__name="a")[0].generator, has_file=False)
    selection = Selection(generators=("a", "b"), needs_all=True)

    assert found_by(selection) == Found(prompts=2, images=4)
    campaign = draft(votes_per_task=2)
    assert dealt(campaign, generators=("a", "b"), needs_all=True) == Dealt(tasks=2, prompts=2)
    assert [names_of(task) for task in campaign.tasks.all()] == ["ab", "ab"]
    assert campaign.slots.count() == 4


def test_rounds_show_each_image_once_and_let_every_generator_meet_every_other() -> None:
    library("abcd", prompts=40)
    campaign = draft()

    assert dealt(campaign, generators=tuple("abcd")).tasks == 80

    met = Counter(names_of(task) for task in campaign.tasks.all())
    assert set(met) == {"".join(pair) for pair in combinations("abcd", 2)}
    assert min(met.values()) >= 5
    assert Image.objects.filter(tasks__campaign=campaign).distinct().count() == 160


def test_every_makes_all_pairs_on_every_prompt() -> None:
    library("abcd", prompts=2)
    campaign = draft()

    dealt(campaign, pairing=Pairing.EVERY)

    met = Counter(names_of(task) for task in campaign.tasks.all())
    assert met == dict.fromkeys(("".join(pair) for pair in combinations("abcd", 2)), 2)


def test_as_many_generators_as_images_make_one_set_per_seed() -> None:
    [prompt] = library("abc", seeds=3)
    images = list(prompt.images.all())

    sets = sets_of_prompt(images, prompt=prompt, size=3, per_generator=2)

    assert [sorted({image.seed for image in each.images}) for each in sets] == [[0], [1]]
    assert all(len({image.generator_id for image in each.images}) == 3 for each in sets)


def test_images_of_one_generator_are_dealt_in_their_order() -> None:
    [prompt] = library("a", seeds=5)
    images = list(prompt.images.order_by("pk"))

    assert [each.images for each in sets_of_prompt(images, prompt=prompt, size=2)] == [images[:2], images[2:4]]


def test_dealt_again_adds_only_what_is_new() -> None:
    library("abc", prompts=3)
    campaign = draft()
    first = dealt(campaign)
    before = set(campaign.tasks.values_list("pk", flat=True))

    assert dealt(campaign) == first
    assert set(campaign.tasks.values_list("pk", flat=True)) == before


def test_pictures_in_instructions_are_never_asked_about() -> None:
    library("a")
    store_example_image(content=picture_bytes())

    assert found_by(Selection()) == Found(prompts=1, images=1)


def test_a_selection_narrows_by_tag_and_campaign_and_never_shows_what_is_hidden_or_spoilt() -> None:
    [wanted] = library("ab", tags=["animal"])
    [other] = library("cd")
    hidden = make_image(prompt=wanted, has_file=False, is_hidden=True)
    spoilt = make_image(prompt=wanted, has_file=False, corrupted_from=hidden)
    shown = make_campaign(tasks=0)
    make_task(campaign=shown, prompt=other, images=list(other.images.all()))

    assert found_by(Selection(tag="animal")) == Found(1, 2)
    assert found_by(Selection(campaign=shown.slug)) == Found(1, 2)
    assert found_by(Selection()) == Found(2, 4)
    assert {hidden, spoilt} <= set(wanted.images.all())


def test_prompt_tags_are_those_that_prompts_have() -> None:
    for tags in (["b", "a"], ["b"], []):
        make_prompt(tags=tags)

    assert prompt_tags() == ["a", "b"]


def test_synthetic_images_make_the_campaign_synthetic() -> None:
    library("ab")
    make_image(prompt=Prompt.objects.get(), generator=make_generator("toy", is_synthetic=True), has_file=False)
    campaign = draft()

    dealt(campaign, pairing=Pairing.EVERY)

    campaign.refresh_from_db()
    assert campaign.is_synthetic


def test_dealing_many_prompts_goes_by_batches_and_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "PROMPTS_AT_ONCE", 2)
    library("ab", prompts=5)
    campaign, told = draft(), []

    def stop(stage: str, done: int, total: int) -> None:
        told.append((stage, done, total))
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deal_from_library(campaign=campaign, selection=Selection(), progress=stop)
    assert told == [("making tasks", 2, 5), ("making tasks", 4, 5)]
    assert dealt(campaign).tasks == campaign.tasks.count() == 5


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        ({"generators": ("a",), "needs_all": True}, "at least two generators"),
        ({"pairing": "best"}, "must be one of rounds, every"),
        ({"images_per_generator": 0}, "At least one image"),
        ({"generators": ("a", "nobody")}, "no generator 'nobody'"),
        ({"tag": "nothing"}, "0 prompts were found"),
    ],
)
def test_what_cannot_be_dealt_is_refused(selection: dict[str, Any], words: str) -> None:
    library("ab")

    with pytest.raises(UnableToDeal, match=words):
        dealt(draft(), **selection)
    assert not Task.objects.exists()


def test_tasks_of_another_campaign_are_copied_with_what_is_expected_of_them() -> None:
    original = make_campaign(tasks=2)
    gold = make_task(campaign=original, purpose=Task.Purpose.GOLD)
    make_task(campaign=original, purpose=Task.Purpose.PROBE)
    campaign = draft(votes_per_task=3)

    assert deal_as_in(campaign=campaign, original=original, progress=silent).tasks == 4

    kinds = Counter(campaign.tasks.values_list("purpose", flat=True))
    assert kinds == {"regular": 3, "gold": 1}
    assert campaign.tasks.get(purpose="gold").expected == gold.expected
    assert campaign.slots.count() == 9
