"""Bring in open_clip's weights as a base model, from which trainings can start."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from worker.services.base_models import UnableToImportBaseModel, import_base_model


class Command(BaseCommand):
    help = (
        "Convert weights of open_clip's class CLIP into a folder under HPS_SITE_HOME/base-models, once; a training"
        " starts from it where its settings name it as base."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="how trainings shall name it, such as clip-vit-b-32")
        parser.add_argument(
            "--architecture",
            metavar="MODEL",
            required=True,
            help="what open_clip calls the model; OpenAI's weights need one with -quickgelu",
        )
        source = parser.add_mutually_exclusive_group(required=True)
        source.add_argument(
            "--pretrained", metavar="TAG", default="", help="weights that open_clip knows, fetched once"
        )
        source.add_argument("--file", metavar="FILE", type=Path, help="a .pt, .bin or .safetensors in place of a tag")

    def handle(self, *_arguments: Any, name: str, architecture: str, **options: Any) -> None:
        try:
            folder = import_base_model(
                name=name, architecture=architecture, tag=options["pretrained"], file=options["file"]
            )
        except UnableToImportBaseModel as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f'{folder} is there. Start from it with: retrain_classifier --config \'{{"base": "{name}"}}\''
        )
