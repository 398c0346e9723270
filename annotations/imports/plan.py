"""Holds the records of a source against each other and against what the database has, and plans what is new."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from annotations.imports.pictures import CheckedFile, FoundRecord
from annotations.imports.records import BadRecord, ChoiceRecord, Place, Problem, sieve
from annotations.models import Annotator, Generator, Image, Prompt, Split, Task, Vote, text_sha256
from annotations.services.image_files import ImageRejected
from annotations.services.images import batches, existing_images, existing_prompts

NAMESPACE = uuid.UUID("5d0a8f0e-5a55-4f0c-8d0b-1f7a6f0d6b11")

Picture = tuple[str, str | None, str]
"""An image by its prompt's text, its generator's name and the SHA-256 of its file."""


@dataclass(frozen=True)
class Choice:
    """A record whose images were found and checked."""

    record: ChoiceRecord
    files: tuple[CheckedFile, ...]
    pictures: tuple[Picture, ...]
    external_id: str
    """The person, as known in this campaign."""
    idempotency_key: uuid.UUID

    @property
    def place(self) -> Place:
        return self.record.place

    @property
    def chosen(self) -> Picture:
        return self.pictures[self.record.chosen]


class Consistency:
    """Takes records one after the other, each against the good ones before it."""

    def __init__(self, *, slug: str, source: str, checked: dict[Path, CheckedFile | ImageRejected]) -> None:
        self.slug = slug
        self.source = source
        self.checked = checked
        self.keys: dict[str, Place] = {}
        self.splits: dict[str, tuple[Split | None, Place]] = {}
        self.judged: dict[tuple[str, frozenset[Picture]], Place] = {}

    def check(self, found: FoundRecord) -> Choice:
        """The choice that a record makes of its checked images.

        Raises:
            BadRecord: an image is no image or there twice, or the record contradicts or repeats one before it.
        """
        choice = self.choice_of(found)
        record = choice.record
        if record.key in self.keys:
            raise BadRecord(f"its id is that of {self.keys[record.key]} already")
        split, place = self.splits.get(record.prompt, (record.split, record.place))
        if split != record.split:
            raise BadRecord(f"its prompt is that of {place} already; a prompt belongs either to train or to test")
        judged = (choice.external_id, frozenset(choice.pictures))
        if judged in self.judged:
            raise BadRecord(f"its person chose among the same images in {self.judged[judged]} already")
        self.keys[record.key] = self.judged[judged] = record.place
        self.splits[record.prompt] = split, place
        return choice

    def choice_of(self, found: FoundRecord) -> Choice:
        record = found.record
        files = tuple(self.file_at(path, name) for path, name in zip(found.paths, record.images, strict=True))
        pictures = tuple(
            (record.prompt, generator, file.facts.sha256)
            for file, generator in zip(files, found.generators, strict=True)
        )
        if len(set(pictures)) < len(pictures):
            raise BadRecord("two of its images are the same picture")
        return Choice(
            record=record,
            files=files,
            pictures=pictures,
            external_id=f"{self.source}:{self.slug}:{record.annotator}",
            idempotency_key=uuid.uuid5(NAMESPACE, f"{self.source}:{self.slug}:{record.key}"),
        )

    def file_at(self, path: Path, name: str) -> CheckedFile:
        checked = self.checked[path]
        if isinstance(checked, ImageRejected):
            raise BadRecord(f"the image '{name}' is refused: {checked.reason}")
        return checked


@dataclass(frozen=True)
class Present:
    """What the database has already of some choices."""

    prompts: dict[str, Prompt]
    generators: dict[str, Generator]
    images: dict[tuple[int, int | None, str], Image]
    annotators: frozenset[str]
    votes: dict[uuid.UUID, tuple[str | None, str, str | None]]
    """Person, hash of the prompt and of the chosen image, by idempotency key; of this campaign's imported votes."""
    judged: frozenset[tuple[str, str | None]]
    """Hash of a set of images and person, of this campaign."""

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
        prompt = self.prompts.get(choice.record.prompt)
        split = choice.record.split
        if prompt is not None and split is not None and prompt.split != split:
            raise BadRecord(f"its prompt belongs to {prompt.split} here, and to {split} in this file")
        if choice.idempotency_key in self.votes:
            known = (choice.external_id, text_sha256(choice.record.prompt), choice.chosen[2])
            if self.votes[choice.idempotency_key] != known:
                raise BadRecord("its id is there already with another choice, prompt or person")
            return True
        images = [self.image(picture) for picture in choice.pictures]
        ids = [image.pk for image in images if image is not None]
        if len(ids) == len(images) and (Task.hash_of(ids), choice.external_id) in self.judged:
            raise BadRecord("its person's choice among the same images is there already, under another id")
        return False


def present_of(choices: Sequence[Choice], slug: str) -> Present:
    """Reads all that may meet these choices, in a number of queries that doesn't grow with them but by batches."""
    names = [name for choice in choices for _text, name, _sha256 in choice.pictures if name is not None]
    votes = Vote.objects.filter(task__campaign__slug=slug, annotator__source=Annotator.Source.IMPORTED)
    known = votes.values_list("idempotency_key", "annotator__external_id", "task__prompt__text_hash", "image__sha256")
    judged = votes.standing().values_list("task__candidates_hash", "annotator__external_id")
    return Present(
        prompts=existing_prompts(texts=[choice.record.prompt for choice in choices]),
        generators={g.name: g for batch in batches(names) for g in Generator.objects.filter(name__in=batch)},
        images=existing_images(sha256s=[file.facts.sha256 for choice in choices for file in choice.files]),
        annotators=frozenset(
            annotator
            for batch in batches(choice.external_id for choice in choices)
            for annotator in Annotator.objects.filter(external_id__in=batch).values_list("external_id", flat=True)
            if annotator is not None
        ),
        votes={key: (person, prompt, image) for key, person, prompt, image in known},
        judged=frozenset(judged),
    )


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
