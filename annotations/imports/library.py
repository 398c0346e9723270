"""Takes images that were made elsewhere into the library, without asking anybody about them.

A source is read twice: first every row is looked at and no image, then the images are read. Of a source with bad rows
nothing is taken, unless they shall be left out. A file that is no sound picture says something of the image, not of the
row: it is kept by its name, hidden as broken.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from os import cpu_count
from pathlib import Path
from threading import Lock
from typing import Any

from django.db import transaction

from annotations.imports.containers import Archive, Container, check_count, read_file
from annotations.imports.manifests import Row, manifest_among, raw_rows, row_of
from annotations.imports.records import BadRecord, Place, Problem, UnableToImport
from annotations.models import Generator, Image, Prompt, text_sha256
from annotations.services.image_files import ImageFacts, ImageRejected, read_image
from annotations.services.images import (
    get_or_create_generators,
    get_or_create_prompts,
    record_images,
    store_file,
    unsaved_image,
    unsaved_reference,
)
from annotations.services.sources import Progress

IMAGES_AT_ONCE = 256
NAMED_PROBLEMS = 3

# Under this name an image's settings keep its name in the source, by which it is known again.
FILE = "file"

Reason = Image.HiddenReason


@dataclass(frozen=True)
class FoundImage:
    """One image as its source describes it."""

    place: Place
    file: str
    """Its name in the container."""
    prompt: str
    generator: str = ""
    seed: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    """How it was made."""
    tags: tuple[str, ...] = ()
    """Of the prompt."""
    size: tuple[int, int] | None = None
    """Width and height in pixels, where the source tells."""
    hidden_reason: str = ""


Read = FoundImage | Problem
Source = Callable[[], Iterable[Read]]
"""Reads what there is from its beginning, each time it is called."""


@dataclass(frozen=True)
class LibraryImport:
    """What came of taking images in."""

    images: int
    """New ones."""
    already_there: int
    prompts: int
    """That those images are of."""
    hidden: dict[str, int]
    """How many of the new ones nobody is shown, by `Image.HiddenReason`."""
    skipped: tuple[Problem, ...]
    """Rows that were left out."""

    def as_json(self) -> dict[str, Any]:
        counts = {name: getattr(self, name) for name in ("images", "already_there", "prompts", "hidden")}
        return counts | {"skipped": [str(problem) for problem in self.skipped]}


def open_folder(folder: Path) -> Archive:
    """The files in a folder and those below it, by their names from there on; links are not followed."""
    files = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
    check_count(str(folder), len(files))
    sizes = {name: path.stat().st_size for name, path in files.items()}
    return Archive(str(folder), sizes, lambda name: files[name].open("rb"))


def manifest_source(container: Container, *, generator: str = "") -> Source:
    """The images that a manifest describes (see `manifests`), by this generator where a row names none."""
    name = manifest_among(container.sizes)
    folder = Path(name).parent

    def read() -> Iterator[Read]:
        with container.open(name) as file:
            for raw in raw_rows(name, file):
                place = Place(name, raw.number)
                try:
                    row: Row = row_of(raw)
                    found = (folder / row.file).as_posix()
                    if found not in container.sizes:
                        raise BadRecord(f"file: {row.file!r} is not in {container.label}")
                except BadRecord as error:
                    yield Problem(place, str(error))
                else:
                    yield FoundImage(place, found, row.prompt, row.generator or generator, row.seed, tags=row.tags)

    return read


def preview_images(*, source: Source, skips_bad: bool = False) -> LibraryImport:
    """What would come in, as far as the rows tell; no image is opened and nothing is written.

    Raises:
        UnableToImport: there is nothing, or rows are bad and none shall be skipped.
    """
    prompts: set[str] = set()
    problems: list[Problem] = []
    hidden: Counter[str] = Counter()
    images = 0
    for row in source():
        if isinstance(row, Problem):
            problems.append(row)
            continue
        images += 1
        prompts.add(text_sha256(row.prompt))
        hidden.update([row.hidden_reason] if row.hidden_reason else [])
    if problems and not skips_bad:
        first = "; ".join(map(str, problems[:NAMED_PROBLEMS]))
        rest = f"; and {len(problems) - NAMED_PROBLEMS} more" if len(problems) > NAMED_PROBLEMS else ""
        are = "1 row is" if len(problems) == 1 else f"{len(problems)} rows are"
        raise UnableToImport(f"{are} bad, and nothing was imported: {first}{rest}. Mend them, or use --skip-bad.")
    if not images:
        raise UnableToImport("The source describes no image.")
    return LibraryImport(images, 0, len(prompts), dict(sorted(hidden.items())), tuple(problems))


def import_images(
    *,
    container: Container,
    source: Source,
    is_synthetic: bool = False,
    skips_bad: bool = False,
    progress: Progress = lambda _stage, _done, _total: None,
) -> LibraryImport:
    """Take the images in; those that are there are not read again, so a reading that was cut short goes on.

    Args:
        container: where the files are.
        source: what it says of them.
        is_synthetic: given to new generators.
        skips_bad: whether to go on without the rows that are bad.
        progress: told of every batch; it may raise to stop.

    Raises:
        UnableToImport: see `preview_images`; nothing is written then.
    """
    seen = preview_images(source=source, skips_bad=skips_bad)
    rows = (row for row in source() if isinstance(row, FoundImage))
    lock, hidden, done, new = Lock(), Counter[str](), 0, 0

    def read(row: FoundImage) -> ImageFacts | None:
        """What is known of a row's image, once it is stored; None where it is no sound picture."""
        try:
            with lock:  # one file at a time is read, for all come from one place; decoding goes on side by side
                content = read_file(container, row.file)
            checked = read_image(content)
        except (BadRecord, ImageRejected):
            return None
        except OSError as error:
            raise UnableToImport(f"{row.file} cannot be read: {error.strerror}. What was read before stays.") from error
        store_file(checked=checked)
        return checked.facts

    with ThreadPoolExecutor(cpu_count()) as pool:
        while batch := list(islice(rows, IMAGES_AT_ONCE)):
            unread = _unread(batch)
            images = _record(unread, list(pool.map(read, unread)), is_synthetic=is_synthetic)
            new += len(images)
            hidden.update(image.hidden_reason for image in images if image.hidden_reason)
            done += len(batch)
            progress("reading images", done, seen.images)
    return LibraryImport(new, done - new, seen.prompts, dict(sorted(hidden.items())), seen.skipped)


def _unread(rows: Sequence[FoundImage]) -> list[FoundImage]:
    """Those rows whose image is not there under its name."""
    there = set(
        Image.objects.filter(
            prompt__text_hash__in={text_sha256(row.prompt) for row in rows}, settings__has_key=FILE
        ).values_list("generator__name", f"settings__{FILE}")
    )
    return [row for row in rows if (row.generator or None, row.file) not in there]


@transaction.atomic
def _record(rows: Sequence[FoundImage], read: Sequence[ImageFacts | None], *, is_synthetic: bool) -> list[Image]:
    """The rows' images that are new; one whose very file is there for the same prompt and generator is not."""
    prompts = _prompts(rows)
    generators = get_or_create_generators(
        names=[row.generator for row in rows if row.generator], is_synthetic=is_synthetic
    )
    images = [
        _image(row, facts, prompts[row.prompt], generators.get(row.generator))
        for row, facts in zip(rows, read, strict=True)
    ]
    ours = {image.public_id for image in images}
    return [image for image in dict.fromkeys(record_images(images=images)) if image.public_id in ours]


def _image(row: FoundImage, facts: ImageFacts | None, prompt: Prompt, generator: Generator | None) -> Image:
    settings = {**row.settings, FILE: row.file}
    if facts is None:
        sha256 = hashlib.sha256(row.file.encode()).hexdigest()
        image = unsaved_reference(reference=row.file[-500:], sha256=sha256, prompt=prompt, generator=generator)
        image.seed, image.settings, image.hidden_reason = row.seed, settings, Reason.BROKEN
        return image
    has_size = row.size in {None, (facts.width, facts.height)}
    return unsaved_image(
        facts=facts,
        prompt=prompt,
        generator=generator,
        seed=row.seed,
        settings=settings,
        hidden_reason=row.hidden_reason or ("" if has_size else Reason.BROKEN),
    )


def _prompts(rows: Sequence[FoundImage]) -> dict[str, Prompt]:
    """The prompts of some rows; a new one has the tags of its first row."""
    by_tags: dict[tuple[str, ...], list[str]] = {}
    for row in {row.prompt: row for row in reversed(rows)}.values():
        by_tags.setdefault(row.tags, []).append(row.prompt)
    prompts: dict[str, Prompt] = {}
    for tags, texts in by_tags.items():
        prompts |= get_or_create_prompts(texts=texts, source="images", tags=tags)
    return prompts
