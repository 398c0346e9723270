"""Reads pairs in the form of Pick-a-Pic: Parquet files with a caption, two images and a label for each.

Source: the data set cards of yuvalkirstain/pickapic_v1 and _v2. `label_0` and `label_1` are 1 and 0, 0 and 1, or one
half each, which is a tie. Images come as bytes in `jpg_0` and `jpg_1` (in whatever format), or by their uids alone.
Read row by row: a file's size doesn't matter.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from annotations.imports import fields
from annotations.imports.records import (
    BadRecord,
    Judgement,
    LeftOut,
    Place,
    RawRecord,
    Read,
    UnableToImport,
    parsed,
    shown,
)
from annotations.imports.sources import Source
from annotations.models import Outcome, Split
from annotations.services.image_files import MAX_BYTES

NEEDED = ("caption", "image_0_uid", "image_1_uid", "label_0", "label_1")
WANTED = (
    *NEEDED,
    *("ranking_id", "user_id", "created_at", "model_0", "model_1", "has_label", "jpg_0", "jpg_1"),
    *("synthetic", "tags", "shown_ms"),
)
PIXELS = ("jpg_0", "jpg_1")
ROWS, ROWS_WITH_PIXELS = 2000, 32
LABELS = {(1.0, 0.0): (Outcome.CHOICE, 0), (0.0, 1.0): (Outcome.CHOICE, 1), (0.5, 0.5): (Outcome.TIE, None)}


def read_pickapic(source: Source) -> Iterator[Read]:
    """The pairs in a Parquet file, or in all those of a folder; which side a prompt is on follows from a file's name.

    Raises:
        UnableToImport: there is no Parquet file, or it lacks a column.
    """
    for path in files_of(source.path):
        yield from file_records(path, source)


def files_of(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(path.rglob("*.parquet"))
    if not files:
        raise UnableToImport(f"{path} holds no file that ends in .parquet.")
    return files


def file_records(path: Path, source: Source) -> Iterator[Read]:
    try:
        with parquet.ParquetFile(path, pre_buffer=False, memory_map=True) as file:
            for raw in rows_of(file, path.name, takes_pixels=source.takes_pixels):
                if raw.value.get("has_label") is False:
                    yield LeftOut("a pair without a label")
                    continue
                keep_pixels(raw.value, source)
                yield from parsed([raw], judgements)
    except OSError as error:
        raise UnableToImport(f"{path} cannot be read: {error.strerror or 'it is no Parquet file'}.") from error
    except pa.ArrowException as error:
        raise UnableToImport(f"{path.name} cannot be read as Parquet: {str(error).splitlines()[0]}") from error


def rows_of(file: parquet.ParquetFile, name: str, *, takes_pixels: bool) -> Iterator[RawRecord]:
    there = file.schema_arrow.names
    if missing := [column for column in NEEDED if column not in there]:
        raise UnableToImport(f"{name} has no column {missing[0]}; Pick-a-Pic has {', '.join(NEEDED)}.")
    columns = [column for column in WANTED if column in there and (takes_pixels or column not in PIXELS)]
    size = ROWS_WITH_PIXELS if "jpg_0" in columns else ROWS
    number = 0
    for batch in file.iter_batches(batch_size=size, columns=columns):
        for row in batch.to_pylist():
            number += 1
            yield RawRecord(Place(name, number), row)


def keep_pixels(row: dict[str, Any], source: Source) -> None:
    """Puts the row's images where they are looked for; an image that is too large is left for the check to refuse."""
    for side in (0, 1):
        name, content = row.get(f"image_{side}_uid"), row.pop(f"jpg_{side}", None)
        if isinstance(name, str) and isinstance(content, bytes) and content:
            source.scratch.put(name, content[: MAX_BYTES + 1])


def judgements(raw: RawRecord) -> Iterator[Judgement]:
    """The one pair of a row.

    Raises:
        BadRecord: something in the row is missing or of the wrong kind.
    """
    row = raw.value
    images = (image_of(row, "image_0_uid"), image_of(row, "image_1_uid"))
    if images[0] == images[1]:
        raise BadRecord("image_0_uid and image_1_uid are the same")
    outcome, chosen = label_of(row)
    key = key_of(raw, images)
    person = row.get("user_id")
    yield Judgement(
        place=raw.place,
        key=key,
        prompt=fields.prompt_of(row, "caption"),
        split=split_of(raw.place.file),
        tags=fields.tags_of(row.get("tags")),
        images=images,
        generators=(fields.generator_name(row, "model_0"), fields.generator_name(row, "model_1")),
        outcome=outcome,
        chosen=chosen,
        annotator=fields.unnamed(key) if person is None else fields.checked_person(str(person), "user_id"),
        is_synthetic=fields.is_synthetic(row),
        voted_at=time_of(row),
        shown_ms=fields.milliseconds(row, "shown_ms"),
    )


def image_of(row: dict[str, Any], key: str) -> str:
    name = row[key]
    if not isinstance(name, str) or not name:
        raise BadRecord(f"{key} is no text but {shown(name)}")
    return name


def label_of(row: dict[str, Any]) -> tuple[Outcome, int | None]:
    labels = (row["label_0"], row["label_1"])
    said = LABELS.get(labels) if all(isinstance(label, int | float) for label in labels) else None
    if said is None:
        raise BadRecord(f"label_0 and label_1 are {shown(labels)}; they are 1 and 0, 0 and 1, or 0.5 and 0.5")
    return said


def key_of(raw: RawRecord, images: tuple[str, str]) -> str:
    """The ranking's id with the pair, since a choice among several images makes several pairs under one id."""
    number = raw.value.get("ranking_id")
    return f"{raw.stem}:{raw.place.record}" if number is None else f"{number}:{':'.join(images)}"


def time_of(row: dict[str, Any]) -> datetime | None:
    time = row.get("created_at")
    if time is None:
        return None
    if not isinstance(time, datetime):
        raise BadRecord(f"created_at is no time but {shown(time)}")
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def split_of(file: str) -> Split | None:
    if file.startswith("train"):
        return Split.TRAIN
    return Split.TEST if file.startswith(("validation", "test")) else None
