"""Reads choices from CSV: pairs with one row per vote, under the headings that such files bear, or our own export.

Which column is which is told by its heading (see SYNONYMS), or by --columns. Three rules:
- `chosen` holds the left or right cell again, `left`, `right`, or a word for a tie or for 'all bad'.
- A file with `scene` and without columns for generators compares versions of a scene: its left and right cells name
  the generators, and the images are known as scene/version.
- A person judges a set once. A file in which people did so several times tells the times apart by `session`, and
  each session counts as a person.
"""

import csv
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from annotations.imports import fields
from annotations.imports.records import BadRecord, Judgement, Place, RawRecord, Read, UnableToImport, parsed, shown
from annotations.imports.sources import Source
from annotations.models import Outcome, Split

SYNONYMS = {
    "prompt": ("prompt", "caption", "text", "scene"),
    "left": ("left", "left_image", "image_left", "image_0", "image_a", "path1"),
    "right": ("right", "right_image", "image_right", "image_1", "image_b", "path2"),
    "chosen": ("chosen", "choice", "winner", "preferred", "human_vote"),
    "annotator": ("annotator", "user", "user_id", "user_hash", "observer", "rater", "worker", "participant"),
    "session": ("session", "session_id"),
    "left_generator": ("left_generator", "generator_left", "left_model", "model_left", "model_0", "model1", "model_a"),
    "right_generator": (
        *("right_generator", "generator_right", "right_model", "model_right", "model_1", "model2", "model_b"),
    ),
    "id": ("id", "vote", "vote_id", "pair_id", "ranking_id"),
    "split": ("split",),
    "shown_ms": ("shown_ms",),
    "seconds": ("seconds", "time_s", "time_spent_s"),
    "voted_at": ("voted_at", "created_at", "timestamp"),
}
NEEDED = ("prompt", "left", "right", "chosen")
OWN = {"vote", "prompt", "outcome", "order", "generators", "annotator"}
"""Columns by which our own export is known."""
SIDES = {"left": 0, "leftvote": 0, "right": 1, "rightvote": 1}
TIES = {"tie", "tievote", "draw", "none", "equal", "no clear winner"}
ALL_BAD = {"all_bad", "all bad", "both_bad", "both bad", "bothbad_vote"}


def read_csv(source: Source) -> Iterator[Read]:
    """The choices in a CSV file in UTF-8, with headings.

    Raises:
        UnableToImport: it is no such file, or lacks a column.
    """
    path = source.path
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, strict=True)
            headings = list(rows.fieldnames or [])
            if set(headings) >= OWN:
                yield from parsed(records_of(rows, path.name), own_judgements)
            else:
                table = Table(path, headings, source.columns)
                yield from parsed(records_of(rows, path.name), table.judgements)
    except OSError as error:
        raise UnableToImport(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UnableToImport(f"{path.name} is not UTF-8 text: {error.reason} at byte {error.start}.") from error
    except csv.Error as error:
        raise UnableToImport(f"{path.name} is not CSV that can be taken: {error} in line {rows.line_num}.") from error


def records_of(rows: Iterable[dict[str, str]], file: str) -> Iterator[RawRecord]:
    for number, row in enumerate(rows, start=1):
        yield RawRecord(Place(file, number), row)


def check_row(row: dict[Any, Any]) -> dict[str, str]:
    if None in row:
        raise BadRecord("it has more cells than there are headings")
    if None in row.values():
        raise BadRecord("it has fewer cells than there are headings")
    return row


class Table:
    """A file of pairs whose headings were understood."""

    def __init__(self, path: Path, headings: list[str], given: dict[str, str]) -> None:
        if unknown := sorted(given.keys() - SYNONYMS.keys()):
            raise UnableToImport(f"--columns knows no '{unknown[0]}'; it takes {', '.join(SYNONYMS)}.")
        if absent := sorted(set(given.values()) - set(headings)):
            raise UnableToImport(f"{path.name} has no column '{absent[0]}'; it has {', '.join(headings) or 'none'}.")
        self.columns = {name: column for name in SYNONYMS if (column := column_of(name, headings, given))}
        if missing := [name for name in NEEDED if name not in self.columns]:
            raise UnableToImport(
                f"{path.name} has no column for {missing[0]} ({', '.join(SYNONYMS[missing[0]])}); "
                f"say which it is with --columns {missing[0]}=HEADING."
            )
        self.compares_versions = self.columns["prompt"] == "scene" and "left_generator" not in self.columns

    def judgements(self, raw: RawRecord) -> Iterator[Judgement]:
        """The one pair of a row.

        Raises:
            BadRecord: something in the row is missing or of the wrong kind.
        """
        row = check_row(raw.value)
        cells = {name: row[column] for name, column in self.columns.items()}
        left, right = cells["left"], cells["right"]
        if not left or not right or left == right:
            raise BadRecord(f"{self.columns['left']} and {self.columns['right']} name no two images but {shown(left)}")
        outcome, chosen = chosen_of(cells["chosen"], left, right, self.columns["chosen"])
        images, generators = self.pair_of(cells)
        annotator = person_of(cells, raw)
        yield Judgement(
            place=raw.place,
            key=cells.get("id") or f"{annotator}\n{cells['prompt']}\n{chr(10).join(sorted(images))}",
            prompt=fields.prompt_of(cells),
            split=split_of(cells.get("split", "")),
            images=images,
            generators=generators,
            outcome=outcome,
            chosen=chosen,
            annotator=annotator,
            voted_at=fields.moment(cells["voted_at"], "voted_at") if cells.get("voted_at") else None,
            shown_ms=milliseconds_of(cells),
        )

    def pair_of(self, cells: dict[str, str]) -> tuple[tuple[str, str], tuple[str | None, str | None]]:
        """Names and generators of the two images."""
        left, right = cells["left"], cells["right"]
        if self.compares_versions:
            names = {"left": left, "right": right}
            generators = (fields.generator_name(names, "left"), fields.generator_name(names, "right"))
            return (f"{cells['prompt']}/{left}", f"{cells['prompt']}/{right}"), generators
        return (left, right), (
            fields.generator_name(cells, "left_generator"),
            fields.generator_name(cells, "right_generator"),
        )


def column_of(name: str, headings: list[str], given: dict[str, str]) -> str | None:
    """The file's column for one of ours: the one that was given, or the first heading that is a synonym."""
    if name in given:
        return given[name]
    plain = {heading.strip().lower().replace(" ", "_"): heading for heading in reversed(headings)}
    return next((plain[synonym] for synonym in SYNONYMS[name] if synonym in plain), None)


def chosen_of(cell: str, left: str, right: str, column: str) -> tuple[Outcome, int | None]:
    if cell in {left, right}:
        return Outcome.CHOICE, (left, right).index(cell)
    word = cell.strip().lower()
    if word in SIDES:
        return Outcome.CHOICE, SIDES[word]
    if word in TIES:
        return Outcome.TIE, None
    if word in ALL_BAD:
        return Outcome.ALL_BAD, None
    raise BadRecord(f"{column} is {shown(cell)}; it is one of its two images, left, right, tie or all_bad")


def person_of(cells: dict[str, str], raw: RawRecord) -> str:
    if not cells.get("annotator"):
        return fields.unnamed(f"{raw.stem}:{raw.place.record}")
    name = cells["annotator"]
    return fields.checked_person(f"{name}/{cells['session']}" if cells.get("session") else name, "annotator")


def milliseconds_of(cells: dict[str, str]) -> int | None:
    """How long the images were shown, from whichever column tells it."""
    if cells.get("shown_ms"):
        return number_of(cells["shown_ms"], "shown_ms")
    return number_of(cells.get("seconds", ""), "its time in seconds", times=1000)


def number_of(cell: str, name: str, *, times: int = 1) -> int | None:
    """A number of 0 or more, rounded after multiplying; None of an empty cell."""
    try:
        value = float(cell) * times if cell else None
    except ValueError:
        value = math.nan
    if value is None:
        return None
    if not 0 <= value < 2**31:
        raise BadRecord(f"{name} is no number of 0 or more but {shown(cell)}")
    return round(value)


def split_of(cell: str) -> Split | None:
    if not cell:
        return None
    if cell not in Split.values:
        raise BadRecord(f"split is neither train nor test but {shown(cell)}")
    return Split(cell)


def own_judgements(raw: RawRecord) -> Iterator[Judgement]:
    """The judgement of a row that our own export wrote; nothing is lost.

    Raises:
        BadRecord: something in the row was changed for the worse.
    """
    row = {name: without_mark(cell) for name, cell in check_row(raw.value).items()}
    images = tuple(row["order"].split(" "))
    record: dict[str, Any] = {"prompt": row["prompt"], "images": list(images)}
    record["generators"] = [name or None for name in list_cell(row["generators"], "generators")]
    outcome = row["outcome"]
    if outcome not in Outcome.judgements():
        raise BadRecord(f"outcome is neither choice, tie nor all_bad but {shown(outcome)}")
    if (outcome == Outcome.CHOICE) != (row.get("chosen", "") in images):
        raise BadRecord(f"chosen is {shown(row.get('chosen', ''))}, and the outcome is {outcome}")
    yield Judgement(
        place=raw.place,
        key=row["vote"],
        prompt=fields.prompt_of(record),
        split=split_of(row.get("split", "")),
        tags=fields.tags_of(list_cell(row.get("tags", ""), "tags")),
        images=fields.file_names(record, "images"),
        generators=fields.generators_of(record, len(images)),
        outcome=Outcome(outcome),
        chosen=images.index(row["chosen"]) if outcome == Outcome.CHOICE else None,
        annotator=fields.checked_person(row["annotator"], "annotator"),
        is_synthetic=row.get("synthetic") == "1",
        voted_at=fields.moment(row["voted_at"], "voted_at") if row.get("voted_at") else None,
        shown_ms=number_of(row.get("shown_ms", ""), "shown_ms"),
        hidden_ms=number_of(row.get("hidden_ms", ""), "hidden_ms") or 0,
        is_too_fast=row.get("is_too_fast") == "1",
        instructions_version=number_of(row.get("instructions_version", ""), "instructions_version"),
        details=ranking_of(row.get("ranking", "")),
    )


def without_mark(cell: str) -> str:
    """A cell without the apostrophe that keeps spreadsheets from taking it for a formula."""
    return cell.removeprefix("'")


def list_cell(cell: str, name: str) -> list[Any]:
    value = json_cell(cell, name) if cell else []
    if not isinstance(value, list):
        raise BadRecord(f"{name} is no JSON list but {shown(cell)}")
    return value


def json_cell(cell: str, name: str) -> Any:
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        raise BadRecord(f"{name} is no JSON but {shown(cell)}") from None


def ranking_of(cell: str) -> dict[str, Any]:
    """Of which ranking the vote is a pair, as our exports tell it."""
    if not cell:
        return {}
    value = json_cell(cell, "ranking")
    if not isinstance(value, dict) or value.keys() != {"id", "ranks"}:
        raise BadRecord(f"ranking is no object with id and ranks but {shown(cell)}")
    return {"ranking": value}
