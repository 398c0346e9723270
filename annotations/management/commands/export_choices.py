"""Exports a campaign's votes to a file or folder."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from annotations.exports import FORMS, Exported, UnableToExport, export_choices
from annotations.models import Campaign


class Command(BaseCommand):
    help = "Exports a campaign's counted votes: judgements on regular tasks that stand, by people who are not excluded."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("out", type=Path, metavar="OUT", help="the new file (csv) or folder (hpd)")
        parser.add_argument("--campaign", required=True, metavar="SLUG", help="the campaign whose votes to export")
        parser.add_argument("--format", required=True, choices=sorted(FORMS), help="hpd: HPD v1, with the images")
        parser.add_argument("--json", action="store_true", help="print the report as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            campaign = Campaign.objects.get(slug=options["campaign"])
        except Campaign.DoesNotExist:
            raise CommandError(f"There is no campaign '{options['campaign']}'; the admin lists them all.") from None
        with tqdm(disable=None, leave=False, desc="exporting votes") as bar:

            def show(done: int, total: int) -> None:
                bar.total, bar.n = total, done
                bar.refresh()

            try:
                exported = export_choices(campaign=campaign, form=options["format"], out=options["out"], progress=show)
            except UnableToExport as error:
                raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(asdict(exported)) if options["json"] else summary(exported, options))


def summary(exported: Exported, options: dict[str, Any]) -> str:
    """The report for people."""
    lines = [f"Exported {exported.votes:,} votes on {exported.images:,} images to {options['out']}."]
    if exported.left_out:
        parts = ", ".join(f"{number:,} {outcome}" for outcome, number in exported.left_out.items())
        lines.append(f"Left out, for {options['format']} has no form for them: {parts}. The csv form holds them.")
    return "\n".join(lines)
