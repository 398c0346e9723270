"""Train the adapter that learns the mark of the non-preferred images, from the terminal."""

from argparse import ArgumentParser
from typing import Any

from worker.management.run_command import RunCommand, settings_of
from worker.models import Run


class Command(RunCommand):
    help = "Score a generator's images with HPS and train the adapter that learns to mark the non-preferred ones."
    kind = Run.Kind.ADAPTER

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--generator", metavar="NAME", default="", help="whose images; by default who made most")
        parser.add_argument("--config", metavar="JSON", default="{}", help="settings that differ from the preset's")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        config = settings_of(options["config"])
        if options["generator"]:
            config["generator"] = options["generator"]
        self.perform(options, config)

    def result(self, run: Run) -> str:
        labels = run.metrics["labels"]
        synthetic = " (synthetic)" if run.is_synthetic else ""
        counted = (
            f"{labels['images']} images scored by {labels['scorer']}: {labels['preferred']} preferred,"
            f" {labels['non_preferred']} non-preferred"
        )
        return f"{getattr(run, 'version', run)}{synthetic}\n  {counted}\n  {run.metrics['verdict']}"
