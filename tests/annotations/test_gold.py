"""Tasks with a known answer: from corrupted copies, from wrong prompts, from people of one mind, by hand."""

import io

import numpy as np
import PIL.Image
import pytest

from annotations.models import Campaign, Image, Outcome, Slot, Task
from annotations.services import gold
from annotations.services.corruptions import CORRUPT, LEAST_DIFFERENCE, Corruption
from annotations.services.gold import UnableToMakeGold, make_gold, make_gold_of, promote_to_gold, retire_gold
from annotations.services.tasks import CandidateSet, UnableToCreateTasks, create_tasks
from tests.annotations.factories import (
    make_annotators,
    make_campaign,
    make_generator,
    make_image,
    make_prompt,
    make_task,
    picture_bytes,
)
from tests.hps_site.dashboard.worlds import cast

pytestmark = pytest.mark.django_db

Purpose = Task.Purpose


def gradient() -> bytes:
    """A picture with something in it, so that every corruption shows."""
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    PIL.Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def campaign_of(*texts: str, images: int = 2, **fields) -> Campaign:
    """A campaign with a task for each prompt, its images by as many generators."""
    campaign = make_campaign(tasks=0, images=images, **fields)
    generators = [make_generator() for _ in range(images)]
    for text in texts:
        prompt = make_prompt(text)
        made = [make_image(prompt=prompt, generator=of, content=picture_bytes(size=(64, 48))) for of in generators]
        make_task(campaign=campaign, images=made, prompt=prompt)
    return campaign


def pixels(image: Image) -> np.ndarray:
    with image.file.open() as file:
        return np.asarray(PIL.Image.open(io.BytesIO(file.read())).convert("RGB")).astype(float)


@pytest.mark.parametrize("kind", Corruption)
@pytest.mark.parametrize("size", [(32, 32), (48, 64), (513, 300)])
def test_corruption_keeps_the_size_and_is_plain_to_see(kind, size):
    rows, columns = np.mgrid[: size[0], : size[1]]
    stripes = ((rows // 6 + columns // 6) % 2 * 200 + 20).astype(np.uint8)
    original = np.stack([stripes, 255 - stripes, stripes // 2], axis=-1)

    worse = CORRUPT[kind](original, np.random.default_rng(0))

    assert (worse.shape, worse.dtype) == (original.shape, np.uint8)
    assert np.sqrt(np.mean((worse.astype(float) - original) ** 2)) > LEAST_DIFFERENCE


def test_gold_of_corrupted_copies():
    campaign = campaign_of("a red ship", "a green tree", "a blue house", images=3)

    made = make_gold(campaign=campaign, count=2, wrong_prompts=0, seed=1)

    assert (len(made.tasks), made.known) == (2, 0)
    for task in made.tasks:
        expected, *copies = task.images.order_by("candidacies__position")
        assert (task.purpose, task.expected, task.slots.count()) == ("gold", expected, 0)
        assert [copy.corrupted_from for copy in copies] == [expected] * 2
        assert {copy.generator for copy in copies} == {None}
        assert {(copy.prompt, copy.format, copy.width, copy.height) for copy in copies} == {
            (expected.prompt, expected.format, expected.width, expected.height)
        }
        assert len({copy.settings["corruption"] for copy in copies}) == 2
        for copy in copies:
            assert np.sqrt(np.mean((pixels(copy) - pixels(expected)) ** 2)) > LEAST_DIFFERENCE


def test_gold_of_wrong_prompts_takes_the_prompts_that_are_least_alike():
    campaign = campaign_of("a red ship at sea", "a red ship in a harbour", "two green trees")

    made = make_gold(campaign=campaign, count=3, wrong_prompts=1, seed=1)

    pairs = [task for task in made.tasks if not task.images.filter(corrupted_from__isnull=False).exists()]
    beside = {(task.prompt.text, task.images.exclude(pk=task.expected_id).get().prompt.text) for task in pairs}
    assert len(pairs) == 2
    assert all("two green trees" in texts for texts in beside)
    for task in pairs:
        assert {image.generator_id for image in task.images.all()} == {task.expected.generator_id}


def test_gold_keeps_the_image_that_most_people_chose():
    campaign = campaign_of("a red ship", "a green tree")
    for task in campaign.tasks.all():
        for person in make_annotators(3):
            cast(task, person, 1)

    made = make_gold(campaign=campaign, count=2, seed=1)

    winners = {task.candidates.get(position=1).image for task in campaign.tasks.filter(purpose="regular")}
    assert {task.expected for task in made.tasks} == winners


def test_gold_made_again_with_the_same_seed_is_known():
    campaign = campaign_of("a red ship", "a green tree")
    make_gold(campaign=campaign, count=2, wrong_prompts=1, seed=1)

    again = make_gold(campaign=campaign, count=2, wrong_prompts=1, seed=1)

    assert (again.tasks, again.known) == ([], 2)


def test_practice_is_made_likewise():
    campaign = campaign_of("a red ship", "a green tree")

    (task,) = make_gold(campaign=campaign, count=1, purpose=Purpose.PRACTICE).tasks

    assert task.purpose == "practice"


def test_gold_needs_tasks_to_be_made_from():
    with pytest.raises(UnableToMakeGold, match="no regular tasks"):
        make_gold(campaign=make_campaign(tasks=0))


def test_gold_needs_an_image_that_can_be_made_worse(monkeypatch):
    campaign = campaign_of("a red ship", images=2)
    monkeypatch.setattr(gold, "corrupted_copies", lambda **_wanted: [])

    with pytest.raises(UnableToMakeGold, match="plainly worse"):
        make_gold(campaign=campaign)


@pytest.mark.parametrize(("purpose", "count"), [(Purpose.REGULAR, 1), (Purpose.PROBE, 1), (Purpose.GOLD, 0)])
def test_gold_refuses_what_makes_no_sense(purpose, count):
    with pytest.raises(ValueError, match=r"known answer|at least one"):
        make_gold(campaign=make_campaign(), purpose=purpose, count=count)


def test_gold_from_people_of_one_mind():
    campaign = make_campaign(tasks=0)
    unanimous, split, tied, unfinished, few = [make_task(campaign=campaign, votes=0) for _ in range(5)]
    people = make_annotators(5)
    for at, person in enumerate(people):
        cast(unanimous, person, 1)
        cast(split, person, int(at == 0))
        cast(tied, person, 0 if at else Outcome.TIE)
        cast(unfinished, person, 0)
    cast(few, people[0], 0)
    Slot.objects.create(campaign=campaign, task=unfinished, number=9, sort_key=1)

    (task,) = promote_to_gold(campaign=campaign, least_people=5).tasks

    assert task.candidates_hash == unanimous.candidates_hash
    assert (task.purpose, task.expected) == ("gold", unanimous.candidates.get(position=1).image)


def test_gold_from_people_of_one_mind_needs_such_people():
    with pytest.raises(UnableToMakeGold, match="5 people or more"):
        promote_to_gold(campaign=make_campaign())
    with pytest.raises(ValueError, match="at least 3 people"):
        promote_to_gold(campaign=make_campaign(), least_people=2)


def test_gold_by_hand():
    campaign = make_campaign(tasks=1)
    task = campaign.tasks.get()
    obvious = task.candidates.get(position=1).image

    made = make_gold_of(task=task, expected=obvious)

    assert (made.purpose, made.expected, made.candidates_hash) == ("gold", obvious, task.candidates_hash)
    with pytest.raises(UnableToMakeGold, match="one of the task's images"):
        make_gold_of(task=task, expected=make_image())


def test_only_gold_may_be_retired():
    campaign = make_campaign(tasks=1)
    made = make_task(campaign=campaign, purpose=Purpose.GOLD, votes=0)

    assert retire_gold(task=made).retired_at is not None
    assert gold.restore_gold(task=made).retired_at is None
    assert retire_gold(task=campaign.tasks.get(purpose="regular")).retired_at is None


def test_corrupted_copies_make_no_regular_task():
    campaign = campaign_of("a red ship")
    (task,) = make_gold(campaign=campaign, count=1, wrong_prompts=0).tasks
    images = list(task.images.all())

    with pytest.raises(UnableToCreateTasks, match="corrupted copy, which only gold tasks may show"):
        create_tasks(campaign=campaign, sets=[CandidateSet(prompt=task.prompt, images=images)])


def test_gold_of_another_prompt_passes_where_the_answer_is_known_and_nowhere_else():
    campaign = make_campaign(tasks=0)
    one, other = make_image(), make_image()
    sets = [CandidateSet(prompt=one.prompt, images=[one, other], expected=one)]

    (task,) = create_tasks(campaign=campaign, sets=sets, purpose=Purpose.GOLD, votes=0)

    assert task.expected == one
    with pytest.raises(UnableToCreateTasks, match="another prompt"):
        create_tasks(campaign=campaign, sets=sets)
    without = [CandidateSet(prompt=one.prompt, images=[one, other])]
    with pytest.raises(UnableToCreateTasks, match="name one of its own images"):
        create_tasks(campaign=campaign, sets=without, purpose=Purpose.GOLD)
