"""A diffusion pipeline from a folder, and images from it whose noise depends on prompt and index alone."""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from PIL import Image

import scoring.backend  # noqa: F401  before diffusers: makes its own import of torchvision possible

from diffusers import StableDiffusionPipeline  # isort: skip
from worker.generation.patch_vae import PatchVAE  # isort: skip

OnStep = Callable[[int, int], None]
"""Gets the denoising steps done and the steps in all, over all batches; what it raises ends the generation."""


SEEDS = 2**31 - 1
"""Prompts have so many different seeds."""


class PipelineRejected(ValueError):
    """A folder holds no pipeline that can be used; the message says why."""


def seed_for(prompt: str, index: int) -> int:
    """The seed of a prompt's image number `index` (from 0): the same for every model, so that nothing else differs.

    Returns:
        0 to 2**31 - 1 + index, from the prompt's SHA-256; it fits where seeds are commonly kept.
    """
    return int(hashlib.sha256(prompt.encode()).hexdigest(), 16) % SEEDS + index


def load_pipeline(folder: Path | str, device: str | torch.device = "cpu") -> StableDiffusionPipeline:
    """The pipeline in a folder of diffusers' layout, ready to generate or to be trained on.

    Only safetensors are read, nothing comes from the network, and there is no safety checker: what is generated goes to
    annotators through the site's own moderation.

    Raises:
        PipelineRejected: the folder holds no Stable Diffusion pipeline in safetensors.
    """
    folder = Path(folder)
    parts = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    try:
        if _autoencoder_class(folder) == PatchVAE.__name__:
            parts["vae"] = PatchVAE.from_pretrained(folder / "vae", local_files_only=True, use_safetensors=True)
        pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True, use_safetensors=True, **parts)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise PipelineRejected(f"{folder}: no pipeline of diffusers in safetensors ({reason}).") from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def generate(
    pipeline: StableDiffusionPipeline,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int,
    guidance: float,
    negative_prompt: str | None = None,
    adapter_folder: Path | str | None = None,
    adapter_scale: float = 1.0,
    batch_size: int = 16,
    on_step: OnStep | None = None,
) -> list[Image.Image]:
    """One image per prompt and seed, in order.

    Args:
        pipeline: from `load_pipeline`; it is left as it was found.
        prompts: (n,) texts.
        seeds: (n,) integers, usually from `seed_for`; each image's noise comes from its own seed alone, drawn on the
            CPU, so neither its neighbours nor the device change it. The images can still differ in a last bit
            between batch sizes and devices, as sums of floats do.
        steps: denoising steps; the paper: 50.
        guidance: scale of classifier-free guidance, above 1 to have any effect; the paper: 7.5.
        negative_prompt: what to steer away from, the adapter's mark for instance; None: the empty text.
        adapter_folder: with a LoRA adapter in diffusers' format, used for this call alone.
        adapter_scale: 1 is the adapter as trained, 0 none of it.
        batch_size: images at once; with guidance the UNet sees twice as many.
        on_step: see OnStep.

    Returns:
        (n,) RGB images of the model's own size.

    Raises:
        ValueError: prompts and seeds differ in number.
    """
    batches = _batches(list(zip(prompts, seeds, strict=True)), batch_size)
    images: list[Image.Image] = []
    with _adapted(pipeline, adapter_folder, adapter_scale), warnings.catch_warnings():
        # diffusers 0.42 turns a tensor into an array in a way that numpy 2 announces it will refuse one day.
        warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy keyword", DeprecationWarning)
        for number, batch in enumerate(batches):
            texts = [prompt for prompt, _ in batch]
            images += pipeline(
                texts,
                negative_prompt=None if negative_prompt is None else [negative_prompt] * len(batch),
                generator=[torch.Generator().manual_seed(seed) for _, seed in batch],
                num_inference_steps=steps,
                guidance_scale=guidance,
                callback_on_step_end=_reporter(on_step, steps * number, steps * len(batches)),
                callback_on_step_end_tensor_inputs=[],
            ).images
    return images


@contextmanager
def _adapted(pipeline: StableDiffusionPipeline, folder: Path | str | None, scale: float) -> Iterator[None]:
    if folder is None:
        yield
        return
    pipeline.load_lora_weights(str(folder), adapter_name="adapter", local_files_only=True, use_safetensors=True)
    try:
        pipeline.set_adapters(["adapter"], [scale])
        yield
    finally:
        pipeline.unload_lora_weights()


def _reporter(on_step: OnStep | None, done_before: int, total: int) -> Callable[..., dict[str, object]] | None:
    if on_step is None:
        return None

    def report(_pipeline: object, step: int, _timestep: object, tensors: dict[str, object]) -> dict[str, object]:
        on_step(done_before + step + 1, total)
        return tensors

    return report


def _batches(pairs: list[tuple[str, int]], size: int) -> list[list[tuple[str, int]]]:
    return [pairs[start : start + size] for start in range(0, len(pairs), size)]


def _autoencoder_class(folder: Path) -> str | None:
    config = folder / "vae" / "config.json"
    return json.loads(config.read_text())["_class_name"] if config.is_file() else None
