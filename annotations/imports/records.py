"""What every format of existing choices is read into, and how a bad record is told."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from annotations.models import Split

Good = TypeVar("Good")


class UnableToImport(Exception):
    """Nothing was imported; the one-line message says why and what to do."""


class BadRecord(Exception):
    """Why one record cannot be taken, in one clause."""


@dataclass(frozen=True)
class Place:
    """Where a record stands in its source."""

    file: str
    record: int
    """Counted from 1."""

    def __str__(self) -> str:
        return f"{self.file}, record {self.record}"


@dataclass(frozen=True)
class Problem:
    """A record that cannot be taken."""

    place: Place
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


class Placed(Protocol):
    @property
    def place(self) -> Place: ...


@dataclass(frozen=True)
class ChoiceRecord:
    """One person's choice of one image among several of a prompt."""

    place: Place
    key: str
    """Names the record within its data set, whenever it is read."""
    prompt: str
    split: Split | None
    """The side that the source gave the prompt, where it did."""
    tags: tuple[str, ...]
    images: tuple[str, ...]
    """File names as written, in the order shown."""
    generators: tuple[str | None, ...] | None
    """Of each image, where the source names them."""
    chosen: int
    """Index into images."""
    annotator: str
    """The person's pseudonym in the source."""
    is_synthetic: bool


Item = TypeVar("Item", bound=Placed)


def sieve(items: Iterable[Item], check: Callable[[Item], Good]) -> tuple[list[Good], list[Problem]]:
    """What the check made of the good items, and what it said of the bad ones."""
    good, problems = [], []
    for item in items:
        try:
            good.append(check(item))
        except BadRecord as error:
            problems.append(Problem(item.place, str(error)))
    return good, problems


def shown(value: object) -> str:
    """A value from a file as one short line, whatever it holds."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
