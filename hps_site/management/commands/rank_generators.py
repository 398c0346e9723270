"""Which generator people choose, on the terminal or as JSON."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hps_site.dashboard import text_reports
from hps_site.dashboard.queries import ballots
from scoring import rankings


class Command(BaseCommand):
    help = "Rank generators by what people chose: Plackett-Luce log-worths with 95 % intervals, their mean being 0."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--campaign", metavar="SLUG", default="", help="one campaign; without it, all that people voted in"
        )
        parser.add_argument("--json", action="store_true", dest="is_json", help="print a JSON list instead of a table")

    def handle(self, *_args: Any, campaign: str, is_json: bool, **_options: Any) -> None:
        try:
            campaigns = ballots.campaigns_to_report(campaign)
            ranking = rankings.ranking(
                (ballot.choice for ballot in ballots.each_ballot(campaigns, ballots.IMPORTED)),
                placed=(ballot.choice for ballot in ballots.each_ballot(campaigns, ballots.GIVEN_HERE)),
            )
        except (ballots.NothingToReport, rankings.UnableToRank) as error:
            raise CommandError(str(error)) from error
        if is_json:
            self.stdout.write(json.dumps([place.to_record() for place in ranking.places], indent=2))
            for line in text_reports.never_compared(ranking):
                self.stderr.write(line)
        else:
            self.stdout.write(text_reports.ranking(campaigns, ranking))
