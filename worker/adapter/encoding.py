"""Every image and caption through the frozen parts of the model once: latents and text embeddings, kept on disk."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from worker.adapter.config import AdapterConfig
from worker.adapter.data import Example, ExampleSet

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

CHUNK = 64
"""Images or captions encoded at once."""

OpenImage = Callable[[str], Image.Image]
"""Gives the image of a key."""

Tell = Callable[[str, int, int], None]
"""Takes a stage, how many things are done and of how many; what it raises ends the work."""


@dataclass(frozen=True)
class Encoded:
    """What the UNet sees of the examples."""

    latents: torch.Tensor
    """(examples, channels, height, width), scaled as the UNet expects; training examples first."""
    captions: torch.Tensor
    """(captions, tokens, width) text embeddings."""
    caption_places: dict[str, int]
    """Which row of `captions` belongs to a caption."""

    def text(self, captions: Sequence[str]) -> torch.Tensor:
        """(len(captions), tokens, width) embeddings of these captions."""
        return self.captions[[self.caption_places[caption] for caption in captions]]


def encode(
    pipeline: "StableDiffusionPipeline",
    examples: ExampleSet,
    config: AdapterConfig,
    open_image: OpenImage,
    folder: Path,
    tell: Tell,
) -> Encoded:
    """Encode all examples, or read what an earlier attempt encoded.

    The two files are named by the hash of the examples and are put in place only when complete. At the paper's size
    they hold about 9 and 31 GB, therefore they are mapped, not loaded. Latents are the mean of the autoencoder's
    posterior; the paper's script draws from it anew in every step, which at a posterior this narrow is the same.
    """
    captions = all_captions(examples, config)
    everything = (*examples.training, *examples.evaluation)
    dtype = pipeline.unet.dtype
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{examples.sha256[:16]}-{str(dtype).removeprefix('torch.')}"
    chunks = _latents(pipeline, everything, config, open_image)
    latents = _kept(folder / f"{name}-latents.bin", len(everything), dtype, chunks, partial(tell, "encoding images"))
    chunks = _texts(pipeline, captions)
    texts = _kept(folder / f"{name}-captions.bin", len(captions), dtype, chunks, partial(tell, "encoding captions"))
    return Encoded(latents, texts, {caption: place for place, caption in enumerate(captions)})


def all_captions(examples: ExampleSet, config: AdapterConfig) -> list[str]:
    """Every text that training or evaluation shows, sorted."""
    captions = {example.caption(config.mark) for example in examples.training}
    for example in examples.evaluation:
        captions |= {example.prompt, config.mark + example.prompt}
    return sorted(captions | {"", config.mark})


def training_square(image: Image.Image, side: int, rng: np.random.Generator) -> np.ndarray:
    """The picture as the autoencoder takes it: shorter side to `side`, a random square of the rest.

    Returns:
        (3, side, side) float32 in -1..1.

    Source: align_sd `train_text_to_image_lora.py` (bilinear Resize, RandomCrop, no flip); here each image has one
    crop for the whole training, so that its latents can be kept.
    """
    image = image.convert("RGB")
    scale = side / min(image.size)
    width, height = (max(side, round(length * scale)) for length in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
    pixels = np.asarray(image.crop((left, top, left + side, top + side)), dtype=np.float32)
    return pixels.transpose(2, 0, 1) / 127.5 - 1


def _latents(
    pipeline: "StableDiffusionPipeline", examples: Sequence[Example], config: AdapterConfig, open_image: OpenImage
) -> Iterator[torch.Tensor]:
    side = config.resolution or pipeline.unet.config.sample_size * pipeline.vae_scale_factor
    vae: Any = pipeline.vae
    for start in range(0, len(examples), CHUNK):
        squares = [
            training_square(open_image(example.image), side, np.random.default_rng((config.seed, start + place)))
            for place, example in enumerate(examples[start : start + CHUNK])
        ]
        pixels = torch.from_numpy(np.stack(squares)).to(pipeline.device, vae.dtype)
        with torch.no_grad():
            yield vae.encode(pixels).latent_dist.mode() * vae.config.scaling_factor


def _texts(pipeline: "StableDiffusionPipeline", captions: Sequence[str]) -> Iterator[torch.Tensor]:
    for start in range(0, len(captions), CHUNK):
        with torch.no_grad():
            embeddings, _none = pipeline.encode_prompt(
                list(captions[start : start + CHUNK]), pipeline.device, 1, do_classifier_free_guidance=False
            )
        yield embeddings


def _kept(
    path: Path, rows: int, dtype: torch.dtype, chunks: Iterator[torch.Tensor], tell: Callable[[int, int], None]
) -> torch.Tensor:
    """The rows of all chunks as one tensor mapped from a file, which is written first where it is not there."""
    shape_path = path.with_suffix(".shape")
    if not path.exists():
        unfinished = path.with_suffix(".unfinished")
        done = 0
        with unfinished.open("wb") as file:
            for chunk in chunks:
                shape_path.write_text(" ".join(str(length) for length in chunk.shape[1:]))
                file.write(chunk.to("cpu", dtype).contiguous().view(torch.uint8).numpy().tobytes())
                done += len(chunk)
                tell(done, rows)
        unfinished.rename(path)
    row_shape = [int(length) for length in shape_path.read_text().split()]
    size = rows * int(np.prod(row_shape))
    return torch.from_file(str(path), shared=False, size=size, dtype=dtype).view(rows, *row_shape)
