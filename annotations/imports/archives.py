"""Unpacks a zip or tar archive into a folder of our own: plain files only, below that folder, and not too much of them.

An archive is refused as a whole for anything that no data set needs: a path that leads elsewhere, a link, a device, an
entry that says it is small and is not.
"""

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from annotations.imports.records import UnableToImport, shown

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
# How a broken archive shows itself when it is read.
BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError)
MAX_ENTRIES = 2_000_000
# Images and JSON shrink little; what grows more than this was made to burst.
MAX_GROWTH = 200
FREE_BYTES = 1 << 30
"""What must stay free on the disk."""


@dataclass(frozen=True)
class Entry:
    """One file in an archive."""

    name: str
    size: int
    content: IO[bytes]


def is_archive(path: Path) -> bool:
    return path.is_file() and path.name.lower().endswith(SUFFIXES)


def unpack(archive: Path, folder: Path) -> Path:
    """The folder in which the archive's files stand; of an archive that holds one folder only, that one.

    Raises:
        UnableToImport: it is damaged, holds what no data set needs, or doesn't fit on the disk.
    """
    folder.mkdir(parents=True)
    room = shutil.disk_usage(folder).free - FREE_BYTES
    limit = min(room, max(archive.stat().st_size, 1 << 20) * MAX_GROWTH)
    try:
        with entries_of(archive) as entries:
            for number, entry in enumerate(entries, start=1):
                if number > MAX_ENTRIES:
                    raise UnableToImport(f"{archive.name} holds more than {MAX_ENTRIES:,} files.")
                limit -= write_entry(entry, folder, limit, archive.name)
    except (*BROKEN, RuntimeError, OSError) as error:  # a password is a RuntimeError
        raise UnableToImport(f"{archive.name} cannot be unpacked: {str(error) or 'it is damaged'}.") from error
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


@contextmanager
def entries_of(archive: Path) -> Iterator[Iterator[Entry]]:
    if archive.suffix.lower() == ".zip":
        with zipfile.ZipFile(archive) as opened_zip:
            yield zip_entries(opened_zip)
    else:
        # As a stream: nothing is looked up, so that no index of a huge archive is held.
        with tarfile.open(archive, "r|*") as opened_tar:
            yield tar_entries(opened_tar)


def zip_entries(archive: zipfile.ZipFile) -> Iterator[Entry]:
    for info in archive.infolist():
        kind = info.external_attr >> 28
        if info.is_dir():
            continue
        if kind not in {0, 0o10}:
            raise UnableToImport(f"{shown(info.filename)} in the archive is no plain file.")
        with archive.open(info) as content:
            yield Entry(info.filename, info.file_size, content)


def tar_entries(archive: tarfile.TarFile) -> Iterator[Entry]:
    for info in archive:
        if info.isdir():
            continue
        content = archive.extractfile(info) if info.isfile() else None
        if content is None:
            raise UnableToImport(f"{shown(info.name)} in the archive is no plain file.")
        yield Entry(info.name, info.size, content)


def write_entry(entry: Entry, folder: Path, limit: int, archive: str) -> int:
    """Writes one file and gives its size; what is written counts, whatever the archive says of it."""
    path = folder / safe_path(entry.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with path.open("xb") as file:
        while chunk := entry.content.read(1 << 20):
            written += len(chunk)
            if written > limit:
                raise UnableToImport(
                    f"{archive} unpacks to more than {MAX_GROWTH} times its size, or to more than the disk holds; "
                    "unpack it yourself and name the folder."
                )
            file.write(chunk)
    return written


def safe_path(name: str) -> PurePosixPath:
    """A path below the folder.

    Raises:
        UnableToImport: the name leads elsewhere.
    """
    path = PurePosixPath(name)
    leads_elsewhere = path.is_absolute() or ".." in path.parts or not path.parts
    if leads_elsewhere or "\\" in name or "\0" in name or PureWindowsPath(name).drive:
        raise UnableToImport(f"{shown(name)} in the archive is no path below its folder.")
    return path
