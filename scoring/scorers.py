"""Scorers of your own, in three lines:

    @scorer("brightness")
    def brightness(images: Sequence[Image.Image], prompt: str) -> list[float]:
        return [ImageStat.Stat(image.convert("L")).mean[0] for image in images]

A function from pictures and their prompt to one number per picture, higher is better, becomes a
`scoring.hps.Scorer`: the decorator puts it into `SCORERS`, from which the commands take it by its name.
"""

import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

BATCH = 64

ScoreFunction = Callable[[Sequence[Image.Image], str], ArrayLike]


# A name is part of the names of versions, such as sharpness-1, and of file names.
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


class ScorerRejected(ValueError):
    """A scorer can't be used; the message says what is wrong with it."""


class FunctionScorer:
    """A function with the manners of a scorer."""

    def __init__(self, name: str, function: ScoreFunction) -> None:
        self.kind = name
        self.manifest: dict[str, Any] = {
            "kind": name, "name": name, "function": f"{function.__module__}.{function.__qualname__}",
        }  # fmt: skip
        self._function = function
        self._source = _file_of(function)

    def source(self) -> bytes:
        """The file in which the function stands, as it was when it was read.

        Raises:
            ScorerRejected: it stands in none.
        """
        if self._source is None:
            raise ScorerRejected(f"{self.kind} must stand in a file, so that a change of it can be noticed.")
        return self._source

    def score(self, images: Sequence[Image.Image], prompt: str) -> NDArray[np.float64]:
        """One number per picture, (n,); higher is better.

        Raises:
            ScorerRejected: the function gave something else.
        """
        scores = np.asarray(self._function(images, prompt), dtype=np.float64)
        if scores.shape != (len(images),) or not np.isfinite(scores).all():
            raise ScorerRejected(
                f"{self.kind} must give one finite number for each of {len(images)} images;"
                f" it gave an array of shape {scores.shape} with {np.count_nonzero(~np.isfinite(scores))} not finite."
            )
        return scores

    def score_pairs(self, pairs: Iterable[tuple[Image.Image, str]], batch_size: int | None = None) -> Iterator[float]:
        """One number per picture with its prompt, in order; neighbours of one prompt are scored together."""
        for prompt, group in groupby(pairs, key=lambda pair: pair[1]):
            while batch := [image for image, _ in islice(group, batch_size or BATCH)]:
                yield from self.score(batch, prompt).tolist()


def _file_of(function: ScoreFunction) -> bytes | None:
    """Read now: by the time that somebody asks, the file may be another than the one that runs."""
    try:
        return Path(inspect.getfile(function)).read_bytes()
    except (OSError, TypeError):
        return None


SCORERS: dict[str, FunctionScorer] = {}


def scorer(name: str) -> Callable[[ScoreFunction], ScoreFunction]:
    """Make a function known as a scorer.

    Raises:
        ScorerRejected: the name is none, or another function has it.
    """
    if not NAME.fullmatch(name):
        raise ScorerRejected(f"{name!r} can't name a scorer; take small letters, digits and _, a letter first.")

    def know(function: ScoreFunction) -> ScoreFunction:
        made = FunctionScorer(name, function)
        known = SCORERS.setdefault(name, made)
        if known.manifest != made.manifest:
            raise ScorerRejected(f"{name!r} is the name of {known.manifest['function']} already.")
        return function

    return know


def known(modules: Iterable[str]) -> dict[str, FunctionScorer]:
    """The scorers that the modules define, by name.

    Raises:
        ScorerRejected: a module can't be imported.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ScorerRejected(f"SCORER_MODULES names {module!r}, which can't be imported: {error}.") from error
    return SCORERS


def find(name: str, modules: Iterable[str]) -> FunctionScorer | None:
    """The scorer of a name among those that the modules define, or None; errors as `known`."""
    return known(modules).get(name)
