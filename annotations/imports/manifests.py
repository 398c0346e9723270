"""Reads a manifest row by row: which file is made from which prompt, by which generator, and with what beside it.

A manifest is a CSV file with a heading or JSON lines, in UTF-8. Columns: `file` (or `file_name`) and `prompt` are
needed; `generator`, `seed`, `tags` (in CSV with semicolons between) and `set` may be there; others are let be.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from annotations.imports.records import BadRecord, UnableToImport, shown
from annotations.services.images import PromptRejected, check_prompt_text, is_storable

NAMES = ("manifest.csv", "manifest.jsonl", "metadata.csv", "metadata.jsonl")
FILE_COLUMNS = ("file", "file_name")

MAX_LINE_BYTES = 2**20
MAX_ROWS = 500_000
MAX_GENERATOR_CHARACTERS = 120
MAX_TAG_CHARACTERS = 64
MAX_TAGS = 50
MAX_SET_CHARACTERS = 200
SMALLEST_SEED, LARGEST_SEED = -(2**63), 2**63 - 1


@dataclass(frozen=True)
class RawRow:
    """One row as it stands in its file; `problem` where not even its columns can be told apart."""

    number: int
    """Of the row, counted from 1, the heading not counted."""
    fields: Mapping[str, Any]
    problem: str = ""


@dataclass(frozen=True)
class Row:
    """One image as its manifest describes it."""

    number: int
    file: str
    """As written; relative to the manifest's own folder."""
    prompt: str
    generator: str
    """Empty where none is named."""
    seed: int | None
    tags: tuple[str, ...]
    group: str
    """Names the set in which the image is shown, within its prompt; empty where sets are to be made."""


def manifest_among(names: Mapping[str, int]) -> str:
    """The one manifest among the files of a source, at its top or in its only folder.

    Raises:
        UnableToImport: there is none, or several.
    """
    found = [name for name in names if PurePosixPath(name).name in NAMES and len(PurePosixPath(name).parts) <= 2]
    top = min((len(PurePosixPath(name).parts) for name in found), default=0)
    found = [name for name in found if len(PurePosixPath(name).parts) == top]
    if not found:
        raise UnableToImport(
            f"There is no manifest: put a {NAMES[0]} or {NAMES[1]} beside the images, at the top or in the one folder."
        )
    if len(found) > 1:
        raise UnableToImport(f"There are several manifests: {', '.join(sorted(found))}. Leave one of them.")
    return found[0]


def raw_rows(name: str, file: BinaryIO) -> Iterator[RawRow]:
    """The rows of a manifest, one at a time.

    Raises:
        UnableToImport: it is no UTF-8 text, has no fitting heading, or a line or the whole is too long.
    """
    rows = csv_rows(name, file) if name.endswith(".csv") else json_rows(name, file)
    for row in rows:
        if row.number > MAX_ROWS:
            raise UnableToImport(f"{name} has more than {MAX_ROWS:,} rows; import it in several pieces.")
        yield row


def csv_rows(name: str, file: BinaryIO) -> Iterator[RawRow]:
    number = 0
    try:
        with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, strict=True)
            heading = [column.strip() for column in next(reader, [])]
            check_heading(name, heading)
            for values in reader:
                if not values:
                    continue
                number += 1
                problem = ""
                if len(values) != len(heading):
                    problem = f"it has {len(values)} columns; the heading has {len(heading)}"
                yield RawRow(number, dict(zip(heading, values, strict=False)), problem)
    except UnicodeDecodeError as error:
        raise UnableToImport(f"{name} is not UTF-8 text, from row {number + 1} on.") from error
    except csv.Error as error:
        raise UnableToImport(f"{name}, row {number + 1} is no CSV: {error}.") from error


def check_heading(name: str, heading: list[str]) -> None:
    missing = [] if set(FILE_COLUMNS) & set(heading) else ["file"]
    missing += [] if "prompt" in heading else ["prompt"]
    if missing:
        raise UnableToImport(
            f"{name} has no column {' and no column '.join(missing)}; its first line names the columns, "
            f"such as file,prompt,generator. It says {shown(','.join(heading))}."
        )
    if len(set(heading)) < len(heading):
        raise UnableToImport(f"{name} names a column twice: {shown(','.join(heading))}.")


def json_rows(name: str, file: BinaryIO) -> Iterator[RawRow]:
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            raise UnableToImport(f"{name}, row {number + 1} is longer than {MAX_LINE_BYTES:,} bytes.")
        if not line.strip():
            continue
        number += 1
        try:
            value = json.loads(line.decode("utf-8-sig"))
        except UnicodeDecodeError:
            yield RawRow(number, {}, "it is not UTF-8 text")
        except (ValueError, RecursionError) as error:
            yield RawRow(number, {}, f"it is not JSON: {str(error) or 'it is nested too deeply'}")
        else:
            is_object = isinstance(value, dict)
            yield RawRow(number, value if is_object else {}, "" if is_object else f"it is no object but {shown(value)}")


def row_of(raw: RawRow) -> Row:
    """The image that a row describes.

    Raises:
        BadRecord: something is missing or of the wrong kind; the message begins with the field.
    """
    if raw.problem:
        raise BadRecord(raw.problem)
    return Row(
        number=raw.number,
        file=file_of(raw.fields),
        prompt=prompt_of(raw.fields),
        generator=short_text(raw.fields, "generator", MAX_GENERATOR_CHARACTERS),
        seed=seed_of(raw.fields),
        tags=tags_of(raw.fields),
        group=short_text(raw.fields, "set", MAX_SET_CHARACTERS),
    )


def file_of(fields: Mapping[str, Any]) -> str:
    name = next((fields[column] for column in FILE_COLUMNS if fields.get(column) is not None), None)
    if not isinstance(name, str) or not name.strip() or not is_storable(name):
        raise BadRecord(f"file: it names no file but {shown(name)}" if name else "file: it is empty")
    return name.strip()


def prompt_of(fields: Mapping[str, Any]) -> str:
    prompt = fields.get("prompt")
    if not isinstance(prompt, str):
        raise BadRecord(f"prompt: it is no text but {shown(prompt)}" if prompt is not None else "prompt: it is empty")
    try:
        check_prompt_text(prompt)
    except PromptRejected as error:
        raise BadRecord(f"prompt: {error}") from error
    return prompt


def short_text(fields: Mapping[str, Any], name: str, most: int) -> str:
    value = fields.get(name)
    value = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if value is None:
        return ""
    if not isinstance(value, str) or not is_storable(value):
        raise BadRecord(f"{name}: it is no text but {shown(value)}")
    if len(value.strip()) > most:
        raise BadRecord(f"{name}: it has {len(value.strip())} characters; at most {most} are taken")
    return value.strip()


def seed_of(fields: Mapping[str, Any]) -> int | None:
    value = fields.get("seed")
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        seed = int(value) if isinstance(value, str) else value
    except ValueError:
        seed = None
    if not isinstance(seed, int) or isinstance(seed, bool) or not SMALLEST_SEED <= seed <= LARGEST_SEED:
        raise BadRecord(f"seed: it is no whole number of 64 bits but {shown(value)}")
    return seed


def tags_of(fields: Mapping[str, Any]) -> tuple[str, ...]:
    value = fields.get("tags")
    tags = value.split(";") if isinstance(value, str) else value or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) and is_storable(tag) for tag in tags):
        raise BadRecord(f"tags: it is no list of texts but {shown(value)}")
    tags = list(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
    if len(tags) > MAX_TAGS or any(len(tag) > MAX_TAG_CHARACTERS for tag in tags):
        raise BadRecord(f"tags: at most {MAX_TAGS} of at most {MAX_TAG_CHARACTERS} characters are taken")
    return tuple(tags)
