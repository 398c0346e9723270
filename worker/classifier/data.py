"""From records to tensors: choices as tables of indices, images as pixels, batches in a seeded order."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scoring.near_duplicates import Sketch
from scoring.pictures import PictureRejected, read_picture
from scoring.preferences import Choice
from scoring.preprocessing import Preprocessing
from worker.classifier.reports import UnableToTrain

OpenImage = Callable[[str], Image.Image]
"""From an image's key to the picture; called from several threads at once."""


class UnableToReadImage(ValueError):
    """An image of the choices can't be read; the message names it. None is ever replaced by another in silence."""


@dataclass(frozen=True)
class ChoiceTable:
    """Choices as arrays; images and prompts that occur more than once are kept once. All-bad answers are left out."""

    choices: tuple[Choice, ...]
    """Those that are in the table, in the order given; of several people's on one set, the first."""

    images: tuple[str, ...]
    """Distinct keys, in order of first appearance."""

    prompts: tuple[str, ...]
    """Distinct prompts, in order of first appearance."""

    image_ids: NDArray[np.int64]
    """(C, N) index into `images`; 0 beyond a choice's own."""

    mask: NDArray[np.bool_]
    """(C, N) true where there is an image."""

    votes: NDArray[np.float32]
    """(C, N) sum of the reliabilities of those who chose each image."""

    ties: NDArray[np.float32]
    """(C,) the same of those who saw no winner."""

    prompt_ids: NDArray[np.int64]
    """(C,) index into `prompts`."""

    def rows(self, split: str) -> NDArray[np.int64]:
        """Indices of the choices on one side of the split."""
        return np.flatnonzero([choice.split == split for choice in self.choices])

    def weights(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """How much each of these rows counts, above 0: the sum of the reliabilities of those who answered."""
        weights: NDArray[np.float32] = self.votes[rows].sum(axis=1) + self.ties[rows]
        return weights

    def held_back(self, rows: NDArray[np.int64], share: float, seed: int) -> NDArray[np.bool_]:
        """Which of these rows are on prompts to be held back: a share of them, at least one, by a seeded hash."""
        prompts = {self.prompts[place] for place in self.prompt_ids[rows]}
        order = sorted(prompts, key=lambda prompt: hashlib.sha256(f"{seed} {prompt}".encode()).digest())
        kept_back = set(order[: max(1, round(share * len(order)))])
        return np.array([self.prompts[place] in kept_back for place in self.prompt_ids[rows]], dtype=bool)


def tabulate(
    choices: Sequence[Choice], *, reliability: Mapping[str, float] | None = None, is_together: bool = False
) -> ChoiceTable:
    """Arrange choices as arrays; see `ChoiceTable`.

    Args:
        choices: in any order.
        reliability: how much the answers of each annotator count, 0 leaving them out; 1 for all who are not named.
        is_together: whether what several people said of one set becomes one row, their shares as targets, rather than
            a row for each of them.
    """
    weights = reliability or {}
    kept: dict[object, list[Choice]] = {}
    for number, choice in enumerate(choices):
        if choice.outcome != "all_bad" and weights.get(choice.annotator, 1.0) > 0:
            kept.setdefault(choice.task if is_together else number, []).append(choice)
    image_place: dict[str, int] = {}
    prompt_place: dict[str, int] = {}
    widest = max((len(first.images) for first, *_ in kept.values()), default=1)
    image_ids, prompt_ids = np.zeros((len(kept), widest), dtype=np.int64), np.zeros(len(kept), dtype=np.int64)
    mask = np.zeros((len(kept), widest), dtype=bool)
    votes, ties = np.zeros((len(kept), widest), dtype=np.float32), np.zeros(len(kept), dtype=np.float32)
    for row, of_set in enumerate(kept.values()):
        images = of_set[0].images
        prompt_ids[row] = prompt_place.setdefault(of_set[0].prompt, len(prompt_place))
        image_ids[row, : len(images)] = [image_place.setdefault(key, len(image_place)) for key in images]
        mask[row, : len(images)] = True
        for choice in of_set:
            weight = weights.get(choice.annotator, 1.0)
            if choice.chosen is None:
                ties[row] += weight
            else:
                votes[row, images.index(choice.images[choice.chosen])] += weight
    return ChoiceTable(
        choices=tuple(first for first, *_ in kept.values()),
        images=tuple(image_place),
        prompts=tuple(prompt_place),
        image_ids=image_ids,
        mask=mask,
        votes=votes,
        ties=ties,
        prompt_ids=prompt_ids,
    )


def batches(
    rows: NDArray[np.int64], *, size: int, epochs: int, seed: int, first_step: int = 0
) -> Iterator[NDArray[np.int64]]:
    """Batches of rows from a step onwards, every row once per epoch, each epoch in an order of its own.

    The order depends on the seed and the epoch alone, so a training that resumes sees what it would have seen.
    """
    steps_per_epoch = -(-len(rows) // size)
    for epoch in range(epochs):
        order = np.random.default_rng([seed, epoch]).permutation(rows)
        for step in range(steps_per_epoch):
            if epoch * steps_per_epoch + step >= first_step:
                yield order[step * size : (step + 1) * size]


@dataclass(frozen=True)
class HeldOut:
    """The test choices of a training."""

    choices: list[Choice]
    left_out: int
    """Others, of whose prompt or images the training sees something: they would measure how well it remembers."""

    @property
    def note(self) -> str:
        """What is left out, in words; empty where nothing is."""
        if not self.left_out:
            return ""
        total = self.left_out + len(self.choices)
        return (
            f"Left out of the test: {self.left_out} of {total} choices, whose prompt or one of whose images is"
            " trained on."
        )


def hold_out(choices: Sequence[Choice], learnt: Sequence[Choice], hashes: Mapping[str, str]) -> HeldOut:
    """The test choices among all choices, those alone of which the training sees nothing; see `kept_apart`.

    Raises:
        UnableToTrain: there are some, and none is left.
    """
    test = [choice for choice in choices if choice.split == "test" and choice.outcome != "all_bad"]
    apart = kept_apart(test, learnt, hashes)
    if test and not apart:
        raise UnableToTrain("Nothing is left to test: each test choice has a prompt or an image that is trained on.")
    return HeldOut(apart, len(test) - len(apart))


def kept_apart(test: Sequence[Choice], learnt: Sequence[Choice], hashes: Mapping[str, str]) -> list[Choice]:
    """Those of the test choices of which a training sees nothing.

    Args:
        test: in any order.
        learnt: what is trained on. A prompt is the same also in other case or punctuation, with or without settings and
            the usual modifiers, see `scoring.near_duplicates`.
        hashes: SHA-256 of an image's file by key, by which copies under another key are found; those not named are
            known by their key alone.
    """
    prompts = {Sketch.of(prompt).pairs for prompt in {choice.prompt for choice in learnt}}
    images = {hashes.get(key, key) for choice in learnt for key in choice.images}
    is_learnt = {prompt: Sketch.of(prompt).pairs in prompts for prompt in {choice.prompt for choice in test}}
    return [
        choice
        for choice in test
        if not is_learnt[choice.prompt] and images.isdisjoint(hashes.get(key, key) for key in choice.images)
    ]


class ImageReader:
    """Opens and resizes images on several threads, those of the next batch while this one is being computed."""

    def __init__(self, open_image: OpenImage, preprocessing: Preprocessing, readers: int) -> None:
        self._open_image = open_image
        self._preprocessing = preprocessing
        self._threads = ThreadPoolExecutor(readers, thread_name_prefix="image-reader")
        self._pending: dict[str, Future[NDArray[np.uint8]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(cancel_futures=True)

    def ask(self, keys: Sequence[str]) -> None:
        """Begin reading images that will soon be wanted."""
        for key in keys:
            if key not in self._pending:
                self._pending[key] = self._threads.submit(self._square, key)

    def squares(self, keys: Sequence[str]) -> NDArray[np.uint8]:
        """Padded squares, (n, 3, size, size) in 0..255, see `Preprocessing.square`.

        Raises:
            UnableToReadImage: one of them can't be opened or decoded.
        """
        self.ask(keys)
        squares = np.stack([self._pending[key].result() for key in keys])
        for key in set(keys):
            del self._pending[key]
        return squares

    def pixels(self, keys: Sequence[str]) -> NDArray[np.float32]:
        """What the model sees, (n, 3, size, size); errors as `squares`."""
        return self._preprocessing.normalise(self.squares(keys))

    def _square(self, key: str) -> NDArray[np.uint8]:
        try:
            return read_picture(lambda: self._open_image(key), self._preprocessing.square)
        except PictureRejected as error:
            raise UnableToReadImage(f"Image {key} can't be read ({error}); remove or replace it.") from error
