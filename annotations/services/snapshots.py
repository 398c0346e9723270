"""Votes frozen into a file that never changes: what one training saw, what one export holds.

A line is a vote: the `scoring.preferences.Choice` that training reads, and beside it what only exports ask for.
Lines written before there were exports hold the bare choice.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any, Self, TypeVar, cast

from django.core.files import File
from django.db import IntegrityError, transaction
from django.db.models import Exists, Max, OuterRef, Q

from annotations.models import Campaign, Candidate, Image, Snapshot, Vote, VoteQuerySet
from annotations.queries.quality import reliabilities_of
from annotations.services.sides import KeptApart, kept_apart
from scoring.preferences import Choice, ChoiceRejected, Outcome

# What `VoteQuerySet.counted` lets through, for whoever reads the snapshot later.
FILTERS = {
    "outcomes": ["choice", "tie", "all_bad"],
    "tasks": "regular ones: no gold, no repeat probes",
    "annotators": "not excluded",
    "votes": "not undone",
}

MEMORY_BYTES = 8 * 1024 * 1024

Made = TypeVar("Made")


class NotEnoughChoices(ValueError):
    """There are too few votes to learn from; the message says how many are missing on which side."""


class SnapshotDamaged(ValueError):
    """The file of a snapshot is missing or no longer what it was."""


@dataclass(frozen=True)
class Needs:
    """What the use of a snapshot asks of it."""

    pixels: bool = False
    """Take only votes on images whose files are here."""
    apart: bool = False
    """Leave out training votes on what the test side has too: near-duplicates of a prompt, and the same image files."""
    reliability: bool = False
    """Keep with each vote how far its person can be relied on, as known now."""
    decided_train: int = 0
    """Decided choices to train on, at least."""
    decided_test: int = 0
    """Decided choices to test on, at least."""


@dataclass(frozen=True)
class FrozenVote:
    """One vote as a snapshot holds it; nothing in it changes when the database does."""

    choice: Choice
    vote: str
    """The vote's public id."""
    number: int
    """The vote's number in the database, for formats whose ids are whole numbers."""
    campaign: str
    """Slug."""
    tags: tuple[str, ...]
    files: tuple[str, ...]
    """Names of the image files in the storage, named by their SHA-256; empty where the pixels are elsewhere."""
    references: tuple[str, ...]
    """Names of the images where their pixels are; empty where the file is here."""
    voted_at: str
    """ISO 8601, UTC."""
    shown_ms: int | None
    hidden_ms: int
    is_too_fast: bool
    instructions_version: int
    is_synthetic: bool
    ranking: dict[str, Any] | None = None
    """`{"id", "ranks"}` where the vote is one pair of a ranking: which ranking, and the ranks of the two images."""
    reliability: float | None = None
    """0..1, how likely its person gives the answer that is clear; where the snapshot was to keep it."""

    def to_json(self) -> str:
        """One line of JSON; equal votes give equal lines."""
        return json.dumps(self, default=vars, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Read one line written by `to_json`.

        Raises:
            SnapshotDamaged: the line holds the bare choice of an older snapshot.
        """
        record = json.loads(line)
        if "choice" not in record:
            raise SnapshotDamaged("This snapshot is older than exports and lacks what they need; take a new one.")
        record["choice"] = choice_of(record)
        for name in ("tags", "files", "references"):
            record[name] = tuple(record[name])
        return cls(**record)


@dataclass
class _Counts:
    """What is in a snapshot."""

    decided: dict[str, int] = field(default_factory=lambda: {"train": 0, "test": 0})
    choices: dict[str, int] = field(default_factory=lambda: {"train": 0, "test": 0})
    prompts: set[bytes] = field(default_factory=set)
    images: set[str] = field(default_factory=set)
    annotators: set[str] = field(default_factory=set)

    def add(self, choice: Choice) -> None:
        self.choices[choice.split] += 1
        self.decided[choice.split] += choice.is_decided
        self.prompts.add(hashlib.sha256(choice.prompt.encode()).digest())
        self.images.update(choice.images)
        self.annotators.add(choice.annotator)


def take_snapshot(*, campaign: Campaign | None = None, needs: Needs | None = None) -> Snapshot:
    """Freeze the votes that count, up to the newest, as JSON lines of `FrozenVote`.

    Votes that were undone, those of excluded people, and those on gold tasks and repeat probes never enter. Lines
    stand task by task, a task's in the order of its votes; images stand in the order shown, under their public ids;
    the split is the prompt's own.

    Args:
        campaign: whose votes; None means those of all campaigns.
        needs: what the snapshot is for.

    Returns:
        The snapshot of these votes; where an equal one was taken before, that one.

    Raises:
        NotEnoughChoices: fewer decided choices than needed.
    """
    needs = needs or Needs()
    votes, last_vote_id = _votes(campaign, needs)
    counts, digest = _Counts(), hashlib.sha256()
    apart = kept_apart() if needs.apart else None
    reliabilities = reliabilities_of(campaign) if needs.reliability else {}
    with tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES) as file:
        for vote in _frozen(votes, campaign, apart, reliabilities):
            counts.add(vote.choice)
            line = vote.to_json().encode() + b"\n"
            digest.update(line)
            file.write(line)
        _check(counts, needs)
        is_synthetic = votes.filter(Q(task__campaign__is_synthetic=True) | Q(annotator__is_synthetic=True)).exists()
        filters: dict[str, Any] = {
            **FILTERS,
            "campaign": campaign.slug if campaign else "all",
            "last_vote_id": last_vote_id,
        }
        if needs.pixels:
            filters["images"] = "those whose files are here"
        if apart is not None:
            filters["left_out_of_training"] = apart.to_record()
        if needs.reliability:
            filters["reliability"] = "kept with each vote"
        sha256 = digest.hexdigest()
        return _known(sha256) or _stored(
            Snapshot(
                sha256=sha256,
                campaign=campaign,
                filters=filters,
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
    return list(_read(snapshot, lambda line: choice_of(json.loads(line))))


def read_reliability(snapshot: Snapshot) -> dict[str, float]:
    """How far each person of a snapshot could be relied on when it was taken, 0..1; empty where it wasn't kept.

    Raises:
        SnapshotDamaged: as read_snapshot.
    """
    pairs = _read(snapshot, _reliability_of)
    return {person: reliability for person, reliability in pairs if reliability is not None}


def read_votes(snapshot: Snapshot) -> Iterator[FrozenVote]:
    """The votes of a snapshot, in its order, one at a time.

    The file is read twice, first for its hash, so that nothing of a damaged one is given out.

    Raises:
        SnapshotDamaged: as read_snapshot, or the snapshot is older than exports.
    """
    return _read(snapshot, FrozenVote.from_json)


def choice_of(record: dict[str, Any]) -> Choice:
    """The choice in a line's record, which is the choice itself in older snapshots."""
    fields = record.get("choice", record)
    return Choice(**fields | {name: tuple(fields.get(name, ())) for name in ("images", "generators")})


def _reliability_of(line: str) -> tuple[str, float | None]:
    record = json.loads(line)
    return choice_of(record).annotator, record.get("reliability")


def _read(snapshot: Snapshot, made: Callable[[str], Made]) -> Iterator[Made]:
    try:
        with snapshot.file.open("rb") as file:
            digest = hashlib.sha256()
            for chunk in file.chunks():
                digest.update(chunk)
            if digest.hexdigest() != snapshot.sha256:
                raise SnapshotDamaged(f"The file of {snapshot} was changed since it was taken; take a new one.")
            file.seek(0)
            for number, line in enumerate(file, start=1):
                try:
                    yield made(line.decode())
                except ChoiceRejected as error:
                    raise SnapshotDamaged(f"Line {number} of {snapshot}: {error}") from error
    except OSError as error:
        raise SnapshotDamaged(f"The file of {snapshot} can't be read: {error}.") from error


def _votes(campaign: Campaign | None, needs: Needs) -> tuple[VoteQuerySet, int | None]:
    votes = Vote.objects.counted()
    if campaign is not None:
        votes = votes.filter(task__campaign=campaign)
    if needs.pixels:
        votes = votes.filter(~Exists(Candidate.objects.filter(task=OuterRef("task"), image__file="")))
    last_vote_id = votes.aggregate(last=Max("id"))["last"]
    return votes.filter(id__lte=last_vote_id or 0), last_vote_id


def _frozen(
    votes: VoteQuerySet, campaign: Campaign | None, apart: KeptApart | None, reliabilities: dict[str, float]
) -> Iterator[FrozenVote]:
    images = _images_of(campaign)
    fields = (
        *("task__prompt__text", "task__prompt__split", "task__prompt__tags", "annotator__public_id", "outcome"),
        "task__prompt__is_near_test",
        *("image_id", "order", "public_id", "pk", "task__campaign__slug", "created_at", "shown_ms", "hidden_ms"),
        *("is_too_fast", "instructions_version", "task__campaign__is_synthetic", "annotator__is_synthetic", "client"),
    )
    rows: Iterable[dict[str, Any]] = votes.order_by("task_id", "pk").values(*fields).iterator()
    for row in apart.kept(rows) if apart else rows:
        shown = [images[pk] for pk in row["order"]]
        yield FrozenVote(
            choice=Choice(
                prompt=row["task__prompt__text"],
                images=tuple(image.public_id for image in shown),
                outcome=cast(Outcome, row["outcome"]),
                chosen=None if row["image_id"] is None else row["order"].index(row["image_id"]),
                annotator=str(row["annotator__public_id"]),
                split=row["task__prompt__split"],
                generators=tuple(image.generator for image in shown),
            ),
            vote=str(row["public_id"]),
            number=row["pk"],
            campaign=row["task__campaign__slug"],
            tags=tuple(row["task__prompt__tags"]),
            files=tuple(image.file for image in shown),
            references=tuple(image.reference for image in shown),
            voted_at=row["created_at"].isoformat(),
            shown_ms=row["shown_ms"],
            hidden_ms=row["hidden_ms"],
            is_too_fast=row["is_too_fast"],
            instructions_version=row["instructions_version"],
            is_synthetic=row["task__campaign__is_synthetic"] or row["annotator__is_synthetic"],
            ranking=row["client"].get("ranking"),
            reliability=reliabilities.get(str(row["annotator__public_id"])),
        )


@dataclass(frozen=True, slots=True)
class _Shown:
    """What is told of an image that was shown."""

    public_id: str
    generator: str | None
    file: str
    reference: str


def _images_of(campaign: Campaign | None) -> dict[int, _Shown]:
    """The images that were shown, by primary key."""
    images = Image.objects.filter(tasks__isnull=False)
    if campaign is not None:
        images = Image.objects.filter(tasks__campaign=campaign)
    rows = images.distinct().values_list("pk", "public_id", "generator__name", "file", "reference")
    return {pk: _Shown(str(public_id), *facts) for pk, public_id, *facts in rows.iterator()}


def _check(counts: _Counts, needs: Needs) -> None:
    train, test = counts.decided["train"], counts.decided["test"]
    if train < needs.decided_train or test < needs.decided_test:
        raise NotEnoughChoices(
            f"There are {train} decided choices to train on and {test} to test on; at least {needs.decided_train} and"
            f" {needs.decided_test} are needed. Collect more votes, on more prompts: one prompt in five is for testing."
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
