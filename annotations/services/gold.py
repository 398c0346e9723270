"""Tasks whose answer is known: gold, which tells who looks, and practice, which shows how it is done."""

import random
from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from annotations.models import Campaign, Candidate, Image, Outcome, Prompt, Slot, Task, Vote
from annotations.services.corruptions import corrupted_copies
from annotations.services.tasks import CandidateSet, create_tasks

CHECKED = {Task.Purpose.GOLD, Task.Purpose.PRACTICE}

# Prompts looked at to find one that is as unlike as possible.
OTHER_PROMPTS = 30

# With fewer people, all of one mind may be chance.
LEAST_PEOPLE = 3


class UnableToMakeGold(Exception):
    """There is nothing to make such tasks from; the message says what is missing. Nothing was made."""


@dataclass(frozen=True)
class MadeGold:
    """What came of it."""

    tasks: list[Task]
    """Those that are new."""
    known: int
    """Sets that were there already."""


def make_gold(
    *,
    campaign: Campaign,
    count: int = 20,
    purpose: Task.Purpose = Task.Purpose.GOLD,
    wrong_prompts: float = 0.5,
    seed: int | None = None,
) -> MadeGold:
    """Tasks with an obvious answer, made from the campaign's regular ones.

    One image stays as it is: the one that most people chose, where there are votes. Beside it stand worse copies of
    itself (blurred, noisy, in wrong colours, in blocks), or images of other prompts with few words in common.

    Args:
        count: so many at most, each of another regular task.
        purpose: gold or practice.
        wrong_prompts: the share made with images of other prompts, 0 to 1.
        seed: of the choice; by default another one each time.

    Raises:
        UnableToMakeGold: the campaign has no regular task with visible images, or none of them serves.
        ValueError: another purpose, or a count below 1.
    """
    _check(purpose, count)
    rng = random.Random(seed)
    sources = list(_shown(campaign).order_by("pk"))
    if not sources:
        raise UnableToMakeGold(f"{campaign} has no regular tasks with images that may be shown. Add tasks to it first.")
    # By their images: two prompts may be each other's wrong one, and the same pair has one obvious answer only.
    sets: dict[str, CandidateSet] = {}
    for task in rng.sample(sources, len(sources)):
        if len(sets) == count:
            break
        best = _best_image(task)
        ways = [_beside_other_prompts, _beside_copies]
        for way in ways if rng.random() < wrong_prompts else ways[::-1]:
            images = [best, *way(best, campaign, rng)]
            name = Task.hash_of([image.pk for image in images])
            if len(images) == campaign.candidates and name not in sets:
                sets[name] = CandidateSet(prompt=best.prompt, images=images, expected=best)
                break
    if not sets:
        raise UnableToMakeGold(
            f"No image of {campaign} can be made plainly worse, and there are no other prompts to take images from."
        )
    return _made(campaign=campaign, sets=list(sets.values()), purpose=purpose)


def promote_to_gold(
    *, campaign: Campaign, least_people: int = 5, count: int = 20, purpose: Task.Purpose = Task.Purpose.GOLD
) -> MadeGold:
    """Gold from finished regular tasks on which at least so many people all chose the same image.

    Nobody who voted on such a task gets it again as gold.

    Raises:
        UnableToMakeGold: there is no such task.
        ValueError: another purpose, a count below 1, or fewer than three people, who may agree by chance.
    """
    _check(purpose, count)
    if least_people < LEAST_PEOPLE:
        raise ValueError(f"Ask for at least {LEAST_PEOPLE} people of one mind, not for {least_people}.")
    counted = Q(votes__in=Vote.objects.counted())
    unanimous = (
        _shown(campaign)
        .filter(~Exists(Slot.objects.filter(task=OuterRef("pk")).exclude(state=Slot.State.DONE)))
        .annotate(
            people=Count("votes", filter=counted, distinct=True),
            choices=Count("votes", filter=counted & Q(votes__outcome=Outcome.CHOICE), distinct=True),
            images_chosen=Count("votes__image", filter=counted, distinct=True),
        )
        .filter(people__gte=least_people, choices=F("people"), images_chosen=1)
        .order_by("-people", "pk")[:count]
    )
    sets = [
        CandidateSet(prompt=task.prompt, images=_images(task), expected=_best_image(task))
        for task in unanimous.select_related("prompt")
    ]
    if not sets:
        raise UnableToMakeGold(
            f"{campaign} has no finished task on which {least_people} people or more all chose the same image."
        )
    return _made(campaign=campaign, sets=sets, purpose=purpose)


def make_gold_of(*, task: Task, expected: Image, purpose: Task.Purpose = Task.Purpose.GOLD) -> Task:
    """Gold from one regular task, by somebody who says which of its images is the obvious answer.

    Raises:
        UnableToMakeGold: the image is not one of the task's.
        ValueError: another purpose.
    """
    _check(purpose, 1)
    images = _images(task)
    if expected not in images:
        raise UnableToMakeGold("The obvious answer must be one of the task's images.")
    made = CandidateSet(prompt=task.prompt, images=images, expected=expected)
    return create_tasks(campaign=task.campaign, sets=[made], purpose=purpose, votes=0)[0]


def retire_gold(*, task: Task) -> Task:
    """A gold or practice task that misleads: nobody gets it any more and no answer to it counts, until restored."""
    Task.objects.filter(pk=task.pk, purpose__in=CHECKED, retired_at=None).update(retired_at=Now())
    task.refresh_from_db()
    return task


def restore_gold(*, task: Task) -> Task:
    """Takes `retire_gold` back."""
    Task.objects.filter(pk=task.pk).update(retired_at=None)
    task.refresh_from_db()
    return task


def _check(purpose: Task.Purpose, count: int) -> None:
    if purpose not in CHECKED:
        raise ValueError(f"Only gold and practice tasks have a known answer, not {purpose}.")
    if count < 1:
        raise ValueError(f"Ask for at least one task, not for {count}.")


@transaction.atomic
def _made(*, campaign: Campaign, sets: list[CandidateSet], purpose: Task.Purpose) -> MadeGold:
    before = set(Task.objects.filter(campaign=campaign, purpose=purpose).values_list("pk", flat=True))
    tasks = create_tasks(campaign=campaign, sets=sets, purpose=purpose, votes=0)
    new = [task for task in tasks if task.pk not in before]
    return MadeGold(tasks=new, known=len(tasks) - len(new))


def _shown(campaign: Campaign) -> QuerySet[Task]:
    """The regular tasks of a campaign whose images may all be shown."""
    hidden = Candidate.objects.filter(task=OuterRef("pk"), image__is_hidden=True)
    return Task.objects.filter(~Exists(hidden), campaign=campaign, purpose=Task.Purpose.REGULAR)


def _images(task: Task) -> list[Image]:
    candidates = task.candidates.select_related("image__prompt").order_by("position")
    return [candidate.image for candidate in candidates]


def _best_image(task: Task) -> Image:
    """The image chosen most often; the first one where nobody has voted."""
    chosen = Vote.objects.counted().filter(task=task, image__isnull=False).values_list("image").annotate(n=Count("pk"))
    votes = dict(chosen.order_by())
    return max(_images(task), key=lambda image: votes.get(image.pk, 0))


def _beside_copies(best: Image, campaign: Campaign, rng: random.Random) -> list[Image]:
    return corrupted_copies(image=best, count=campaign.candidates - 1, rng=rng)


def _beside_other_prompts(best: Image, campaign: Campaign, rng: random.Random) -> list[Image]:
    """One visible image each of the prompts that have the fewest words in common with this one."""
    wanted = campaign.candidates - 1
    others = list(_shown(campaign).exclude(prompt=best.prompt_id).values_list("prompt", flat=True).distinct())
    sampled = Prompt.objects.filter(pk__in=rng.sample(others, min(len(others), OTHER_PROMPTS)))
    alike = _words(best.prompt.text)
    prompts = sorted(sampled, key=lambda prompt: (_overlap(alike, _words(prompt.text)), prompt.pk))[:wanted]
    images = [_an_image(prompt, campaign, best, rng) for prompt in prompts]
    return [image for image in images if image is not None]


def _an_image(prompt: Prompt, campaign: Campaign, best: Image, rng: random.Random) -> Image | None:
    """Of the same generator where there is one, so that only the content is wrong."""
    images = Image.objects.filter(prompt=prompt, is_hidden=False, corrupted_from=None, tasks__campaign=campaign)
    of_generator = images.filter(generator=best.generator_id) if best.generator_id else images
    found = list((of_generator if of_generator.exists() else images).distinct().order_by("pk"))
    return rng.choice(found) if found else None


def _words(text: str) -> set[str]:
    return set(text.lower().split())


def _overlap(one: set[str], other: Iterable[str]) -> float:
    """Jaccard's: 0 where no word is common, 1 where all are."""
    both = set(other)
    return len(one & both) / max(1, len(one | both))
