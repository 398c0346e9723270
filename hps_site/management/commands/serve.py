"""The whole site on this machine: database, web server and workers, until it is stopped."""

from argparse import ArgumentParser
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from hps_site import supervisor


class Command(BaseCommand):
    help = "Bring the database up to date, then run the web server and the workers. Ctrl-C stops everything."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--bind", default="127.0.0.1:8000", help="address and port (default: %(default)s)")
        parser.add_argument("--without-worker", action="store_true", help="collect votes only; no training, no scoring")

    def handle(self, *_args: Any, bind: str, without_worker: bool, **_options: Any) -> None:
        call_command("migrate", verbosity=0, interactive=False)
        connections.close_all()
        connections["default"].close_pool()  # type: ignore[attr-defined]
        commands = {"web server": supervisor.web_command(bind=bind)}
        if not without_worker:
            commands |= supervisor.worker_commands()
        self.stderr.write(f"hps-site is at http://{bind}/ - Ctrl-C stops it.")
        try:
            supervisor.run_together(commands)
        except supervisor.ChildEnded as error:
            raise CommandError(str(error)) from error
