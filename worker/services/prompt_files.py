"""Prompts from a file: plain text with one per line, or JSON lines with tags."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from annotations.imports.manifests import json_rows, tags_of
from annotations.imports.records import BadRecord, UnableToImport
from annotations.models import Prompt
from annotations.services.images import PromptRejected, check_prompt_text, get_or_create_prompts
from worker.services.recipes import FieldRejected

MAX_PROMPTS = 100_000


@dataclass(frozen=True)
class WantedPrompt:
    """A prompt of which images are wanted."""

    text: str
    tags: tuple[str, ...] = ()
    """For a prompt that is not there yet."""

    def to_json(self) -> str | dict[str, Any]:
        return {"prompt": self.text, "tags": list(self.tags)} if self.tags else self.text


def read_prompts(name: str, content: bytes) -> list[WantedPrompt]:
    """The different prompts in a file.

    Args:
        name: the file's; one that ends in `.jsonl` holds objects with a `prompt` and, if wanted, `tags`, every other
            is text with one prompt per line.
        content: UTF-8.

    Raises:
        FieldRejected: `prompts`, with the row and what is wrong with it.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FieldRejected("prompts", f"{name} is not UTF-8 text.") from error
    if PurePath(name).suffix.lower() == ".jsonl":
        wanted = list(_json_prompts(name, content))
    else:
        wanted = [
            _prompt(f"{name}, line {number}", {"prompt": line.strip()})
            for number, line in enumerate(text.splitlines(), 1)
            if line.strip()
        ]
    if not wanted:
        raise FieldRejected("prompts", f"{name} holds no prompt; write one per line.")
    return different(wanted)


def prompts_of_json(values: object) -> list[WantedPrompt]:
    """The different prompts of a JSON list: texts, or objects with a `prompt` and, if wanted, `tags`.

    Raises:
        FieldRejected: `prompts`, with the place and what is wrong there.
    """
    if not isinstance(values, list):
        raise FieldRejected("prompts", "it must be a list of texts, or of objects with a prompt and tags.")
    records = [value if isinstance(value, dict) else {"prompt": value} for value in values]
    return different([_prompt(f"number {number}", record) for number, record in enumerate(records, 1)])


def stored_prompts(wanted: Sequence[WantedPrompt]) -> list[Prompt]:
    """The prompts in the library, in order; new ones are made, with their tags."""
    texts_by_tags: dict[tuple[str, ...], list[str]] = {}
    for prompt in wanted:
        texts_by_tags.setdefault(prompt.tags, []).append(prompt.text)
    stored: dict[str, Prompt] = {}
    for tags, texts in texts_by_tags.items():
        stored |= get_or_create_prompts(texts=texts, source="generation", tags=tags)
    return [stored[prompt.text] for prompt in wanted]


def different(wanted: Sequence[WantedPrompt]) -> list[WantedPrompt]:
    """Each text once, with the tags of its first place.

    Raises:
        FieldRejected: there are too many.
    """
    unique: dict[str, WantedPrompt] = {}
    for prompt in wanted:
        unique.setdefault(prompt.text, prompt)
    if len(unique) > MAX_PROMPTS:
        raise FieldRejected("prompts", f"they are {len(unique):,}; one run takes at most {MAX_PROMPTS:,}.")
    return list(unique.values())


def _json_prompts(name: str, content: bytes) -> Iterator[WantedPrompt]:
    try:
        for row in json_rows(name, io.BytesIO(content)):
            where = f"{name}, row {row.number}"
            if row.problem:
                raise FieldRejected("prompts", f"{where}: {row.problem}.")
            yield _prompt(where, dict(row.fields))
    except UnableToImport as error:
        raise FieldRejected("prompts", str(error)) from error


def _prompt(where: str, record: dict[str, Any]) -> WantedPrompt:
    text = record.get("prompt")
    if not isinstance(text, str):
        raise FieldRejected("prompts", f'{where}: a text is missing under "prompt".')
    try:
        check_prompt_text(text)
        return WantedPrompt(text, tags_of(record))
    except (PromptRejected, BadRecord) as error:
        raise FieldRejected("prompts", f"{where}: {error}.") from error
