"""How often each metric agrees with people, on the terminal or as JSON."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hps_site.dashboard import text_agreement, text_reports
from hps_site.dashboard.queries import ballots
from hps_site.dashboard.queries.agreement import agreement_report
from hps_site.dashboard.queries.demographic_slices import group_report
from hps_site.dashboard.queries.scorers import compare_scorers, scorer_versions, versions_in_use


class Command(BaseCommand):
    help = "Compare every scorer with people on held-out prompts, in all and by slice, beside chance and human ceiling."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--campaign", metavar="SLUG", default="", help="one campaign; without it, all that people voted in"
        )
        parser.add_argument("--json", action="store_true", dest="is_json", help="print JSON instead of a table")

    def handle(self, *_args: Any, campaign: str, is_json: bool, **_options: Any) -> None:
        try:
            campaigns = ballots.campaigns_to_report(campaign)
            choices = ballots.read_choices(campaigns)
            report = compare_scorers(campaigns, choices)
            report.require_choices()
            detail = agreement_report(campaigns, choices, scorer_versions())
            # Over several campaigns the difference to one of them would tell of few people.
            groups = group_report(campaigns[0], choices, versions_in_use()) if len(campaigns) == 1 else None
        except ballots.NothingToReport as error:
            raise CommandError(str(error)) from error
        if is_json:
            record = text_reports.scorer_record(campaigns, report) | text_agreement.agreement_record(detail)
            record["demographic_groups"] = text_agreement.group_record(groups) if groups else []
            self.stdout.write(json.dumps(record, indent=2))
        else:
            self.stdout.write(text_reports.scorers(campaigns, report))
            self.stdout.write(text_agreement.agreement(detail))
            if groups and groups.groups:
                self.stdout.write("\n".join(text_agreement.groups(groups)))
