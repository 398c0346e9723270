"""Reads rankings in the form of ImageReward: train.json, valid.json or test.json, ranks from 1, equal ones being ties.

Source: the data folder of THUDM/ImageReward. A record is one prompt with 4 to 9 images and the ranking that was
agreed on; nobody is named.
"""

from collections.abc import Iterator

from annotations.imports import fields
from annotations.imports.rankings import MAX_RANKED, pairs_of, ranks_of
from annotations.imports.records import BadRecord, Judgement, RawRecord, Read, parsed, shown
from annotations.imports.sources import Source, json_records, named_files
from annotations.models import Split

SPLITS = {"train.json": Split.TRAIN, "valid.json": Split.TEST, "test.json": Split.TEST}
MAX_ID_CHARACTERS = 80


def read_imagereward(source: Source) -> Iterator[Read]:
    """The rankings in a JSON file, or in a folder's train.json, valid.json and test.json.

    Raises:
        UnableToImport: a file that is not there, or is no JSON array.
    """
    for file in named_files(source.path, SPLITS):
        yield from parsed(json_records(file), judgements)


def judgements(raw: RawRecord) -> Iterator[Judgement]:
    """The pairs of an entry's ranking.

    Raises:
        BadRecord: something in the record is missing or of the wrong kind.
    """
    record = fields.object_of(raw.value)
    name = fields.value_of(record, "id")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_ID_CHARACTERS:
        raise BadRecord(f"id is no text of at most {MAX_ID_CHARACTERS} characters but {shown(name)}")
    images = fields.file_names(record, "generations", at_most=MAX_RANKED)
    ranking = Judgement(
        place=raw.place,
        key=f"{raw.stem}:{name}",
        prompt=fields.prompt_of(record),
        prompt_id=name,
        split=SPLITS.get(raw.place.file),
        images=images,
        annotator=fields.checked_person(fields.unnamed(name), "id"),
    )
    return pairs_of(ranking, ranks_of(fields.value_of(record, "ranking"), len(images), "ranking"))
