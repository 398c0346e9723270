"""Makes tasks with a known answer for a campaign."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotations.models import Campaign, Task
from annotations.services.gold import UnableToMakeGold, make_gold, promote_to_gold


class Command(BaseCommand):
    help = "Makes gold or practice tasks: from worse copies and images of other prompts, or from people of one mind."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--campaign", required=True, metavar="SLUG", help="the campaign that gets them")
        parser.add_argument("--count", type=int, default=20, help="so many at most (default: 20)")
        parser.add_argument("--practice", action="store_true", help="practice tasks, with feedback, instead of gold")
        parser.add_argument(
            "--of-one-mind",
            type=int,
            metavar="PEOPLE",
            help="from finished tasks on which at least so many people all chose the same image",
        )
        parser.add_argument("--seed", type=int, help="of the choice of tasks and of the corruptions")
        parser.add_argument("--json", action="store_true", help="print the report as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        campaign = Campaign.objects.filter(slug=options["campaign"]).first()
        if campaign is None:
            raise CommandError(f"There is no campaign '{options['campaign']}'; the admin lists them all.")
        purpose = Task.Purpose.PRACTICE if options["practice"] else Task.Purpose.GOLD
        wanted = {"campaign": campaign, "count": options["count"], "purpose": purpose}
        try:
            if options["of_one_mind"] is None:
                made = make_gold(**wanted, seed=options["seed"])
            else:
                made = promote_to_gold(**wanted, least_people=options["of_one_mind"])
        except (UnableToMakeGold, ValueError) as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps({"purpose": purpose, "made": len(made.tasks), "known": made.known}))
        else:
            self.stdout.write(f"{len(made.tasks)} {purpose} tasks made for {campaign}; {made.known} there already.")
