"""What a network sees in the arms of a proof: how far the sets lie apart, how varied they are, what they copy."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
from django.db.models import QuerySet

from annotations.models import Generator, Image
from scoring.metrics import Estimate
from scoring.reward_hacking import Arm, Arms, difference, kept
from scoring.variety import closeness, copies, diversity
from worker.models import Labelling, ModelVersion
from worker.services.image_sets import inception_tower
from worker.services.label_sources import training_images
from worker.services.reference_images import named_pictures
from worker.services.scoring import UnknownScorer, open_picture, scorer_named

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scoring.image_sets import Tower

MOST_TRAINING_IMAGES = 10_000


@dataclass(frozen=True)
class FeatureReport:
    """Measures of the arms' images; by arm each."""

    tower: str
    """What they stand on, such as `CLIP features of ViT-L-14`."""
    reference: str
    """What FID and KID are measured to, in words."""
    reference_images: int
    fid: dict[Arm, float]
    kid: dict[Arm, float]
    diversity: Arms
    training_images: int
    """What closeness and copies are measured to; 0 where the training's images are not here."""
    training_images_in_all: int
    """Those that the training learnt from; more than were looked at where they are many or can't be read."""
    closeness: Arms | None
    copies: Arms | None

    def to_record(self) -> dict[str, Any]:
        """The report as plain values for JSON."""
        return {
            "tower": self.tower,
            "reference": self.reference,
            "reference_images": self.reference_images,
            "fid": self.fid,
            "kid": self.kid,
            "diversity": {**_means(self.diversity), "kept": kept(self.diversity).to_record()},
            "training_images": self.training_images,
            "training_images_in_all": self.training_images_in_all,
            "closeness": _means(self.closeness) if self.closeness else {},
            "copies": _means(self.copies) if self.copies else {},
            "more_copies": _record(difference(self.copies)) if self.copies else None,
        }


def describe_arms(
    arms: dict[Arm, list[list[Image]]],
    *,
    version: ModelVersion,
    original: Generator,
    reference: str = "",
    inception: str = "",
) -> FeatureReport:
    """Describe the images of all arms and hold them against each other, a reference and the training's images.

    Args:
        arms: for each arm and prompt its images, equally many each.
        version: the adapter, whose training tells which images it could copy; by default
        original: whose images these are.
        reference: a generator's name, or a folder on this machine; "" for the original's own images.
        inception: file of Inception's weights; "" for the CLIP in use.

    Raises:
        UnknownScorer: no CLIP is in use.
        CheckpointRejected: the file isn't Inception's weights.
        ReferenceRejected: the reference is neither, or holds fewer than two images.
    """
    from scoring.image_sets import fid, kid  # slow import

    tower = _tower(inception)
    features = {
        arm: tower.describe(open_picture(image) for of_prompt in images for image in of_prompt).features
        for arm, images in arms.items()
    }
    target = tower.describe(named_pictures(reference)).features if reference else features["original"]
    measured: list[Arm] = [arm for arm in arms if reference or arm != "original"]
    by_prompt = {arm: rows.reshape(len(arms[arm]), -1, rows.shape[1]) for arm, rows in features.items()}
    learnt, learnt_in_all = _learnt_images(version, original)
    training = tower.describe(_readable(learnt)).features if len(learnt) > 1 else None
    return FeatureReport(
        tower=tower.name,
        reference=reference or "the original's images of the same prompts",
        reference_images=len(target),
        fid={arm: fid(target, features[arm]) for arm in measured},
        kid={arm: kid(target, features[arm]) for arm in measured},
        diversity=Arms(**{arm: diversity(rows) for arm, rows in by_prompt.items()}),
        training_images=0 if training is None else len(training),
        training_images_in_all=learnt_in_all,
        closeness=None if training is None else _per_prompt(by_prompt, lambda rows: closeness(rows, training)),
        copies=None if training is None else _per_prompt(by_prompt, lambda rows: copies(rows, training)),
    )


def _tower(inception: str) -> "Tower":
    from scoring.hps import ClipScorer  # slow import
    from scoring.image_sets import ClipTower  # slow import

    if inception:
        return inception_tower(Path(inception))
    scorer = scorer_named("clip")
    if not isinstance(scorer, ClipScorer):
        raise UnknownScorer("The CLIP in use gives no features; put another one into use.")
    return ClipTower(scorer)


def _learnt_images(version: ModelVersion, original: Generator) -> tuple[list[Image], int]:
    """The images that the adapter's training learnt from, the labelled ones first and no more than are looked at, with
    how many there are in all.
    """
    pools = _learnt_pools(version, original)
    learnt: list[Image] = []
    for pool in pools:
        learnt += pool.order_by("sha256")[: MOST_TRAINING_IMAGES - len(learnt)]
    return learnt, sum(pool.count() for pool in pools)


def _learnt_pools(version: ModelVersion, original: Generator) -> list[QuerySet[Image]]:
    """What is left of the adapter's labelling, and what it was kept near to by regularisation.

    Of an adapter without a labelling nobody knows; it is held against what trainings take by themselves.
    """
    config = version.run.config if version.run else {}
    labels = version.metrics.get("labels") or {}
    labelling = Labelling.objects.filter(public_id=labels["labelling"]).first() if "labelling" in labels else None
    if labelling is None:
        return [training_images(_generators(config.get("sources") or [original.name]))]
    labelled = Image.objects.filter(labels__in=labelling.labels.left()).exclude(file="")
    if not (version.metrics.get("examples") or {}).get("regularisation"):
        return [labelled]
    others = training_images(_generators(config.get("regularisation") or labelling.settings["sources"]))
    return [labelled, others.exclude(labels__labelling=labelling)]


def _generators(names: Sequence[str]) -> list[Generator]:
    return list(Generator.objects.filter(name__in=names))


def _readable(images: Sequence[Image]) -> Iterator[PIL.Image.Image]:
    """The pictures of those that can be read; a training passes over the others too."""
    for image in images:
        try:
            yield open_picture(image)
        except OSError:
            continue


def _per_prompt(by_prompt: "dict[Arm, NDArray[np.float32]]", measure: Any) -> Arms:
    """The mean of a measure of single images over each prompt's images, (prompts,) by arm."""
    return Arms(
        **{
            arm: measure(rows.reshape(-1, rows.shape[2])).reshape(rows.shape[:2]).mean(axis=1)
            for arm, rows in by_prompt.items()
        }
    )


def _means(arms: Arms) -> dict[str, float]:
    return {arm: float(np.mean(values)) for arm, values in vars(arms).items() if values is not None}


def _record(estimate: Estimate | None) -> dict[str, object] | None:
    return estimate.to_record() if estimate else None
