"""How a generator makes its images: pipeline, adapter and sampling, checked field by field before anything is drawn."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from annotations.models import Generator
from annotations.services.images import get_or_create_generator, is_storable
from worker.generation.schedulers import SCHEDULERS  # noqa: TID253 - names alone, nothing of torch

MAX_TEXT_CHARACTERS = 2000
MAX_STEPS = 1000
MAX_GUIDANCE = 50.0
MAX_ADAPTER_SCALE = 4.0
# Latents are an eighth of the picture in every published pipeline, and UNets want whole ones.
SIDE_MULTIPLE = 8
MAX_SIDE = 4096
PRECISIONS = ("float32", "float16", "bfloat16")


class UnableToGenerate(ValueError):
    """The images can't be made as asked; the message says what is missing."""


class FieldRejected(UnableToGenerate):
    """One of the settings is no good: `field` is its name, and the message says what would be right."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field, self.reason = field, reason


@dataclass(frozen=True)
class Recipe:
    """How a generator makes its images; kept in `Generator.settings`.

    Raises:
        FieldRejected: a field has a value that makes no sense.
    """

    pipeline: str
    """Name of a base model in the settings' BASE_MODELS, a folder that diffusers wrote, or `owner/name` on the hub."""
    adapter: str = ""
    """Name of an adapter's version, such as `adapter-3`, or none."""
    negative_prompt: str = ""
    """What the images shall not be."""
    steps: int = 50
    """Denoising steps. Paper: 50."""
    guidance: float = 7.5
    """Classifier-free guidance. Paper: 7.5."""
    adapter_scale: float = 1.0
    """1 is the adapter as trained, 0 none of it."""
    scheduler: str = ""
    """A name in `worker.generation.schedulers`; empty: the pipeline's own. Paper: PNDM."""
    width: int | None = None
    """Of the images, in pixels; None: as the model was trained."""
    height: int | None = None
    """As `width`."""
    precision: str = "float32"
    """Of the weights: float32, float16 or bfloat16. Half of it needs half the memory, and moves pixels a little."""

    def __post_init__(self) -> None:
        for name in ("pipeline", "adapter", "negative_prompt"):
            _check_text(name, getattr(self, name))
        if not self.pipeline:
            raise FieldRejected("pipeline", "it is needed: the name of a base model, or a folder.")
        _check_whole("steps", self.steps, 1, MAX_STEPS)
        _check_number("guidance", self.guidance, 0, MAX_GUIDANCE)
        _check_number("adapter_scale", self.adapter_scale, 0, MAX_ADAPTER_SCALE)
        _check_name("scheduler", self.scheduler, ("", *SCHEDULERS))
        _check_name("precision", self.precision, PRECISIONS)
        for name, side in (("width", self.width), ("height", self.height)):
            _check_side(name, side)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, generator: Generator) -> Self:
        """The recipe of a generator; what older ones don't say has its default.

        Raises:
            UnableToGenerate: it has none, as generators of imported images.
        """
        known = {field.name for field in fields(cls)}
        if "pipeline" not in generator.settings or generator.settings.keys() - known:
            raise UnableToGenerate(f"{generator} has no recipe, so this site can't make images with it.")
        return cls(**generator.settings)


def make_generator(*, name: str, recipe: Recipe, description: str = "", is_synthetic: bool = False) -> Generator:
    """The generator of this name and recipe.

    Raises:
        UnableToGenerate: the name is taken by a generator with another recipe.
    """
    generator = get_or_create_generator(
        name=name, description=description, settings=recipe.to_json(), is_synthetic=is_synthetic
    )
    check_same_recipe(generator, recipe)
    return generator


def check_same_recipe(generator: Generator, recipe: Recipe) -> None:
    """Let a generator pass that draws as the recipe says.

    Raises:
        FieldRejected: it draws otherwise, or its images were made elsewhere.
    """
    # Compared as recipes: an older generator does not name the settings that came later.
    if "pipeline" not in generator.settings or Recipe.of(generator) != recipe:
        raise FieldRejected("generator", f"{generator.name!r} has other settings already; choose another name.")


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str) or not is_storable(value) or len(value) > MAX_TEXT_CHARACTERS:
        raise FieldRejected(name, f"it must be a text of at most {MAX_TEXT_CHARACTERS:,} characters.")


def _check_whole(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise FieldRejected(name, f"it must be a whole number from {low:,} to {high:,}, not {value!r}.")


def _check_number(name: str, value: object, low: float, high: float) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not low <= value <= high:  # type: ignore[operator]
        raise FieldRejected(name, f"it must be a number from {low:g} to {high:g}, not {value!r}.")


def _check_name(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        names = ", ".join(filter(None, known))
        raise FieldRejected(name, f"there is no {value!r}; choose one of: {names}.")


def _check_side(name: str, side: int | None) -> None:
    if side is None:
        return
    _check_whole(name, side, SIDE_MULTIPLE, MAX_SIDE)
    if side % SIDE_MULTIPLE:
        low = side - side % SIDE_MULTIPLE
        raise FieldRejected(
            name, f"it must be a multiple of {SIDE_MULTIPLE}, such as {low} or {low + SIDE_MULTIPLE}, not {side}."
        )
