"""Scores of images by any scorer: in bulk into the database, and which scorers there are."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL.Image
from django.conf import settings
from django.db.models import Exists, OuterRef, QuerySet

from annotations.models import Campaign, Image, Task
from scoring import scorers
from worker.models import ImageScore, ModelVersion, Run
from worker.queries import current_version, scoring_versions, version_by_name
from worker.services.execution import Reporter, RunStopped
from worker.services.own_scorers import register_own_scorer, register_own_scorers
from worker.services.versions import scorer_for

if TYPE_CHECKING:
    from scoring.hps import Precision, Scorer

logger = logging.getLogger(__name__)

CHUNK = 512
"""Scores written at once, and images scored between two looks at whether to stop."""


class UnknownScorer(ValueError):
    """No scorer of this name; the message says which names there are."""


@dataclass(frozen=True)
class Scored:
    """What came of scoring many images."""

    new: int
    """Images that have a score now and had none before."""
    unreadable: int
    """Images without a score, because their file is missing or damaged."""


def score_images(*, version: ModelVersion, images: QuerySet[Image], reporter: Reporter | None = None) -> Scored:
    """Give every image its score by a version, for the image's own prompt; images that have one are left alone.

    Scores are written as they are worked out, so a call that was ended goes on where it stood. Each prompt is encoded
    once.

    Raises:
        RunStopped: the reporter was told to stop.
        CheckpointRejected: the version's artefact can't be read.
    """
    has_score = ImageScore.objects.filter(version=version, image=OuterRef("pk"))
    missing = images.filter(~Exists(has_score)).order_by("prompt_id", "pk").select_related("prompt")
    total = missing.count()
    if not total:
        return Scored(new=0, unreadable=0)
    reader = _Reader(missing.iterator(chunk_size=CHUNK))
    values = scorer_for(version).score_pairs(reader.pairs())
    done = 0
    while chunk := list(islice(values, CHUNK)):
        scored = (
            ImageScore(image_id=image_id, version=version, value=value)
            for image_id, value in zip(reader.read[done : done + len(chunk)], chunk, strict=True)
        )
        ImageScore.objects.bulk_create(scored, ignore_conflicts=True)
        done += len(chunk)
        if reporter:
            _tell(reporter, done + reader.unreadable, total)
    if reader.unreadable and reporter:
        reporter.say(f"{reader.unreadable} images could not be read and have no score by {version}.")
    return Scored(new=done, unreadable=reader.unreadable)


class _Reader:
    """Opens images one after the other, passing over those that can't be read."""

    def __init__(self, images: Iterator[Image]) -> None:
        self._images = images
        self.read: list[int] = []
        """Primary keys in the order in which the images were given out."""
        self.unreadable = 0

    def pairs(self) -> Iterator[tuple[PIL.Image.Image, str]]:
        """Picture and prompt of every image that can be read."""
        for image in self._images:
            try:
                picture = open_picture(image)
            except OSError as error:
                logger.warning("Image %s can't be read: %s", image.public_id, error)
                self.unreadable += 1
                continue
            self.read.append(image.pk)
            yield picture, image.prompt.text


def _tell(reporter: Reporter, done: int, total: int) -> None:
    reporter.step(done, total)
    if reporter.should_stop():
        raise RunStopped


def open_picture(image: Image) -> PIL.Image.Image:
    """The decoded picture of a stored image.

    Raises:
        OSError: the file is missing or damaged.
    """
    with image.file.open("rb") as file:
        picture = PIL.Image.open(file)
        picture.load()
        return picture


def version_named(name: str) -> ModelVersion:
    """The version of a name: `clip`, `hps` or `aesthetic` for the one in use, `hps-3` for a certain one.

    A scorer of one's own becomes a version when it is first named, and a new one after its code has changed.

    Raises:
        UnknownScorer: there is none.
        ScorerRejected: a module of SCORER_MODULES can't be imported, or the scorer can't be a version.
    """
    if own := scorers.find(name, settings.SCORER_MODULES):
        return register_own_scorer(own)
    version = current_version(name) or version_by_name(name)
    if version is not None and version.family != ModelVersion.Family.ADAPTER:
        return version
    there = [str(version) for version in scoring_versions().order_by("family", "number")]
    raise UnknownScorer(
        f"There is no scorer {name!r}. Name one of: {', '.join(there) or 'none yet; register the base models first'};"
        " or give the folder of an artefact."
    )


def scorer_named(name: str, precision: "Precision" = "float32") -> "Scorer":
    """The scorer of a version's name (see `version_named`), in a folder, or of one's own (see `scoring.scorers`).

    Args:
        name: of any of the three.
        precision: of the arithmetic of CLIP and HPS; the others have their own.

    Raises:
        UnknownScorer: there is no such version, no such folder, and no module of SCORER_MODULES has it.
        CheckpointRejected: the folder is no scorer's artefact.
        ScorerRejected: a module of SCORER_MODULES can't be imported.
    """
    if own := scorers.find(name, settings.SCORER_MODULES):
        return own
    if Path(name).is_dir():
        from scoring.hps import load_scorer  # slow import

        return load_scorer(name, None if settings.DEVICE == "auto" else settings.DEVICE, precision)
    return scorer_for(version_named(name), precision)


def images_of(campaign: Campaign | None) -> QuerySet[Image]:
    """The images of a campaign's regular tasks, or all images; those whose pixels are here.

    Corrupted copies, made for gold tasks, are none of them.
    """
    images = Image.objects.filter(corrupted_from=None).exclude(file="")
    if campaign is None:
        return images
    return images.filter(pk__in=campaign.tasks.filter(purpose=Task.Purpose.REGULAR).values("images"))


def versions_in_use() -> list[ModelVersion]:
    """The CLIP score, aesthetic score and HPS in use, those there are, and the scorers of one's own."""
    used = scoring_versions().filter(is_current=True, family__in=ModelVersion.Family.values)
    return [*used.order_by("family"), *register_own_scorers()]


def perform_scoring(run: Run, reporter: Reporter, _workdir: Path) -> dict[str, Any]:
    """Do the work of a scoring run: `config["versions"]` names the scorers, by default those in use.

    Returns:
        `{"scores": {name: {"new", "unreadable"}}}`

    Raises:
        UnknownScorer: a name in the config, or no scorer is in use at all.
        ScorerRejected: a scorer of one's own can't be used.
        RunStopped: cancelled.
    """
    names = run.config.get("versions") or []
    versions = [version_named(name) for name in names] or versions_in_use()
    if not versions:
        raise UnknownScorer("No scorer is in use yet; register the base models first.")
    scores = {}
    for version in versions:
        reporter.stage(f"Scoring with {version}")
        scored = score_images(version=version, images=images_of(run.campaign), reporter=reporter)
        scores[str(version)] = {"new": scored.new, "unreadable": scored.unreadable}
    return {"scores": scores}
