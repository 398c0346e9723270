"""Brings existing choices into a campaign: all of them or, of a bad source, none."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_slug
from django.db import transaction

from annotations.imports.hpd import read_hpd
from annotations.imports.pictures import Finder, Progress, check_files, compiled, store_files
from annotations.imports.plan import Choice, Consistency, Picture, Plan, plan_import
from annotations.imports.records import ChoiceRecord, Problem, UnableToImport, sieve
from annotations.models import Campaign, Image, Prompt, Split
from annotations.services.archive import (
    PastChoice,
    get_or_create_archive,
    get_or_create_imported_annotators,
    record_past_choices,
)
from annotations.services.images import get_or_create_generators, get_or_create_prompts, record_images, unsaved_image
from annotations.services.tasks import CandidateSet

FORMATS: dict[str, Callable[[Path], tuple[list[ChoiceRecord], list[Problem]]]] = {"hpd": read_hpd}
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
    skips_bad: bool = False
    """Whether to take the good records of a source that holds bad ones."""


@dataclass(frozen=True)
class Report:
    """What an import added."""

    prompts: int
    images: int
    choices: int
    decided_pairs: int
    annotators: int
    generators: int
    already_there: int
    skipped: list[Problem] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        counts = {name: value for name, value in vars(self).items() if name != "skipped"}
        skipped = [{"file": p.place.file, "record": p.place.record, "reason": p.reason} for p in self.skipped]
        return counts | {"skipped": skipped}


def no_progress(_stage: str, _done: int, _total: int) -> None:
    """For callers who don't look."""


def preview_choices(source: Import, *, progress: Progress = no_progress) -> Report:
    """What an import would add; writes nothing.

    Raises:
        UnableToImport: as import_choices.
    """
    choices, problems = read_choices(source, progress)
    plan = checked_plan(source, choices, problems)
    return report_of(plan, problems)


def import_choices(source: Import, *, progress: Progress = no_progress) -> Report:
    """Reads a source of choices into a campaign, which is made if it isn't there. A second import adds nothing.

    Image files are stored first, then everything is written in one transaction.

    Raises:
        UnableToImport: a record is bad and none shall be skipped, or the source as a whole won't do.
            Nothing is written then.
    """
    choices, problems = read_choices(source, progress)
    plan = checked_plan(source, choices, problems)
    store_files((file for choice in plan.choices for file in choice.files), progress)
    progress("writing choices", 0, len(plan.choices))
    with transaction.atomic():
        campaign = get_or_create_archive(
            slug=source.campaign_slug,
            name=source.campaign_name or source.campaign_slug,
            candidates=max(len(choice.pictures) for choice in choices),
            is_synthetic=choices[0].record.is_synthetic,
        )
        Campaign.objects.select_for_update(no_key=True).get(pk=campaign.pk)
        # Again, now that no other import of this campaign can come between reading and writing.
        plan = checked_plan(source, choices, problems)
        write(plan, campaign, source.format)
    progress("writing choices", len(plan.choices), len(plan.choices))
    return report_of(plan, problems)


def read_choices(source: Import, progress: Progress) -> tuple[list[Choice], list[Problem]]:
    """The good choices of a source, and what is wrong with the others."""
    check_slug(source.campaign_slug)
    pattern = compiled(source.generator_pattern)
    folder = source.images or (source.path if source.path.is_dir() else source.path.parent)
    if not folder.is_dir():
        raise UnableToImport(f"{folder} is no folder; name the folder of the images with --images.")
    records, problems = FORMATS[source.format](source.path)
    if not records and not problems:
        raise UnableToImport(f"{source.path} holds no choices.")
    found, bad = sieve(records, Finder(folder, pattern).find)
    problems += bad
    checked = check_files((path for record in found for path in record.paths), progress)
    consistency = Consistency(slug=source.campaign_slug, source=source.format, checked=checked)
    choices, bad = sieve(found, consistency.check)
    return choices, problems + bad


def check_slug(slug: str) -> None:
    try:
        validate_slug(slug)
    except ValidationError as error:
        raise UnableToImport(
            f"--campaign '{slug}' is no slug: use letters, digits, hyphens and underscores."
        ) from error
    if len(slug) > 80:
        raise UnableToImport(f"--campaign has {len(slug)} characters; at most 80 are taken.")


def checked_plan(source: Import, choices: Sequence[Choice], problems: Iterable[Problem]) -> Plan:
    """The plan of an import that may go ahead.

    Raises:
        UnableToImport: there are problems that shall not be skipped, or the campaign won't do for the choices.
    """
    plan = plan_import(choices, source.campaign_slug)
    bad = [*problems, *plan.problems]
    if bad and not source.skips_bad:
        raise UnableToImport(told(bad))
    if not choices:
        raise UnableToImport(f"No record of {source.path} can be taken: {bad[0]}.")
    check_campaign(source.campaign_slug, choices)
    return plan


def told(problems: Sequence[Problem]) -> str:
    """The first problems in one line, and how to see the others."""
    first = "; ".join(str(problem) for problem in problems[:NAMED_PROBLEMS])
    more = len(problems) - NAMED_PROBLEMS
    rest = f"; and {more} more" if more > 0 else ""
    records = "1 record is" if len(problems) == 1 else f"{len(problems)} records are"
    return f"{records} bad, nothing was imported: {first}{rest}. --skip-bad --dry-run lists what would be left out."


def check_campaign(slug: str, choices: Sequence[Choice]) -> None:
    kinds = {choice.record.is_synthetic for choice in choices}
    if len(kinds) > 1:
        raise UnableToImport("The source mixes real and synthetic choices; import them into campaigns of their own.")
    campaign = Campaign.objects.filter(slug=slug).first()
    if campaign is None:
        return
    if campaign.is_synthetic not in kinds:
        here, there = ("synthetic", "real") if campaign.is_synthetic else ("real", "synthetic")
        raise UnableToImport(f"The campaign '{slug}' is {here} and the choices are {there}; name another campaign.")
    most = max(len(choice.pictures) for choice in choices)
    if most > campaign.candidates:
        raise UnableToImport(
            f"The campaign '{slug}' has {campaign.candidates} images per task and a choice here has {most}; "
            "name another campaign."
        )


def report_of(plan: Plan, problems: Sequence[Problem]) -> Report:
    present, choices = plan.present, plan.choices
    pictures = {picture for choice in choices for picture in choice.pictures}
    return Report(
        prompts=len({choice.record.prompt for choice in choices} - present.prompts.keys()),
        images=sum(present.image(picture) is None for picture in pictures),
        choices=len(choices),
        decided_pairs=sum(len(choice.pictures) - 1 for choice in choices),
        annotators=len({choice.external_id for choice in choices} - present.annotators),
        generators=len({name for _text, name, _sha256 in pictures if name is not None} - present.generators.keys()),
        already_there=plan.already_there,
        skipped=[*problems, *plan.problems],
    )


def write(plan: Plan, campaign: Campaign, source: str) -> None:
    choices = plan.choices
    prompts = written_prompts(choices, source)
    images = written_images(choices, prompts, is_synthetic=campaign.is_synthetic)
    annotators = get_or_create_imported_annotators(
        external_ids=[choice.external_id for choice in choices], is_synthetic=campaign.is_synthetic
    )
    past = [
        PastChoice(
            annotator=annotators[choice.external_id],
            candidates=CandidateSet(prompts[choice.record.prompt], [images[key] for key in choice.pictures]),
            chosen=images[choice.chosen],
            idempotency_key=choice.idempotency_key,
        )
        for choice in choices
    ]
    record_past_choices(campaign=campaign, choices=past)


def written_prompts(choices: Sequence[Choice], source: str) -> dict[str, Prompt]:
    """All prompts; a new one has every tag that one of its records has."""
    tags: dict[tuple[str, Split | None], dict[str, None]] = {}
    for choice in choices:
        tags.setdefault((choice.record.prompt, choice.record.split), {}).update(dict.fromkeys(choice.record.tags))
    alike: dict[tuple[tuple[str, ...], Split | None], list[str]] = {}
    for (text, split), names in tags.items():
        alike.setdefault((tuple(names), split), []).append(text)
    prompts: dict[str, Prompt] = {}
    for (tags_alike, split), texts in alike.items():
        prompts |= get_or_create_prompts(texts=texts, source=source, tags=tags_alike, split=split)
    return prompts


def written_images(
    choices: Sequence[Choice], prompts: dict[str, Prompt], *, is_synthetic: bool
) -> dict[Picture, Image]:
    files = {picture: file for choice in choices for picture, file in zip(choice.pictures, choice.files, strict=True)}
    names = [name for _text, name, _sha256 in files if name is not None]
    generators = get_or_create_generators(names=names, is_synthetic=is_synthetic)
    unsaved = [
        unsaved_image(facts=file.facts, prompt=prompts[text], generator=None if name is None else generators[name])
        for (text, name, _sha256), file in files.items()
    ]
    return dict(zip(files, record_images(images=unsaved), strict=True))
