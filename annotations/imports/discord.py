"""Reads choices out of a Discord channel, exported by DiscordChatExporter as JSON (with its media, for the pixels).

A bot posts images, as several attachments or as one grid; a person replies with a number, or presses a button and the
bot tells so. Rules say which message is what (see discord_rules.py). A choice is resolved through the message that it
refers to; one that refers to none, through its prompt and person. The channel is read twice: for generations, then for
choices. Generations made from another image, or behind a spoiler mark, are left out and counted.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from django.utils.crypto import salted_hmac
from PIL import Image as Pillow

from annotations.imports import fields
from annotations.imports.discord_rules import Rules, rules_of
from annotations.imports.records import (
    BadRecord,
    Judgement,
    LeftOut,
    Place,
    RawRecord,
    Read,
    UnableToImport,
    parsed,
    shown,
)
from annotations.imports.sources import JsonArray, Source, check_path, file_below
from annotations.models import MAX_CANDIDATES
from annotations.services.image_files import MAX_BYTES, ImageRejected, read_image

SPOILER_FILE = "SPOILER_"
SPOILER = re.compile(r"\|\|.+?\|\|", re.DOTALL)
LAYOUTS = {2: (2, 1), 3: (3, 1), 4: (2, 2), 5: (5, 1), 6: (3, 2), 7: (7, 1), 8: (4, 2), 9: (3, 3)}
"""Columns and rows of a grid by its number of images."""

CONDITIONED = "a generation made from another image"
BEHIND_SPOILER = "a generation behind a spoiler mark"
TO_LEFT_OUT = "a choice of a generation that is left out"
TO_NOTHING = "a choice that refers to no generation"
AGAIN = "another choice of the same set by the same person"


@dataclass(frozen=True)
class Attachment:
    """A file that was posted."""

    id: str
    file: str
    """Its path below the export's folder, or its name."""


@dataclass(frozen=True)
class Generation:
    """Images that a bot posted for a prompt."""

    place: Place
    prompt: str
    attachments: tuple[Attachment, ...]
    tiles: int | None
    """Of a grid, where one attachment holds all images."""
    person: str | None
    """Who asked for them, where the bot says so."""

    @property
    def names(self) -> tuple[str, ...]:
        """A name of each image, in the order of their numbers."""
        if self.tiles is None:
            return tuple(attachment.id for attachment in self.attachments)
        return tuple(f"{self.attachments[0].id}#{number}" for number in range(1, self.tiles + 1))


def read_discord(source: Source) -> Iterator[Read]:
    """The choices in an exported channel: a JSON file, or all those of a folder, which may be its parts.

    Raises:
        UnableToImport: there is no such file, or the rules are wrong.
    """
    channel = Channel(rules_of(source.rules), source)
    files = [source.path] if source.path.is_file() else sorted(source.path.glob("*.json"), key=in_order)
    if not files:
        raise UnableToImport(f"{source.path} holds no JSON file of DiscordChatExporter.")
    for path in files:
        for raw in messages_of(path):
            channel.remember(raw)
    for path in files:
        for raw in messages_of(path):
            yield from channel.generation_left_out(raw)
            yield from channel.read(raw)


def in_order(path: Path) -> list[int | str]:
    """Parts of an export in the order of their numbers."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def messages_of(path: Path) -> Iterator[RawRecord]:
    """The messages of one file, one at a time."""
    try:
        with path.open("rb") as file:
            for number, value in enumerate(JsonArray(file, path.name).items_of("messages"), start=1):
                yield RawRecord(Place(path.name, number), value if isinstance(value, dict) else {})
    except OSError as error:
        raise UnableToImport(f"{path} cannot be read: {error.strerror}.") from error


def text_of(message: dict[str, Any]) -> str:
    content = message.get("content")
    return content if isinstance(content, str) else ""


def reference_of(message: dict[str, Any]) -> str:
    """The id of the message that this one replies to; empty where there is none."""
    reference = message.get("reference")
    return str(reference.get("messageId") or "") if isinstance(reference, dict) else ""


def author_of(message: dict[str, Any]) -> dict[str, Any]:
    author = message.get("author")
    return author if isinstance(author, dict) else {}


def attachments_of(message: dict[str, Any]) -> tuple[Attachment, ...]:
    found = message.get("attachments")
    return tuple(
        Attachment(str(one.get("id")), local_name(one))
        for one in (found if isinstance(found, list) else [])
        if isinstance(one, dict)
    )


def local_name(attachment: dict[str, Any]) -> str:
    """Where the export put the file; its plain name where it kept only the address."""
    url, name = str(attachment.get("url") or ""), str(attachment.get("fileName") or "")
    return name if "://" in url or not url else url


@dataclass
class Channel:
    """What is remembered of a channel while its messages go by."""

    rules: Rules
    source: Source
    commands: dict[str, str] = field(default_factory=dict)
    """Text of the messages that may be commands, by id: bots' prompts may stand there."""
    has_image: set[str] = field(default_factory=set)
    """Ids of people's messages that bring an image of their own."""
    generations: dict[str, Generation] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    """Why a generation is left out, by its id."""
    last_of: dict[tuple[str, str], str] = field(default_factory=dict)
    """The last generation of a prompt and person, by id."""
    taken: set[tuple[str, str]] = field(default_factory=set)
    """Who has chosen of what."""
    unpacked: set[str] = field(default_factory=set)

    def remember(self, raw: RawRecord) -> None:
        """Keeps a generation, or a message that may have asked for one."""
        message, text = raw.value, text_of(raw.value)
        if not self.is_by_bot(message):
            if not author_of(message).get("isBot"):
                if self.rules.prompt_in(text):
                    self.commands[str(message.get("id"))] = text
                if attachments_of(message):
                    self.has_image.add(str(message.get("id")))
            return
        attachments = attachments_of(message)
        if not attachments or (self.rules.is_choice_by_bot and self.rules.choice.search(text)):
            return
        reply_to = reference_of(message)
        texts = [text, self.commands.get(reply_to, "")]
        prompt = next((found for one in texts if (found := self.rules.prompt_in(one))), None)
        if prompt is None:
            return
        name = str(message.get("id"))
        if reason := self.reason_against(texts, reply_to, message):
            self.left_out[name] = reason
            return
        person = prompt.groupdict().get("person")
        self.generations[name] = Generation(
            raw.place, prompt["prompt"].strip(), attachments, self.tiles_of(attachments, texts), person
        )
        if person:
            self.last_of[prompt["prompt"].strip(), person] = name

    def is_by_bot(self, message: dict[str, Any]) -> bool:
        author = author_of(message)
        return bool(author.get("isBot")) and bool(self.rules.author.search(str(author.get("name") or "")))

    def tiles_of(self, attachments: tuple[Attachment, ...], texts: list[str]) -> int | None:
        return self.rules.tiles_in(texts) if len(attachments) == 1 else None

    def reason_against(self, texts: list[str], reply_to: str, message: dict[str, Any]) -> str:
        conditioned = self.rules.conditioned
        if reply_to in self.has_image or (conditioned and any(conditioned.search(text) for text in texts)):
            return CONDITIONED
        files = [str(one.get("fileName") or "") for one in message.get("attachments", []) if isinstance(one, dict)]
        if any(name.startswith(SPOILER_FILE) for name in files) or any(SPOILER.search(text) for text in texts):
            return BEHIND_SPOILER
        return ""

    def generation_left_out(self, raw: RawRecord) -> Iterator[Read]:
        reason = self.left_out.get(str(raw.value.get("id")))
        if reason:
            yield LeftOut(reason)

    def read(self, raw: RawRecord) -> Iterator[Read]:
        """The choice that a message tells, if it tells one."""
        message = raw.value
        author = author_of(message)
        if bool(author.get("isBot")) != self.rules.is_choice_by_bot:
            return
        if self.rules.is_choice_by_bot and not self.is_by_bot(message):
            return
        found = self.rules.choice.search(text_of(message))
        if not found or not (self.rules.is_choice_by_bot or reference_of(message)):
            return
        person = found["person"] if self.rules.is_choice_by_bot else str(author.get("id"))
        name = self.chosen_generation(message, found, person)
        if name in self.left_out:
            yield LeftOut(TO_LEFT_OUT)
        elif name not in self.generations:
            yield LeftOut(TO_NOTHING)
        elif (name, person) in self.taken:
            yield LeftOut(AGAIN)
        else:
            self.taken.add((name, person))
            yield from parsed([raw], lambda raw: self.judgements(raw, name, person, int(found["number"])))

    def chosen_generation(self, message: dict[str, Any], found: re.Match[str], person: str) -> str:
        """The id of the generation: the message replied to, else the last one of this prompt and person."""
        reply_to = reference_of(message)
        if reply_to in self.generations or reply_to in self.left_out:
            return reply_to
        prompt = (found.groupdict().get("prompt") or "").strip()
        return self.last_of.get((prompt, person), reply_to)

    def judgements(self, raw: RawRecord, name: str, person: str, number: int) -> Iterator[Judgement]:
        generation = self.generations[name]
        names = generation.names
        if not 2 <= len(names) <= MAX_CANDIDATES:
            raise BadRecord(f"it chooses among {len(names)} images ({generation.place}); a choice is between 2 and 9")
        if not 1 <= number <= len(names):
            raise BadRecord(f"it chooses image {number} of {len(names)} ({generation.place})")
        if self.source.takes_pixels:
            self.unpack(name, generation)
        yield Judgement(
            place=raw.place,
            key=str(raw.value.get("id")),
            prompt=fields.prompt_of({"prompt": generation.prompt}),
            images=names,
            generators=(self.rules.generator,) * len(names) if self.rules.generator else None,
            chosen=number - 1,
            annotator=pseudonym(person),
            voted_at=fields.moment(str(raw.value.get("timestamp")), "timestamp"),
        )

    def unpack(self, name: str, generation: Generation) -> None:
        """Puts the images of a generation where they are looked for: files as they are, a grid as its tiles."""
        if name in self.unpacked:
            return
        if generation.tiles is None:
            for attachment in generation.attachments:
                self.source.scratch.put(attachment.id, head_of(self.file_of(attachment)))
        else:
            picture = self.file_of(generation.attachments[0])
            for image, content in zip(generation.names, tiles_of(picture, generation.tiles), strict=True):
                self.source.scratch.put(image, content)
        self.unpacked.add(name)

    def file_of(self, attachment: Attachment) -> Path:
        folder = self.source.path if self.source.path.is_dir() else self.source.path.parent
        file = file_below(folder, folder / check_path(attachment.file), attachment.file)
        if file is None:
            raise BadRecord(
                f"the image {shown(attachment.file)} is not there; export the channel with its media, "
                "or take the choices --without-images"
            )
        return file


def head_of(path: Path) -> bytes:
    """A file's bytes; of one that is too large for an image only so many that it is refused."""
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def pseudonym(person: str) -> str:
    """Stands for a Discord user; without this site's secret key nobody can go back from it."""
    return salted_hmac("annotations.imports.discord", person, algorithm="sha256").hexdigest()[:32]


def tiles_of(path: Path, count: int) -> Iterator[bytes]:
    """The images of a grid as PNG files, row by row.

    Raises:
        BadRecord: the file is no image.
    """
    columns, rows = LAYOUTS[count]
    try:
        checked = read_image(path)
    except ImageRejected as error:
        raise BadRecord(f"the grid {shown(path.name)} is refused: {error.reason}") from error
    with Pillow.open(BytesIO(checked.bytes)) as grid:
        for row in range(rows):
            for column in range(columns):
                left, right = (grid.width * edge // columns for edge in (column, column + 1))
                top, bottom = (grid.height * edge // rows for edge in (row, row + 1))
                buffer = BytesIO()
                grid.crop((left, top, right, bottom)).save(buffer, "PNG")
                yield buffer.getvalue()
