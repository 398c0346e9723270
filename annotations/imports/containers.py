"""Where the files of an import lie: in a ZIP or TAR file that was uploaded, or under a prefix of a bucket.

Names in them are looked up and never become paths, so none leads out. Only what is asked for is read, and of that no
more than may be taken.
"""

import gzip
import io
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile, gettempdir
from typing import Any, BinaryIO, Protocol

from django.conf import settings

from annotations.imports.archives import BROKEN, FREE_BYTES, MAX_GROWTH
from annotations.imports.records import BadRecord, UnableToImport
from annotations.services.image_files import MAX_BYTES

MAX_FILES = 500_000
MAX_MANIFEST_BYTES = 2**30
GZIP = b"\x1f\x8b"
IS_ENCRYPTED = 0x1
READABLE_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
# What a bucket says of an object that will not come however often it is asked for.
GONE = {"NoSuchKey", "AccessDenied", "InvalidObjectState", "403", "404"}


class Container(Protocol):
    """Named files of known size."""

    @property
    def label(self) -> str:
        """What it is called, for people."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Bytes of each file, by its name."""

    def open(self, name: str) -> BinaryIO:
        """A file to be read from its beginning on."""


@dataclass(frozen=True)
class Archive:
    """The files of a ZIP or TAR file."""

    label: str
    sizes: Mapping[str, int]
    opener: Callable[[str], BinaryIO]

    def open(self, name: str) -> BinaryIO:
        return self.opener(name)


def read_file(container: Container, name: str) -> bytes:
    """The bytes of an image file.

    Raises:
        BadRecord: it is too large, or can't be read whole.
    """
    size = container.sizes[name]
    if size > MAX_BYTES:
        raise BadRecord(f"it has {size:,} bytes; at most {MAX_BYTES:,} are taken")
    try:
        with container.open(name) as file:
            content = file.read(MAX_BYTES + 1)
    except BROKEN as error:
        raise BadRecord(f"it cannot be read from {container.label}: {error}") from error
    if len(content) != size:
        raise BadRecord(f"it is cut short: {size:,} bytes are announced and {len(content):,} are there")
    return content


def open_manifest(container: Container, name: str) -> BinaryIO:
    """A manifest, to be read as it comes.

    Raises:
        UnableToImport: it is too large, or can't be opened.
    """
    if container.sizes[name] > MAX_MANIFEST_BYTES:
        raise UnableToImport(f"{name} is larger than {MAX_MANIFEST_BYTES:,} bytes; import it in several pieces.")
    try:
        return container.open(name)
    except (*BROKEN, BadRecord) as error:
        raise UnableToImport(f"{name} cannot be read from {container.label}: {error}.") from error


@contextmanager
def without_gzip(label: str, file: BinaryIO) -> Iterator[BinaryIO]:
    """What a gzipped file holds, in a temporary file of this machine; any other file as it is.

    Images are asked for in the order of the manifest, and in a gzipped stream there is no way but from its beginning.

    Raises:
        UnableToImport: it is damaged, was made to burst, or doesn't fit on the disk.
    """
    is_gzipped = file.read(2) == GZIP
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if not is_gzipped:
        yield file
        return
    with TemporaryFile() as unpacked:
        limit = min(shutil.disk_usage(gettempdir()).free - FREE_BYTES, max(size, 2**20) * MAX_GROWTH)
        try:
            with gzip.open(file) as packed:
                while piece := packed.read(2**20):
                    limit -= len(piece)
                    if limit < 0:
                        raise UnableToImport(
                            f"{label} unpacks to more than {MAX_GROWTH} times its size, or to more than the disk of "
                            "the worker holds; pack the folder as an uncompressed TAR."
                        )
                    unpacked.write(piece)
        except (*BROKEN, gzip.BadGzipFile) as error:
            raise UnableToImport(f"{label} cannot be unpacked: {error}. Pack the folder again.") from error
        unpacked.seek(0)
        yield unpacked


def open_archive(label: str, file: BinaryIO) -> Archive:
    """The files in a ZIP or an uncompressed TAR file, told apart by their content.

    Raises:
        UnableToImport: it is neither, broken, or holds too many files.
    """
    try:
        if file.read(4) in {b"PK\x03\x04", b"PK\x05\x06"}:
            return of_zip(label, file)
        file.seek(0)
        return of_tar(label, file)
    except BROKEN as error:
        raise UnableToImport(
            f"{label} is no ZIP and no TAR file that can be read: {error}. Pack the folder again."
        ) from error


def of_zip(label: str, file: BinaryIO) -> Archive:
    archive = zipfile.ZipFile(file)
    members = {info.filename: info for info in archive.infolist() if not info.is_dir()}
    check_count(label, len(members))

    def opener(name: str) -> BinaryIO:
        info = members[name]
        if info.flag_bits & IS_ENCRYPTED:
            raise BadRecord("it is encrypted; pack it without a password")
        if info.compress_type not in READABLE_METHODS:
            raise BadRecord("it is packed in a way that is not taken; pack it stored or deflated")
        return archive.open(info)  # type: ignore[return-value]

    return Archive(label, {name: info.file_size for name, info in members.items()}, opener)


def of_tar(label: str, file: BinaryIO) -> Archive:
    places: dict[str, tuple[int, int]] = {}
    with tarfile.open(fileobj=file, mode="r:") as archive:
        while (member := archive.next()) is not None:
            if member.isreg() and not member.issparse():
                places[member.name.removeprefix("./")] = (member.offset_data, member.size)
                check_count(label, len(places))
            archive.members = []  # type: ignore[attr-defined]  # it would keep every header

    def opener(name: str) -> BinaryIO:
        place, size = places[name]
        file.seek(place)
        return io.BufferedReader(_Window(file, place, size))

    return Archive(label, {name: size for name, (_place, size) in places.items()}, opener)


class _Window(io.RawIOBase):
    """One file in the middle of another."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        super().__init__()
        self._file, self._place, self._end = file, start, start + size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._file.seek(self._place)
        piece = self._file.read(min(len(buffer), self._end - self._place))
        buffer[: len(piece)] = piece
        self._place += len(piece)
        return len(piece)


def open_prefix(*, bucket: str, prefix: str) -> Archive:
    """The objects under a prefix, by what is left of their names; address and keys come from the settings alone.

    Raises:
        UnableToImport: the bucket is not one of those that the settings name, can't be read, or nothing is there.
    """
    if bucket not in settings.IMPORT_BUCKETS:
        known = ", ".join(settings.IMPORT_BUCKETS) or "none"
        raise UnableToImport(f"The bucket {bucket!r} is not open to imports. IMPORT_BUCKETS names: {known}.")
    from botocore.exceptions import BotoCoreError, ClientError  # only where the extra s3 is installed

    folder = f"{prefix.strip('/')}/".lstrip("/")
    client, label = bucket_client(), f"s3://{bucket}/{folder}"
    sizes: dict[str, int] = {}
    try:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder):
            for item in page.get("Contents", []):
                name = item["Key"].removeprefix(folder)
                if name and not name.endswith("/"):
                    sizes[name] = item["Size"]
            check_count(label, len(sizes))
    except (BotoCoreError, ClientError) as error:
        raise UnableToImport(f"{label} cannot be read: {error}.") from error
    if not sizes:
        raise UnableToImport(f"There is nothing under {label}.")

    def opener(name: str) -> BinaryIO:
        try:
            return io.BufferedReader(client.get_object(Bucket=bucket, Key=folder + name)["Body"])
        except ClientError as error:
            if error.response["Error"]["Code"] in GONE:
                raise BadRecord(f"it cannot be read from the bucket: {error}") from error
            raise UnableToImport(f"{label}{name} cannot be read now: {error}. Start the run again later.") from error

    return Archive(label, sizes, opener)


def bucket_client() -> Any:
    """A client of the object store that the settings name; its keys come from the environment."""
    import boto3  # only where the extra s3 is installed

    return boto3.client("s3", endpoint_url=settings.IMPORT_ENDPOINT or None)


def check_count(label: str, count: int) -> None:
    if count > MAX_FILES:
        raise UnableToImport(f"{label} holds more than {MAX_FILES:,} files; import them in several pieces.")
