"""How sets of images become tasks with open slots."""

from dataclasses import replace

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from annotations.models import Campaign, Candidate, Image, Prompt, Slot, Task
from annotations.services.tasks import CandidateSet, UnableToCreateTasks, create_tasks, record_tasks
from tests.annotations.factories import make_campaign, make_image, make_prompt

pytestmark = pytest.mark.django_db


def make_set(count: int = 2, prompt: Prompt | None = None) -> CandidateSet:
    prompt = prompt or make_prompt()
    return CandidateSet(prompt, [make_image(prompt=prompt, has_file=False) for _ in range(count)])


def empty_campaign(**fields: object) -> Campaign:
    return make_campaign(tasks=0, **fields)


def test_create_tasks_makes_candidates_and_open_slots() -> None:
    campaign = empty_campaign(votes_per_task=3)
    sets = [make_set(), make_set()]

    tasks = create_tasks(campaign=campaign, sets=sets)

    assert [(task.campaign, task.prompt, task.purpose) for task in tasks] == [
        (campaign, candidates.prompt, "regular") for candidates in sets
    ]
    assert list(Candidate.objects.order_by("task", "position").values_list("task", "image", "position")) == [
        (task.pk, image.pk, position)
        for task, candidates in zip(tasks, sets, strict=True)
        for position, image in enumerate(candidates.images)
    ]
    assert list(Slot.objects.order_by("task", "number").values_list("campaign", "task", "number", "state")) == [
        (campaign.pk, task.pk, number, "open") for task in tasks for number in range(3)
    ]


def test_create_tasks_queues_every_task_once_before_any_twice() -> None:
    campaign = empty_campaign()

    create_tasks(campaign=campaign, sets=[make_set() for _ in range(9)], votes=3)

    queue = Slot.objects.order_by("sort_key").values_list("number", "task")
    assert [number for number, _task in queue] == [0] * 9 + [1] * 9 + [2] * 9
    first_round = [task for _number, task in queue[:9]]
    assert first_round != sorted(first_round)  # random: equal once in 362,880


def test_create_tasks_takes_more_votes_than_rounds_fit_the_key() -> None:
    tasks = create_tasks(campaign=empty_campaign(), sets=[make_set()], votes=200)

    assert tasks[0].slots.count() == 200
    assert tasks[0].slots.order_by("-sort_key")[0].sort_key < 2**31


def test_create_tasks_keeps_a_set_that_is_there() -> None:
    campaign = empty_campaign(votes_per_task=2)
    candidates = make_set()
    reversed_candidates = CandidateSet(candidates.prompt, candidates.images[::-1])
    first = create_tasks(campaign=campaign, sets=[candidates])

    again = create_tasks(campaign=campaign, sets=[reversed_candidates, candidates])

    assert again == [first[0], first[0]]
    assert (Task.objects.count(), Candidate.objects.count(), Slot.objects.count()) == (1, 2, 2)


def test_create_tasks_makes_a_probe_of_a_regular_set_its_own_task() -> None:
    campaign = empty_campaign()
    candidates = make_set()

    regular = create_tasks(campaign=campaign, sets=[candidates])
    again = replace(candidates, repeats=regular[0])
    probe = create_tasks(campaign=campaign, sets=[again], purpose=Task.Purpose.PROBE)

    assert probe[0].repeats == regular[0]
    assert Task.objects.count() == 2


def one_too_many(prompt: Prompt) -> list[Image]:
    return make_set(3, prompt).images


def one_twice(prompt: Prompt) -> list[Image]:
    return make_set(1, prompt).images * 2


def one_of_another_prompt(prompt: Prompt) -> list[Image]:
    return [*make_set(1, prompt).images, *make_set(1).images]


def one_hidden(prompt: Prompt) -> list[Image]:
    return [*make_set(1, prompt).images, make_image(prompt=prompt, has_file=False, is_hidden=True)]


@pytest.mark.parametrize(
    ("make_images", "reason"),
    [
        (one_too_many, r"Set 2 has 3 images; the campaign '.*' shows 2 per task\."),
        (one_twice, r"Set 2 holds an image twice\."),
        (one_of_another_prompt, r"Set 2 holds an image of another prompt than 'a pier'\."),
        (one_hidden, r"Set 2 holds an image that is hidden from annotators\."),
    ],
)
def test_create_tasks_makes_nothing_of_a_bad_set(make_images, reason: str) -> None:
    prompt = make_prompt("a pier")
    sets = [make_set(), CandidateSet(prompt, make_images(prompt))]

    with pytest.raises(UnableToCreateTasks, match=reason):
        create_tasks(campaign=empty_campaign(), sets=sets)

    assert (Task.objects.count(), Candidate.objects.count(), Slot.objects.count()) == (0, 0, 0)


@pytest.mark.parametrize("count", [1, 10])
def test_record_tasks_refuses_too_few_and_too_many_images(count: int) -> None:
    with pytest.raises(UnableToCreateTasks, match=f"Set 1 has {count} images; a task has 2 to 9"):
        record_tasks(campaign=empty_campaign(), sets=[make_set(count)])


def test_record_tasks_tells_the_new_from_the_old_and_makes_no_slots() -> None:
    campaign = empty_campaign()
    old, new = make_set(), make_set(4)
    [old_task] = create_tasks(campaign=campaign, sets=[old], votes=0)

    tasks, new_tasks = record_tasks(campaign=campaign, sets=[old, new])

    assert tasks == [old_task, *new_tasks]
    assert new_tasks[0].candidates.count() == 4
    assert Slot.objects.count() == 0


def test_create_tasks_asks_the_database_no_more_for_many() -> None:
    counts = []
    for number in (1, 20):
        sets, campaign = [make_set() for _ in range(number)], empty_campaign()
        with CaptureQueriesContext(connection) as queries:
            create_tasks(campaign=campaign, sets=sets)
        counts.append(len(queries))

    assert counts[0] == counts[1]
