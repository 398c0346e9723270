"""Bring in an adapter that was trained without the site, such as by `accelerate launch -m worker.adapter`."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from worker.services.importing_adapters import UnableToImportAdapter, import_adapter


class Command(BaseCommand):
    help = (
        "Register the result of `python -m worker.adapter`, its folder OUT/model, as a version, with its model card."
        " Prove it with prove_adapter, put it into use with promote_version."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", metavar="FOLDER", type=Path, help="OUT/model of the training")
        parser.add_argument("--generator", metavar="NAME", required=True, help="whose model was adapted")
        parser.add_argument("--json", action="store_true", dest="is_json", help="print JSON")

    def handle(self, *_arguments: Any, folder: Path, generator: str, is_json: bool, **_options: Any) -> None:
        try:
            version = import_adapter(folder=folder, generator_name=generator)
        except UnableToImportAdapter as error:
            raise CommandError(str(error)) from error
        if is_json:
            self.stdout.write(json.dumps({"version": str(version), "generator": generator}))
        else:
            self.stdout.write(f"{folder} is {version}. {version.metrics['verdict']} Prove it: prove_adapter {version}")
