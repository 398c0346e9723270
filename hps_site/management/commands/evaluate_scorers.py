"""How often each metric agrees with people, on the terminal or as JSON."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hps_site.dashboard import text_reports
from hps_site.dashboard.queries import ballots
from hps_site.dashboard.queries.scorers import compare_scorers


class Command(BaseCommand):
    help = "Compare every scorer with people on held-out prompts, beside chance, the human ceiling and base CLIP."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--campaign", metavar="SLUG", default="", help="one campaign; without it, all that people voted in"
        )
        parser.add_argument("--json", action="store_true", dest="is_json", help="print JSON instead of a table")

    def handle(self, *_args: Any, campaign: str, is_json: bool, **_options: Any) -> None:
        try:
            campaigns = ballots.campaigns_to_report(campaign)
            report = compare_scorers(campaigns, ballots.read_choices(campaigns))
            report.require_choices()
        except ballots.NothingToReport as error:
            raise CommandError(str(error)) from error
        if is_json:
            self.stdout.write(json.dumps(text_reports.scorer_record(campaigns, report), indent=2))
        else:
            self.stdout.write(text_reports.scorers(campaigns, report))
