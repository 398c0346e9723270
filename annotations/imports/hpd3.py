"""Reads pairs in the form of HPD v3: a JSON array (or JSON lines) of pairs, the preferred image always first.

Source: the README of MizzenAI/HPSv3. A record is the verdict of nine to nineteen people on one pair, and comes in as
one vote; how they were divided (`choice_dist`) and how sure the verdict is (`confidence`) are kept with it.
"""

from collections.abc import Iterator
from typing import Any

from annotations.imports import fields
from annotations.imports.records import BadRecord, Judgement, RawRecord, Read, parsed, shown
from annotations.imports.sources import Source, json_records, named_files
from annotations.models import Split

SPLITS = {"train.json": Split.TRAIN, "test.json": Split.TEST}


def read_hpd3(source: Source) -> Iterator[Read]:
    """The pairs in a JSON file, or in a folder's train.json and test.json.

    Raises:
        UnableToImport: a file that is not there, or is no JSON array.
    """
    for file in named_files(source.path, SPLITS):
        yield from parsed(json_records(file), judgements)


def judgements(raw: RawRecord) -> Iterator[Judgement]:
    """The one pair that an entry tells.

    Raises:
        BadRecord: something in the record is missing or of the wrong kind.
    """
    record = fields.object_of(raw.value)
    key = f"{raw.stem}:{raw.place.record}"
    yield Judgement(
        place=raw.place,
        key=key,
        prompt=fields.prompt_of(record),
        split=SPLITS.get(raw.place.file),
        images=images_of(record),
        generators=(fields.generator_name(record, "model1"), fields.generator_name(record, "model2")),
        chosen=0,
        annotator=fields.unnamed(key),
        is_synthetic=fields.is_synthetic(record),
        details=crowd_of(record),
    )


def images_of(record: dict[str, Any]) -> tuple[str, str]:
    first, second = fields.value_of(record, "path1"), fields.value_of(record, "path2")
    for key, name in (("path1", first), ("path2", second)):
        if not isinstance(name, str) or not name:
            raise BadRecord(f"{key} is no file name but {shown(name)}")
    if first == second:
        raise BadRecord("path1 and path2 name the same image")
    return first, second


def crowd_of(record: dict[str, Any]) -> dict[str, Any]:
    """How the people behind the verdict were divided, where the record says so."""
    crowd: dict[str, Any] = {}
    division, confidence = record.get("choice_dist"), record.get("confidence")
    if division is not None:
        if not isinstance(division, list) or len(division) != 2 or not all(type(n) is int and n >= 0 for n in division):
            raise BadRecord(f"choice_dist is no list of two counts but {shown(division)}")
        crowd["choice_dist"] = division
    if confidence is not None:
        if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 <= confidence <= 1:
            raise BadRecord(f"confidence is no number from 0 to 1 but {shown(confidence)}")
        crowd["confidence"] = confidence
    return {"crowd": crowd} if crowd else {}
