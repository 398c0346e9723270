"""Whom the checks of quality find in simulated crowds, and whom they leave alone."""

import json
import logging
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from annotations.models import Campaign
from hps_site.demo.crowd import CROWD, Found, ImaginedWorld, Sort, crowd, found_in, together
from hps_site.demo.crowd_campaign import SLUG, open_crowd_campaign, vote_as


class Command(BaseCommand):
    help = (
        "Lets simulated people of every kind vote, and tells whom the suspicions name. All of it is synthetic. "
        "By default in memory, over many seeds; with --campaign through the services, in a campaign of its own."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--seeds", type=int, default=100, help="crowds in memory (default: %(default)s)")
        parser.add_argument("--tasks", type=int, default=300, help="regular tasks of a crowd (default: %(default)s)")
        parser.add_argument("--gold", type=int, default=20, help="gold tasks of each person (default: %(default)s)")
        parser.add_argument("--repeats", type=int, default=15, help="repeats of each person (default: %(default)s)")
        parser.add_argument("--honest", action="store_true", help="only skilled people and a minority of one third")
        parser.add_argument("--campaign", action="store_true", help=f"vote in the campaign '{SLUG}', once")
        parser.add_argument("--json", action="store_true", dest="is_json", help="print JSON instead of a table")

    def handle(self, *_args: Any, **options: Any) -> None:
        sorts = {Sort.SKILLED: 16, Sort.MINORITY: 8} if options["honest"] else CROWD
        if options["campaign"]:
            found = [self._in_campaign(sorts, options)]
        else:
            found = [self._in_memory(sorts, seed, options) for seed in range(options["seeds"])]
        all_of_them = together(found)
        if options["is_json"]:
            self.stdout.write(json.dumps(all_of_them.to_record()))
        else:
            self.stdout.write(table(all_of_them, crowds=len(found)))

    def _in_memory(self, sorts: dict[Sort, int], seed: int, options: dict[str, Any]) -> Found:
        members = crowd(sorts, seed)
        world = ImaginedWorld(
            seed=seed, tasks=options["tasks"], gold_each=options["gold"], repeats_each=options["repeats"]
        )
        return found_in(world.said_by(members), members)

    def _in_campaign(self, sorts: dict[Sort, int], options: dict[str, Any]) -> Found:
        if Campaign.objects.filter(slug=SLUG).exists():
            raise CommandError(f"The campaign '{SLUG}' is there already; look at it on the dashboard.")
        logging.getLogger("annotations").setLevel(logging.WARNING)
        members = crowd(sorts, seed=0)
        campaign = open_crowd_campaign(tasks=options["tasks"], votes_per_task=12)
        return found_in(vote_as(members, campaign=campaign), members)


def table(found: Found, *, crowds: int) -> str:
    """The result for people."""
    lines = [f"{crowds} simulated crowds [synthetic]", f"{'who':<20}{'people':>8}{'found':>8}{'named':>8}"]
    lines += [
        f"{sort:<20}{found.people[sort]:>8}{found.found[sort]:>8}{found.named[sort]:>8}"
        for sort in Sort
        if found.people[sort]
    ]
    honest = found.people[Sort.SKILLED] + found.people[Sort.MINORITY]
    lines.append(f"false alarms: {found.false_alarms} of {honest} honest people, in {found.alarmed} of {crowds} crowds")
    return "\n".join(lines)
