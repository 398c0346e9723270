"""Imports existing human choices, with their images, into a campaign."""

import json
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any, Self

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from annotations.imports.choices import FORMATS, Import, Report, import_choices, preview_choices
from annotations.imports.records import UnableToImport


class Command(BaseCommand):
    help = (
        "Imports existing human choices into a campaign, which is made (closed) if it isn't there. "
        "Importing the same again adds nothing. Of a source with bad records nothing is imported, unless --skip-bad."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", type=Path, metavar="PATH", help="the file, its folder, or a zip or tar of it")
        parser.add_argument("--format", required=True, choices=sorted(FORMATS), help="docs/formats.md explains each")
        parser.add_argument("--campaign", required=True, metavar="SLUG", help="the campaign that takes the choices")
        parser.add_argument("--name", default="", help="the name of a new campaign; the slug without it")
        parser.add_argument("--images", type=Path, metavar="DIR", help="the images' folder; the file's without it")
        parser.add_argument(
            "--generator-pattern",
            metavar="REGEX",
            help="its first group, found in an image's file name, names the image's generator",
        )
        parser.add_argument(
            "--without-images", action="store_true", help="take the votes alone; such images are never shown to anybody"
        )
        parser.add_argument(
            "--columns",
            type=columns,
            default={},
            metavar="OURS=THEIRS,...",
            help="of csv: which heading stands for prompt, left, right, chosen, annotator, ...",
        )
        parser.add_argument(
            "--rules", default="", metavar="PRESET|FILE", help="of discord: dreambot, midjourney, or a TOML file"
        )
        parser.add_argument("--dry-run", action="store_true", help="report what would be imported; write nothing")
        parser.add_argument("--skip-bad", action="store_true", help="leave out bad records, and list them")
        parser.add_argument("--json", action="store_true", help="print the report as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        source = Import(
            path=options["path"],
            format=options["format"],
            campaign_slug=options["campaign"],
            campaign_name=options["name"],
            images=options["images"],
            generator_pattern=options["generator_pattern"],
            takes_pixels=not options["without_images"],
            columns=options["columns"],
            rules=options["rules"],
            skips_bad=options["skip_bad"],
        )
        act = preview_choices if options["dry_run"] else import_choices
        try:
            with Bar() as bar:
                report = act(source, progress=bar.show)
        except UnableToImport as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(report.as_json()) if options["json"] else summary(report, options))


def columns(text: str) -> dict[str, str]:
    """What --columns says, ours first."""
    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    if not all(ours and theirs for ours, _equals, theirs in pairs):
        raise ArgumentTypeError("write it as prompt=THEIR HEADING,left=THEIR HEADING")
    return {ours.strip(): theirs.strip() for ours, _equals, theirs in pairs}


class Bar:
    """One progress bar on standard error, renamed from stage to stage; silent where that is no terminal."""

    def __enter__(self) -> Self:
        self.bar = tqdm(disable=None, leave=False)
        return self

    def __exit__(self, *_raised: object) -> None:
        self.bar.close()

    def show(self, stage: str, done: int, total: int) -> None:
        self.bar.set_description(stage, refresh=False)
        self.bar.total, self.bar.n = total, done
        self.bar.refresh()


def summary(report: Report, options: dict[str, Any]) -> str:
    """The report for people."""
    act = "Would import" if options["dry_run"] else "Imported"
    first = (
        f"{act} {report.choices:,} choices ({report.decided_pairs:,} decided pairs) by {report.annotators:,} new "
        f"people into '{options['campaign']}': {report.prompts:,} new prompts, {report.images:,} new images, "
        f"{report.generators:,} new generators."
    )
    lines = [first]
    if report.already_there:
        lines.append(f"{report.already_there:,} choices were there already.")
    lines += [f"Left out: {count:,} x {reason}." for reason, count in report.left_out.items()]
    if report.skipped:
        records = "record" if len(report.skipped) == 1 else "records"
        lines.append(f"Left out {len(report.skipped):,} bad {records}:")
        lines += [f"  {problem}" for problem in report.skipped]
    return "\n".join(lines)
