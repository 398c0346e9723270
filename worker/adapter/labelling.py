"""Which generated images become training images: those that HPS or people clearly prefer to others, and the reverse."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


class Label(StrEnum):
    PREFERRED = "preferred"
    NON_PREFERRED = "non_preferred"


class Source(StrEnum):
    """Who said it."""

    HPS = "hps"
    PEOPLE = "people"


class Answer(StrEnum):
    """What people say of an image."""

    CHOSEN = "chosen"
    REJECTED = "rejected"
    """Another image of its set was chosen."""
    ALL_BAD = "all_bad"
    EVEN = "even"
    """No image of its set stands out, or its sets contradict each other."""


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
    """By HPS: its probability among the images of the prompt, above alpha / group_size, up to 1. By people: the share
    of judgements that say so."""
    group_size: int
    """Images it stands out among: those of the prompt, or of the set that people saw."""
    source: Source = Source.HPS


@dataclass(frozen=True)
class JudgedSet:
    """Some images of one prompt, side by side, and how many people said what of them."""

    prompt: str
    images: tuple[str, ...]
    chosen: Mapping[str, int]
    """By image; images that nobody chose may be left out."""
    ties: int = 0
    all_bad: int = 0

    @property
    def judgements(self) -> int:
        return sum(self.chosen.values()) + self.ties + self.all_bad


@dataclass(frozen=True)
class JudgedImage:
    """What people say of one image, all its sets together."""

    image: str
    prompt: str
    answer: Answer
    confidence: float
    """The share of judgements that say so; where there are several sets, the smallest."""
    group_size: int
    """Images of the set; where there are several sets, of the smallest."""


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


def judge_images(sets: Iterable[JudgedSet], *, fewest_votes: int = 3) -> list[JudgedImage]:
    """What people say of each image, where they have an answer.

    Every judgement of a set counts, a tie as one for no image. Where an image was chosen by more than half of them, it
    is chosen and the others are rejected; where more than half say that all are bad, all are; where more than half are
    ties, all are even. Short of that, as when two images have half each, people have no answer. An image in several
    sets is chosen only if it was chosen in all that have an answer, and all bad if it was in one and fared no better
    in another than to be rejected.

    Args:
        sets: of images, each set once.
        fewest_votes: sets with fewer judgements have no answer.
    """
    found: dict[tuple[str, str], list[JudgedImage]] = defaultdict(list)
    for judged in sets:
        if judged.judgements >= fewest_votes:
            for image in _answers_of(judged):
                found[image.prompt, image.image].append(image)
    return [_together(images) for _key, images in sorted(found.items())]


def pick_images(
    scored: Iterable[ScoredImage],
    judged: Sequence[JudgedImage] = (),
    *,
    labels_from: str = "hps",
    rejected: str = "left_out",
    alpha: float = 2.0,
    temperature: float = 1.0,
    smallest_group: int = 4,
) -> list[LabelledImage]:
    """The labels of HPS, of people, or of both: a prompt on which people have an answer is theirs alone.

    Args:
        scored: every image that may be labelled by HPS.
        judged: from `judge_images`.
        labels_from, rejected: as in `worker.adapter.config.AdapterConfig`.
    """
    by_people = [] if labels_from == "hps" else _labelled_by_people(judged, rejected)
    if labels_from == "people":
        return by_people
    answered = set() if labels_from == "hps" else {image.prompt for image in judged}
    unanswered = (image for image in scored if image.prompt not in answered)
    return by_people + label_images(unanswered, alpha=alpha, temperature=temperature, smallest_group=smallest_group)


def balance(
    labelled: Sequence[LabelledImage], share: float | None, rng: np.random.Generator
) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """At most `share` non-preferred images for each preferred one, drawn at random.

    Returns:
        Those that are kept, preferred ones first, and the non-preferred ones that are not; None keeps all.
    """
    preferred = [image for image in labelled if image.label == Label.PREFERRED]
    non_preferred = [image for image in labelled if image.label == Label.NON_PREFERRED]
    kept = non_preferred if share is None else drawn(non_preferred, round(share * len(preferred)), rng)
    spare = set(non_preferred) - set(kept)
    return preferred + kept, [image for image in non_preferred if image in spare]


def drawn(items: Sequence[Item], count: int, rng: np.random.Generator) -> list[Item]:
    """`count` of the items at random, or all, in their order."""
    if count >= len(items):
        return list(items)
    return [items[index] for index in sorted(rng.choice(len(items), size=count, replace=False))]


def _answers_of(judged: JudgedSet) -> list[JudgedImage]:
    """What a set's judgements say of each of its images; nothing where no more than half agree."""
    votes, size = judged.judgements, len(judged.images)

    def said(image: str, answer: Answer, count: int) -> JudgedImage:
        return JudgedImage(image, judged.prompt, answer, count / votes, size)

    for answer, count in ((Answer.ALL_BAD, judged.all_bad), (Answer.EVEN, judged.ties)):
        if 2 * count > votes:
            return [said(image, answer, count) for image in judged.images]
    for best, count in judged.chosen.items():
        if 2 * count > votes:
            return [said(image, Answer.CHOSEN if image == best else Answer.REJECTED, count) for image in judged.images]
    return []


def _together(images: Sequence[JudgedImage]) -> JudgedImage:
    """One answer from those of all sets in which an image stood."""
    answers = {image.answer for image in images}
    if answers == {Answer.CHOSEN}:
        answer = Answer.CHOSEN
    elif Answer.ALL_BAD in answers and answers <= {Answer.ALL_BAD, Answer.REJECTED}:
        answer = Answer.ALL_BAD
    elif Answer.REJECTED in answers:
        answer = Answer.REJECTED
    else:
        answer = Answer.EVEN
    confidence, size = min(image.confidence for image in images), min(image.group_size for image in images)
    return JudgedImage(images[0].image, images[0].prompt, answer, confidence, size)


def _labelled_by_people(judged: Iterable[JudgedImage], rejected: str) -> list[LabelledImage]:
    meanings = {Answer.CHOSEN: Label.PREFERRED, Answer.ALL_BAD: Label.NON_PREFERRED}
    if rejected == "non_preferred":
        meanings[Answer.REJECTED] = Label.NON_PREFERRED
    return [
        LabelledImage(one.image, one.prompt, meanings[one.answer], one.confidence, one.group_size, Source.PEOPLE)
        for one in judged
        if one.answer in meanings
    ]
