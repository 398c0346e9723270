"""Reads choices in the form of HPD v2: train.json with pairs, test.json with rankings by several raters.

Source: the README of tgxs002/HPSv2. In train.json `human_preference` is a list of 1 for the preferred image and 0 for
the others; all 1 is read as a tie and all 0 as 'all bad'. In test.json each of `raw_annotations` is one person's
ranking, `rank` is the ranking of all together and is read only where there are no raw ones. Further keys are read
where an export of ours wrote them: `user_hash`, `id`, `generators`, `synthetic`, and in a raw annotation `outcome` and
`order`, which say that it was one judgement on all the images, and in which order they were shown.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from annotations.imports import fields
from annotations.imports.rankings import MAX_RANKED, pairs_of, ranks_of
from annotations.imports.records import BadRecord, Judgement, RawRecord, Read, parsed, shown
from annotations.imports.sources import Source, json_records, named_files
from annotations.models import MAX_CANDIDATES, Outcome, Split

SPLITS = {"train.json": Split.TRAIN, "test.json": Split.TEST}


def read_hpd2(source: Source) -> Iterator[Read]:
    """The choices in a JSON file, or in a folder's train.json and test.json.

    Raises:
        UnableToImport: a file that is not there, or is no JSON array.
    """
    for file in named_files(source.path, SPLITS):
        yield from parsed(json_records(file), judgements)


def judgements(raw: RawRecord) -> Iterator[Judgement]:
    """The choice of an entry for training, or the pairs of the rankings of one for testing.

    Raises:
        BadRecord: something in the record is missing or of the wrong kind.
    """
    record = fields.object_of(raw.value)
    return choice_of(raw, record) if "human_preference" in record else rankings_of(raw, record)


def choice_of(raw: RawRecord, record: dict[str, Any]) -> Iterator[Judgement]:
    images = fields.file_names(record, "file_path")
    key = f"{raw.stem}:{record_id(raw, record)}"
    outcome, chosen = preference_of(record, len(images))
    yield Judgement(
        place=raw.place,
        key=key,
        prompt=fields.prompt_of(record),
        split=SPLITS.get(raw.place.file),
        images=images,
        generators=fields.generators_of(record, len(images)),
        outcome=outcome,
        chosen=chosen,
        annotator=fields.person_of(record) if "user_hash" in record else fields.unnamed(key),
        is_synthetic=fields.is_synthetic(record),
    )


def preference_of(record: dict[str, Any], count: int) -> tuple[Outcome, int | None]:
    marks = record["human_preference"]
    if not isinstance(marks, list) or len(marks) != count or not all(type(m) is int and m in (0, 1) for m in marks):
        raise BadRecord(f"human_preference is no list of a 0 or 1 for each of {count} images but {shown(marks)}")
    if sum(marks) == 1:
        return Outcome.CHOICE, marks.index(1)
    if sum(marks) in (0, count):
        return (Outcome.TIE if sum(marks) else Outcome.ALL_BAD), None
    raise BadRecord(f"human_preference marks {sum(marks)} of {count} images; one, all (a tie) or none (all bad) can be")


def rankings_of(raw: RawRecord, record: dict[str, Any]) -> Iterator[Judgement]:
    images = fields.file_names(record, "image_path" if "image_path" in record else "file_path", at_most=MAX_RANKED)
    shared = Judgement(
        place=raw.place,
        key=f"{raw.stem}:{record_id(raw, record)}",
        prompt=fields.prompt_of(record),
        split=SPLITS.get(raw.place.file),
        images=images,
        generators=fields.generators_of(record, len(images)),
        annotator="",
        is_synthetic=fields.is_synthetic(record),
    )
    annotations = record.get("raw_annotations")
    if annotations is None:
        ranks = ranks_of(fields.value_of(record, "rank"), len(images), "rank")
        yield from pairs_of(replace(shared, annotator=fields.unnamed(shared.key)), ranks)
        return
    people: set[str] = set()
    for annotation in raters_of(annotations):
        person = fields.person_of(annotation)
        if person in people:
            raise BadRecord(f"raw_annotations holds the person {shown(person)} twice")
        people.add(person)
        yield from annotation_of(replace(shared, annotator=person), annotation)


def raters_of(annotations: object) -> list[dict[str, Any]]:
    if not isinstance(annotations, list) or not annotations or not all(isinstance(one, dict) for one in annotations):
        raise BadRecord(f"raw_annotations is no list of a ranking per person but {shown(annotations)}")
    return annotations


def annotation_of(shared: Judgement, annotation: dict[str, Any]) -> Iterator[Judgement]:
    """The pairs of one person's ranking; the one judgement where an export of ours says that it is one."""
    count = len(shared.images)
    ranks = ranks_of(fields.value_of(annotation, "rank"), count, "rank")
    if "outcome" not in annotation:
        yield from pairs_of(shared, ranks)
        return
    outcome, order = annotation["outcome"], annotation.get("order", list(range(count)))
    if outcome not in Outcome.judgements():
        raise BadRecord(f"outcome is neither choice, tie nor all_bad but {shown(outcome)}")
    if not isinstance(order, list) or [type(p) for p in order] != [int] * count or sorted(order) != [*range(count)]:
        raise BadRecord(f"order is no list of the {count} images' places from 0 but {shown(order)}")
    if count > MAX_CANDIDATES:
        raise BadRecord(f"it has {count} images; one judgement is of at most {MAX_CANDIDATES}")
    if outcome == Outcome.CHOICE and ranks.count(1) != 1:
        raise BadRecord(f"rank gives {ranks.count(1)} images the rank 1, and the outcome is a choice of one")
    chosen = order.index(ranks.index(1)) if outcome == Outcome.CHOICE else None
    generators = shared.generators and tuple(shared.generators[place] for place in order)
    yield replace(
        shared,
        key=f"{shared.key}:{shared.annotator}",
        images=tuple(shared.images[place] for place in order),
        generators=generators,
        outcome=Outcome(outcome),
        chosen=chosen,
    )


def record_id(raw: RawRecord, record: dict[str, Any]) -> int:
    """Our own exports number their records; others are known by their place in the file."""
    return fields.whole_number(record, "id") if "id" in record else raw.place.record
