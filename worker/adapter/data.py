"""From labelled images to training examples: the mark, the regularisation images, and what is kept for evaluation."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

import numpy as np

from worker.adapter.config import AdapterConfig
from worker.adapter.labelling import LabelledImage, balance, drawn


class NotEnoughImages(ValueError):
    """There is nothing to learn the mark from; the message says what is missing."""


class Kind(StrEnum):
    """What an image is trained as."""

    PREFERRED = "preferred"
    NON_PREFERRED = "non_preferred"
    REGULARISATION = "regularisation"


@dataclass(frozen=True)
class Example:
    """One image that the adapter is trained on."""

    image: str
    """Key of the image."""
    prompt: str
    """What it was made from, without the mark."""
    kind: Kind
    """Non-preferred images get the mark, the others none."""

    def caption(self, mark: str) -> str:
        """What the adapter is told this image shows."""
        return mark + self.prompt if self.kind == Kind.NON_PREFERRED else self.prompt


@dataclass(frozen=True)
class ExampleSet:
    """What is trained on, and what is kept out of training to ask whether the mark was learnt."""

    training: tuple[Example, ...]
    evaluation: tuple[Example, ...]
    """Labelled images alone, of prompts that training doesn't see."""

    @property
    def sha256(self) -> str:
        """Names the data: equal examples in equal order give equal names."""
        lines = [json.dumps(asdict(example), sort_keys=True) for example in (*self.training, *self.evaluation)]
        return hashlib.sha256("\n".join([str(len(self.training)), *lines]).encode()).hexdigest()

    def counts(self) -> dict[str, int]:
        """Training images of each kind."""
        return {kind.value: sum(example.kind == kind for example in self.training) for kind in Kind}


def make_examples(
    labelled: Sequence[LabelledImage], regularisation: Iterable[tuple[str, str]], config: AdapterConfig
) -> ExampleSet:
    """The examples of one training: same images, same settings, same examples.

    Args:
        labelled: from `labelling.label_images`.
        regularisation: (key, caption) of images that keep the model near to what it was; those that are labelled
            are left out.
        config: the shares of each kind, and the seed.

    Raises:
        NotEnoughImages: no image of one of the two labels is left for training.
    """
    rng = np.random.default_rng(config.seed)
    chosen, _spare = balance(labelled, config.non_preferred_per_preferred, rng)
    kept_out = _evaluation_prompts(chosen, config.evaluation_share, rng)
    training = [_example(image) for image in chosen if image.prompt not in kept_out]
    evaluation = [_example(image) for image in chosen if image.prompt in kept_out]
    missing = {Kind.PREFERRED, Kind.NON_PREFERRED} - {example.kind for example in training}
    if missing:
        raise NotEnoughImages(
            f"No {' and no '.join(sorted(missing)).replace('_', '-')} image stands out among "
            f"{len(labelled)} labelled ones: generate more images per prompt, or lower alpha ({config.alpha})."
        )
    labelled_keys = {image.image for image in labelled}
    others = [(key, caption) for key, caption in regularisation if key not in labelled_keys and caption not in kept_out]
    wanted = round(config.regularisation_per_labelled * len(training))
    training += [Example(key, caption, Kind.REGULARISATION) for key, caption in drawn(others, wanted, rng)]
    return ExampleSet(tuple(training), tuple(evaluation))


def _example(image: LabelledImage) -> Example:
    return Example(image.image, image.prompt, Kind(image.label.value))


def _evaluation_prompts(labelled: Sequence[LabelledImage], share: float, rng: np.random.Generator) -> set[str]:
    prompts = sorted({image.prompt for image in labelled})
    return set(drawn(prompts, round(share * len(prompts)), rng))


def batch_at(step: int, examples: int, config: AdapterConfig) -> np.ndarray:
    """Which examples make the batch of a step: (batch_size,) indexes, from the seed and the step alone.

    Every example comes once per pass, in an order shuffled anew for each pass; a batch may run from one pass into the
    next. Nothing is remembered between steps, so a training that resumes reads exactly what it would have read.
    """
    places = step * config.batch_size + np.arange(config.batch_size)
    passes, within = np.divmod(places, examples)
    orders = {number: np.random.default_rng((config.seed, int(number))).permutation(examples) for number in set(passes)}
    return np.array([orders[number][place] for number, place in zip(passes, within, strict=True)])
