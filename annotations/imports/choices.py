"""Brings existing choices into a campaign: all of them or, of a bad source, none.

A source is read once, record by record, into a file of our own (see spool.py); only then is anything written. Memory
holds a batch, and a hash of each choice and image; pixels never.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_slug
from django.db import transaction

from annotations.imports.archives import is_archive, unpack
from annotations.imports.discord import read_discord
from annotations.imports.hpd import read_hpd
from annotations.imports.hpd2 import read_hpd2
from annotations.imports.hpd3 import read_hpd3
from annotations.imports.imagereward import read_imagereward
from annotations.imports.pairs_csv import read_csv
from annotations.imports.pickapic import read_pickapic
from annotations.imports.pictures import Pictures, Progress, compiled, store_files
from annotations.imports.plan import Choice, Consistency, Tally, choice_of, plan_import
from annotations.imports.records import Judgement, LeftOut, Problem, Read, UnableToImport, sieve
from annotations.imports.sources import Scratch, Source
from annotations.imports.spool import Spool
from annotations.imports.writing import write
from annotations.models import Campaign, Outcome
from annotations.services.archive import get_or_create_archive

FORMATS: dict[str, Callable[[Source], Iterator[Read]]] = {
    "csv": read_csv,
    "discord": read_discord,
    "hpd": read_hpd,
    "hpd2": read_hpd2,
    "hpd3": read_hpd3,
    "imagereward": read_imagereward,
    "pickapic": read_pickapic,
}
BATCH = 1000
NAMED_PROBLEMS = 3


@dataclass(frozen=True)
class Import:
    """What to import, and into which campaign."""

    path: Path
    format: str
    campaign_slug: str
    campaign_name: str = ""
    images: Path | None = None
    """The folder of the images; without it, the folder of the file."""
    generator_pattern: str | None = None
    """A regular expression whose first group, found in a file's name, names the image's generator."""
    takes_pixels: bool = True
    """Without, images are known by their names alone and are never shown to anybody."""
    columns: dict[str, str] = field(default_factory=dict)
    """Which of a CSV file's columns stands for which of ours."""
    rules: str = ""
    """Which messages of a Discord export are what: a preset's name, or a TOML file."""
    skips_bad: bool = False
    """Whether to take the good records of a source that holds bad ones."""


@dataclass(frozen=True)
class Report:
    """What an import added."""

    prompts: int
    """As the source counts them: where its prompts have ids of their own, two of one text are two."""
    images: int
    choices: int
    """Judgements, ties and 'all bad' included."""
    decided_pairs: int
    annotators: int
    generators: int
    already_there: int
    skipped: list[Problem] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    """Sound records that are not wanted, by reason."""

    def as_json(self) -> dict[str, Any]:
        skipped = [{"file": p.place.file, "record": p.place.record, "reason": p.reason} for p in self.skipped]
        return vars(self) | {"skipped": skipped}


def no_progress(_stage: str, _done: int, _total: int) -> None:
    """For callers who don't look."""


def preview_choices(order: Import, *, progress: Progress = no_progress) -> Report:
    """What an import would add; writes nothing.

    Raises:
        UnableToImport: as import_choices.
    """
    with tempfile.TemporaryDirectory(prefix="import-") as folder:
        return checked_report(read_source(order, Path(folder), progress), order)


def import_choices(order: Import, *, progress: Progress = no_progress) -> Report:
    """Reads a source of choices into a campaign, which is made if it isn't there. A second import adds nothing.

    Image files are stored first, then everything is written in one transaction.

    Raises:
        UnableToImport: a record is bad and none shall be skipped, or the source as a whole won't do.
            Nothing is written then.
    """
    with tempfile.TemporaryDirectory(prefix="import-") as folder:
        source = read_source(order, Path(folder), progress)
        checked_report(source, order)
        if order.takes_pixels:
            store_all(source, order, progress)
        with transaction.atomic():
            campaign = archive_for(source, order)
            Campaign.objects.select_for_update(no_key=True).get(pk=campaign.pk)
            # Again, now that no other import of this campaign can come between reading and writing.
            report = checked_report(source, order)
            done = 0
            for batch in source.spool.batches():
                write(plan_import(batch, order.campaign_slug), campaign, order.format)
                done += len(batch)
                progress("writing choices", done, source.choices)
        return report


@dataclass
class ReadSource:
    """What a source held: its good choices in a file, and what is known of them all."""

    spool: Spool
    problems: list[Problem] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    choices: int = 0
    most_images: int = 0
    outcomes: set[Outcome] = field(default_factory=set)
    kinds: set[bool] = field(default_factory=set)
    """Whether synthetic."""

    def add(self, choices: Sequence[Choice]) -> None:
        self.spool.add(choices)
        self.choices += len(choices)
        for choice in choices:
            self.most_images = max(self.most_images, len(choice.found))
            self.outcomes.add(choice.judgement.outcome)
            self.kinds.add(choice.judgement.is_synthetic)


def read_source(order: Import, folder: Path, progress: Progress) -> ReadSource:
    """Reads all of a source into a file in the folder."""
    check_slug(order.campaign_slug)
    pattern = compiled(order.generator_pattern)
    path = unpack(order.path, folder / "unpacked") if is_archive(order.path) else order.path
    scratch = Scratch(folder / "pictures")
    scratch.folder.mkdir()
    source = Source(path, scratch, order.takes_pixels, order.columns, order.rules)
    pictures = Pictures(image_folder(order, path), scratch, pattern, order.takes_pixels, progress)
    read, consistency = ReadSource(Spool(folder / "choices.jsonl")), Consistency()
    records = FORMATS[order.format](source)
    is_empty = True
    while batch := list(islice(records, BATCH)):
        is_empty = False
        judgements = [record for record in batch if isinstance(record, Judgement)]
        read.problems += [record for record in batch if isinstance(record, Problem)]
        read.left_out.update(record.reason for record in batch if isinstance(record, LeftOut))
        choices, problems = sieve(judgements, finder(order, pictures, consistency, judgements))
        read.problems += problems
        read.add(choices)
    if is_empty:
        raise UnableToImport(f"{order.path} holds no choices.")
    return read


def image_folder(order: Import, path: Path) -> Path:
    folder = order.images or (path if path.is_dir() else path.parent)
    if not folder.is_dir():
        raise UnableToImport(f"{folder} is no folder; name the folder of the images with --images.")
    return folder


def finder(
    order: Import, pictures: Pictures, consistency: Consistency, judgements: Sequence[Judgement]
) -> Callable[[Judgement], Choice]:
    """Makes choices of these judgements, and holds them against those before."""
    find = pictures.find(judgements)
    return lambda judgement: consistency.check(
        choice_of(judgement, find(judgement), source=order.format, slug=order.campaign_slug)
    )


def checked_report(source: ReadSource, order: Import) -> Report:
    """The report of an import that may go ahead.

    Raises:
        UnableToImport: there are problems that shall not be skipped, or the campaign won't do for the choices.
    """
    tally, problems = Tally(), list(source.problems)
    for batch in source.spool.batches():
        plan = plan_import(batch, order.campaign_slug)
        problems += plan.problems
        tally.add(plan)
    problems = once_per_record(problems)
    if problems and not order.skips_bad:
        raise UnableToImport(told(problems))
    if not source.choices:
        raise UnableToImport(f"No record of {order.path} can be taken: {why_none(problems, source.left_out)}.")
    check_campaign(source, order.campaign_slug)
    return Report(
        prompts=len(tally.prompts),
        images=len(tally.images),
        choices=tally.choices,
        decided_pairs=tally.decided_pairs,
        annotators=len(tally.annotators),
        generators=len(tally.generators),
        already_there=tally.already_there,
        skipped=problems,
        left_out=dict(source.left_out),
    )


def why_none(problems: Sequence[Problem], left_out: Counter[str]) -> str:
    if problems:
        return str(problems[0])
    return "; ".join(f"{count:,} left out: {reason}" for reason, count in left_out.most_common(NAMED_PROBLEMS))


def check_slug(slug: str) -> None:
    try:
        validate_slug(slug)
    except ValidationError as error:
        raise UnableToImport(
            f"--campaign '{slug}' is no slug: use letters, digits, hyphens and underscores."
        ) from error
    if len(slug) > 80:
        raise UnableToImport(f"--campaign has {len(slug)} characters; at most 80 are taken.")


def once_per_record(problems: Sequence[Problem]) -> list[Problem]:
    """The first problem of each record: one name that won't do spoils every pair of a ranking."""
    return list({problem.place: problem for problem in reversed(problems)}.values())[::-1]


def told(problems: Sequence[Problem]) -> str:
    """The first problems in one line, and how to see the others."""
    first = "; ".join(str(problem) for problem in problems[:NAMED_PROBLEMS])
    more = len(problems) - NAMED_PROBLEMS
    rest = f"; and {more} more" if more > 0 else ""
    records = "1 record is" if len(problems) == 1 else f"{len(problems)} records are"
    return f"{records} bad, nothing was imported: {first}{rest}. --skip-bad --dry-run lists what would be left out."


def check_campaign(source: ReadSource, slug: str) -> None:
    if len(source.kinds) > 1:
        raise UnableToImport("The source mixes real and synthetic choices; import them into campaigns of their own.")
    campaign = Campaign.objects.filter(slug=slug).first()
    if campaign is None:
        return
    if campaign.is_synthetic not in source.kinds:
        here, there = ("synthetic", "real") if campaign.is_synthetic else ("real", "synthetic")
        raise UnableToImport(f"The campaign '{slug}' is {here} and the choices are {there}; name another campaign.")
    if source.most_images > campaign.candidates:
        raise UnableToImport(
            f"The campaign '{slug}' has {campaign.candidates} images per task and a choice here has "
            f"{source.most_images}; name another campaign."
        )


def archive_for(source: ReadSource, order: Import) -> Campaign:
    return get_or_create_archive(
        slug=order.campaign_slug,
        name=order.campaign_name or order.campaign_slug,
        candidates=source.most_images,
        outcomes=source.outcomes,
        is_synthetic=True in source.kinds,
    )


def store_all(source: ReadSource, order: Import, progress: Progress) -> None:
    """Stores the image files of all choices that are new."""
    stored: set[str] = set()
    for batch in source.spool.batches():
        new = plan_import(batch, order.campaign_slug).choices
        files = {file.facts.sha256: file for choice in new for file in choice.files}
        store_files(file for sha256, file in files.items() if sha256 not in stored)
        stored |= files.keys()
        progress("storing images", len(stored), len(stored))
