"""Every image and caption through the frozen parts of the model once: latents and text embeddings, kept on disk."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from scoring.distributed import Processes
from worker.adapter.config import AdapterConfig
from worker.adapter.data import Example, ExampleSet

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

CAPTIONS_AT_ONCE = 64

OpenImage = Callable[[str], Image.Image]
"""Gives the image of a key."""

Tell = Callable[[str, int, int], None]
"""Takes a stage, how many things are done and of how many; what it raises ends the work."""

Text = Callable[[Sequence[str]], torch.Tensor]
"""Captions -> (captions, tokens, width) text embeddings, as the UNet takes them."""


def encode_images(
    pipeline: "StableDiffusionPipeline",
    examples: ExampleSet,
    config: AdapterConfig,
    open_image: OpenImage,
    path: Path,
    tell: Tell,
    processes: Processes,
) -> torch.Tensor:
    """The latents of all examples, or what an earlier attempt kept of them.

    Several processes encode a share each, into the same file. Latents are the mean of the autoencoder's posterior; the
    paper's script draws from it anew in every step, which at a posterior this narrow is the same.

    Args:
        path: of the file to keep them in, whole or not at all; at the paper's size about 9 GB, therefore it is mapped
            into memory, not loaded.

    Returns:
        (examples, channels, height, width), scaled as the UNet expects; training examples first.
    """
    everything = (*examples.training, *examples.evaluation)
    at_once = config.batch_size // config.batch_pieces  # as many as fit beside each other in training
    chunks = _Chunks(len(everything), at_once, partial(_latents, pipeline, everything, config, open_image))
    return _kept(path, chunks, pipeline.unet.dtype, partial(tell, "encoding images"), processes)


def kept_text(
    pipeline: "StableDiffusionPipeline", captions: Sequence[str], path: Path, tell: Tell, processes: Processes
) -> Text:
    """The embeddings of these captions by a text encoder that stays as it is; kept as `encode_images` does (31 GB)."""
    chunks = _Chunks(len(captions), CAPTIONS_AT_ONCE, partial(_embeddings, pipeline, captions))
    embeddings = _kept(path, chunks, pipeline.unet.dtype, partial(tell, "encoding captions"), processes)
    places = {caption: place for place, caption in enumerate(captions)}
    return lambda wanted: embeddings[[places[caption] for caption in wanted]]


def live_text(pipeline: "StableDiffusionPipeline") -> Text:
    """Embeddings by the text encoder as it is at that moment; they carry gradients to its adapter."""

    def encode(captions: Sequence[str]) -> torch.Tensor:
        embeddings: torch.Tensor
        embeddings, _none = pipeline.encode_prompt(
            list(captions), pipeline.device, 1, do_classifier_free_guidance=False
        )
        return embeddings

    return encode


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
    pipeline: "StableDiffusionPipeline",
    examples: Sequence[Example],
    config: AdapterConfig,
    open_image: OpenImage,
    rows: range,
) -> torch.Tensor:
    side = config.resolution or pipeline.unet.config.sample_size * pipeline.vae_scale_factor
    vae: Any = pipeline.vae
    squares = [
        training_square(open_image(examples[row].image), side, np.random.default_rng((config.seed, row)))
        for row in rows
    ]
    pixels = torch.from_numpy(np.stack(squares)).to(pipeline.device, vae.dtype)
    with torch.no_grad():
        latents: torch.Tensor = vae.encode(pixels).latent_dist.mode() * vae.config.scaling_factor
    return latents


def _embeddings(pipeline: "StableDiffusionPipeline", captions: Sequence[str], rows: range) -> torch.Tensor:
    with torch.no_grad():
        return live_text(pipeline)(captions[rows.start : rows.stop])


@dataclass(frozen=True)
class _Chunks:
    """Rows to be encoded, some at once."""

    rows: int
    at_once: int
    encode: Callable[[range], torch.Tensor]

    def __iter__(self) -> Iterator[range]:
        for start in range(0, self.rows, self.at_once):
            yield range(start, min(start + self.at_once, self.rows))


def _kept(
    path: Path, chunks: _Chunks, dtype: torch.dtype, tell: Callable[[int, int], None], processes: Processes
) -> torch.Tensor:
    """All rows as one tensor mapped from a file, which is written first where it is not there."""
    shape_path = path.with_suffix(".shape")
    if not processes.agree(first=path.exists()):
        unfinished = path.with_suffix(".unfinished")
        if processes.is_first:
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.touch()
        processes.wait()
        with unfinished.open("r+b") as file:
            for rows in processes.share(list(chunks)):
                encoded = chunks.encode(rows).to("cpu", dtype).contiguous()
                shape = encoded.shape[1:]
                file.seek(rows.start * shape.numel() * dtype.itemsize)
                file.write(encoded.view(torch.uint8).numpy().tobytes())
                if processes.is_first:
                    tell(rows.stop, chunks.rows)
            file.flush()
            os.fsync(file.fileno())
        processes.wait()
        if processes.is_first:
            shape_path.write_text(" ".join(str(length) for length in shape))
            unfinished.rename(path)
        processes.wait()
    row_shape = [int(length) for length in shape_path.read_text().split()]
    size = chunks.rows * int(np.prod(row_shape))
    return torch.from_file(str(path), shared=False, size=size, dtype=dtype).view(chunks.rows, *row_shape)
