"""Sets of images to choose between, from what the library holds: by prompt, by generators, or as another campaign."""

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from django.db import models
from django.db.models import Count, F, Func, Q, QuerySet
from django.utils.translation import gettext_lazy as _

from annotations.models import Campaign, Generator, Image, Prompt, Task
from annotations.queries.voting import visible_images
from annotations.services.instructions import SOURCE as INSTRUCTIONS
from annotations.services.tasks import CandidateSet, create_tasks

PROMPTS_AT_ONCE = 200
TASKS_AT_ONCE = 500
MAX_SETS_PER_PROMPT = 200
MAX_TAGS_LISTED = 200

Progress = Callable[[str, int, int], None]
"""Told the stage, how much of it is done, and how much there is to do; may raise to stop."""


class Pairing(models.TextChoices):
    """How sets are dealt where a prompt has more generators than a task shows."""

    ROUNDS = "rounds", _("each image once per prompt; over the prompts every generator meets every other")
    EVERY = "every", _("every possible set on every prompt")


class UnableToDeal(Exception):
    """No tasks can be made as asked; the message says what to change."""


@dataclass(frozen=True)
class Selection:
    """Which images of the library are meant; what is left open does not narrow it."""

    generators: tuple[str, ...] = ()
    """By their names; none: all of them."""
    tag: str = ""
    """Of the prompts."""
    campaign: str = ""
    """Slug of a campaign that shows the images."""
    needs_all: bool = False
    """Whether only prompts count for which every one of the generators has an image."""
    pairing: str = Pairing.ROUNDS
    images_per_generator: int = 1
    """Of each prompt at most, the first by seed."""

    def __post_init__(self) -> None:
        if self.needs_all and len(self.generators) < 2:
            raise UnableToDeal("Choose at least two generators to compare.")
        if self.pairing not in Pairing.values:
            raise UnableToDeal(f"The pairing must be one of {', '.join(Pairing.values)}.")
        if self.images_per_generator < 1:
            raise UnableToDeal("At least one image of each generator is shown.")


@dataclass(frozen=True)
class Found:
    """What a selection finds."""

    prompts: int
    images: int


@dataclass
class Dealt:
    """What came of dealing."""

    tasks: int = 0
    """Sets that the campaign has now; those it had before count too."""
    prompts: int = 0
    without: int = 0
    """Prompts with too few images for a set."""
    is_synthetic: bool = False


def selection_of(config: Mapping[str, Any]) -> Selection:
    """The selection that plain values describe, such as those of a run.

    Raises:
        UnableToDeal: a value that a selection cannot have.
    """
    known = {each.name for each in fields(Selection)}
    values = {name: value for name, value in config.items() if name in known}
    return Selection(**values | {"generators": tuple(values.get("generators", ()))})


def matching_images(selection: Selection) -> QuerySet[Image]:
    """The images that annotators may be shown and the selection means.

    Never the spoilt copies of gold tasks, nor the pictures in instructions.
    """
    images = visible_images().filter(corrupted_from=None).exclude(prompt__source=INSTRUCTIONS)
    if selection.generators:
        images = images.filter(generator__name__in=selection.generators)
    if selection.tag:
        images = images.filter(prompt__tags__contains=[selection.tag])
    if selection.campaign:
        shown = Task.objects.filter(campaign__slug=selection.campaign, purpose=Task.Purpose.REGULAR)
        images = images.filter(candidacies__task__in=shown).distinct()
    return images


def matching_prompts(selection: Selection) -> QuerySet[Prompt]:
    """The prompts of those images; with `needs_all`, those for which every generator has one."""
    prompts = Prompt.objects.filter(pk__in=matching_images(selection).order_by().values("prompt"))
    if selection.needs_all:
        is_meant = Q(images__in=matching_images(selection))
        prompts = prompts.annotate(arms=Count("images__generator", filter=is_meant, distinct=True))
        prompts = prompts.filter(arms=len(set(selection.generators)))
    return prompts


def found_by(selection: Selection) -> Found:
    """How many prompts and images a selection finds; two statements."""
    prompts = matching_prompts(selection)
    images = matching_images(selection).filter(prompt__in=prompts.values("pk"))
    return Found(prompts=prompts.count(), images=images.count())


def prompt_tags() -> list[str]:
    """The tags of prompts by name, the first 200; one statement."""
    tags = Prompt.objects.annotate(tag=Func(F("tags"), function="unnest")).order_by("tag")
    return list(tags.values_list("tag", flat=True).distinct()[:MAX_TAGS_LISTED])


def deal_from_library(*, campaign: Campaign, selection: Selection, progress: Progress) -> Dealt:
    """Tasks of the images that a selection finds. Repeated, it adds only what is new.

    Raises:
        UnableToDeal: no prompt has enough images; nothing is made.
    """
    missing = set(selection.generators) - set(
        Generator.objects.filter(name__in=selection.generators).values_list("name", flat=True)
    )
    if missing:
        raise UnableToDeal(f"There is no generator {min(missing)!r}.")
    prompts, dealt, last = matching_prompts(selection).order_by("pk"), Dealt(), 0
    total = prompts.count()
    while batch := list(prompts.filter(pk__gt=last)[:PROMPTS_AT_ONCE]):
        last = batch[-1].pk
        _deal_prompts(campaign, selection, batch, dealt)
        progress("making tasks", dealt.prompts + dealt.without, total)
    if not dealt.tasks:
        raise UnableToDeal(
            f"{total} prompts were found, none with the {campaign.candidates} different images that a task shows. "
            "Choose more generators, or show fewer images per task."
        )
    if dealt.is_synthetic:
        Campaign.objects.filter(pk=campaign.pk).update(is_synthetic=True)
    return dealt


def sets_of_prompt(
    images: Sequence[Image], *, prompt: Prompt, size: int, pairing: str = Pairing.ROUNDS, per_generator: int = 1
) -> list[CandidateSet]:
    """The sets of `size` images that one prompt gives; the same images always give the same sets.

    With at least `size` generators, a set holds one image of each of `size` different ones, the images of each taken
    in the order of their seeds. With fewer, as where none is known, the images are dealt in their order.
    """
    by_generator: dict[int | None, list[Image]] = {}
    for image in sorted(images, key=lambda image: (image.seed is None, image.seed or 0, image.pk)):
        by_generator.setdefault(image.generator_id, []).append(image)
    if len(by_generator) < size or None in by_generator:
        ordered = sorted(images, key=lambda image: image.pk)
        dealt = [ordered[start : start + size] for start in range(0, len(ordered) - size + 1, size)]
        return [CandidateSet(prompt, members) for members in dealt]
    rounds = min(per_generator, max(len(of_one) for of_one in by_generator.values()))
    layers = [
        [by_generator[key][place] for key in sorted(by_generator, key=str) if place < len(by_generator[key])]
        for place in range(rounds)
    ]
    dice = random.Random(prompt.text_hash)
    return [
        CandidateSet(prompt, list(members))
        for layer in layers
        for members in itertools.islice(_matchups(layer, size, pairing, dice), MAX_SETS_PER_PROMPT)
    ]


def deal_as_in(*, campaign: Campaign, original: Campaign, progress: Progress) -> Dealt:
    """The tasks of another campaign again: regular, gold and practice ones. Repeated, it adds only what is new."""
    kinds = [Task.Purpose.REGULAR, Task.Purpose.GOLD, Task.Purpose.PRACTICE]
    tasks = Task.objects.filter(campaign=original, purpose__in=kinds, retired_at=None).order_by("pk")
    total, last, dealt = tasks.count(), 0, Dealt()
    chosen = tasks.select_related("prompt", "expected").prefetch_related("candidates__image")
    seen = 0
    while batch := list(chosen.filter(pk__gt=last)[:TASKS_AT_ONCE]):
        last, seen = batch[-1].pk, seen + len(batch)
        for purpose in kinds:
            sets = [_set_of(task) for task in batch if task.purpose == purpose]
            shown = [each for each in sets if not any(image.is_hidden for image in each.images)]
            dealt.without += len(sets) - len(shown)
            votes = None if purpose == Task.Purpose.REGULAR else 0
            dealt.tasks += len(create_tasks(campaign=campaign, sets=shown, purpose=purpose, votes=votes))
        progress("copying tasks", seen, total)
    if not dealt.tasks:
        raise UnableToDeal(f"{original} has no task that can be shown again.")
    return dealt


def _deal_prompts(campaign: Campaign, selection: Selection, prompts: Sequence[Prompt], dealt: Dealt) -> None:
    images: dict[int, list[Image]] = {}
    chosen = matching_images(selection).filter(prompt__in=prompts).select_related("generator")
    for image in chosen.order_by("pk"):
        images.setdefault(image.prompt_id, []).append(image)
    sets: list[CandidateSet] = []
    for prompt in prompts:
        made = sets_of_prompt(
            images.get(prompt.pk, []),
            prompt=prompt,
            size=campaign.candidates,
            pairing=selection.pairing,
            per_generator=selection.images_per_generator,
        )
        dealt.prompts += bool(made)
        dealt.without += not made
        sets += made
    used = (image for candidates in sets for image in candidates.images)
    dealt.is_synthetic |= any(image.generator is not None and image.generator.is_synthetic for image in used)
    dealt.tasks += len(create_tasks(campaign=campaign, sets=sets))


def _matchups(layer: Sequence[Image], size: int, pairing: str, dice: random.Random) -> Iterator[Sequence[Image]]:
    """Sets of one image each of `size` generators; `layer` has one image of each."""
    if len(layer) < size:
        return
    if pairing == Pairing.EVERY:
        yield from itertools.combinations(layer, size)
    else:
        shuffled = dice.sample(layer, len(layer))
        for start in range(0, len(shuffled) - size + 1, size):
            yield shuffled[start : start + size]


def _set_of(task: Task) -> CandidateSet:
    images = [candidate.image for candidate in task.candidates.all()]
    return CandidateSet(task.prompt, images, expected=task.expected)
