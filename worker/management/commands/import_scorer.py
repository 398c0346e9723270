"""Bring in a published scorer: HPS v1 or v2, PickScore, an aesthetic head, or any CLIP of open_clip's."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from scoring.preprocessing import RESIZES
from worker.services.importing_scorers import UnableToImportScorer, import_scorer


class Command(BaseCommand):
    help = (
        "Convert a published scorer and register it as a version: hpc.pt, HPS_v2*.pt, a PickScore folder, a published"
        " aesthetic head, or any file of open_clip's weights. Put it into use with promote_version."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "path", metavar="PATH", type=Path, help="the file, or the folder of a transformers CLIPModel"
        )
        parser.add_argument("--name", required=True, metavar="NAME", help="what people shall read, such as 'HPS v2.1'")
        parser.add_argument(
            "--kind", choices=["hps", "clip"], default="hps", help="clip: not trained on people's choices"
        )
        parser.add_argument(
            "--architecture", metavar="NAME", help="what open_clip calls the model; needed where the file isn't known"
        )
        parser.add_argument("--resize", choices=RESIZES, help="pad or crop; by default as the scorer was trained")
        parser.add_argument(
            "--clip", metavar="NAME", default="", help="for an aesthetic head: the CLIP below it, clip-1 or a folder"
        )
        parser.add_argument("--json", action="store_true", dest="is_json", help="print JSON")

    def handle(self, *_arguments: Any, path: Path, name: str, is_json: bool, **options: Any) -> None:
        try:
            version = import_scorer(
                path=path, name=name, kind=options["kind"], architecture=options["architecture"],
                resize=options["resize"], clip=options["clip"],
            )  # fmt: skip
        except UnableToImportScorer as error:
            raise CommandError(" ".join(str(error).split())) from error
        if is_json:
            self.stdout.write(json.dumps({"version": str(version), "name": name, "family": version.family}))
        else:
            self.stdout.write(f"{name} is {version}. Put it into use with: promote_version {version}")
