"""Images from prompts by a generator: the same noise for every generator, none made twice."""

import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import PIL.Image
from django.conf import settings

from annotations.models import Generator, Image, Prompt
from annotations.services.images import ImageItem, store_images
from worker.models import ModelVersion
from worker.queries import version_by_name
from worker.services.base_models import base_model_folder
from worker.services.execution import Reporter, RunStopped
from worker.services.recipes import FieldRejected, Recipe, UnableToGenerate, make_generator
from worker.services.versions import folder_of

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from worker.generation.pipeline import Drawn

__all__ = [
    "Generated",
    "Recipe",
    "UnableToGenerate",
    "adapter_folder",
    "generate_for_prompts",
    "images_by_seed",
    "load_generator",
    "make_generator",
    "pipeline_folder",
]

PIPELINE_FILE = "model_index.json"

# What is tried first; where it doesn't fit into the memory, batches are halved.
MAX_BATCH = 64
MAX_BATCH_PIXELS = {"cpu": 4 * 512 * 512, "cuda": 16 * 512 * 512}

# Of an image that several seeds gave, as faulty ones do: the seeds besides its own.
OTHER_SEEDS = "other_seeds"


@dataclass(frozen=True)
class Generated:
    """What came of generating."""

    made: int
    kept: int
    """Images that were there already."""
    hidden: int
    """Of those made: faulty ones, hidden from annotators."""
    faults: dict[str, int] = field(default_factory=dict)
    """Why they are hidden: how many for each of `Image.HiddenReason`."""


@dataclass(frozen=True)
class _Wish:
    """One image to make."""

    prompt: Prompt
    seed: int


def generate_for_prompts(
    *, generator: Generator, prompts: Sequence[Prompt], per_prompt: int, reporter: Reporter | None = None
) -> Generated:
    """Make the images number 0 to `per_prompt` - 1 of every prompt, as the generator's recipe says.

    Each is stored as it is made; one that is there already (same prompt, generator and seed) is not made again. Blank,
    broken and unsafe ones are stored too, with the reason, and hidden from annotators.

    Raises:
        UnableToGenerate: the generator has no recipe, or its pipeline or adapter is not there.
        PipelineRejected, ImageTooLarge: its pipeline won't do, or the worker's memory.
        RunStopped: the reporter was told to stop; a batch that was begun is lost, what was made before is kept.
    """
    from worker.generation.pipeline import draw, seed_for  # slow import

    recipe = Recipe.of(generator)
    wishes = [_Wish(prompt, seed_for(prompt.text, index)) for prompt in prompts for index in range(per_prompt)]
    missing = _missing(generator, wishes)
    faults: Counter[str] = Counter()
    made = 0
    if missing:
        pipeline = load_generator(recipe)
        batches = draw(
            pipeline,
            [wish.prompt.text for wish in missing],
            [wish.seed for wish in missing],
            steps=recipe.steps,
            guidance=recipe.guidance,
            negative_prompt=recipe.negative_prompt or None,
            width=recipe.width,
            height=recipe.height,
            batch_size=_first_batch_size(pipeline, recipe),
            on_step=_watch(reporter, recipe, len(missing)),
            tell=reporter.say if reporter else None,
        )
        for drawn in batches:
            _store(generator, recipe, missing[made : made + len(drawn)], drawn)
            faults.update(each.fault.value for each in drawn if each.fault)
            made += len(drawn)
            if reporter:
                reporter.step(made, len(missing))
                if reporter.should_stop():
                    raise RunStopped
    return Generated(made=made, kept=len(wishes) - made, hidden=faults.total(), faults=dict(sorted(faults.items())))


def images_by_seed(generator: Generator, prompts: Sequence[Prompt], index: int) -> dict[int, Image]:
    """The image number `index` of each prompt by a generator, by the prompt's primary key."""
    from worker.generation.pipeline import seed_for  # slow import

    seeds = {prompt.pk: seed_for(prompt.text, index) for prompt in prompts}
    images = Image.objects.filter(generator=generator, prompt__in=prompts, seed__isnull=False)
    return {image.prompt_id: image for image in images if seeds[image.prompt_id] in _seeds_of(image)}


def load_generator(recipe: Recipe) -> "DiffusionPipeline":
    """The pipeline of a recipe with its scheduler and adapter, on the worker's device.

    Raises:
        UnableToGenerate, PipelineRejected: a part is not there, or won't do.
    """
    from scoring.backend import pick_device  # slow import
    from worker.generation.pipeline import load_adapter, load_pipeline, use_scheduler  # slow import

    device = pick_device(None if settings.DEVICE == "auto" else settings.DEVICE)
    pipeline = load_pipeline(
        pipeline_folder(recipe.pipeline), device, precision=recipe.precision, keeps_safety_checker=True
    )
    if recipe.scheduler:
        use_scheduler(pipeline, recipe.scheduler)
    if recipe.adapter:
        load_adapter(pipeline, adapter_folder(recipe.adapter), recipe.adapter_scale)
    return pipeline


def pipeline_folder(name: str) -> Path:
    """The folder of a base model by its name in the settings, of a pipeline on the hub, or the folder itself.

    Raises:
        BaseModelMissing, UnableToGenerate, PipelineRejected: it is not there.
    """
    from worker.generation.hub import download_pipeline, is_hub_name  # slow import

    if name in settings.BASE_MODELS:
        return base_model_folder(name, PIPELINE_FILE)
    folder = Path(name)
    if (folder / PIPELINE_FILE).is_file():
        return folder
    if is_hub_name(name):
        if settings.HUB_DOWNLOADS:
            return download_pipeline(name)
        raise FieldRejected(
            "pipeline",
            f"{name} is no folder here, and this site fetches nothing from the hub: HUB_DOWNLOADS=1 lets it.",
        )
    raise FieldRejected("pipeline", f"there is no diffusion pipeline in {folder}; unpack or download it first.")


def adapter_folder(name: str) -> Path:
    """The folder of an adapter's version, `adapter-3`.

    Raises:
        UnableToGenerate: there is no such version.
    """
    version = version_by_name(name)
    if version is None or version.family != ModelVersion.Family.ADAPTER:
        raise FieldRejected("adapter", f"there is no adapter {name!r}.")
    return folder_of(version)


def _missing(generator: Generator, wishes: Sequence[_Wish]) -> list[_Wish]:
    images = Image.objects.filter(generator=generator, prompt__in={wish.prompt.pk for wish in wishes})
    there = {
        (image.prompt_id, seed)
        for image in images.only("prompt_id", "seed", "settings").iterator()
        for seed in _seeds_of(image)
    }
    return [wish for wish in dict.fromkeys(wishes) if (wish.prompt.pk, wish.seed) not in there]


def _seeds_of(image: Image) -> Iterator[int | None]:
    yield image.seed
    yield from image.settings.get(OTHER_SEEDS, [])


def _first_batch_size(pipeline: "DiffusionPipeline", recipe: Recipe) -> int:
    from worker.generation.pipeline import native_size  # slow import

    width, height = native_size(pipeline)
    pixels = (recipe.width or width) * (recipe.height or height)
    most = MAX_BATCH_PIXELS.get(pipeline.device.type, MAX_BATCH_PIXELS["cpu"])
    return max(1, min(MAX_BATCH, most // pixels))


def _watch(reporter: Reporter | None, recipe: Recipe, images: int) -> Callable[[int, int], None] | None:
    """Says after every denoising step how many images are done, and ends the work there if it shall stop."""
    if reporter is None:
        return None

    def watch(steps: int, _total: int) -> None:
        reporter.step(min(steps // recipe.steps, images - 1), images)
        if reporter.should_stop():
            raise RunStopped

    return watch


def _store(generator: Generator, recipe: Recipe, batch: Sequence[_Wish], drawn: "Sequence[Drawn]") -> None:
    items = [
        ImageItem(
            content=_png(each.picture),
            prompt=wish.prompt,
            generator=generator,
            seed=wish.seed,
            settings=recipe.to_json(),
            hidden_reason=each.fault.value if each.fault else "",
        )
        for wish, each in zip(batch, drawn, strict=True)
    ]
    for image, wish in zip(store_images(items=items), batch, strict=True):
        if wish.seed not in _seeds_of(image):
            _note_seed(image.pk, wish.seed)


def _note_seed(image_pk: int, seed: int) -> None:
    """Keep in mind that a picture came of one more seed: it is stored once, and is not to be made again."""
    image = Image.objects.get(pk=image_pk)
    image.settings[OTHER_SEEDS] = [*image.settings.get(OTHER_SEEDS, []), seed]
    image.save(update_fields=["settings"])


def _png(picture: PIL.Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
