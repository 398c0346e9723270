"""Runs that make images: what one may be asked for, opening it, and doing its work."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet

from annotations.models import Campaign, Generator, Prompt
from worker.models import ModelVersion, Run
from worker.queries import version_by_name
from worker.services.execution import Reporter
from worker.services.generation import generate_for_prompts, pipeline_folder
from worker.services.prompt_files import WantedPrompt, prompts_of_json, stored_prompts
from worker.services.recipes import FieldRejected, Recipe, check_same_recipe, make_generator
from worker.services.runs import OpenedRun, open_run

MAX_PER_PROMPT = 1000
MAX_NAME_CHARACTERS = 120

RECIPE_FIELDS = tuple(each.name for each in fields(Recipe))
SETTINGS = ("generator", "per_prompt", "prompts", "tag", "is_synthetic", *RECIPE_FIELDS)


@dataclass(frozen=True)
class GenerationWish:
    """What a run of generation shall make. Its prompts come from a list, a tag, or the run's campaign: one of them."""

    generator: str
    recipe: Recipe | None
    """Of a generator that is not there yet, or of the one there, to be sure; None: the one there, as it is."""
    per_prompt: int
    prompts: tuple[WantedPrompt, ...]
    tag: str
    is_synthetic: bool


def wish_of(config: Mapping[str, Any], campaign: Campaign | None) -> GenerationWish:
    """What the config of a run asks for, checked against what is there.

    Args:
        config: `generator`, a name; `per_prompt`, images of each prompt; `prompts`, texts or objects with a prompt and
            tags, or `tag`, where no campaign is given; and, for a new generator, `pipeline` and the other fields of
            `Recipe`, and `is_synthetic`, whether its images are of the toy world.
        campaign: whose prompts are meant.

    Raises:
        FieldRejected: names the field, and says what would be right.
    """
    if unknown := sorted(config.keys() - set(SETTINGS)):
        raise FieldRejected(unknown[0], f"there is no such setting; there are: {', '.join(SETTINGS)}.")
    wish = GenerationWish(
        generator=_generator_name(config.get("generator")),
        recipe=_recipe(config),
        per_prompt=_per_prompt(config.get("per_prompt", 1)),
        prompts=tuple(prompts_of_json(config.get("prompts") or [])),
        tag=_tag(config.get("tag") or ""),
        is_synthetic=bool(config.get("is_synthetic")),
    )
    _check_generator(wish)
    _check_source(wish, campaign)
    return wish


def open_generation(
    *, config: Mapping[str, Any], campaign: Campaign | None = None, by: User | None = None
) -> OpenedRun:
    """Queue a run that makes images, or find the one that is active; see `wish_of` for its config.

    Raises:
        FieldRejected: the config makes no sense; nothing was opened.
        UnableToOpenRun: see `open_run`.
    """
    wish_of(config, campaign)
    return open_run(kind=Run.Kind.GENERATION, preset="", config=config, campaign=campaign, by=by)


def perform_generation(run: Run, reporter: Reporter, _workdir: Path) -> dict[str, Any]:
    """Do the work of a generation run; its config is that of `wish_of`.

    Returns:
        `{"made", "kept", "hidden", "faults"}`, see `Generated`.

    Raises:
        FieldRejected, UnableToGenerate, BaseModelMissing, PipelineRejected, ImageTooLarge: with what to do.
        RunStopped: cancelled; what was made is kept.
    """
    wish = wish_of(run.config, run.campaign)
    generator = _generator(wish)
    if generator.is_synthetic and not run.is_synthetic:
        reporter.record(is_synthetic=True)
    prompts = stored_prompts(wish.prompts) or list(_prompts_meant(wish, run.campaign))
    reporter.stage(f"Making {wish.per_prompt} images for each of {len(prompts):,} prompts with {generator}")
    generated = generate_for_prompts(
        generator=generator, prompts=prompts, per_prompt=wish.per_prompt, reporter=reporter
    )
    return asdict(generated)


def _generator(wish: GenerationWish) -> Generator:
    if wish.recipe is None:
        return Generator.objects.get(name=wish.generator)
    adapter = version_by_name(wish.recipe.adapter)
    is_synthetic = wish.is_synthetic or (adapter is not None and adapter.is_synthetic)
    is_synthetic = is_synthetic or _says_synthetic(pipeline_folder(wish.recipe.pipeline))
    return make_generator(name=wish.generator, recipe=wish.recipe, is_synthetic=is_synthetic)


def _says_synthetic(folder: Path) -> bool:
    """Whether the pipeline comes from the toy world; those that ship with the site say so in their manifest."""
    manifest = folder / "manifest.json"
    return manifest.is_file() and bool(json.loads(manifest.read_text()).get("is_synthetic"))


def _generator_name(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_NAME_CHARACTERS:
        raise FieldRejected("generator", f"a name of at most {MAX_NAME_CHARACTERS} characters is needed.")
    return value.strip()


def _recipe(config: Mapping[str, Any]) -> Recipe | None:
    given = {name: config[name] for name in RECIPE_FIELDS if name in config}
    if given and "pipeline" not in given:
        names = ", ".join(given)
        raise FieldRejected("pipeline", f"it is needed where a generator is described, here by: {names}.")
    return Recipe(**given) if given else None


def _per_prompt(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_PER_PROMPT:
        raise FieldRejected("per_prompt", f"it must be a whole number from 1 to {MAX_PER_PROMPT:,}, not {value!r}.")
    return value


def _tag(value: object) -> str:
    if not isinstance(value, str):
        raise FieldRejected("tag", f"it must be a text, not {value!r}.")
    return value.strip()


def _check_generator(wish: GenerationWish) -> None:
    found = Generator.objects.filter(name=wish.generator).first()
    if wish.recipe is None:
        if found is None:
            raise FieldRejected("generator", f"there is no {wish.generator!r}; give a pipeline to make it.")
        if "pipeline" not in found.settings:
            raise FieldRejected("generator", f"the images of {wish.generator!r} were made elsewhere.")
        return
    if found is not None:
        check_same_recipe(found, wish.recipe)
    if wish.recipe.adapter:
        version = version_by_name(wish.recipe.adapter)
        if version is None or version.family != ModelVersion.Family.ADAPTER:
            raise FieldRejected("adapter", f"there is no adapter {wish.recipe.adapter!r}.")


def _check_source(wish: GenerationWish, campaign: Campaign | None) -> None:
    if sum(map(bool, (wish.prompts, wish.tag, campaign))) != 1:
        raise FieldRejected("prompts", "say one of three: prompts, a tag, or a campaign with tasks.")
    if not wish.prompts and not _prompts_meant(wish, campaign).exists():
        if wish.tag:
            raise FieldRejected("tag", f"no prompt has the tag {wish.tag!r}.")
        raise FieldRejected("campaign", f"{campaign} has no prompts yet.")


def _prompts_meant(wish: GenerationWish, campaign: Campaign | None) -> QuerySet[Prompt]:
    """The prompts of a tag or a campaign."""
    meant = Prompt.objects.order_by("pk")
    if wish.tag:
        return meant.filter(tags__contains=[wish.tag])
    return meant.filter(tasks__campaign=campaign).distinct()
