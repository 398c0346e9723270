"""A diffusion pipeline from a folder, and images from it whose noise depends on prompt and index alone."""

import hashlib
import inspect
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import scoring.backend  # noqa: F401  before diffusers: makes its own import of torchvision possible

import diffusers  # isort: skip
from diffusers import AutoPipelineForText2Image, DiffusionPipeline  # isort: skip
from worker.generation.faults import Fault, is_blank  # isort: skip
from worker.generation.patch_vae import PatchVAE  # isort: skip
from worker.generation.schedulers import SCHEDULERS  # isort: skip

OnStep = Callable[[int, int], None]
"""Gets the denoising steps done and the steps in all, summed over the images; what it raises ends the generation."""


INDEX_FILE = "model_index.json"

SEEDS = 2**31 - 1
"""Prompts have so many different seeds."""

# What a pipeline must let itself be told; all that diffusers keeps up do.
NEEDED = ("prompt", "negative_prompt", "generator", "num_inference_steps", "guidance_scale", "callback_on_step_end")

# How torch says that memory ran out where it has no error of its own for it: on the CPU and on Apple's chips.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


class PipelineRejected(ValueError):
    """A folder holds no pipeline that can be used; the message says why."""


class ImageTooLarge(ValueError):
    """Not even one image at a time fits into the memory; the message says what to change."""


@dataclass(frozen=True)
class Drawn:
    """A picture as a pipeline made it."""

    picture: Image.Image
    """RGB; black where the fault left nothing to see."""
    fault: Fault | None = None
    """What is wrong with it, if anything is."""


def seed_for(prompt: str, index: int) -> int:
    """The seed of a prompt's image number `index` (from 0): the same for every model, so that nothing else differs.

    Returns:
        0 to 2**31 - 1 + index, from the prompt's SHA-256; it fits where seeds are commonly kept.
    """
    return int(hashlib.sha256(prompt.encode()).hexdigest(), 16) % SEEDS + index


def load_pipeline(
    folder: Path | str,
    device: str | torch.device = "cpu",
    *,
    precision: str = "float32",
    keeps_safety_checker: bool = False,
) -> DiffusionPipeline:
    """The text-to-image pipeline in a folder of diffusers' layout, ready to generate or to be trained on.

    Its class follows from its `model_index.json`: Stable Diffusion 1.x and 2.x, SDXL, and what else diffusers knows as
    text to image. Only safetensors are read, and nothing comes from the network.

    Args:
        precision: of the weights, a dtype's name in torch.
        keeps_safety_checker: whether a checker that comes with the pipeline is loaded too; a training needs none.

    Raises:
        PipelineRejected: the folder holds no such pipeline in safetensors.
    """
    folder = Path(folder)
    try:
        parts = _replaced_parts(folder, keeps_safety_checker=keeps_safety_checker)
        pipeline = AutoPipelineForText2Image.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=getattr(torch, precision), **parts
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise PipelineRejected(f"{folder}: no pipeline of diffusers in safetensors ({reason}).") from error
    lacks = [name for name in NEEDED if name not in inspect.signature(pipeline.__call__).parameters]
    if lacks:
        raise PipelineRejected(f"{folder}: a {type(pipeline).__name__} can't be told {' and '.join(lacks)}.")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def use_scheduler(pipeline: DiffusionPipeline, name: str) -> None:
    """Let a pipeline sample by one of `SCHEDULERS`, with the noise levels it was trained with."""
    scheduler = SCHEDULERS[name]
    scheduler_class = getattr(diffusers, scheduler.class_name)
    with _quiet():
        pipeline.scheduler = scheduler_class.from_config(pipeline.scheduler.config, **scheduler.settings)


def native_size(pipeline: DiffusionPipeline) -> tuple[int, int]:
    """Width and height of the images that a model was trained on, in pixels.

    Raises:
        PipelineRejected: neither the model nor its pipeline says.
    """
    denoiser = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    # Those whose transformer takes any size, such as Flux, keep it with the pipeline.
    sides = getattr(getattr(denoiser, "config", None), "sample_size", None) or getattr(
        pipeline, "default_sample_size", None
    )
    if sides is None or not hasattr(pipeline, "vae_scale_factor"):
        raise PipelineRejected(
            f"{type(pipeline).__name__} does not say for which size of image it was made, so it can't be used here."
        )
    height, width = sides if isinstance(sides, list | tuple) else (sides, sides)
    return width * pipeline.vae_scale_factor, height * pipeline.vae_scale_factor


def generate(
    pipeline: DiffusionPipeline,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int,
    guidance: float,
    negative_prompt: str | None = None,
    width: int | None = None,
    height: int | None = None,
    adapter_folder: Path | str | None = None,
    adapter_scale: float = 1.0,
    batch_size: int = 16,
    on_step: OnStep | None = None,
) -> list[Image.Image]:
    """One image per prompt and seed, in order, whatever is wrong with it; see `draw`.

    Args:
        adapter_folder: with a LoRA adapter in diffusers' format, used for this call alone.
        adapter_scale: 1 is the adapter as trained, 0 none of it.

    Returns:
        (n,) RGB images.

    Raises:
        ValueError: prompts and seeds differ in number.
        ImageTooLarge: one image at a time is too much for the memory.
    """
    with with_adapter(pipeline, adapter_folder, adapter_scale):
        batches = draw(
            pipeline,
            prompts,
            seeds,
            steps=steps,
            guidance=guidance,
            negative_prompt=negative_prompt,
            width=width,
            height=height,
            batch_size=batch_size,
            on_step=on_step,
        )
        return [drawn.picture for batch in batches for drawn in batch]


def draw(
    pipeline: DiffusionPipeline,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int,
    guidance: float,
    negative_prompt: str | None = None,
    width: int | None = None,
    height: int | None = None,
    batch_size: int = 16,
    on_step: OnStep | None = None,
    tell: Callable[[str], None] | None = None,
) -> Iterator[list[Drawn]]:
    """One image per prompt and seed, in order and batch by batch; where memory doesn't suffice, batches are halved.

    Args:
        pipeline: from `load_pipeline`; it is left as it was found.
        prompts: (n,) texts.
        seeds: (n,) integers, usually from `seed_for`; each image's noise comes from its own seed alone, drawn on the
            CPU, so neither its neighbours nor the device change it. The images can still differ in a last bit
            between batch sizes and devices, as sums of floats do.
        steps: denoising steps; the paper: 50.
        guidance: scale of classifier-free guidance, above 1 to have any effect; the paper: 7.5.
        negative_prompt: what to steer away from, the adapter's mark for instance; None: as the pipeline has it without
            one, which is the empty text in Stable Diffusion and zeros in SDXL.
        width: of the images, in pixels; None: the model's own.
        height: as `width`.
        batch_size: images at once; with guidance the model sees twice as many.
        on_step: see OnStep.
        tell: gets a sentence for people when a batch was too large.

    Raises:
        ValueError: prompts and seeds differ in number.
        ImageTooLarge: one image at a time is too much for the memory.
    """
    wanted = list(zip(prompts, seeds, strict=True))
    own_width, own_height = native_size(pipeline)
    size = (width or own_width, height or own_height)
    call = {"num_inference_steps": steps, "guidance_scale": guidance, "width": size[0], "height": size[1]}
    done = 0
    while done < len(wanted):
        batch = wanted[done : done + batch_size]
        report = _reporter(on_step, steps=steps, size=len(batch), done_before=done, total=len(wanted))
        if (drawn := _drawn_if_it_fits(pipeline, batch, negative_prompt, call, report)) is not None:
            done += len(batch)
            yield drawn
            continue
        batch_size = len(batch) // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if not batch_size:
            raise ImageTooLarge(
                f"One image of {size[0]} x {size[1]} pixels is too much for the memory;"
                " choose a smaller size, or half precision."
            )
        if tell:
            tell(f"Out of memory; {batch_size} images at once from now on.")


def _drawn_if_it_fits(
    pipeline: DiffusionPipeline,
    batch: Sequence[tuple[str, int]],
    negative_prompt: str | None,
    call: dict[str, Any],
    report: Callable[[int], None],
) -> list[Drawn] | None:
    """A batch of pictures, or None where the memory did not suffice."""
    try:
        return _draw_batch(pipeline, batch, negative_prompt, call, report)
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in OUT_OF_MEMORY):
            return None
        raise


def _draw_batch(
    pipeline: DiffusionPipeline,
    batch: Sequence[tuple[str, int]],
    negative_prompt: str | None,
    call: dict[str, Any],
    report: Callable[[int], None],
) -> list[Drawn]:
    latents: torch.Tensor | None = None

    def after_step(_pipeline: object, step: int, _timestep: object, tensors: dict[str, Any]) -> dict[str, Any]:
        nonlocal latents
        latents = tensors["latents"]
        report(step + 1)
        return tensors

    with _quiet():
        output = pipeline(
            [prompt for prompt, _seed in batch],
            negative_prompt=None if negative_prompt is None else [negative_prompt] * len(batch),
            generator=[torch.Generator().manual_seed(seed) for _prompt, seed in batch],
            callback_on_step_end=after_step,
            callback_on_step_end_tensor_inputs=["latents"],
            output_type="np",
            **call,
        )
    blocked = getattr(output, "nsfw_content_detected", None) or [False] * len(batch)
    # The pipeline clips what it decodes, so that an infinite latent may look like a white picture.
    sound = [True] * len(batch) if latents is None else torch.isfinite(latents).flatten(1).all(1).tolist()
    size = (call["width"], call["height"])
    return [
        _checked(values, is_sound=is_sound, is_blocked=is_blocked, size=size)
        for values, is_sound, is_blocked in zip(output.images, sound, blocked, strict=True)
    ]


def _checked(values: NDArray[np.floating], *, is_sound: bool, is_blocked: bool, size: tuple[int, int]) -> Drawn:
    """A picture from values (height, width, 3) in 0..1, with what is wrong with it."""
    is_sound = is_sound and values.shape[1::-1] == size and bool(np.isfinite(values).all())
    pixels = (np.nan_to_num(values, posinf=1.0, neginf=0.0) * 255).round().astype(np.uint8)
    fault = None
    if not is_sound:
        fault = Fault.BROKEN
    elif is_blocked:
        fault = Fault.UNSAFE
    elif is_blank(pixels):
        fault = Fault.BLANK
    return Drawn(Image.fromarray(pixels), fault)


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # diffusers 0.42 turns a tensor into an array in a way that numpy 2 announces it will refuse one day.
        warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy keyword", DeprecationWarning)
        yield


@contextmanager
def with_adapter(pipeline: DiffusionPipeline, folder: Path | str | None, scale: float = 1.0) -> Iterator[None]:
    """Let a pipeline draw with the LoRA adapter in a folder for the length of a block; None: without one."""
    if folder is None:
        yield
        return
    load_adapter(pipeline, folder, scale)
    try:
        yield
    finally:
        pipeline.unload_lora_weights()


def load_adapter(pipeline: DiffusionPipeline, folder: Path | str, scale: float = 1.0) -> None:
    """Let a pipeline draw with the LoRA adapter in a folder of diffusers' format."""
    pipeline.load_lora_weights(str(folder), adapter_name="adapter", local_files_only=True, use_safetensors=True)
    pipeline.set_adapters(["adapter"], [scale])


def _reporter(on_step: OnStep | None, *, steps: int, size: int, done_before: int, total: int) -> Callable[[int], None]:
    def report(step: int) -> None:
        # Some schedulers take a step or two more than they are asked for.
        if on_step is not None:
            on_step(steps * done_before + min(step, steps) * size, steps * total)

    return report


def _replaced_parts(folder: Path, *, keeps_safety_checker: bool) -> dict[str, Any]:
    """The parts of a pipeline that diffusers can't load by itself, or is not to load."""
    index = json.loads((folder / INDEX_FILE).read_text())
    parts: dict[str, Any] = {}
    if index.get("vae", [None, None])[1] == PatchVAE.__name__:
        parts["vae"] = PatchVAE.from_pretrained(folder / "vae", local_files_only=True, use_safetensors=True)
    has_checker = index.get("safety_checker", [None])[0] is not None
    if "safety_checker" in index and not (has_checker and keeps_safety_checker):
        parts |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return parts
