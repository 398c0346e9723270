"""The blind study: the original against the adapted generator on held-out prompts and the same noise."""

from collections.abc import Sequence
from dataclasses import replace

from django.contrib.auth.models import User
from django.db import transaction

from annotations.models import Campaign, Generator, Image, Prompt, Split
from annotations.services.campaigns import start_campaign
from annotations.services.tasks import CandidateSet, create_tasks
from worker.models import ModelVersion, Study
from worker.services.execution import Reporter
from worker.services.generation import Recipe, generate_for_prompts, images_by_seed, make_generator


class UnableToCreateStudy(ValueError):
    """The study can't be made as asked; the message says why. No campaign was made."""


def create_study(
    *,
    version: ModelVersion,
    original: Generator,
    prompts: Sequence[Prompt],
    slug: str,
    name: str = "",
    votes_per_task: int = 20,
    allows_tie: bool = False,
    access: str = Campaign.Access.OPEN,
    by: User | None = None,
    reporter: Reporter | None = None,
) -> Study:
    """Generate both arms and ask people which image of each pair they prefer.

    The original draws as its own recipe says; the adapted one draws with the same recipe, the adapter, and the
    adapter's mark as negative prompt. (The paper's demo gives the mark to the original too; for that, hand over a
    generator whose recipe has it.) Both start from the same noise. Nothing that annotators get tells the arms apart.

    A call that was ended is made again with the same arguments: images that are there are not made twice.

    Args:
        version: an adapter.
        original: a generator with a recipe and without an adapter.
        prompts: on the test side of the split, which no training saw.
        slug: of the new campaign.
        votes_per_task: people per pair. Paper: 20 people on 100 prompts.
        allows_tie: whether "no clear winner" may be said. Paper: no.
        access: who may vote.

    Returns:
        The study; its campaign is running.

    Raises:
        UnableToCreateStudy: a prompt was open to training, the version is no adapter, the slug is taken, or no pair
            of images can be shown.
        UnableToGenerate: a pipeline is not there.
        RunStopped: the reporter was told to stop.
    """
    _check(version, original, prompts, slug)
    adapted = adapted_generator(version=version, original=original)
    for generator in (original, adapted):
        if reporter:
            reporter.stage(f"Making {len(prompts)} images with {generator}")
        generate_for_prompts(generator=generator, prompts=prompts, per_prompt=1, reporter=reporter)
    sets = _pairs(original, adapted, prompts)
    if not sets:
        raise UnableToCreateStudy("No prompt has two different images that can be shown.")
    with transaction.atomic():
        campaign = Campaign.objects.create(
            slug=slug,
            name=name or f"Study {slug}",
            candidates=2,
            allows_tie=allows_tie,
            allows_all_bad=False,
            votes_per_task=votes_per_task,
            access=access,
            is_synthetic=original.is_synthetic or version.is_synthetic,
            created_by=by,
        )
        create_tasks(campaign=campaign, sets=sets)
        study = Study.objects.create(campaign=campaign, version=version, original=original, adapted=adapted)
        start_campaign(campaign=campaign, by=by)
    campaign.refresh_from_db()
    return study


def adapted_generator(*, version: ModelVersion, original: Generator) -> Generator:
    """The generator that draws as the original does, with an adapter and with its mark as negative prompt."""
    recipe = Recipe.of(original)
    return make_generator(
        name=f"{original.name} + {version}",
        description=f"{original.name} with {version}, and its mark as negative prompt.",
        recipe=replace(recipe, adapter=str(version), negative_prompt=version.manifest["mark"]),
        is_synthetic=original.is_synthetic or version.is_synthetic,
    )


def _check(version: ModelVersion, original: Generator, prompts: Sequence[Prompt], slug: str) -> None:
    if version.family != ModelVersion.Family.ADAPTER:
        raise UnableToCreateStudy(f"{version} is no adapter.")
    if Recipe.of(original).adapter:
        raise UnableToCreateStudy(f"{original} has an adapter already; name the generator that it was trained on.")
    if seen := next((prompt for prompt in prompts if prompt.split != Split.TEST), None):
        raise UnableToCreateStudy(f"Trainings may have seen '{seen}'; a study takes prompts of the test side only.")
    if Campaign.objects.filter(slug=slug).exists():
        raise UnableToCreateStudy(f"There is a campaign '{slug}' already; choose another slug.")


def _pairs(original: Generator, adapted: Generator, prompts: Sequence[Prompt]) -> list[CandidateSet]:
    """Both images of each prompt, where both can be shown and differ."""
    arms = [images_by_seed(generator, prompts, 0) for generator in (original, adapted)]
    pairs = [(prompt, [arm[prompt.pk] for arm in arms if prompt.pk in arm]) for prompt in prompts]
    return [CandidateSet(prompt, images) for prompt, images in pairs if _can_be_compared(images)]


def _can_be_compared(images: Sequence[Image]) -> bool:
    return len(images) == 2 and not any(image.is_hidden for image in images) and images[0].sha256 != images[1].sha256
