"""Label generated images for an adapter's training, from the terminal."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from worker.management.run_command import RunCommand, campaign_of, settings_of
from worker.models import Run
from worker.services.label_review import counted
from worker.services.labelling import UnableToLabel, check_labelling


class Command(RunCommand):
    help = "Say which generated images stand out among those of their prompt, by HPS, by people's votes, or by both."
    kind = Run.Kind.LABELLING

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--generator", metavar="NAME", default="", help="whose images; by default who made most")
        parser.add_argument(
            "--labels-from", choices=("hps", "people", "both"), default="", help="who says it; by default the preset's"
        )
        parser.add_argument("--campaign", metavar="SLUG", default="", help="whose votes; by default those of all")
        parser.add_argument("--config", metavar="JSON", default="{}", help="settings that differ from the preset's")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        config = settings_of(options["config"])
        config |= {name: options[name] for name in ("generator", "labels_from") if options[name]}
        campaign = campaign_of(options["campaign"]) if options["campaign"] else None
        try:
            check_labelling(config=config, preset=options["preset"], campaign=campaign)
        except UnableToLabel as error:
            raise CommandError(str(error)) from error
        self.perform(options, config, campaign)

    def result(self, run: Run) -> str:
        synthetic = " (synthetic)" if run.is_synthetic else ""
        name = run.metrics["labelling"]
        return (
            f"Labelling {name}{synthetic}\n  {counted(run.metrics)}\n"
            f"  Look through it at /dashboard/labellings/{name}/, then: train_adapter --labelling {name[:8]}"
        )
