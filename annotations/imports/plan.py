"""Holds the judgements of a source against each other and against what the database has, and plans what is new."""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from annotations.imports.pictures import CheckedFile, FoundPicture
from annotations.imports.records import BadRecord, Judgement, Place, Problem, sieve
from annotations.models import (
    Annotator,
    Campaign,
    Generator,
    Image,
    Outcome,
    Prompt,
    Split,
    Task,
    Vote,
    VoteQuerySet,
)
from annotations.services.images import batches, existing_images, existing_prompts

NAMESPACE = uuid.UUID("5d0a8f0e-5a55-4f0c-8d0b-1f7a6f0d6b11")

Picture = tuple[str, str | None, str]
"""An image by its prompt's text, its generator's name and the SHA-256 of its file, or of its name where it has none."""


@dataclass(frozen=True)
class Choice:
    """A judgement whose images were found and checked."""

    judgement: Judgement
    found: tuple[FoundPicture, ...]
    external_id: str
    """The person, as known in this campaign."""
    idempotency_key: uuid.UUID

    @property
    def place(self) -> Place:
        return self.judgement.place

    @property
    def pictures(self) -> tuple[Picture, ...]:
        return tuple((self.judgement.prompt, picture.generator, picture.sha256) for picture in self.found)

    @property
    def files(self) -> list[CheckedFile]:
        return [picture.file for picture in self.found if picture.file is not None]


def choice_of(judgement: Judgement, found: tuple[FoundPicture, ...], *, source: str, slug: str) -> Choice:
    """The judgement with its images, named for this campaign.

    Raises:
        BadRecord: two of its images are one.
    """
    choice = Choice(
        judgement=judgement,
        found=found,
        external_id=f"{source}:{slug}:{judgement.annotator}",
        idempotency_key=uuid.uuid5(NAMESPACE, f"{source}:{slug}:{judgement.key}"),
    )
    if len(set(choice.pictures)) < len(choice.pictures):
        raise BadRecord("two of its images are the same picture")
    return choice


@dataclass
class Consistency:
    """Takes choices one after the other, each against the good ones before it.

    It holds a hash and a place of each (about 300 bytes), not the choices themselves.
    """

    files: list[str] = field(default_factory=list)
    keys: dict[bytes, int] = field(default_factory=dict)
    splits: dict[bytes, tuple[Split | None, int]] = field(default_factory=dict)
    judged: dict[bytes, int] = field(default_factory=dict)

    def check(self, choice: Choice) -> Choice:
        """The choice itself.

        Raises:
            BadRecord: it contradicts or repeats one before it.
        """
        judgement = choice.judgement
        key, prompt = choice.idempotency_key.bytes, digest(judgement.prompt)
        if key in self.keys:
            raise BadRecord(f"its id is that of {self.place(self.keys[key])} already")
        place = self.number_of(judgement.place)
        split, first = self.splits.get(prompt, (judgement.split, place))
        if split != judgement.split:
            raise BadRecord(
                f"its prompt is that of {self.place(first)} already; a prompt belongs either to train or to test"
            )
        judged = digest(choice.external_id, *sorted(map(str, choice.pictures)))
        if judged in self.judged:
            raise BadRecord(f"its person chose among the same images in {self.place(self.judged[judged])} already")
        self.keys[key] = self.judged[judged] = place
        self.splits[prompt] = split, first
        return choice

    def number_of(self, place: Place) -> int:
        """A place as one number."""
        if not self.files or self.files[-1] != place.file:
            self.files.append(place.file)
        return (len(self.files) - 1) << 40 | place.record

    def place(self, number: int) -> Place:
        return Place(self.files[number >> 40], number & ((1 << 40) - 1))


def digest(*texts: str) -> bytes:
    """Texts as 16 bytes that no other texts have."""
    hashed = hashlib.blake2b(digest_size=16)
    for text in texts:
        hashed.update(text.encode(errors="surrogatepass") + b"\0")
    return hashed.digest()


@dataclass(frozen=True)
class Present:
    """What the database has already of some choices."""

    prompts: dict[str, Prompt]
    generators: dict[str, Generator]
    images: dict[tuple[int, int | None, str], Image]
    annotators: dict[str, int]
    """Primary key by id in the source."""
    votes: dict[uuid.UUID, "Said"] = field(default_factory=dict)
    """By idempotency key."""
    judged: set[tuple[str, int]] = field(default_factory=set)
    """Hash of a set of images, and person, of the votes that stand in this campaign."""

    def image(self, picture: Picture) -> Image | None:
        text, generator, sha256 = picture
        if text not in self.prompts or (generator is not None and generator not in self.generators):
            return None
        generator_id = None if generator is None else self.generators[generator].pk
        return self.images.get((self.prompts[text].pk, generator_id, sha256))

    def has(self, choice: Choice) -> bool:
        """Whether the very choice is there.

        Raises:
            BadRecord: it contradicts what is there.
        """
        prompt = self.prompts.get(choice.judgement.prompt)
        split = choice.judgement.split
        if prompt is not None and split is not None and prompt.split != split:
            raise BadRecord(f"its prompt belongs to {prompt.split} here, and to {split} in this file")
        if choice.idempotency_key in self.votes:
            if self.votes[choice.idempotency_key] != self.said_by(choice):
                raise BadRecord("its id is there already with another choice, prompt or person")
            return True
        if (self.set_of(choice), self.annotators.get(choice.external_id)) in self.judged:
            raise BadRecord("its person's choice among the same images is there already, under another id")
        return False

    def set_of(self, choice: Choice) -> str:
        """Names the set of images, as its task does; empty where not all of them are there."""
        ids = [image.pk for picture in choice.pictures if (image := self.image(picture)) is not None]
        return Task.hash_of(ids) if len(ids) == len(choice.found) else ""

    def said_by(self, choice: Choice) -> "Said":
        """What the vote of this choice says, as far as its parts are there."""
        judgement = choice.judgement
        prompt = self.prompts.get(judgement.prompt)
        image = None if judgement.chosen is None else self.image(choice.pictures[judgement.chosen])
        return Said(
            annotator=self.annotators.get(choice.external_id),
            prompt=prompt.pk if prompt else None,
            outcome=judgement.outcome,
            image=image.pk if image else None,
        )


class Said(NamedTuple):
    """Who said what of which prompt, by primary keys."""

    annotator: int | None
    prompt: int | None
    outcome: str
    image: int | None


def present_of(choices: Sequence[Choice], slug: str) -> Present:
    """Reads all that may meet these choices, in a number of queries that doesn't grow with them but by batches."""
    names = [name for choice in choices for _text, name, _sha256 in choice.pictures if name is not None]
    people = Annotator.objects.filter(source=Annotator.Source.IMPORTED)
    present = Present(
        prompts=existing_prompts(texts=[choice.judgement.prompt for choice in choices]),
        generators={g.name: g for batch in batches(names) for g in Generator.objects.filter(name__in=batch)},
        images=existing_images(sha256s=[picture.sha256 for choice in choices for picture in choice.found]),
        annotators={
            external_id: pk
            for batch in batches(choice.external_id for choice in choices)
            for external_id, pk in people.filter(external_id__in=batch).values_list("external_id", "pk")
            if external_id is not None
        },
    )
    add_votes(present, choices, slug)
    return present


def add_votes(present: Present, choices: Sequence[Choice], slug: str) -> None:
    """Those votes that bear a choice's id, or are of its campaign, person and images.

    Without joins: what was just written in this transaction has no statistics, and joins of it may take for ever.
    """
    # An imported vote's public id is its key, and that has an index.
    for batch in batches(str(choice.idempotency_key) for choice in choices):
        add_said(present, Vote.objects.filter(public_id__in=batch))
    campaign = Campaign.objects.filter(slug=slug).values_list("pk", flat=True).first()
    for batch in batches(name for choice in choices if (name := present.set_of(choice))):
        tasks = Task.objects.filter(campaign=campaign, purpose=Task.Purpose.REGULAR, candidates_hash__in=batch)
        hashes = dict(tasks.values_list("pk", "candidates_hash"))
        for task, annotator in add_said(present, Vote.objects.standing().filter(task__in=list(hashes))):
            present.judged.add((hashes[task], annotator))


def add_said(present: Present, votes: VoteQuerySet) -> list[tuple[int, int]]:
    """Adds what these votes say; gives task and annotator of each."""
    rows = list(votes.values_list("idempotency_key", "task_id", "annotator_id", "outcome", "image_id"))
    tasks = {task for _key, task, *_said in rows}
    prompts = dict(Task.objects.filter(pk__in=tasks).values_list("pk", "prompt_id")) if tasks else {}
    for key, task, annotator, outcome, image in rows:
        present.votes[key] = Said(annotator, prompts[task], outcome, image)
    return [(task, annotator) for _key, task, annotator, *_said in rows]


@dataclass(frozen=True)
class Plan:
    """What an import adds."""

    choices: list[Choice]
    already_there: int
    problems: list[Problem]
    present: Present


def plan_import(choices: Sequence[Choice], slug: str) -> Plan:
    """Which choices are new, which are there, and which contradict what is there."""
    present = present_of(choices, slug)
    judged, problems = sieve(choices, lambda choice: (choice, present.has(choice)))
    new = [choice for choice, is_there in judged if not is_there]
    return Plan(new, len(judged) - len(new), problems, present)


@dataclass
class Tally:
    """Counts what an import adds, batch by batch; of what may come twice it holds a hash of 16 bytes."""

    prompts: set[bytes] = field(default_factory=set)
    images: set[bytes] = field(default_factory=set)
    annotators: set[bytes] = field(default_factory=set)
    generators: set[str] = field(default_factory=set)
    choices: int = 0
    decided_pairs: int = 0
    already_there: int = 0

    def add(self, plan: Plan) -> None:
        present = plan.present
        self.already_there += plan.already_there
        for choice in plan.choices:
            judgement = choice.judgement
            self.choices += 1
            if judgement.outcome == Outcome.CHOICE:
                self.decided_pairs += len(choice.found) - 1
            if judgement.prompt not in present.prompts:
                self.prompts.add(digest(judgement.prompt, judgement.prompt_id))
            if choice.external_id not in present.annotators:
                self.annotators.add(digest(choice.external_id))
            for picture in choice.pictures:
                if present.image(picture) is None:
                    self.images.add(digest(*map(str, picture)))
                if picture[1] is not None and picture[1] not in present.generators:
                    self.generators.add(picture[1])
