"""The record that crosses rooms: one person's judgement on one set of images of one prompt."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Literal, Self, get_args

Outcome = Literal["choice", "tie", "all_bad"]
Split = Literal["train", "test"]

MIN_IMAGES, MAX_IMAGES = 2, 9


class ChoiceRejected(ValueError):
    """A record is not a choice; the message says what is wrong with it."""


@dataclass(frozen=True)
class Choice:
    """One person looked at the images of one prompt, and chose one, or saw no winner, or found all bad."""

    prompt: str
    """What the images were made from."""

    images: tuple[str, ...]
    """Keys of the 2 to 9 images, in any fixed order: SHA-256 of the file, or a path."""

    outcome: Outcome
    """`choice`, `tie` (no clear winner) or `all_bad`."""

    chosen: int | None
    """Index into `images` of the chosen one; None unless the outcome is `choice`."""

    annotator: str
    """Pseudonym of the person."""

    split: Split
    """The side on which the prompt falls."""

    generators: tuple[str | None, ...] = ()
    """Who made each image, in the order of `images`; empty where unknown."""

    def __post_init__(self) -> None:
        if not MIN_IMAGES <= len(self.images) <= MAX_IMAGES:
            raise ChoiceRejected(
                f"A choice needs {MIN_IMAGES} to {MAX_IMAGES} images, this one has {len(self.images)}."
            )
        if self.outcome not in get_args(Outcome):
            raise ChoiceRejected(f"The outcome must be choice, tie or all_bad, not {self.outcome!r}.")
        if self.split not in get_args(Split):
            raise ChoiceRejected(f"The split must be train or test, not {self.split!r}.")
        if self.outcome == "choice" and (self.chosen is None or not 0 <= self.chosen < len(self.images)):
            raise ChoiceRejected(f"chosen must be 0 to {len(self.images) - 1}, not {self.chosen}.")
        if self.outcome != "choice" and self.chosen is not None:
            raise ChoiceRejected(f"Where the outcome is {self.outcome}, chosen must be null, not {self.chosen}.")
        if self.generators and len(self.generators) != len(self.images):
            raise ChoiceRejected(f"{len(self.generators)} generators named for {len(self.images)} images.")

    @property
    def is_decided(self) -> bool:
        return self.outcome == "choice"

    @property
    def task(self) -> tuple[str, tuple[str, ...]]:
        """What was judged, equal for all who judged the same images of the same prompt in whatever order."""
        return self.prompt, tuple(sorted(self.images))

    @property
    def answer(self) -> str:
        """Key of the chosen image, or the outcome where none was chosen."""
        return self.outcome if self.chosen is None else self.images[self.chosen]

    def to_json(self) -> str:
        """One line of JSON; equal choices give equal lines."""
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Read one line written by `to_json`.

        Raises:
            ChoiceRejected: the line is no JSON object, a field is missing, unknown or has the wrong type, or the
                record contradicts itself.
        """
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ChoiceRejected(f"Not JSON: {error}.") from error
        if not isinstance(record, dict):
            raise ChoiceRejected("A choice must be a JSON object.")
        names = {field.name for field in fields(cls)}
        missing = sorted(names - {"generators"} - record.keys())
        unknown = sorted(record.keys() - names)
        if missing or unknown:
            raise ChoiceRejected(f"Fields missing: {missing}; unknown: {unknown}.")
        _check_types(record)
        return cls(**record | {key: tuple(record.get(key, ())) for key in ("images", "generators")})


def _check_types(record: dict[str, object]) -> None:
    for name in ("prompt", "outcome", "annotator", "split"):
        if not isinstance(record[name], str):
            raise ChoiceRejected(f"{name} must be a text, not {record[name]!r}.")
    images, generators, chosen = record["images"], record.get("generators", []), record["chosen"]
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        raise ChoiceRejected("images must be a list of texts.")
    if not isinstance(generators, list) or not all(name is None or isinstance(name, str) for name in generators):
        raise ChoiceRejected("generators must be a list of texts or nulls.")
    if chosen is not None and (not isinstance(chosen, int) or isinstance(chosen, bool)):
        raise ChoiceRejected(f"chosen must be a whole number or null, not {chosen!r}.")


def write_lines(choices: Iterable[Choice]) -> str:
    """Choices as JSON lines, one each, ending in a line break."""
    return "".join(choice.to_json() + "\n" for choice in choices)


def read_lines(lines: Iterable[str]) -> Iterator[Choice]:
    """Choices from JSON lines; empty lines are passed over.

    Raises:
        ChoiceRejected: a line is not a choice; the message gives the line's number.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield Choice.from_json(line)
        except ChoiceRejected as error:
            raise ChoiceRejected(f"Line {number}: {error}") from error
