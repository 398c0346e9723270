"""What every format of existing choices is read into, and how a bad record is told."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from annotations.models import Outcome, Split

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


@dataclass(frozen=True)
class LeftOut:
    """A sound record that is not wanted, such as a generation behind a spoiler mark."""

    reason: str


class Placed(Protocol):
    @property
    def place(self) -> Place: ...


@dataclass(frozen=True)
class RawRecord:
    """One entry of a file, not looked at yet."""

    place: Place
    value: Any

    @property
    def stem(self) -> str:
        """The name of its file without the ending."""
        return Path(self.place.file).stem


@dataclass(frozen=True)
class Judgement:
    """What one person said of two to nine images of a prompt."""

    place: Place
    key: str
    """Names the judgement within its data set, whenever it is read."""
    prompt: str
    images: tuple[str, ...]
    """File names, or other names, as written; in the order shown."""
    annotator: str
    """The person's pseudonym in the source."""
    outcome: Outcome = Outcome.CHOICE
    chosen: int | None = None
    """Index into images, of a choice."""
    split: Split | None = None
    """The side that the source gave the prompt, where it did."""
    tags: tuple[str, ...] = ()
    generators: tuple[str | None, ...] | None = None
    """Of each image, where the source names them."""
    is_synthetic: bool = False
    prompt_id: str = ""
    """The prompt's own id in the source; two records of one text may be two prompts there."""
    voted_at: datetime | None = None
    shown_ms: int | None = None
    hidden_ms: int = 0
    is_too_fast: bool = False
    instructions_version: int | None = None
    """None means the campaign's present one."""
    details: dict[str, Any] = field(default_factory=dict)
    """What else is kept with the vote: of which ranking it is a pair, how a crowd was divided."""


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


Read = Judgement | Problem | LeftOut


def parsed(records: Iterable[RawRecord], parse: Callable[[RawRecord], Iterable[Judgement]]) -> Iterator[Read]:
    """The judgements of each record, or what is wrong with it; of a bad record none is given out."""
    for record in records:
        try:
            judgements = list(parse(record))
        except BadRecord as error:
            yield Problem(record.place, str(error))
        else:
            yield from judgements


def shown(value: object) -> str:
    """A value from a file as one short line, whatever it holds."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
