"""Write what is left of a labelling in the form in which the paper's labels were released."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from annotations.exports.choices import UnableToExport
from worker.services.label_files import FILE, export_labels
from worker.services.label_review import UnknownLabelling, labelling_named


class Command(BaseCommand):
    help = f"Write the images that an adapter would learn from into a new folder: {FILE}, positive/ and negative/."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("out", type=Path, metavar="OUT", help="the new folder")
        parser.add_argument("--labelling", metavar="ID", required=True, help="as label_images told it")
        parser.add_argument("--json", action="store_true", dest="is_json", help="print JSON")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        with tqdm(disable=None, leave=False, desc="writing images") as bar:

            def show(done: int, total: int) -> None:
                bar.total, bar.n = total, done
                bar.refresh()

            try:
                labelling = labelling_named(options["labelling"])
                counts = export_labels(labelling=labelling, out=options["out"], progress=show)
            except (UnknownLabelling, UnableToExport) as error:
                raise CommandError(str(error)) from error
        words = f"{counts['positive']:,} positive and {counts['negative']:,} negative images in {options['out']}."
        self.stdout.write(json.dumps(counts) if options["is_json"] else words)
