"""Score image files for a prompt, or all images of a campaign, from the terminal."""

import io
import json
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL.Image
from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from annotations.models import Campaign
from annotations.services.images import ImageRejected, read_image
from scoring.bulk import BulkRejected, Progress, Row, score_manifest
from scoring.checkpoints import CheckpointRejected
from scoring.scorers import ScorerRejected
from worker.management.run_command import campaign_of
from worker.models import Run
from worker.services.following import RunFailed, follow_run
from worker.services.runs import UnableToOpenRun, open_run
from worker.services.scoring import UnknownScorer, scorer_named, version_named

if TYPE_CHECKING:
    from scoring.hps import Precision

NAMED = 20
"""Rows of a manifest that are named when they can't be scored."""


class Command(BaseCommand):
    help = (
        "With --prompt and image files: print their scores as JSON. "
        "With --campaign: give all its images their scores in the database. "
        "With --manifest and --out: score the rows of a Parquet file; a call that was ended goes on."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--scorer",
            metavar="NAME",
            default="",
            help="clip, hps or aesthetic for the one in use; hps-3 for a certain version; an artefact's folder; or the"
            " name of a scorer of your own (SCORER_MODULES)",
        )
        source = parser.add_mutually_exclusive_group(required=True)
        source.add_argument("--prompt", metavar="TEXT", help="what the images were made from")
        source.add_argument("--campaign", metavar="SLUG", help="score its images, each for its own prompt")
        source.add_argument("--manifest", metavar="FILE", type=Path, help="Parquet with the columns image and prompt")
        parser.add_argument("--out", metavar="FILE", type=Path, help="Parquet to write the manifest's scores to")
        parser.add_argument("--root", metavar="DIR", type=Path, help="where the manifest's paths start; else beside it")
        parser.add_argument(
            "--precision",
            choices=["float32", "bfloat16"],
            default="float32",
            help="of the scores of a manifest or of files by CLIP and HPS: bfloat16 is several times as fast where the"
            " processor has it, and moves them by up to 0.2; a campaign's are float32 always",
        )
        parser.add_argument("--strict", action="store_true", dest="is_strict", help="end at the first unreadable image")
        parser.add_argument("images", metavar="IMAGE", nargs="*", type=Path, help="JPEG, PNG or WebP files")
        parser.add_argument("--json", action="store_true", dest="is_json", help="print JSON (files: always)")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        try:
            if options["campaign"] is not None:
                self._score_campaign(campaign_of(options["campaign"]), options["scorer"], is_json=options["is_json"])
            elif options["manifest"] is not None:
                self._score_manifest(**options)
            else:
                self._score_files(**options)
        except (UnknownScorer, ScorerRejected, CheckpointRejected, BulkRejected, UnableToOpenRun, RunFailed) as error:
            raise CommandError(" ".join(str(error).split())) from error

    def _score_files(
        self, *, images: list[Path], prompt: str, scorer: str, precision: "Precision", **_options: Any
    ) -> None:
        if not images:
            raise CommandError("Name the image files to score behind the options.")
        pictures = [_picture(path) for path in images]
        values = scorer_named(scorer or "hps", precision).score(pictures, prompt).tolist()
        scores = [{"image": str(path), "score": value} for path, value in zip(images, values, strict=True)]
        self.stdout.write(json.dumps(scores, indent=2))

    def _score_manifest(
        self, *, manifest: Path, out: Path | None, scorer: str, precision: "Precision", root: Path | None,
        is_strict: bool, is_json: bool, **_options: Any,
    ) -> None:  # fmt: skip
        if out is None:
            raise CommandError("Say with --out where the scores shall stand.")
        with tqdm(unit=" rows", file=self.stderr, disable=None) as bar:
            listed = _Listed(self.stderr.write)

            def tell(progress: Progress) -> None:
                bar.total = progress.total
                bar.update(progress.done - bar.n)

            scored = score_manifest(
                manifest, out, scorer_named(scorer or "hps", precision), root=root, is_strict=is_strict,
                on_progress=tell, on_bad=listed.add,
            )  # fmt: skip
        if is_json:
            self.stdout.write(json.dumps(asdict(scored)))
            return
        bad = scored.rows - scored.scored
        self.stdout.write(f"{out}: {scored.scored} of {scored.rows} rows scored; {bad} without a score (column error).")

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


class _Listed:
    """Names the first rows that can't be scored; the rest stand in the file."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._count = 0

    def add(self, row: Row) -> None:
        self._count += 1
        if self._count <= NAMED:
            self._write(f"Row {row.row}: {row.image}: {row.error}")
        elif self._count == NAMED + 1:
            self._write("More rows without a score: see the column error.")


def _picture(path: Path) -> PIL.Image.Image:
    """The upright picture in a file, checked as an upload is."""
    try:
        return PIL.Image.open(io.BytesIO(read_image(path).bytes))
    except ImageRejected as error:
        raise CommandError(f"{path} can't be scored: {error.reason}.") from error
