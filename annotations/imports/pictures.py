"""Finds the image files that records name, checks them all, and tells which generator made them."""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TypeVar

from annotations.imports.records import BadRecord, ChoiceRecord, Place, UnableToImport, shown
from annotations.services.image_files import CheckedImage, ImageFacts, ImageRejected, read_image
from annotations.services.images import is_storable, store_file

IMAGE_FOLDER = "preference_images"
# What is read at once; bounds the memory, since an image's bytes are dropped before the next are read.
BATCH = 64

Given = TypeVar("Given")
Made = TypeVar("Made")
Progress = Callable[[str, int, int], None]
"""Told the stage, how much of it is done, and how much there is to do."""


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
class FoundRecord:
    """A choice with the files of its images, which need not be images yet."""

    record: ChoiceRecord
    paths: tuple[Path, ...]
    generators: tuple[str | None, ...]

    @property
    def place(self) -> Place:
        return self.record.place


@dataclass(frozen=True)
class Finder:
    """Finds files below one folder and nowhere else."""

    folder: Path
    pattern: re.Pattern[str] | None

    def find(self, record: ChoiceRecord) -> FoundRecord:
        """The record with its images' files and generators.

        Raises:
            BadRecord: a file is not there or not below the folder, or its name tells no generator.
        """
        paths = tuple(self.path_of(name) for name in record.images)
        generators: tuple[str | None, ...]
        if self.pattern is not None:
            generators = tuple(generator_of(name, self.pattern) for name in record.images)
        else:
            generators = record.generators or (None,) * len(paths)
        return FoundRecord(record, paths, generators)

    def path_of(self, name: str) -> Path:
        """The file of this name, which may or may not begin with the image folder's name."""
        parts = PurePosixPath(name).parts
        if "\0" in name or not is_storable(name) or name.startswith("/") or ".." in parts or not parts:
            raise BadRecord(f"{shown(name)} is no path below the image folder")
        if "\\" in name or PureWindowsPath(name).drive:
            raise BadRecord(f"{shown(name)} is no path below the image folder; write it with forward slashes")
        without_folder = parts[1:] if parts[0] == IMAGE_FOLDER else (IMAGE_FOLDER, *parts)
        for path in (self.folder.joinpath(*parts), self.folder.joinpath(*without_folder)):
            if is_file(path):
                if not path.resolve().is_relative_to(self.folder.resolve()):
                    raise BadRecord(f"{shown(name)} is a link that leads out of the image folder")
                return path
        raise BadRecord(f"the image {shown(name)} is not there")


def is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for the file system
        return False


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


def check_files(paths: Iterable[Path], progress: Progress) -> dict[Path, CheckedFile | ImageRejected]:
    """What became of each file."""
    paths = list(dict.fromkeys(paths))
    return dict(zip(paths, on_all_cores(check_file, paths, "checking images", progress), strict=True))


def check_file(path: Path) -> CheckedFile | ImageRejected:
    try:
        image = read_image(path)
    except ImageRejected as error:
        return error
    return CheckedFile(path, ImageFacts(image.sha256, image.format, image.width, image.height))


def store_files(files: Iterable[CheckedFile], progress: Progress) -> None:
    """Writes the files to where images are kept, equal ones once.

    Raises:
        UnableToImport: a file has changed since it was checked.
    """
    different = list({file.facts.sha256: file for file in files}.values())
    for _name in on_all_cores(lambda file: store_file(checked=file.read()), different, "storing images", progress):
        pass


def on_all_cores(
    work: Callable[[Given], Made], items: Sequence[Given], stage: str, progress: Progress
) -> Iterator[Made]:
    """What the work makes of each item, in their order; Pillow lets go of the interpreter while it decodes."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(items), BATCH):
            yield from pool.map(work, items[start : start + BATCH])
            progress(stage, min(start + BATCH, len(items)), len(items))
