"""Inception score, FID and KID of what people chose against what they passed over."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import PIL.Image
from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from annotations.models import Image
from hps_site.dashboard import text_reports
from hps_site.dashboard.queries import ballots
from scoring.checkpoints import CheckpointRejected
from worker.services.image_sets import (
    RESAMPLES,
    UnableToCompareSets,
    clip_tower,
    compare_sets,
    inception_tower,
)
from worker.services.reference_images import ReferenceRejected, named_pictures
from worker.services.scoring import UnknownScorer, open_picture


class Command(BaseCommand):
    help = (
        "The paper's test of set measures: Inception score, FID and KID of the images that people chose against those"
        " they passed over, with intervals. On a CLIP's features, or on Inception's from a local file."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--campaign", metavar="SLUG", default="", help="one campaign; without it, all that people voted in"
        )
        tower = parser.add_mutually_exclusive_group()
        tower.add_argument("--clip", metavar="NAME", default="clip", help="clip: the one in use; clip-2; a folder")
        tower.add_argument("--inception", metavar="FILE", type=Path, help="weights of Inception v3, as FID is defined")
        parser.add_argument(
            "--reference",
            metavar="NAME",
            help="images that both sides are held against: a generator's, or a folder's, 10,000 at most",
        )
        parser.add_argument("--resamples", metavar="N", type=int, default=RESAMPLES, help="bootstrap replicates")
        parser.add_argument("--json", action="store_true", dest="is_json", help="print JSON instead of a table")

    def handle(self, *_arguments: Any, campaign: str, resamples: int, is_json: bool, **options: Any) -> None:
        try:
            campaigns = ballots.campaigns_to_report(campaign)
            choices = ballots.read_choices(campaigns)
            inception, name = options["inception"], options["reference"]
            tower = clip_tower(options["clip"]) if inception is None else inception_tower(inception)
            reference = None if name is None else named_pictures(name)
            with tqdm(total=2 * resamples, unit=" resamples", file=self.stderr, disable=None) as bar:
                report = compare_sets(
                    choices, _open, tower, reference=reference, resamples=resamples, on_resample=bar.update
                )
        except (
            ballots.NothingToReport,
            UnableToCompareSets,
            ReferenceRejected,
            UnknownScorer,
            CheckpointRejected,
        ) as error:
            raise CommandError(" ".join(str(error).split())) from error
        if is_json:
            self.stdout.write(json.dumps(text_reports.set_record(campaigns, report), indent=2))
        else:
            self.stdout.write(text_reports.sets(campaigns, report))


def _open(key: str) -> PIL.Image.Image:
    """The picture of an image's id; an OSError where its pixels are elsewhere, as where they can't be read."""
    image = Image.objects.get(pk=int(key))
    if not image.file:
        raise FileNotFoundError(f"Image {key} has no file.")
    return open_picture(image)
