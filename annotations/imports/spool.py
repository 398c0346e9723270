"""Keeps the good judgements of a source in a file until all of it is read, so that memory doesn't grow with it."""

import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from annotations.imports.pictures import CheckedFile, FoundPicture
from annotations.imports.plan import Choice
from annotations.imports.records import Judgement, Place
from annotations.models import Outcome, Split
from annotations.services.image_files import ImageFacts

BATCH = 2000


class Spool:
    """Choices as JSON lines: written as they come, then read as often as wanted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def add(self, choices: Iterable[Choice]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            for choice in choices:
                file.write(json.dumps(choice, default=plain) + "\n")

    def batches(self) -> Iterator[list[Choice]]:
        """All choices in their order, some thousands at a time."""
        with self.path.open(encoding="utf-8") as file:
            while batch := [choice_of(json.loads(line)) for line in islice(file, BATCH)]:
                yield batch


def plain(value: object) -> object:
    """A record as a dict, anything else as its text."""
    return vars(value) if is_dataclass(value) else str(value)


def choice_of(record: dict[str, Any]) -> Choice:
    return Choice(
        judgement=judgement_of(record["judgement"]),
        found=tuple(picture_of(picture) for picture in record["found"]),
        external_id=record["external_id"],
        idempotency_key=uuid.UUID(record["idempotency_key"]),
    )


def judgement_of(record: dict[str, Any]) -> Judgement:
    judgement = Judgement(**record)
    return replace(
        judgement,
        place=Place(**record["place"]),
        images=tuple(record["images"]),
        tags=tuple(record["tags"]),
        generators=record["generators"] and tuple(record["generators"]),
        outcome=Outcome(record["outcome"]),
        split=record["split"] and Split(record["split"]),
        voted_at=record["voted_at"] and datetime.fromisoformat(record["voted_at"]),
    )


def picture_of(record: dict[str, Any]) -> FoundPicture:
    file = record["file"]
    checked = file and CheckedFile(Path(file["path"]), ImageFacts(**file["facts"]))
    return FoundPicture(record["generator"], record["sha256"], checked, record["reference"])
