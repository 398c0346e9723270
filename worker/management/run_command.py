"""What the commands that open runs have in common: their options, opening, waiting, reading what they were given."""

import json
from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from annotations.models import Campaign
from worker.models import Run
from worker.queries import PRESETS
from worker.services.following import RunFailed, follow_run
from worker.services.runs import UnableToOpenRun, open_run


class RunCommand(BaseCommand):
    """A command that opens one run of a kind, or finds the active one, and may wait for it."""

    kind: str
    default_preset = ""

    def add_arguments(self, parser: ArgumentParser) -> None:
        if presets := PRESETS.get(self.kind):
            parser.add_argument("--preset", default=presets[0], choices=presets, help="settings to start from")
        parser.add_argument("--wait", action="store_true", help="follow the run until it has ended, then report")
        parser.add_argument(
            "--here", action="store_true", help="work in this process, whether or not a worker is there"
        )
        parser.add_argument("--json", action="store_true", dest="is_json", help="print JSON")

    def perform(self, options: Mapping[str, Any], config: Mapping[str, Any], campaign: Campaign | None = None) -> None:
        """Open the run, wait for it if that is wanted, and print how it stands.

        Raises:
            CommandError: it could not be opened, failed, or was cancelled.
        """
        try:
            opened = open_run(kind=self.kind, preset=options.get("preset", ""), config=config, campaign=campaign)
            run = opened.run
            if not opened.is_new:
                self.stderr.write(
                    f"There is an active {run.get_kind_display()} already: {run.public_id}. It is meant now."
                )
            if options["wait"] or options["here"]:
                run = follow_run(run=run, is_here=options["here"])
        except (UnableToOpenRun, RunFailed) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(record_of(run), indent=2) if options["is_json"] else self.report(run))

    def report(self, run: Run) -> str:
        """How the run stands, in words."""
        if run.is_active:
            where = f"follow it at {run.get_absolute_url()} or with --wait."
            return f"Run {run.public_id} is {run.get_state_display()}; {where}"
        return self.result(run)

    def result(self, run: Run) -> str:
        """What a run that succeeded has come to, in words."""
        raise NotImplementedError


def record_of(run: Run) -> dict[str, Any]:
    """A run as JSON."""
    version = getattr(run, "version", None)
    return {
        "run": str(run.public_id),
        "state": run.state,
        "preset": run.preset,
        "config": run.config,
        "campaign": run.campaign.slug if run.campaign else None,
        "version": str(version) if version else None,
        "is_synthetic": run.is_synthetic,
        "metrics": run.metrics,
    }


def campaign_of(slug: str) -> Campaign:
    """The campaign of a slug.

    Raises:
        CommandError: there is none; the message names those there are.
    """
    campaign = Campaign.objects.filter(slug=slug).first()
    if campaign is None:
        known = ", ".join(Campaign.objects.order_by("slug").values_list("slug", flat=True)) or "none yet"
        raise CommandError(f"There is no campaign {slug!r}; known are: {known}.")
    return campaign


def lines_of(path: Path) -> list[str]:
    """The lines of a text file that are not empty.

    Raises:
        CommandError: it can't be read, or holds none.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} can't be read: {error}.") from error
    if not any(lines):
        raise CommandError(f"{path} holds no prompt; write one per line.")
    return [line for line in lines if line]


def settings_of(text: str) -> dict[str, Any]:
    """A JSON object given on the command line.

    Raises:
        CommandError: it is something else.
    """
    try:
        settings = json.loads(text)
    except ValueError as error:
        raise CommandError(f"--config is not JSON: {error}.") from error
    if not isinstance(settings, dict):
        raise CommandError("--config must be a JSON object, such as '{\"steps\": 400}'.")
    return settings
