"""Bring in labelled images, or captioned ones for regularisation, in the form in which the paper's were released."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from annotations.imports.records import UnableToImport
from worker.services.label_files import Brought, import_labels


class Command(BaseCommand):
    help = "Bring in an annotation.jsonl with its images as a labelling, or a JSON-lines file of images with captions."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("path", type=Path, metavar="FILE", help="the .jsonl file; its images lie beside it")
        parser.add_argument("--generator", metavar="NAME", required=True, help="under which name the images stand")
        parser.add_argument("--synthetic", action="store_true", help="they are of the toy world")
        parser.add_argument("--json", action="store_true", dest="is_json", help="print JSON")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        with tqdm(disable=None, leave=False, desc="reading images") as bar:

            def show(done: int, total: int) -> None:
                bar.total, bar.n = total, done
                bar.refresh()

            try:
                brought = import_labels(
                    path=options["path"],
                    generator_name=options["generator"],
                    is_synthetic=options["synthetic"],
                    progress=show,
                )
            except UnableToImport as error:
                raise CommandError(str(error)) from error
        record = {
            "labelling": str(brought.labelling.public_id) if brought.labelling else None,
            "images": brought.images,
            "held_out": brought.held_out,
        }
        self.stdout.write(json.dumps(record) if options["is_json"] else _told(brought, options["generator"]))


def _told(brought: Brought, generator: str) -> str:
    held_out = f", {brought.held_out:,} of them of held-out prompts and not learnt from" if brought.held_out else ""
    use = (
        f"train_adapter --labelling {str(brought.labelling.public_id)[:8]} --generator ... learns from them"
        if brought.labelling
        else f'train_adapter --config \'{{"regularisation": ["{generator}"]}}\' takes them'
    )
    return f"{brought.images:,} images came in{held_out}; {use}."
