"""Finds the images that judgements name, checks each file once, and tells which generator made them."""

import hashlib
import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeVar

from annotations.imports.records import BadRecord, Judgement, UnableToImport, shown
from annotations.imports.sources import Scratch, check_path, file_below
from annotations.models import Image, text_sha256
from annotations.services.image_files import CheckedImage, ImageFacts, ImageRejected, read_image
from annotations.services.images import is_storable, store_file

IMAGE_FOLDERS = ("preference_images", "images")
ENDINGS = (".jpg", ".png", ".webp", ".jpeg")
MAX_REFERENCE_CHARACTERS = 500
# What is read at once; bounds the memory, since an image's bytes are dropped before the next are read.
BATCH = 64

Given = TypeVar("Given")
Made = TypeVar("Made")
Progress = Callable[[str, int, int], None]
"""Told the stage, how much of it is done, and how much there is to do (as far as is known)."""


@dataclass(frozen=True)
class CheckedFile:
    """An image file that was read once and found good; its bytes are not kept."""

    path: Path
    facts: ImageFacts

    def read(self) -> CheckedImage:
        """The image again, without decoding it where the file is stored as it is.

        Raises:
            UnableToImport: the file has changed since it was checked.
        """
        try:
            content = self.path.read_bytes()
            if hashlib.sha256(content).hexdigest() == self.facts.sha256:
                return CheckedImage(**asdict(self.facts), bytes=content)
            image = read_image(content)
        except (OSError, ImageRejected) as error:
            raise UnableToImport(f"{self.path} changed during the import; start it again.") from error
        if image.sha256 != self.facts.sha256:
            raise UnableToImport(f"{self.path} changed during the import; start it again.")
        return image


@dataclass(frozen=True)
class FoundPicture:
    """An image of a judgement: a checked file, an image that is here already, or a name whose pixels are elsewhere."""

    generator: str | None
    sha256: str
    """Of the file; of the name where there is none."""
    file: CheckedFile | None = None
    reference: str = ""
    """The name, where the pixels are elsewhere."""


@dataclass
class Pictures:
    """Finds images: below one folder and nowhere else, among the unpacked ones, or by their ids here."""

    folder: Path
    scratch: Scratch
    pattern: re.Pattern[str] | None
    takes_pixels: bool
    progress: Progress
    checked: dict[Path, CheckedFile | ImageRejected] = field(default_factory=dict)

    def find(self, judgements: Sequence[Judgement]) -> Callable[[Judgement], tuple[FoundPicture, ...]]:
        """Looks for all images of these judgements at once; gives a function that tells those of one.

        That function raises BadRecord: an image is not there, is not below the folder, is no image, or its name tells
        no generator.
        """
        here = images_here(name for judgement in judgements for name in judgement.images)
        if self.takes_pixels:
            self.check_files(judgements, here)
        return lambda judgement: tuple(
            self.picture_of(judgement, place, here) for place in range(len(judgement.images))
        )

    def check_files(self, judgements: Sequence[Judgement], here: dict[str, Image]) -> None:
        paths: dict[Path, None] = {}
        for judgement in judgements:
            for name in judgement.images:
                try:
                    if not is_here(here, name, judgement.prompt) and (path := self.path_of(name)) not in self.checked:
                        paths[path] = None
                except BadRecord:  # told when its judgement is looked at
                    continue
        if paths:
            done = len(self.checked)
            self.checked.update(zip(paths, on_all_cores(check_file, list(paths)), strict=True))
            self.progress("checking images", done + len(paths), done + len(paths))

    def picture_of(self, judgement: Judgement, place: int, here: dict[str, Image]) -> FoundPicture:
        name = judgement.images[place]
        if is_here(here, name, judgement.prompt):
            image = here[name]
            owner = image.generator.name if image.generator else None
            return FoundPicture(owner, image.sha256, reference=image.reference)
        if not self.takes_pixels:
            check_reference(name)
            return FoundPicture(self.maker_of(judgement, place), text_sha256(f"reference:{name}"), reference=name)
        checked = self.checked[self.path_of(name)]
        if isinstance(checked, ImageRejected):
            raise BadRecord(f"the image {shown(name)} is refused: {checked.reason}")
        return FoundPicture(self.maker_of(judgement, place), checked.facts.sha256, file=checked)

    def maker_of(self, judgement: Judgement, place: int) -> str | None:
        """The generator's name: by the pattern where there is one, else as the record says."""
        if self.pattern is not None:
            return generator_of(judgement.images[place], self.pattern)
        return judgement.generators[place] if judgement.generators else None

    def path_of(self, name: str) -> Path:
        """The file of this name, which may or may not begin with the image folder's name."""
        unpacked = self.scratch.path_of(name)
        if unpacked.exists():
            return unpacked
        for path in self.places_of(name):
            if (file := file_below(self.folder, path, name)) is not None:
                return file
        raise BadRecord(f"the image {shown(name)} is not there")

    def places_of(self, name: str) -> Iterator[Path]:
        parts = check_path(name).parts
        yield self.folder.joinpath(*parts)
        if parts[0] in IMAGE_FOLDERS and len(parts) > 1:
            yield self.folder.joinpath(*parts[1:])
        for folder in IMAGE_FOLDERS:
            yield self.folder.joinpath(folder, *parts)
        if is_id(name):
            for folder in ("", *IMAGE_FOLDERS):
                for ending in ENDINGS:
                    yield self.folder / folder / f"{uuid.UUID(name).hex}{ending}"


def images_here(names: Iterable[str]) -> dict[str, Image]:
    """Those of the names that are ids of images here, as in exports of ours."""
    ids = {name: uuid.UUID(name) for name in names if is_id(name)}
    found = Image.objects.select_related("prompt", "generator").in_bulk(list(set(ids.values())), field_name="public_id")
    return {name: found[public_id] for name, public_id in ids.items() if public_id in found}


def is_here(here: dict[str, Image], name: str, prompt: str) -> bool:
    return name in here and here[name].prompt.text == prompt


def is_id(name: str) -> bool:
    """Whether a name is a UUID and nothing else."""
    if len(name) not in {32, 36}:
        return False
    try:
        return uuid.UUID(name).hex == name.replace("-", "").lower()
    except ValueError:
        return False


def check_reference(name: str) -> None:
    if not name.strip() or not is_storable(name):
        raise BadRecord(f"an image's name is no text but {shown(name)}")
    if len(name) > MAX_REFERENCE_CHARACTERS:
        raise BadRecord(f"an image's name has {len(name):,} characters; at most {MAX_REFERENCE_CHARACTERS} are taken")


def compiled(pattern: str | None) -> re.Pattern[str] | None:
    """The generator pattern, if one is given.

    Raises:
        UnableToImport: it is no regular expression, or has no group.
    """
    if pattern is None:
        return None
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UnableToImport(f"--generator-pattern is no regular expression: {error}.") from error
    if expression.groups == 0:
        raise UnableToImport("--generator-pattern has no group; put brackets around what names the generator.")
    return expression


def generator_of(name: str, pattern: re.Pattern[str]) -> str:
    file_name = PurePosixPath(name).name
    match = pattern.search(file_name)
    if match is None or not (match[1] or "").strip():
        raise BadRecord(f"the generator pattern finds none in {shown(file_name)}")
    if len(match[1]) > 120:
        raise BadRecord(f"the generator's name in {shown(file_name)} is longer than 120 characters")
    return match[1]


def check_file(path: Path) -> CheckedFile | ImageRejected:
    try:
        image = read_image(path)
    except ImageRejected as error:
        return ImageRejected(error.reason)  # without the traceback, which would hold the picture
    return CheckedFile(path, image.facts)


def store_files(files: Iterable[CheckedFile]) -> None:
    """Writes the files to where images are kept, equal ones once.

    Raises:
        UnableToImport: a file has changed since it was checked.
    """
    different = list({file.facts.sha256: file for file in files}.values())
    for _name in on_all_cores(lambda file: store_file(checked=file.read()), different):
        pass


def on_all_cores(work: Callable[[Given], Made], items: Sequence[Given]) -> Iterator[Made]:
    """What the work makes of each item, in their order; Pillow lets go of the interpreter while it decodes."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(items), BATCH):
            yield from pool.map(work, items[start : start + BATCH])
