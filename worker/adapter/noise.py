"""What is random in training, from the seed and the step alone, and the loss of predicting it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
from torch.nn import functional

from worker.adapter.config import AdapterConfig
from worker.adapter.data import Example, Kind, batch_at
from worker.adapter.encoding import Text

if TYPE_CHECKING:
    from diffusers import DDPMScheduler


@dataclass(frozen=True)
class Draw:
    """Noise and times of some images."""

    noise: torch.Tensor
    """(images, channels, height, width)"""
    times: torch.Tensor
    """(images,) from 0, hardly noisy, to the scheduler's last, nothing but noise."""

    @classmethod
    def of(
        cls, shape: Sequence[int], time_steps: int, generator: torch.Generator, *, noise_offset: float = 0.0
    ) -> Self:
        """Noise for latents of this shape.

        With `noise_offset`, one number for each image and channel, so many times as large as the noise, is added to
        all of it. Source: N. Guttenberg, "Diffusion with offset noise" (2023); as in diffusers' examples.
        """
        noise = torch.randn(*shape, generator=generator)
        times = torch.randint(time_steps, (shape[0],), generator=generator)
        if noise_offset:
            noise = noise + noise_offset * torch.randn(*shape[:2], 1, 1, generator=generator)
        return cls(noise, times)


@dataclass(frozen=True)
class Batch:
    """The examples of a step with all that is random about them."""

    places: torch.Tensor
    """(images,) of the examples."""
    captions: tuple[str, ...]
    """What each is said to show."""
    draw: Draw

    @classmethod
    def of(
        cls, step: int, examples: Sequence[Example], latents: torch.Tensor, time_steps: int, config: AdapterConfig
    ) -> Self:
        """The batch of a step, counted from 0; nothing is remembered from the one before."""
        generator = torch.Generator().manual_seed(seed_of(step, config))
        places = torch.from_numpy(batch_at(step, len(examples), config))
        are_dropped = torch.rand(len(places), generator=generator) < config.caption_dropout
        captions = tuple(
            _caption(examples[place], config, is_dropped=is_dropped)
            for place, is_dropped in zip(places.tolist(), are_dropped.tolist(), strict=True)
        )
        shape = (len(places), *latents.shape[1:])
        draw = Draw.of(shape, time_steps, generator, noise_offset=config.noise_offset)
        return cls(places, captions, draw)

    def rows(self, rows: slice | Sequence[int]) -> Self:
        """Some images of the batch."""
        kept = range(len(self.places))[rows] if isinstance(rows, slice) else rows
        at = torch.tensor(list(kept), dtype=torch.long)
        captions = tuple(self.captions[row] for row in kept)
        return type(self)(self.places[at], captions, Draw(self.draw.noise[at], self.draw.times[at]))

    def __len__(self) -> int:
        return len(self.places)


def seed_of(step: int, config: AdapterConfig) -> int:
    """The seed of a step, or of a draw of the evaluation."""
    return 1_000_003 * config.seed + step


def losses(
    unet: Any, scheduler: "DDPMScheduler", latents: torch.Tensor, captions: Sequence[str], text: Text, draw: Draw
) -> torch.Tensor:
    """(images,) mean squared errors of the predicted noise or velocity, whichever the base model predicts.

    Args:
        latents: (images, channels, height, width) of the images themselves.
        captions: (images,) what they are said to show.
    """
    device, dtype = unet.device, unet.dtype
    latents = latents.float()
    noisy = scheduler.add_noise(latents, draw.noise, draw.times)
    is_velocity = scheduler.config.prediction_type == "v_prediction"
    target = scheduler.get_velocity(latents, draw.noise, draw.times) if is_velocity else draw.noise
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        embeddings = text(captions).to(device, dtype)
        predicted = unet(noisy.to(device, dtype), draw.times.to(device), embeddings).sample
    return functional.mse_loss(predicted.float(), target.to(device), reduction="none").mean((1, 2, 3))


def _caption(example: Example, config: AdapterConfig, *, is_dropped: bool) -> str:
    """The example's caption; where it is left out, of a non-preferred image the mark stays."""
    if not is_dropped:
        return example.caption(config.mark)
    return config.mark if example.kind == Kind.NON_PREFERRED else ""
