"""Votes frozen into a file that never changes: what one training saw, and nothing that came later."""

import hashlib
import io
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, cast

import PIL.Image
from django.core.files import File
from django.core.files.storage import Storage
from django.db import IntegrityError, transaction
from django.db.models import Max, Q

from annotations.models import Campaign, Image, Vote, VoteQuerySet
from scoring.preferences import Choice, Outcome, Split, read_lines
from worker.models import Snapshot

# Fewer decided choices than these give figures that mean nothing.
MIN_TRAIN_CHOICES, MIN_TEST_CHOICES = 10, 5

# What `VoteQuerySet.counted` lets through, for whoever reads the snapshot later.
FILTERS = {
    "outcomes": ["choice", "tie", "all_bad"],
    "tasks": "regular ones: no gold, no repeat probes",
    "annotators": "not excluded",
    "votes": "not undone",
}

MEMORY_BYTES = 8 * 1024 * 1024


class NotEnoughChoices(ValueError):
    """There are too few votes to learn from; the message says how many are missing on which side."""


class SnapshotDamaged(ValueError):
    """The file of a snapshot is missing or no longer what it was."""


@dataclass
class _Counts:
    """What is in a snapshot."""

    decided: dict[str, int] = field(default_factory=lambda: {"train": 0, "test": 0})
    choices: dict[str, int] = field(default_factory=lambda: {"train": 0, "test": 0})
    prompts: set[str] = field(default_factory=set)
    images: set[str] = field(default_factory=set)
    annotators: set[str] = field(default_factory=set)

    def add(self, choice: Choice) -> None:
        self.choices[choice.split] += 1
        self.decided[choice.split] += choice.is_decided
        self.prompts.add(choice.prompt)
        self.images.update(choice.images)
        self.annotators.add(choice.annotator)


def take_snapshot(*, campaign: Campaign | None = None) -> Snapshot:
    """Freeze the votes that count, up to the newest, as JSON lines of `scoring.preferences.Choice`.

    Votes that were undone, those of excluded people, and those on gold tasks and repeat probes never enter. Lines
    stand in the order of the votes, images in the order shown, under their public ids; the split is the prompt's own.

    Args:
        campaign: whose votes; None means those of all campaigns.

    Returns:
        The snapshot of these votes; where an equal one was taken before, that one.

    Raises:
        NotEnoughChoices: fewer than 10 decided choices to train on or 5 to test on.
    """
    votes = Vote.objects.counted()
    if campaign is not None:
        votes = votes.filter(task__campaign=campaign)
    last_vote_id = votes.aggregate(last=Max("id"))["last"]
    votes = votes.filter(id__lte=last_vote_id or 0)
    counts, digest = _Counts(), hashlib.sha256()
    with tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES) as file:
        for choice in _choices(votes, campaign):
            counts.add(choice)
            line = choice.to_json().encode() + b"\n"
            digest.update(line)
            file.write(line)
        _check(counts)
        sha256 = digest.hexdigest()
        is_synthetic = votes.filter(Q(task__campaign__is_synthetic=True) | Q(annotator__is_synthetic=True)).exists()
        return _known(sha256) or _stored(
            Snapshot(
                sha256=sha256,
                campaign=campaign,
                filters=FILTERS | {"campaign": campaign.slug if campaign else "all", "last_vote_id": last_vote_id},
                train_choices=counts.choices["train"],
                test_choices=counts.choices["test"],
                prompts=len(counts.prompts),
                images=len(counts.images),
                annotators=len(counts.annotators),
                last_vote_id=last_vote_id,
                is_synthetic=is_synthetic,
            ),
            file,
        )


def read_snapshot(snapshot: Snapshot) -> list[Choice]:
    """The choices of a snapshot, in its order.

    Raises:
        SnapshotDamaged: the file is missing, or its SHA-256 is not that of the snapshot.
    """
    try:
        with snapshot.file.open("rb") as file:
            content = file.read()
    except OSError as error:
        raise SnapshotDamaged(f"The file of {snapshot} can't be read: {error}.") from error
    if hashlib.sha256(content).hexdigest() != snapshot.sha256:
        raise SnapshotDamaged(f"The file of {snapshot} was changed since it was taken; take a new one.")
    # Not splitlines: a prompt may hold other characters that end a line, such as U+2028.
    return list(read_lines(content.decode().split("\n")))


def open_image(key: str) -> PIL.Image.Image:
    """The picture whose public id is `key`, decoded.

    Raises:
        Image.DoesNotExist, OSError: there is none, or its file is missing or damaged.
    """
    image = Image.objects.only("file").get(public_id=uuid.UUID(key))
    return _decoded(image.file.storage, str(image.file.name))


def image_opener(choices: Iterable[Choice]) -> Callable[[str], PIL.Image.Image]:
    """`open_image` for the images of these choices, without the database: usable from many threads."""
    keys = {key for choice in choices for key in choice.images}
    storage = Image._meta.get_field("file").storage
    names = {
        str(public_id): name
        for public_id, name in Image.objects.values_list("public_id", "file").iterator()
        if str(public_id) in keys
    }
    return lambda key: _decoded(storage, names[key])


def image_hashes(choices: Iterable[Choice]) -> dict[str, str]:
    """SHA-256 of the file of every image of these choices, by public id."""
    keys = {key for choice in choices for key in choice.images}
    rows = Image.objects.values_list("public_id", "sha256")
    return {str(public_id): sha256 for public_id, sha256 in rows.iterator() if str(public_id) in keys}


def _decoded(storage: Storage, name: str) -> PIL.Image.Image:
    with storage.open(name) as file:
        picture = PIL.Image.open(io.BytesIO(file.read()))
        picture.load()
        return picture


def _choices(votes: VoteQuerySet, campaign: Campaign | None) -> Iterator[Choice]:
    images = _images_of(campaign)
    rows = votes.order_by("id").values_list(
        "task__prompt__text", "task__prompt__split", "annotator__public_id", "outcome", "image_id", "order"
    )
    for prompt, split, annotator, outcome, image_id, order in rows.iterator():
        yield Choice(
            prompt=prompt,
            images=tuple(images[shown][0] for shown in order),
            outcome=cast(Outcome, outcome),
            chosen=order.index(image_id) if outcome == "choice" else None,
            annotator=str(annotator),
            split=cast(Split, split),
            generators=tuple(images[shown][1] for shown in order),
        )


def _images_of(campaign: Campaign | None) -> dict[int, tuple[str, str | None]]:
    """Public id and generator of the images that were shown, by primary key."""
    images = Image.objects.filter(tasks__isnull=False)
    if campaign is not None:
        images = Image.objects.filter(tasks__campaign=campaign)
    rows = images.distinct().values_list("pk", "public_id", "generator__name")
    return {pk: (str(public_id), generator) for pk, public_id, generator in rows.iterator()}


def _check(counts: _Counts) -> None:
    train, test = counts.decided["train"], counts.decided["test"]
    if train < MIN_TRAIN_CHOICES or test < MIN_TEST_CHOICES:
        raise NotEnoughChoices(
            f"There are {train} decided choices to train on and {test} to test on; at least {MIN_TRAIN_CHOICES} and"
            f" {MIN_TEST_CHOICES} are needed. Collect more votes, on more prompts: one prompt in five is for testing."
        )


def _known(sha256: str) -> Snapshot | None:
    return Snapshot.objects.filter(sha256=sha256).first()


def _stored(snapshot: Snapshot, content: IO[bytes]) -> Snapshot:
    """Store a snapshot; where another process just stored an equal one, that one."""
    content.seek(0)
    snapshot.file.save(f"{snapshot.sha256}.jsonl", File(content), save=False)
    try:
        with transaction.atomic():
            snapshot.save()
    except IntegrityError:
        snapshot.file.delete(save=False)
        return Snapshot.objects.get(sha256=snapshot.sha256)
    return snapshot
