"""Exports a campaign's votes to a file or folder."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q
from tqdm import tqdm

from annotations.exports.choices import FORMS, UnableToExport, export_choices, export_snapshot
from annotations.exports.stream import Exported
from annotations.models import Campaign, Snapshot


class Command(BaseCommand):
    help = "Exports a campaign's counted votes: judgements on regular tasks that stand, by people who are not excluded."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("out", type=Path, metavar="OUT", help="the new file (csv, parquet) or folder (others)")
        parser.add_argument("--campaign", required=True, metavar="SLUG", help="the campaign whose votes to export")
        parser.add_argument("--format", required=True, choices=sorted(FORMS), help="docs/formats.md explains each")
        parser.add_argument(
            "--snapshot", default="", metavar="SHA256", help="votes frozen before, as those of a training, not today's"
        )
        parser.add_argument("--json", action="store_true", help="print the report as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            campaign = Campaign.objects.get(slug=options["campaign"])
        except Campaign.DoesNotExist:
            raise CommandError(f"There is no campaign '{options['campaign']}'; the admin lists them all.") from None
        form, out = options["format"], options["out"]
        with tqdm(disable=None, leave=False, desc="exporting votes") as bar:

            def show(done: int, total: int) -> None:
                bar.total, bar.n = total, done
                bar.refresh()

            try:
                if options["snapshot"]:
                    snapshot = snapshot_of(campaign, options["snapshot"])
                    exported = export_snapshot(snapshot=snapshot, form=form, out=out, progress=show)
                else:
                    exported = export_choices(campaign=campaign, form=form, out=out, progress=show)
            except UnableToExport as error:
                raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(asdict(exported)) if options["json"] else summary(exported, options))


def snapshot_of(campaign: Campaign, sha256: str) -> Snapshot:
    """The campaign's snapshot, or the one of all campaigns, whose hash begins so."""
    snapshots = Snapshot.objects.filter(Q(campaign=campaign) | Q(campaign=None), sha256__startswith=sha256)
    if len(snapshots) != 1:
        raise CommandError(f"There are {len(snapshots)} snapshots of '{campaign.slug}' whose hash begins {sha256!r}.")
    return snapshots[0]


def summary(exported: Exported, options: dict[str, Any]) -> str:
    """The report for people."""
    lines = [f"Exported {exported.votes:,} votes on {exported.images:,} images to {options['out']}."]
    if exported.left_out:
        parts = ", ".join(f"{number:,} {outcome}" for outcome, number in exported.left_out.items())
        lines.append(f"Left out, for {options['format']} has no form for them: {parts}. The csv form holds them.")
    return "\n".join(lines)
