"""Makes the tasks that people do: a prompt's images, and the slots in which they are voted on."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.db import connection, transaction

from annotations.models import MAX_CANDIDATES, MIN_CANDIDATES, Campaign, Candidate, Image, Prompt, Slot, Task, Vote

BATCH = 2000
RANDOM_BITS = 24
LAST_ROUND: int = 2 ** (31 - RANDOM_BITS) - 1  # what is left of a 32-bit key


class UnableToCreateTasks(Exception):
    """The sets of images don't make tasks for the campaign; says which one and why. Nothing was made."""


@dataclass(frozen=True)
class CandidateSet:
    """Images of one prompt to choose between."""

    prompt: Prompt
    images: list[Image]

    expected: Image | None = None
    """The obvious answer, of gold and practice tasks."""

    repeats: Task | None = None
    """What a repeat probe shows again."""


@transaction.atomic
def create_tasks(
    *,
    campaign: Campaign,
    sets: Sequence[CandidateSet],
    purpose: Task.Purpose = Task.Purpose.REGULAR,
    votes: int | None = None,
) -> list[Task]:
    """Tasks with open slots, in the order of the sets. A set that the campaign has already keeps its task and slots.

    A new task gets `votes` slots, or as many as the campaign wants.

    Raises:
        UnableToCreateTasks: a set doesn't fit; nothing is made.
    """
    for number, candidates in enumerate(sets, start=1):
        if len(candidates.images) != campaign.candidates:
            raise UnableToCreateTasks(
                f"Set {number} has {len(candidates.images)} images; "
                f"the campaign '{campaign.slug}' shows {campaign.candidates} per task."
            )
        if any(image.is_hidden for image in candidates.images):
            raise UnableToCreateTasks(f"Set {number} holds an image that is hidden from annotators.")
    tasks, new = record_tasks(campaign=campaign, sets=sets, purpose=purpose)
    # Read now, under the lock: who makes many tasks holds a campaign that may have changed its mind meanwhile.
    wanted = Campaign.objects.values_list("votes_per_task", flat=True).get(pk=campaign.pk) if votes is None else votes
    slots = (
        Slot(campaign=campaign, task=task, number=number, sort_key=place, matchup=task.matchup)
        for number in range(wanted)
        for task, place in queue_places(new, number)
    )
    Slot.objects.bulk_create(slots, batch_size=BATCH)
    return tasks


@transaction.atomic
def record_tasks(
    *, campaign: Campaign, sets: Sequence[CandidateSet], purpose: Task.Purpose = Task.Purpose.REGULAR
) -> tuple[list[Task], list[Task]]:
    """Tasks without slots, of 2 to 9 images each: all of them in the order of the sets, and those that are new.

    Raises:
        UnableToCreateTasks: a set doesn't fit; nothing is made.
    """
    for number, candidates in enumerate(sets, start=1):
        check_set(candidates, number, purpose)
    # Two makers of the same tasks come one after the other; votes, which only refer to the campaign, don't wait.
    Campaign.objects.select_for_update(no_key=True).get(pk=campaign.pk)
    by_hash = {Task.hash_of([image.pk for image in candidates.images]): candidates for candidates in sets}
    tasks = existing_tasks(campaign, purpose, list(by_hash))
    missing = {name: candidates for name, candidates in by_hash.items() if name not in tasks}
    new = Task.objects.bulk_create(
        (
            Task(
                campaign=campaign,
                prompt=candidates.prompt,
                candidates_hash=name,
                purpose=purpose,
                expected=candidates.expected,
                repeats=candidates.repeats,
                matchup=matchup_of(candidates.images),
            )
            for name, candidates in missing.items()
        ),
        batch_size=BATCH,
    )
    Candidate.objects.bulk_create(
        (
            Candidate(task=task, image=image, position=position)
            for task in new
            for position, image in enumerate(missing[task.candidates_hash].images)
        ),
        batch_size=BATCH,
    )
    tasks |= {task.candidates_hash: task for task in new}
    return [tasks[Task.hash_of([image.pk for image in candidates.images])] for candidates in sets], new


def tell_planner() -> None:
    """Give the database fresh statistics of the tables that a claim reads.

    After thousands of new rows it would plan claims by what it last knew, an empty campaign perhaps, and each would
    take a tenth of a second and more until its own housekeeping comes round, a minute or two later.
    """
    tables = ", ".join(
        connection.ops.quote_name(model._meta.db_table) for model in (Slot, Task, Candidate, Image, Vote)
    )
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {tables}")


def check_set(candidates: CandidateSet, number: int, purpose: Task.Purpose = Task.Purpose.REGULAR) -> None:
    """Lets a set pass that makes a task.

    Only where the answer is known (gold, practice) may an image be of another prompt or a corrupted copy.

    Raises:
        UnableToCreateTasks: the images are too few, too many, twice the same, or not of the prompt, or a gold task's
            obvious answer is missing or not one of its images.
    """
    images = candidates.images
    if not MIN_CANDIDATES <= len(images) <= MAX_CANDIDATES:
        raise UnableToCreateTasks(
            f"Set {number} has {len(images)} images; a task has {MIN_CANDIDATES} to {MAX_CANDIDATES}."
        )
    if len({image.pk for image in images}) < len(images):
        raise UnableToCreateTasks(f"Set {number} holds an image twice.")
    if purpose in {Task.Purpose.GOLD, Task.Purpose.PRACTICE}:
        if candidates.expected not in images:
            raise UnableToCreateTasks(f"Set {number} must name one of its own images as the obvious answer.")
        return
    if any(image.prompt_id != candidates.prompt.pk for image in images):
        raise UnableToCreateTasks(f"Set {number} holds an image of another prompt than '{candidates.prompt}'.")
    if any(image.corrupted_from_id for image in images):
        raise UnableToCreateTasks(f"Set {number} holds a corrupted copy, which only gold tasks may show.")


def existing_tasks(campaign: Campaign, purpose: Task.Purpose, hashes: list[str]) -> dict[str, Task]:
    return {
        task.candidates_hash: task
        for start in range(0, len(hashes), BATCH)
        for task in Task.objects.filter(
            campaign=campaign, purpose=purpose, candidates_hash__in=hashes[start : start + BATCH]
        )
    }


def queue_places(tasks: Sequence[Task], number: int) -> Iterator[tuple[Task, int]]:
    """A place in the queue for slot `number` of each task: random, and each matchup evenly over the whole round.

    However far a round has come, each matchup has had its share of it, to within two sets.
    """
    by_matchup: dict[str, list[Task]] = {}
    for task in tasks:
        by_matchup.setdefault(task.matchup, []).append(task)
    for alike in by_matchup.values():
        for turn, task in enumerate(random.sample(alike, len(alike))):
            yield task, queue_place(number, (turn + random.random()) / len(alike))


def queue_place(number: int, at: float | None = None) -> int:
    """The place of slot `number`, breadth first: every task gets its first vote before any gets its second.

    Args:
        at: where in its round, 0 to below 1; anywhere by default.
    """
    share = random.random() if at is None else at
    return (min(number, LAST_ROUND) << RANDOM_BITS) + int(share * 2**RANDOM_BITS)


def matchup_of(images: Sequence[Image]) -> str:
    """Names which generators a set compares, whatever their order: their ids, empty where one is unknown."""
    generators = [image.generator_id for image in images]
    return "-".join(str(pk) for pk in sorted(pk for pk in generators if pk)) if all(generators) else ""
