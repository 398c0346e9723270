"""Reads choices in the form of HPD v1: preference_train.json and preference_test.json with images beside them.

Source: the README of tgxs002/align_sd. Two further keys are read where an export of ours wrote them: `generators`, one
name or null per image, and `synthetic`, whether the choice was simulated. Other keys are let be.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from annotations.imports.records import BadRecord, ChoiceRecord, Place, Problem, UnableToImport, shown, sieve
from annotations.models import MAX_CANDIDATES, MIN_CANDIDATES, Split
from annotations.services.images import PromptRejected, check_prompt_text, is_storable

SPLITS = {"preference_train.json": Split.TRAIN, "preference_test.json": Split.TEST}
CONTAINS_NAME = "contains a name"
"""The tag of prompts that name a person."""
MAX_ANNOTATOR_CHARACTERS = 100
MAX_GENERATOR_CHARACTERS = 120


@dataclass(frozen=True)
class RawRecord:
    """One entry of a file, not looked at yet."""

    place: Place
    value: object


def read_hpd(path: Path) -> tuple[list[ChoiceRecord], list[Problem]]:
    """The choices in a JSON file, or in a folder's preference_train.json and preference_test.json.

    Raises:
        UnableToImport: a file that is not there, or is no JSON array.
    """
    records: list[ChoiceRecord] = []
    problems: list[Problem] = []
    for file in files_of(path):
        good, bad = sieve(raw_records(file), parse)
        records += good
        problems += bad
    return records, problems


def files_of(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = [path / name for name in SPLITS if (path / name).exists()]
    if not files:
        raise UnableToImport(f"{path} holds neither {' nor '.join(SPLITS)}; name the JSON file or its folder.")
    return files


def raw_records(path: Path) -> Iterator[RawRecord]:
    records = read_json(path)
    if not isinstance(records, list):
        raise UnableToImport(f"{path.name} holds no JSON array of choices but {shown(records)}.")
    for number, value in enumerate(records, start=1):
        yield RawRecord(Place(path.name, number), value)


def read_json(path: Path) -> object:
    """What a JSON file holds.

    Raises:
        UnableToImport: it cannot be read or is no JSON; tells the line and the column.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=refuse_constant)
    except OSError as error:
        raise UnableToImport(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UnableToImport(f"{path.name} is not UTF-8 text: byte {error.start} is wrong.") from error
    except json.JSONDecodeError as error:
        raise UnableToImport(
            f"{path.name} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from error
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UnableToImport(f"{path.name} is not JSON that can be taken: {reason}.") from error


def refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which is no JSON")


def parse(raw: RawRecord) -> ChoiceRecord:
    """The choice that an entry tells.

    Raises:
        BadRecord: something in the record is missing or of the wrong kind.
    """
    record = raw.value
    if not isinstance(record, dict):
        raise BadRecord(f"it is no object but {shown(record)}")
    images = image_names(record)
    return ChoiceRecord(
        place=raw.place,
        key=f"{Path(raw.place.file).stem}:{whole_number(record, 'id')}",
        prompt=prompt_of(record),
        split=SPLITS.get(raw.place.file),
        tags=(CONTAINS_NAME,) if truth(record, "contain_name") else (),
        images=images,
        generators=generators_of(record, len(images)),
        chosen=chosen_of(record, len(images)),
        annotator=annotator_of(record),
        is_synthetic=truth(record, "synthetic") if "synthetic" in record else False,
    )


def value_of(record: dict[str, Any], key: str) -> Any:
    if key not in record:
        raise BadRecord(f"it has no {key}")
    return record[key]


def whole_number(record: dict[str, Any], key: str) -> int:
    value = value_of(record, key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadRecord(f"{key} is no whole number but {shown(value)}")
    return value


def truth(record: dict[str, Any], key: str) -> bool:
    value = value_of(record, key)
    if not isinstance(value, bool):
        raise BadRecord(f"{key} is neither true nor false but {shown(value)}")
    return value


def prompt_of(record: dict[str, Any]) -> str:
    prompt = value_of(record, "prompt")
    if not isinstance(prompt, str):
        raise BadRecord(f"prompt is no text but {shown(prompt)}")
    try:
        check_prompt_text(prompt)
    except PromptRejected as error:
        raise BadRecord(str(error)) from error
    return prompt


def image_names(record: dict[str, Any]) -> tuple[str, ...]:
    names = value_of(record, "file_path")
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise BadRecord(f"file_path is no list of file names but {shown(names)}")
    if not MIN_CANDIDATES <= len(names) <= MAX_CANDIDATES:
        raise BadRecord(f"it has {len(names)} images; a choice is between {MIN_CANDIDATES} and {MAX_CANDIDATES}")
    if len(set(names)) < len(names):
        raise BadRecord("file_path names an image twice")
    return tuple(names)


def chosen_of(record: dict[str, Any], count: int) -> int:
    chosen = whole_number(record, "human_preference")
    if not 0 <= chosen < count:
        raise BadRecord(f"human_preference is {shown(chosen)}, but its {count} images count from 0 to {count - 1}")
    return chosen


def annotator_of(record: dict[str, Any]) -> str:
    name = value_of(record, "user_hash")
    if not isinstance(name, str) or not name.strip() or not is_storable(name):
        raise BadRecord(f"user_hash is no text but {shown(name)}")
    if len(name) > MAX_ANNOTATOR_CHARACTERS:
        raise BadRecord(f"user_hash has {len(name):,} characters; at most {MAX_ANNOTATOR_CHARACTERS} are taken")
    return name


def generators_of(record: dict[str, Any], count: int) -> tuple[str | None, ...] | None:
    names = record.get("generators")
    if names is None:
        return None
    if not isinstance(names, list) or len(names) != count or not all(is_generator_name(name) for name in names):
        raise BadRecord(f"generators is no list of a name or null per image but {shown(names)}")
    return tuple(names)


def is_generator_name(name: object) -> bool:
    return name is None or (
        isinstance(name, str) and 0 < len(name) <= MAX_GENERATOR_CHARACTERS and bool(name.strip()) and is_storable(name)
    )
