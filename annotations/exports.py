"""Gives a campaign's votes out in the forms that others read, as a stream: whole or not at all."""

import csv
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from django.db.models import QuerySet

from annotations.models import Campaign, Candidate, Image, Outcome, Split, Vote

BATCH = 2000
IMAGE_FOLDER = "preference_images"
CONTAINS_NAME = "contains a name"
CSV_COLUMNS = [
    "vote",
    "campaign",
    "prompt",
    "split",
    "tags",
    "outcome",
    "chosen",
    "chosen_generator",
    "order",
    "generators",
    "annotator",
    "shown_ms",
    "is_too_fast",
    "instructions_version",
    "voted_at",
    "synthetic",
]
# What a spreadsheet may take for a formula, also behind blanks and quotes, and in full width; and our own mark.
FORMULA = re.compile(r"""[\s"]*[=+\-@\t\r\n'＝＋－＠]""")


class UnableToExport(Exception):
    """Nothing was written; the message says why and what to do."""


@dataclass(frozen=True)
class Exported:
    """What an export wrote."""

    votes: int
    images: int
    left_out: dict[str, int]
    """Counted votes for which the format has no form, by outcome."""


Progress = Callable[[int, int], None]


def export_choices(*, campaign: Campaign, form: str, out: Path, progress: Progress) -> Exported:
    """Writes the campaign's counted votes to a new file or folder.

    Args:
        campaign: whose votes.
        form: one of FORMS.
        out: a path that is not there yet.
        progress: told how many votes are done, and how many there are.

    Raises:
        UnableToExport: the path is taken or cannot be written, or an image file is missing.
    """
    if out.exists() or out.is_symlink():
        raise UnableToExport(f"{out} is there already; name another path.")
    if not out.resolve().parent.is_dir():
        raise UnableToExport(f"{out.parent} is no folder; make it first.")
    try:
        with whole_or_absent(out) as unfinished:
            return FORMS[form](campaign, unfinished, progress)
    except OSError as error:
        raise UnableToExport(f"{error.filename or out} cannot be written or read: {error.strerror}.") from error


@contextmanager
def whole_or_absent(out: Path) -> Iterator[Path]:
    """A path beside the wanted one; what stands there in the end is renamed, or removed if something failed."""
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.resolve().parent))
    try:
        yield folder / out.name
        (folder / out.name).rename(out)
    finally:
        shutil.rmtree(folder)


def counted_votes(campaign: Campaign) -> QuerySet[Vote]:
    return Vote.objects.counted().filter(task__campaign=campaign)


@dataclass(frozen=True)
class Shown:
    """A vote with its images in the order shown."""

    vote: Vote
    images: list[Image]


def shown_votes(votes: QuerySet[Vote], progress: Progress) -> Iterator[Shown]:
    """The votes in the order in which they came, without holding them all."""
    total, done = votes.count(), 0
    ordered = votes.order_by("pk").select_related("task__prompt", "annotator")
    last = 0
    while batch := list(ordered.filter(pk__gt=last)[:BATCH]):
        images = images_of(batch)
        for vote in batch:
            yield Shown(vote, [images[pk] for pk in vote.order])
        last, done = batch[-1].pk, done + len(batch)
        progress(done, max(done, total))


def images_of(votes: list[Vote]) -> dict[int, Image]:
    candidates = Candidate.objects.filter(task__in={vote.task_id for vote in votes})
    return Image.objects.select_related("generator").in_bulk(candidates.values_list("image", flat=True).distinct())


def export_hpd(campaign: Campaign, out: Path, progress: Progress) -> Exported:
    """HPD v1: preference_train.json, preference_test.json and preference_images/; see imports/hpd.py.

    Only choices have a form there. Ids are those of our votes, so that a later export names the same vote alike;
    people are known by their pseudonyms here.
    """
    folder = out / IMAGE_FOLDER
    folder.mkdir(parents=True)
    votes = counted_votes(campaign)
    count = 0
    with JsonArray(out / "preference_train.json") as train, JsonArray(out / "preference_test.json") as test:
        files = {Split.TRAIN: train, Split.TEST: test}
        for shown in shown_votes(votes.filter(outcome=Outcome.CHOICE), progress):
            for image in shown.images:
                write_image(image, folder)
            files[Split(shown.vote.task.prompt.split)].add(hpd_record(shown, campaign))
            count += 1
    left_out = {
        str(outcome): number
        for outcome in Outcome.judgements()
        if outcome != Outcome.CHOICE and (number := votes.filter(outcome=outcome).count())
    }
    return Exported(count, sum(1 for _file in folder.iterdir()), left_out)


def hpd_record(shown: Shown, campaign: Campaign) -> dict[str, Any]:
    vote, images = shown.vote, shown.images
    record: dict[str, Any] = {
        "human_preference": next(place for place, image in enumerate(images) if image.pk == vote.image_id),
        "prompt": vote.task.prompt.text,
        "id": vote.pk,
        "file_path": [f"{IMAGE_FOLDER}/{file_name(image)}" for image in images],
        "user_hash": vote.annotator.public_id.hex,
        "contain_name": CONTAINS_NAME in vote.task.prompt.tags,
        "generators": [image.generator.name if image.generator else None for image in images],
    }
    if campaign.is_synthetic or vote.annotator.is_synthetic:
        record["synthetic"] = True
    return record


def file_name(image: Image) -> str:
    """Says neither generator nor prompt."""
    return f"{image.public_id.hex}.{image.extension}"


def write_image(image: Image, folder: Path) -> None:
    path = folder / file_name(image)
    if path.exists():
        return
    with image.file.open("rb") as stored, path.open("wb") as copy:
        shutil.copyfileobj(stored, copy)


class JsonArray:
    """A file that takes the items of one JSON array as they come."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("w", encoding="utf-8")
        self.is_empty = True

    def __enter__(self) -> Self:
        self.file.write("[")
        return self

    def add(self, item: object) -> None:
        self.file.write("\n" if self.is_empty else ",\n")
        json.dump(item, self.file, ensure_ascii=False)
        self.is_empty = False

    def __exit__(self, *_raised: object) -> None:
        self.file.write("\n]\n")
        self.file.close()


def export_csv(campaign: Campaign, out: Path, progress: Progress) -> Exported:
    """One row per judgement, ties and 'all bad' included; images by their public ids, in the order shown."""
    count = 0
    images: set[int] = set()
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, CSV_COLUMNS, quoting=csv.QUOTE_ALL)
        writer.writeheader()
        for shown in shown_votes(counted_votes(campaign), progress):
            writer.writerow({name: safe_cell(value) for name, value in csv_row(shown, campaign).items()})
            images.update(image.pk for image in shown.images)
            count += 1
    return Exported(count, len(images), {})


def csv_row(shown: Shown, campaign: Campaign) -> dict[str, object]:
    vote, images = shown.vote, shown.images
    prompt = vote.task.prompt
    generators = {image.pk: image.generator.name if image.generator else "" for image in images}
    chosen = next((image for image in images if image.pk == vote.image_id), None)
    return {
        "vote": vote.public_id,
        "campaign": campaign.slug,
        "prompt": prompt.text,
        "split": prompt.split,
        "tags": "; ".join(prompt.tags),
        "outcome": vote.outcome,
        "chosen": chosen.public_id if chosen else "",
        "chosen_generator": generators[chosen.pk] if chosen else "",
        "order": " ".join(str(image.public_id) for image in images),
        "generators": json.dumps(list(generators.values()), ensure_ascii=False),
        "annotator": vote.annotator.public_id,
        "shown_ms": "" if vote.shown_ms is None else vote.shown_ms,
        "is_too_fast": int(vote.is_too_fast),
        "instructions_version": vote.instructions_version,
        "voted_at": vote.created_at.isoformat(),
        "synthetic": int(campaign.is_synthetic or vote.annotator.is_synthetic),
    }


def safe_cell(value: object) -> str:
    """A cell that no spreadsheet takes for a formula; taking away one leading apostrophe gives the text back."""
    text = str(value)
    return f"'{text}" if FORMULA.match(text) else text


FORMS: dict[str, Callable[[Campaign, Path, Progress], Exported]] = {"csv": export_csv, "hpd": export_hpd}
