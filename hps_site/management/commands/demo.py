"""The demo: the whole loop on synthetic data, then the site to look at it."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from hps_site import embedded, supervisor
from hps_site.demo.people import open_logins
from hps_site.demo.pipeline import run_demo
from hps_site.demo.steps import Ledger
from hps_site.demo.world import open_visitors_campaigns
from worker.services.following import RunFailed


class Command(BaseCommand):
    help = "Walk through the whole loop with drawn images and simulated annotators, then serve the site."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--no-serve", action="store_true", help="end after the table")
        parser.add_argument("--bind", default="127.0.0.1:8000", help="address and port (default: %(default)s)")

    def handle(self, *_args: Any, no_serve: bool, bind: str, **_options: Any) -> None:
        call_command("migrate", verbosity=0, interactive=False)
        ledger = Ledger(beside=embedded.server_pids(settings.HPS_SITE_HOME))
        worker_log = settings.HPS_SITE_HOME / "workers.log"
        try:
            with worker_log.open("ab") as log, supervisor.running(supervisor.worker_commands(), log=log):
                table = run_demo(ledger)
        except RunFailed as error:
            raise CommandError(f"The demo stopped in the step above: {error} The workers' log: {worker_log}") from error
        self.stderr.write(f"\n{ledger.table()}\n")
        self.stdout.write(table)
        if no_serve:
            return
        sys.stdout.flush()
        self._tell_visitors(bind, open_logins())
        call_command("serve", bind=bind)

    def _tell_visitors(self, bind: str, logins: dict[str, str]) -> None:
        for name, password in logins.items():
            self.stderr.write(f"login: {name}  password: {password}")
        for campaign in open_visitors_campaigns():
            invite = campaign.invites.get(label="demo")
            self.stderr.write(f"{campaign}, without a login: http://{bind}{invite.get_absolute_url()}")
