"""What labels are made from: the images that may be learnt from, their scores, their pixels, people's votes."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from django.db.models import Count, QuerySet

from annotations.models import Campaign, Candidate, Generator, Image, Outcome, Prompt, Split, Vote, VoteQuerySet
from worker.models import ImageScore, ModelVersion
from worker.services.execution import Reporter, RunStopped
from worker.services.scoring import open_picture, score_images

if TYPE_CHECKING:
    from worker.adapter.blur import Fault
    from worker.adapter.labelling import JudgedSet

CHUNK = 512


@dataclass(frozen=True)
class Known:
    """What is known of an image that may be labelled."""

    pk: int
    key: str
    """Public id."""
    prompt: str
    sha256: str


@dataclass(frozen=True)
class Pixels:
    """What the pictures themselves told, by primary key."""

    faults: "Mapping[int, Fault]"
    unreadable: frozenset[int] = frozenset()


def training_images(generators: Sequence[Generator]) -> QuerySet[Image]:
    """Images that may be learnt from: of prompts on the training side of the split that are no near-duplicates of test
    prompts, with pixels, not hidden, and no corrupted copies made for gold tasks.
    """
    prompts = Prompt.objects.filter(split=Split.TRAIN, is_near_test=False)
    images = Image.objects.filter(generator__in=generators, prompt__in=prompts)
    return images.filter(is_hidden=False, corrupted_from=None).exclude(file="")


def known_images(images: QuerySet[Image]) -> dict[int, Known]:
    """Every image by its primary key."""
    rows = images.values_list("pk", "public_id", "prompt__text", "sha256")
    return {pk: Known(pk, str(public_id), prompt, sha256) for pk, public_id, prompt, sha256 in rows.iterator()}


def scores_of(version: ModelVersion, images: QuerySet[Image], reporter: Reporter) -> dict[int, float]:
    """The score of every image that can be read, by primary key; those that have none yet are scored.

    Raises:
        RunStopped: the reporter was told to stop.
    """
    reporter.stage(f"Scoring with {version}")
    score_images(version=version, images=images, reporter=reporter)
    return dict(ImageScore.objects.filter(version=version, image__in=images).values_list("image_id", "value"))


def look_at(images: QuerySet[Image], reporter: Reporter) -> Pixels:
    """Which pictures are blurred, blank or can't be read: one pass through all files.

    Raises:
        RunStopped: the reporter was told to stop.
    """
    from worker.adapter.blur import fault_of  # slow import

    reporter.stage("Looking for blurred and blank images")
    total = images.count()
    faults, unreadable = {}, set()
    for done, image in enumerate(images.order_by("pk").iterator(chunk_size=CHUNK), start=1):
        try:
            fault = fault_of(np.asarray(open_picture(image).convert("RGB")))
        except OSError:
            unreadable.add(image.pk)
        else:
            if fault is not None:
                faults[image.pk] = fault
        reporter.step(done, total)
        if reporter.should_stop():
            raise RunStopped
    if unreadable:
        reporter.say(f"{len(unreadable)} images could not be read and get no label.")
    return Pixels(faults, frozenset(unreadable))


def votes_on(images: QuerySet[Image], campaign: Campaign | None) -> VoteQuerySet:
    """The votes that count on sets with at least one of these images: none on gold tasks and repeats, none of people
    who are excluded, none that were undone.

    Args:
        campaign: whose votes; None means those of all campaigns.
    """
    votes = Vote.objects.counted().filter(task__in=Candidate.objects.filter(image__in=images).values("task"))
    return votes if campaign is None else votes.filter(task__campaign=campaign)


def judged_sets(votes: VoteQuerySet) -> "Iterator[JudgedSet]":
    """What was said of each set of images; of the same set in several tasks, all together. Two SQL statements."""
    from worker.adapter.labelling import JudgedSet  # slow import

    prompts: dict[str, dict[str, str]] = defaultdict(dict)
    candidates = Candidate.objects.filter(task__in=votes.values("task"))
    for name, image, prompt in candidates.values_list(
        "task__candidates_hash", "image__public_id", "image__prompt__text"
    ):
        prompts[name][str(image)] = prompt
    said: dict[str, Counter[str]] = defaultdict(Counter)
    counted = votes.order_by().values("task__candidates_hash", "outcome", "image__public_id").annotate(n=Count("pk"))
    for row in counted:
        outcome = row["outcome"]
        answer = str(row["image__public_id"]) if outcome == Outcome.CHOICE else outcome
        said[row["task__candidates_hash"]][answer] += row["n"]
    for name, answers in sorted(said.items()):
        ties, all_bad = answers.pop(Outcome.TIE, 0), answers.pop(Outcome.ALL_BAD, 0)
        images = tuple(sorted(prompts[name]))
        yield JudgedSet(prompts[name][images[0]], images, answers, ties, all_bad)
