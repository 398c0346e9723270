"""Small worlds for the dashboard: votes that were cast, and scores that were given."""

from datetime import datetime
from itertools import count
from uuid import uuid4

from annotations.models import (
    Annotator,
    Campaign,
    Candidate,
    Generator,
    Image,
    Outcome,
    Prompt,
    Slot,
    Split,
    Task,
    Vote,
)
from tests.annotations.factories import (
    make_annotators,
    make_campaign,
    make_generator,
    make_image,
    make_prompt,
    make_task,
)
from worker.models import ImageScore, ModelVersion, Study

_numbers = count(1)


def held_out_prompt(text: str = "", split: str = Split.TEST) -> Prompt:
    """A prompt on the wanted side, whatever its text says."""
    prompt = make_prompt(text)
    Prompt.objects.filter(pk=prompt.pk).update(split=split)
    return Prompt.objects.get(pk=prompt.pk)


def task_of(
    campaign: Campaign, generators: list[str], *, split: str = Split.TEST, purpose=Task.Purpose.REGULAR
) -> Task:
    """A task with one image of each named generator, in this order."""
    prompt = held_out_prompt(split=split)
    images = [
        make_image(prompt=prompt, generator=Generator.objects.get_or_create(name=name)[0], has_file=False)
        for name in generators
    ]
    return make_task(campaign=campaign, images=images, prompt=prompt, votes=0, purpose=purpose)


def images_of(task: Task) -> list[Image]:
    """The candidates in their order."""
    candidates = Candidate.objects.filter(task=task).select_related("image").order_by("position")
    return [candidate.image for candidate in candidates]


def cast(
    task: Task,
    annotator: Annotator,
    said: int | Outcome,
    *,
    order: list[int] | None = None,
    at: datetime | None = None,
    **fields,
) -> Vote:
    """One vote: the index of the chosen candidate, or another outcome; `order` is the candidates' indices as shown."""
    images = images_of(task)
    shown = [images[index].pk for index in order or range(len(images))]
    slot = Slot.objects.create(
        campaign=task.campaign,
        task=task,
        number=Slot.objects.filter(task=task).count(),
        sort_key=next(_numbers),
        state=Slot.State.DONE,
        annotator=annotator,
        order=shown,
    )
    is_choice = not isinstance(said, Outcome)
    fields |= {"created_at": at} if at else {}
    return Vote.objects.create(
        slot=slot,
        task=task,
        annotator=annotator,
        outcome=Outcome.CHOICE if is_choice else said,
        image=images[said] if is_choice else None,
        order=shown,
        idempotency_key=uuid4(),
        **fields,
    )


def make_version(family: str, number: int = 1, *, is_current: bool = False, is_synthetic: bool = False) -> ModelVersion:
    return ModelVersion.objects.create(
        family=family,
        number=number,
        folder=f"{family}-{number}",
        sha256="0" * 64,
        is_current=is_current,
        is_synthetic=is_synthetic,
    )


def give_scores(version: ModelVersion, task: Task, scores: list[float]) -> None:
    """One score per candidate of the task, in their order."""
    ImageScore.objects.bulk_create(
        ImageScore(image=image, version=version, value=score)
        for image, score in zip(images_of(task), scores, strict=True)
    )


def empty_campaign(**fields) -> Campaign:
    return make_campaign(tasks=0, **fields)


def study_world(*, adapted_wins: int, original_wins: int, ties: int) -> Campaign:
    """Prompts with two votes each, both for the adapted image, both for the original, or both ties."""
    campaign = empty_campaign(slug="study")
    original, adapted = make_generator("original"), make_generator("adapted")
    Study.objects.create(campaign=campaign, original=original, adapted=adapted, version=make_version("adapter"))
    people = make_annotators(2)
    said = [*[1] * adapted_wins, *[0] * original_wins, *[Outcome.TIE] * ties]
    for outcome in said:
        task = task_of(campaign, ["original", "adapted"])
        for person in people:
            cast(task, person, outcome)
    return campaign
