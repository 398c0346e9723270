"""Train the adapter that learns the mark of the non-preferred images, from the terminal."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from worker.management.run_command import RunCommand, settings_of
from worker.models import Run
from worker.services.adapting import UnableToTrainAdapter, check_adapter
from worker.services.label_review import UnknownLabelling, counted, labelling_named


class Command(RunCommand):
    help = "Label a generator's images, or take a labelling that is there, and train the adapter that learns the mark."
    kind = Run.Kind.ADAPTER

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--generator", metavar="NAME", default="", help="whose images; by default who made most")
        parser.add_argument(
            "--labelling", metavar="ID", default="", help="train on what is left of this one (see label_images)"
        )
        parser.add_argument("--config", metavar="JSON", default="{}", help="settings that differ from the preset's")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        config = settings_of(options["config"])
        if options["generator"]:
            config["generator"] = options["generator"]
        if options["labelling"]:
            config["labelling"] = _public_id(options["labelling"])
        try:
            check_adapter(config=config, preset=options["preset"], campaign=None)
        except UnableToTrainAdapter as error:
            raise CommandError(str(error)) from error
        self.perform(options, config)

    def result(self, run: Run) -> str:
        synthetic = " (synthetic)" if run.is_synthetic else ""
        told = counted(run.metrics["labels"])
        return f"{getattr(run, 'version', run)}{synthetic}\n  {told}\n  {run.metrics['verdict']}"


def _public_id(name: str) -> str:
    try:
        return str(labelling_named(name).public_id)
    except UnknownLabelling as error:
        raise CommandError(str(error)) from error
