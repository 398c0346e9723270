"""Which generated images become training images: the clearly preferred and the clearly non-preferred of each prompt."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np


class Label(StrEnum):
    PREFERRED = "preferred"
    NON_PREFERRED = "non_preferred"


@dataclass(frozen=True)
class ScoredImage:
    """One generated image with its Human Preference Score."""

    image: str
    """Key of the image."""
    prompt: str
    """What it was made from."""
    score: float
    """100 * cos; compared only with images of the same prompt."""


@dataclass(frozen=True)
class LabelledImage:
    """One image that stands out among those of its prompt."""

    image: str
    prompt: str
    label: Label
    confidence: float
    """Its probability among the images of the prompt: above alpha / group_size, up to 1."""
    group_size: int
    """Images of the prompt."""


def standout(scores: np.ndarray, *, alpha: float, temperature: float = 1.0) -> tuple[int, float] | None:
    """The image that is clearly above the others of its prompt.

    Args:
        scores: (n,) 100 * cos of the images of one prompt.
        alpha: how many times the even share 1/n its probability must exceed.
        temperature: scores are divided by it before the softmax.

    Returns:
        Its index and its probability, or None where no image stands out. The first of equals counts.

    Source: arXiv 2303.14420, section 5 (p > alpha / n, alpha 2.0); align_sd `select_training_images.py`.
    """
    odds = np.exp((scores - scores.max()) / temperature)
    probabilities = odds / odds.sum()
    best = int(probabilities.argmax())
    confidence = float(probabilities[best])
    return (best, confidence) if confidence > alpha / len(scores) else None


def label_images(
    scored: Iterable[ScoredImage], *, alpha: float = 2.0, temperature: float = 1.0, smallest_group: int = 4
) -> list[LabelledImage]:
    """At most one preferred and one non-preferred image of every prompt with enough images.

    The non-preferred image is the one that stands out among the negated scores. The result doesn't depend on the
    order of the images: prompts come in the order of their text, equal scores in the order of the keys.
    """
    labelled = []
    for prompt, group in sorted(_groups(scored).items()):
        if len(group) >= smallest_group:
            labelled += _label_group(prompt, sorted(group, key=lambda image: image.image), alpha, temperature)
    return labelled


def _groups(scored: Iterable[ScoredImage]) -> dict[str, list[ScoredImage]]:
    groups = defaultdict(list)
    for image in scored:
        groups[image.prompt].append(image)
    return groups


def _label_group(prompt: str, group: Sequence[ScoredImage], alpha: float, temperature: float) -> list[LabelledImage]:
    scores = np.array([image.score for image in group], dtype=np.float64)
    found = []
    for label, sign in ((Label.PREFERRED, 1), (Label.NON_PREFERRED, -1)):
        pick = standout(sign * scores, alpha=alpha, temperature=temperature)
        if pick is not None:
            index, confidence = pick
            found.append(LabelledImage(group[index].image, prompt, label, confidence, len(group)))
    return found
