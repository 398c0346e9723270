"""Images from prompts by a generator: the same noise for every generator, none made twice."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
from django.conf import settings

from annotations.models import Campaign, Generator, Image, Prompt
from annotations.services.images import ImageItem, get_or_create_prompts, store_images
from worker.models import ModelVersion, Run
from worker.queries import version_by_name
from worker.services.base_models import base_model_folder
from worker.services.execution import Reporter, RunStopped
from worker.services.recipes import Recipe, UnableToGenerate, make_generator
from worker.services.versions import folder_of

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

__all__ = ["Generated", "Recipe", "UnableToGenerate", "generate_for_prompts", "images_by_seed", "make_generator"]

PIPELINE_FILE = "model_index.json"

MAX_BATCH = 64
MAX_BATCH_PIXELS = 4 * 512 * 512

# Noise of an encoder aside, a picture whose channels vary by no more than this shows nothing.
BLANK_RANGE = 4


@dataclass(frozen=True)
class Generated:
    """What came of generating."""

    made: int
    kept: int
    """Images that were there already."""
    hidden: int
    """Of those made: blank ones, hidden from annotators."""


@dataclass(frozen=True)
class _Wish:
    """One image to make."""

    prompt: Prompt
    seed: int


def generate_for_prompts(
    *, generator: Generator, prompts: Sequence[Prompt], per_prompt: int, reporter: Reporter | None = None
) -> Generated:
    """Make the images number 0 to `per_prompt` - 1 of every prompt, as the generator's recipe says.

    Each is stored as it is made; one that is there already (same prompt, generator and seed) is not made again. Blank
    images, such as a safety checker's black ones, are stored hidden.

    Raises:
        UnableToGenerate: the generator has no recipe, or its pipeline or adapter is not there.
        RunStopped: the reporter was told to stop.
    """
    from worker.generation.pipeline import generate, seed_for  # slow import

    recipe = Recipe.of(generator)
    wishes = [_Wish(prompt, seed_for(prompt.text, index)) for prompt in prompts for index in range(per_prompt)]
    missing = _missing(generator, wishes)
    hidden = 0
    if missing:
        pipeline = load_generator(recipe)
        size = _batch_size(pipeline)
        for start in range(0, len(missing), size):
            batch = missing[start : start + size]
            pictures = generate(
                pipeline,
                [wish.prompt.text for wish in batch],
                [wish.seed for wish in batch],
                steps=recipe.steps,
                guidance=recipe.guidance,
                negative_prompt=recipe.negative_prompt or None,
                batch_size=size,
            )
            hidden += _store(generator, recipe, batch, pictures)
            if reporter:
                reporter.step(min(start + size, len(missing)), len(missing))
                if reporter.should_stop():
                    raise RunStopped
    return Generated(made=len(missing), kept=len(wishes) - len(missing), hidden=hidden)


def images_by_seed(generator: Generator, prompts: Sequence[Prompt], index: int) -> dict[int, Image]:
    """The image number `index` of each prompt by a generator, by the prompt's primary key."""
    from worker.generation.pipeline import seed_for  # slow import

    seeds = {prompt.pk: seed_for(prompt.text, index) for prompt in prompts}
    images = Image.objects.filter(generator=generator, prompt__in=prompts, seed__in=set(seeds.values()))
    return {image.prompt_id: image for image in images if image.seed == seeds[image.prompt_id]}


def load_generator(recipe: Recipe) -> "StableDiffusionPipeline":
    """The pipeline of a recipe with its adapter, on the worker's device.

    Raises:
        UnableToGenerate: a part is not there.
    """
    from scoring.backend import pick_device  # slow import
    from worker.generation.pipeline import load_pipeline  # slow import

    device = pick_device(None if settings.DEVICE == "auto" else settings.DEVICE)
    pipeline = load_pipeline(pipeline_folder(recipe.pipeline), device)
    if recipe.adapter:
        pipeline.load_lora_weights(str(adapter_folder(recipe.adapter)), local_files_only=True, use_safetensors=True)
    return pipeline


def pipeline_folder(name: str) -> Path:
    """The folder of a base model by its name in the settings, or the folder itself.

    Raises:
        BaseModelMissing, UnableToGenerate: it is not there.
    """
    if name in settings.BASE_MODELS:
        return base_model_folder(name, PIPELINE_FILE)
    folder = Path(name)
    if not (folder / PIPELINE_FILE).is_file():
        raise UnableToGenerate(f"There is no diffusion pipeline in {folder}; unpack or download it first.")
    return folder


def adapter_folder(name: str) -> Path:
    """The folder of an adapter's version, `adapter-3`.

    Raises:
        UnableToGenerate: there is no such version.
    """
    version = version_by_name(name)
    if version is None or version.family != ModelVersion.Family.ADAPTER:
        raise UnableToGenerate(f"There is no adapter {name!r}.")
    return folder_of(version)


def is_blank(picture: PIL.Image.Image) -> bool:
    """Whether a picture is of one colour."""
    pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    return bool((np.ptp(pixels, axis=0) <= BLANK_RANGE).all())


def _missing(generator: Generator, wishes: Sequence[_Wish]) -> list[_Wish]:
    there = set(
        Image.objects.filter(generator=generator, prompt__in={wish.prompt.pk for wish in wishes}).values_list(
            "prompt_id", "seed"
        )
    )
    return [wish for wish in wishes if (wish.prompt.pk, wish.seed) not in there]


def _batch_size(pipeline: Any) -> int:
    side = pipeline.unet.config.sample_size * pipeline.vae_scale_factor
    return max(1, min(MAX_BATCH, MAX_BATCH_PIXELS // int(side) ** 2))


def _store(generator: Generator, recipe: Recipe, batch: Sequence[_Wish], pictures: Sequence[PIL.Image.Image]) -> int:
    """Store a batch, hide what is blank, and give how many that are."""
    images = store_images(
        items=[
            ImageItem(
                content=_png(picture),
                prompt=wish.prompt,
                generator=generator,
                seed=wish.seed,
                settings=recipe.to_json(),
            )
            for wish, picture in zip(batch, pictures, strict=True)
        ]
    )
    blank = [image.pk for image, picture in zip(images, pictures, strict=True) if is_blank(picture)]
    Image.objects.filter(pk__in=blank).update(is_hidden=True)
    return len(blank)


def _png(picture: PIL.Image.Image) -> bytes:
    file = io.BytesIO()
    picture.convert("RGB").save(file, "PNG")
    return file.getvalue()


def perform_generation(run: Run, reporter: Reporter, _workdir: Path) -> dict[str, Any]:
    """Do the work of a generation run.

    Its config: `generator`, a name; `per_prompt`; and `prompts`, texts, where the run has no campaign whose prompts
    are meant.

    Returns:
        `{"made", "kept", "hidden"}`

    Raises:
        UnableToGenerate: the config lacks something, or names what is not there.
        RunStopped: cancelled.
    """
    generator = Generator.objects.filter(name=run.config.get("generator")).first()
    if generator is None:
        raise UnableToGenerate(f"There is no generator {run.config.get('generator')!r}.")
    if generator.is_synthetic and not run.is_synthetic:
        reporter.record(is_synthetic=True)
    prompts = list(_prompts(run.config.get("prompts") or [], run.campaign))
    if not prompts:
        raise UnableToGenerate("There are no prompts to make images of; give a campaign with tasks, or texts.")
    per_prompt = int(run.config.get("per_prompt", 1))
    reporter.stage(f"Making {per_prompt} images for each of {len(prompts)} prompts with {generator}")
    generated = generate_for_prompts(generator=generator, prompts=prompts, per_prompt=per_prompt, reporter=reporter)
    return asdict(generated)


def _prompts(texts: Sequence[str], campaign: Campaign | None) -> Iterator[Prompt]:
    if texts:
        there = get_or_create_prompts(texts=texts)
        yield from (there[text] for text in dict.fromkeys(texts))
    elif campaign is not None:
        yield from Prompt.objects.filter(tasks__campaign=campaign).distinct().order_by("pk")
