"""From records to tensors: choices as tables of indices, images as pixels, batches in a seeded order."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scoring.preferences import Choice
from scoring.preprocessing import Preprocessing

OpenImage = Callable[[str], Image.Image]
"""From an image's key to the picture; called from several threads at once."""


class UnableToReadImage(ValueError):
    """An image of the choices can't be read; the message names it. None is ever replaced by another in silence."""


@dataclass(frozen=True)
class ChoiceTable:
    """Choices as arrays; images and prompts that occur more than once are kept once. All-bad answers are left out."""

    choices: tuple[Choice, ...]
    """Those that are in the table, in the order given."""

    images: tuple[str, ...]
    """Distinct keys, in order of first appearance."""

    prompts: tuple[str, ...]
    """Distinct prompts, in order of first appearance."""

    image_ids: NDArray[np.int64]
    """(C, N) index into `images`; 0 beyond a choice's own."""

    mask: NDArray[np.bool_]
    """(C, N) true where there is an image."""

    chosen: NDArray[np.int64]
    """(C,) column of the chosen image, -1 for a tie."""

    prompt_ids: NDArray[np.int64]
    """(C,) index into `prompts`."""

    def rows(self, split: str) -> NDArray[np.int64]:
        """Indices of the choices on one side of the split."""
        return np.flatnonzero([choice.split == split for choice in self.choices])


def tabulate(choices: Sequence[Choice]) -> ChoiceTable:
    """Arrange choices as arrays; see `ChoiceTable`."""
    kept = tuple(choice for choice in choices if choice.outcome != "all_bad")
    image_place: dict[str, int] = {}
    prompt_place: dict[str, int] = {}
    widest = max((len(choice.images) for choice in kept), default=1)
    image_ids = np.zeros((len(kept), widest), dtype=np.int64)
    mask = np.zeros((len(kept), widest), dtype=bool)
    for row, choice in enumerate(kept):
        places = [image_place.setdefault(key, len(image_place)) for key in choice.images]
        image_ids[row, : len(places)] = places
        mask[row, : len(places)] = True
    return ChoiceTable(
        choices=kept,
        image_ids=image_ids,
        mask=mask,
        chosen=np.array([-1 if choice.chosen is None else choice.chosen for choice in kept], dtype=np.int64),
        prompt_ids=np.array([prompt_place.setdefault(c.prompt, len(prompt_place)) for c in kept], dtype=np.int64),
        images=tuple(image_place),
        prompts=tuple(prompt_place),
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
            with self._open_image(key) as image:
                return self._preprocessing.square(image)
        except (OSError, ValueError, SyntaxError, KeyError) as error:
            raise UnableToReadImage(f"Image {key} can't be read ({error}); remove or replace it.") from error
