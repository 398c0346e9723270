"""Was the mark learnt? Asked of images that training didn't see, on the same noise with and without the mark."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from worker.adapter.config import AdapterConfig
from worker.adapter.data import Example, Kind

Loss = Callable[[torch.Tensor, list[str], torch.Generator], torch.Tensor]
"""Places of images, a caption for each, and the source of noise and time steps -> (images,) losses."""


@dataclass(frozen=True)
class MarkGain:
    """By how much the mark before the caption makes images easier to predict."""

    images: int
    marked: float
    """Mean loss with the mark."""
    unmarked: float
    """Mean loss without it."""
    reach: float | None
    """Half the 95 % interval of `gain` over images; None for a single image."""

    @property
    def gain(self) -> float:
        """Above 0: the mark tells something true of these images. Below 0: something untrue."""
        return self.unmarked - self.marked

    @property
    def is_above_zero(self) -> bool:
        """Whether the whole interval of the gain is."""
        return self.reach is not None and self.gain > self.reach

    def to_json(self) -> dict[str, float | None]:
        return {
            "images": self.images,
            "marked_loss": self.marked,
            "unmarked_loss": self.unmarked,
            "gain": self.gain,
            "gain_low": None if self.reach is None else self.gain - self.reach,
            "gain_high": None if self.reach is None else self.gain + self.reach,
        }


def mark_gains(
    examples: Sequence[Example], first_place: int, loss: Loss, config: AdapterConfig
) -> dict[Kind, MarkGain]:
    """The gain of the mark on preferred and on non-preferred images.

    Args:
        examples: labelled images; their places are `first_place`, `first_place + 1`, ...
        loss: of the model in question.
        config: the mark, the number of draws, of images, and the seed.

    Returns:
        One `MarkGain` per label that has images. An adapter that has learnt the mark has a gain above 0 on
        non-preferred images and one below 0 on preferred images; equal gains mean that it learnt nothing about
        quality.
    """
    found = {}
    for kind in (Kind.PREFERRED, Kind.NON_PREFERRED):
        places = [first_place + at for at, example in enumerate(examples) if example.kind == kind]
        places = places[: config.evaluation_images]
        if places:
            prompts = [examples[place - first_place].prompt for place in places]
            found[kind] = _gain(places, prompts, loss, config)
    return found


def _gain(places: list[int], prompts: list[str], loss: Loss, config: AdapterConfig) -> MarkGain:
    where = torch.tensor(places)
    marked, unmarked = np.zeros(len(places)), np.zeros(len(places))
    for draw in range(config.evaluation_draws):
        for sums, captions in ((marked, [config.mark + prompt for prompt in prompts]), (unmarked, prompts)):
            noise = torch.Generator().manual_seed(1_000_003 * config.seed + draw)
            sums += loss(where, captions, noise).numpy() / config.evaluation_draws
    gains = unmarked - marked
    reach = float(1.96 * gains.std(ddof=1) / np.sqrt(len(gains))) if len(gains) > 1 else None
    return MarkGain(len(places), float(marked.mean()), float(unmarked.mean()), reach)


def report(before: dict[Kind, MarkGain], after: dict[Kind, MarkGain]) -> dict[str, object]:
    """The part `mark` of an adapter's metrics; `was_learnt` is true where the interval of the gain on non-preferred
    images lies above 0 and the gain exceeds that on preferred images.
    """
    marked, other = after.get(Kind.NON_PREFERRED), after.get(Kind.PREFERRED)
    was_learnt = marked is not None and marked.is_above_zero and (other is None or marked.gain > other.gain)
    return {
        "before": {kind.value: gain.to_json() for kind, gain in before.items()},
        "after": {kind.value: gain.to_json() for kind, gain in after.items()},
        "was_learnt": was_learnt,
    }
