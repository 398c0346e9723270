"""Score image files for a prompt, or all images of a campaign, from the terminal."""

import io
import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import PIL.Image
from django.core.management.base import BaseCommand, CommandError

from annotations.models import Campaign
from annotations.services.images import ImageRejected, read_image
from scoring.checkpoints import CheckpointRejected
from worker.management.run_command import campaign_of
from worker.models import Run
from worker.services.following import RunFailed, follow_run
from worker.services.runs import UnableToOpenRun, open_run
from worker.services.scoring import UnknownScorer, scorer_named, version_named


class Command(BaseCommand):
    help = (
        "With --prompt and image files: print their scores as JSON. "
        "With --campaign: give all its images their scores in the database."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--scorer",
            metavar="NAME",
            default="",
            help="clip, hps or aesthetic for the one in use; hps-3 for a certain version; or an artefact's folder",
        )
        source = parser.add_mutually_exclusive_group(required=True)
        source.add_argument("--prompt", metavar="TEXT", help="what the images were made from")
        source.add_argument("--campaign", metavar="SLUG", help="score its images, each for its own prompt")
        parser.add_argument("images", metavar="IMAGE", nargs="*", type=Path, help="JPEG, PNG or WebP files")
        parser.add_argument("--json", action="store_true", dest="is_json", help="print JSON (files: always)")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        try:
            if options["campaign"] is not None:
                self._score_campaign(campaign_of(options["campaign"]), options["scorer"], is_json=options["is_json"])
            else:
                self._score_files(options["images"], options["prompt"], options["scorer"] or "hps")
        except (UnknownScorer, CheckpointRejected, UnableToOpenRun, RunFailed) as error:
            raise CommandError(" ".join(str(error).split())) from error

    def _score_files(self, paths: list[Path], prompt: str, scorer: str) -> None:
        if not paths:
            raise CommandError("Name the image files to score behind the options.")
        pictures = [_picture(path) for path in paths]
        values = scorer_named(scorer).score(pictures, prompt).tolist()
        scores = [{"image": str(path), "score": value} for path, value in zip(paths, values, strict=True)]
        self.stdout.write(json.dumps(scores, indent=2))

    def _score_campaign(self, campaign: Campaign, scorer: str, *, is_json: bool) -> None:
        config = {"versions": [str(version_named(scorer))]} if scorer else {}
        while not (opened := open_run(kind=Run.Kind.SCORING, preset="", config=config, campaign=campaign)).is_new:
            self.stderr.write(f"Another scoring is active ({opened.run.public_id}); waiting for its end.")
            follow_run(run=opened.run, is_here=True)
        metrics = follow_run(run=opened.run, is_here=True).metrics
        if is_json:
            self.stdout.write(json.dumps(metrics["scores"], indent=2))
            return
        for name, scored in metrics["scores"].items():
            self.stdout.write(f"{name}: {scored['new']} images newly scored, {scored['unreadable']} unreadable")


def _picture(path: Path) -> PIL.Image.Image:
    """The upright picture in a file, checked as an upload is."""
    try:
        return PIL.Image.open(io.BytesIO(read_image(path).bytes))
    except ImageRejected as error:
        raise CommandError(f"{path} can't be scored: {error.reason}.") from error
