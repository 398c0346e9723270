"""Cancel a run that waits or is at work."""

import json
from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from worker.models import Run
from worker.services.runs import UnableToCancelRun, request_cancel


class Command(BaseCommand):
    help = "End a queued run at once, or ask a running one to stop after its current step."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("run", type=UUID, metavar="RUN", help="the run's id, as its page and the commands show it")
        parser.add_argument("--json", action="store_true", dest="is_json", help="print JSON")

    def handle(self, *_args: Any, run: UUID, is_json: bool, **_options: Any) -> None:
        found = Run.objects.filter(public_id=run).first()
        if found is None:
            raise CommandError(f"There is no run {run}.")
        try:
            cancelled = request_cancel(run=found)
        except UnableToCancelRun as error:
            raise CommandError(str(error)) from error
        words = "is cancelled" if not cancelled.is_active else "will stop after its current step"
        record = {"run": str(cancelled.public_id), "state": cancelled.state}
        self.stdout.write(json.dumps(record) if is_json else f"Run {cancelled.public_id} {words}.")
