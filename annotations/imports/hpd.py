"""Reads choices in the form of HPD v1: preference_train.json and preference_test.json with images beside them.

Source: the README of tgxs002/align_sd. Two further keys are read where an export of ours wrote them: `generators`, one
name or null per image, and `synthetic`, whether the choice was simulated. Other keys are let be.
"""

from collections.abc import Iterator

from annotations.imports import fields
from annotations.imports.records import BadRecord, Judgement, RawRecord, Read, parsed, shown
from annotations.imports.sources import Source, json_records, named_files
from annotations.models import Split

SPLITS = {"preference_train.json": Split.TRAIN, "preference_test.json": Split.TEST}
CONTAINS_NAME = "contains a name"
"""The tag of prompts that name a person."""


def read_hpd(source: Source) -> Iterator[Read]:
    """The choices in a JSON file, or in a folder's preference_train.json and preference_test.json.

    Raises:
        UnableToImport: a file that is not there, or is no JSON array.
    """
    for file in named_files(source.path, SPLITS):
        yield from parsed(json_records(file), judgements)


def judgements(raw: RawRecord) -> Iterator[Judgement]:
    """The one choice that an entry tells.

    Raises:
        BadRecord: something in the record is missing or of the wrong kind.
    """
    record = fields.object_of(raw.value)
    images = fields.file_names(record, "file_path")
    yield Judgement(
        place=raw.place,
        key=f"{raw.stem}:{fields.whole_number(record, 'id')}",
        prompt=fields.prompt_of(record),
        split=SPLITS.get(raw.place.file),
        tags=(CONTAINS_NAME,) if fields.truth(record, "contain_name") else (),
        images=images,
        generators=fields.generators_of(record, len(images)),
        chosen=chosen_of(record, len(images)),
        annotator=fields.person_of(record),
        is_synthetic=fields.is_synthetic(record),
    )


def chosen_of(record: dict[str, object], count: int) -> int:
    chosen = fields.whole_number(record, "human_preference")
    if not 0 <= chosen < count:
        raise BadRecord(f"human_preference is {shown(chosen)}, but its {count} images count from 0 to {count - 1}")
    return chosen
