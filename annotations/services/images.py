"""Takes in images, their prompts and their generators, thousands at a time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction

from annotations.models import Generator, Image, Prompt, Split, image_path, text_sha256
from annotations.services.image_files import CheckedImage, ImageFacts, ImageRejected, read_image
from annotations.services.sides import settle_sides

__all__ = [
    "CheckedImage",
    "ImageItem",
    "ImageRejected",
    "PromptRejected",
    "check_prompt_text",
    "existing_images",
    "existing_prompts",
    "get_or_create_generator",
    "get_or_create_generators",
    "get_or_create_prompts",
    "is_storable",
    "read_image",
    "record_images",
    "store_file",
    "store_images",
    "unsaved_image",
    "unsaved_reference",
]

BATCH = 1000
MAX_PROMPT_CHARACTERS = 10_000

ImageKey = tuple[int, int | None, str]
"""What makes an image one and the same: prompt, generator, SHA-256 of its file."""


class PromptRejected(Exception):
    """A text that cannot be a prompt; says why in one clause."""


@dataclass(frozen=True)
class ImageItem:
    """One image to take in."""

    content: bytes | Path
    prompt: Prompt
    generator: Generator | None = None
    seed: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    hidden_reason: str = ""
    """One of `Image.HiddenReason` for an image that nobody may be shown."""


def store_images(*, items: Iterable[ImageItem]) -> list[Image]:
    """Images in the order of the items; one that is there already is given back as it is.

    Files are written first, then all rows in one transaction: a row never lacks its file.

    Raises:
        ImageRejected: a file is no image that may be stored; no row is written.
    """
    unsaved = []
    for item in items:
        checked = read_image(item.content)
        store_file(checked=checked)
        image = unsaved_image(
            facts=checked,
            prompt=item.prompt,
            generator=item.generator,
            seed=item.seed,
            settings=item.settings,
            hidden_reason=item.hidden_reason,
        )
        unsaved.append(image)
    return record_images(images=unsaved)


def unsaved_image(
    *,
    facts: ImageFacts,
    prompt: Prompt,
    generator: Generator | None = None,
    seed: int | None = None,
    settings: dict[str, Any] | None = None,
    hidden_reason: str = "",
) -> Image:
    """The row for a file that was checked, not saved yet; with a reason it is hidden from annotators."""
    image = Image(
        prompt=prompt,
        generator=generator,
        seed=seed,
        settings=settings or {},
        sha256=facts.sha256,
        format=facts.format,
        width=facts.width,
        height=facts.height,
        brightness=facts.brightness,
        is_hidden=bool(hidden_reason),
        hidden_reason=hidden_reason,
    )
    image.file.name = image_path(image, "")
    return image


def unsaved_reference(*, reference: str, sha256: str, prompt: Prompt, generator: Generator | None = None) -> Image:
    """The row for an image whose pixels are elsewhere, not saved yet; `sha256` is that of its name. Nobody sees it."""
    return Image(
        prompt=prompt, generator=generator, sha256=sha256, reference=reference, width=0, height=0, is_hidden=True
    )


def store_file(*, checked: CheckedImage) -> str:
    """Writes the file under its own hash, unless it is there whole; gives the name in the storage."""
    name = image_path(Image(sha256=checked.sha256, format=checked.format), "")
    if default_storage.exists(name):
        if default_storage.size(name) == len(checked.bytes):
            return name
        default_storage.delete(name)  # a write that was cut short
    written = default_storage.save(name, ContentFile(checked.bytes))
    if written != name:  # another process wrote the same file in between
        default_storage.delete(written)
    return name


@transaction.atomic
def record_images(*, images: Sequence[Image]) -> list[Image]:
    """Saves rows of images whose files are stored; where an equal one exists, that one stands in its place."""
    Image.objects.bulk_create(images, batch_size=BATCH, ignore_conflicts=True)
    saved = existing_images(sha256s=[image.sha256 for image in images])
    return [saved[image.prompt_id, image.generator_id, image.sha256] for image in images]


def existing_images(*, sha256s: Iterable[str]) -> dict[ImageKey, Image]:
    """All images with these files, whatever their prompts."""
    return {
        (image.prompt_id, image.generator_id, image.sha256): image
        for batch in batches(sha256s)
        for image in Image.objects.filter(sha256__in=batch)
    }


@transaction.atomic
def get_or_create_prompts(
    *, texts: Iterable[str], source: str = "", tags: Sequence[str] = (), split: Split | None = None
) -> dict[str, Prompt]:
    """Prompts by their texts. Source, tags and split are given to new ones only.

    Without a split, a new text falls on the side of its near-duplicates, see `settle_sides`.

    Raises:
        PromptRejected: a text that cannot be a prompt.
    """
    texts = list(dict.fromkeys(texts))
    for text in texts:
        check_prompt_text(text)
    prompts = existing_prompts(texts=texts)
    missing = [
        Prompt(text=text, text_hash=text_sha256(text), source=source, tags=list(tags), split=split or "")
        for text in texts
        if text not in prompts
    ]
    for start in range(0, len(missing), BATCH):
        settle_sides(prompts=missing[start : start + BATCH])
        Prompt.objects.bulk_create(missing[start : start + BATCH], ignore_conflicts=True)
    return prompts | existing_prompts(texts=[prompt.text for prompt in missing])


def existing_prompts(*, texts: Iterable[str]) -> dict[str, Prompt]:
    """Those prompts of these texts that are there."""
    return {
        prompt.text: prompt
        for batch in batches(texts)
        for prompt in Prompt.objects.filter(text_hash__in=[text_sha256(text) for text in batch])
    }


def check_prompt_text(text: str) -> None:
    """Lets a text pass that can be a prompt.

    Raises:
        PromptRejected: a text that is blank, too long, or that the database cannot hold.
    """
    if not text.strip():
        raise PromptRejected("the prompt is blank")
    if len(text) > MAX_PROMPT_CHARACTERS:
        raise PromptRejected(f"the prompt has {len(text):,} characters; at most {MAX_PROMPT_CHARACTERS:,} are taken")
    if not is_storable(text):
        raise PromptRejected("the prompt holds characters that are no text (NUL or half a surrogate pair)")


def is_storable(text: str) -> bool:
    """Whether Postgres can hold a text: no NUL, and nothing that UTF-8 cannot say."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def get_or_create_generator(
    *, name: str, description: str = "", settings: dict[str, Any] | None = None, is_synthetic: bool = False
) -> Generator:
    """The generator of this name; the rest is given to a new one only."""
    generator, _is_new = Generator.objects.get_or_create(
        name=name, defaults={"description": description, "settings": settings or {}, "is_synthetic": is_synthetic}
    )
    return generator


@transaction.atomic
def get_or_create_generators(*, names: Iterable[str], is_synthetic: bool = False) -> dict[str, Generator]:
    """Generators by their names; `is_synthetic` is given to new ones only."""
    names = list(dict.fromkeys(names))
    Generator.objects.bulk_create(
        (Generator(name=name, is_synthetic=is_synthetic) for name in names), batch_size=BATCH, ignore_conflicts=True
    )
    return {
        generator.name: generator for batch in batches(names) for generator in Generator.objects.filter(name__in=batch)
    }


def batches(values: Iterable[str]) -> Iterator[list[str]]:
    """The different values in groups that fit a query."""
    different = list(dict.fromkeys(values))
    for start in range(0, len(different), BATCH):
        yield different[start : start + BATCH]
