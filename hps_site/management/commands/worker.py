"""The workers for the jobs: both queues and the clock, until it is stopped."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hps_site import supervisor


class Command(BaseCommand):
    help = "Run the workers: short jobs, one long job at a time, and the clock. Ctrl-C stops them."

    def handle(self, *_args: Any, **_options: Any) -> None:
        self.stderr.write("Workers for the queues default and gpu; Ctrl-C stops them.")
        try:
            supervisor.run_together(supervisor.worker_commands())
        except supervisor.ChildEnded as error:
            raise CommandError(str(error)) from error
