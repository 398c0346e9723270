"""Files of several gigabytes that come in parts, in any order, again and again, until every part is there.

The parts lie in the storage, which web and worker share; nothing of what the client says becomes a path.
"""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import BinaryIO

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import IntegrityError, connection, transaction
from django.db.models import Sum

from annotations.models import Upload, UploadPart

PART_BYTES = 8 * 2**20
# Who began an upload may come back for so long.
STALE_AFTER = timedelta(days=7)
READ_AHEAD_BYTES = 2**20

# The key of the advisory lock under which room for uploads is given out.
UPLOADS_LOCK = 0x5108


class UploadRefused(Exception):
    """A file or a part that is not taken; the message says what would be right."""


class PartDiffers(UploadRefused):
    """Another part of this number is there already: the file has changed since its upload was begun."""


class UploadIncomplete(Exception):
    """A part is missing, or is no longer what was sent; the message names it."""


@dataclass(frozen=True)
class _Part:
    """Where a part lies and what it must be."""

    path: str
    sha256: str


def begin_upload(*, name: str, size: int, by: AbstractBaseUser) -> Upload:
    """The upload of a file of this name and size: one that this person began and did not finish, or a new one.

    Args:
        name: of the file, for people; it is never a path.
        size: in bytes.
        by: whose it is; nobody else may add to it.

    Raises:
        UploadRefused: a name or size that is not taken, or no room is left.
    """
    name = name.strip()
    if not name or len(name) > 255 or "\0" in name:
        raise UploadRefused("A file needs a name of at most 255 characters.")
    if size < 1:
        raise UploadRefused(f"{name} is empty.")
    if size > settings.UPLOAD_MAX_BYTES:
        raise UploadRefused(f"{name} has {size:,} bytes; at most {settings.UPLOAD_MAX_BYTES:,} are taken.")
    begun = Upload.objects.filter(name=name, size=size, part_size=PART_BYTES, created_by_id=by.pk)
    if upload := begun.order_by("-pk").first():
        return upload
    with transaction.atomic():
        _lock_quota()
        kept = Upload.objects.aggregate(total=Sum("size"))["total"] or 0
        if kept + size > settings.UPLOAD_QUOTA_BYTES:
            raise UploadRefused(
                f"{name} has {size:,} bytes, and {max(0, settings.UPLOAD_QUOTA_BYTES - kept):,} are left for uploads. "
                "Remove uploads that were not read, or ask the operator for more room (UPLOAD_QUOTA_GB)."
            )
        upload = Upload.objects.create(name=name, size=size, part_size=PART_BYTES, created_by_id=by.pk)
    upload.refresh_from_db()
    return upload


def store_part(*, upload: Upload, number: int, content: bytes, sha256: str) -> UploadPart:
    """One part, stored once however often it is sent.

    Args:
        upload: what it belongs to.
        number: counted from 0.
        content: all bytes of the part.
        sha256: of the content, as the client worked it out before sending.

    Raises:
        UploadRefused: there is no such part, or it did not arrive whole.
        PartDiffers: another part of this number is there.
    """
    wanted = _size_of_part(upload, number)
    if len(content) != wanted:
        raise UploadRefused(f"Part {number} of {upload.name} has {wanted:,} bytes; {len(content):,} came.")
    if hashlib.sha256(content).hexdigest() != sha256.lower():
        raise UploadRefused(f"Part {number} of {upload.name} was damaged on its way; send it again.")
    if there := _part_there(upload, number, sha256):
        return there
    part = UploadPart(upload=upload, number=number, size=wanted, sha256=sha256.lower())
    part.file.save("part", ContentFile(content), save=False)
    try:
        with transaction.atomic():
            part.save()
    except IntegrityError:
        # The same part came twice at the same moment, or the upload was removed meanwhile.
        default_storage.delete(str(part.file.name))
        there = _part_there(upload, number, sha256)
        if there is None:
            raise UploadRefused(f"The upload of {upload.name} is no longer there; begin it again.") from None
        return there
    return part


def parts_there(upload: Upload) -> dict[int, str]:
    """The SHA-256 of each part that is there, by its number."""
    return dict(upload.parts.order_by("number").values_list("number", "sha256"))


def is_whole(upload: Upload) -> bool:
    return upload.parts.count() == upload.part_count


def remove_upload(*, upload: Upload) -> None:
    """Forget an upload and all files of it, also those that were written when a process ended before their rows were.

    Rows go first: what is left of the files is never read.
    """
    folder = f"uploads/{upload.public_id}"
    upload.delete()
    try:
        _folders, names = default_storage.listdir(folder)
    except FileNotFoundError:
        return
    for name in names:
        default_storage.delete(f"{folder}/{name}")


def open_upload(upload: Upload) -> BinaryIO:
    """The whole file, to be read from anywhere in it; only a part or two of it are in memory.

    Raises:
        UploadIncomplete: a part is missing.
    """
    parts = {part.number: _Part(str(part.file.name), part.sha256) for part in upload.parts.all()}
    missing = next((number for number in range(upload.part_count) if number not in parts), None)
    if missing is not None:
        raise UploadIncomplete(
            f"{upload.name} is not there whole: part {missing} of {upload.part_count} is missing. Send it again."
        )
    return io.BufferedReader(_Parts(parts, size=upload.size, part_size=upload.part_size), READ_AHEAD_BYTES)


class _Parts(io.RawIOBase):
    """Parts end to end, as one file to read and seek in."""

    def __init__(self, parts: Mapping[int, _Part], *, size: int, part_size: int) -> None:
        super().__init__()
        self._parts, self._size, self._part_size = parts, size, part_size
        self._place = 0
        self._held: tuple[int, bytes] = (-1, b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._place >= self._size:
            return 0
        number, start = divmod(self._place, self._part_size)
        piece = self._content(number)[start : start + len(buffer)]
        buffer[: len(piece)] = piece
        self._place += len(piece)
        return len(piece)

    def _content(self, number: int) -> bytes:
        if self._held[0] != number:
            part = self._parts[number]
            with default_storage.open(part.path, "rb") as file:
                content = file.read()
            if hashlib.sha256(content).hexdigest() != part.sha256:
                raise UploadIncomplete(f"Part {number} in the storage is not what was sent; send the file again.")
            self._held = (number, content)
        return self._held[1]


def _size_of_part(upload: Upload, number: int) -> int:
    if not 0 <= number < upload.part_count:
        raise UploadRefused(f"{upload.name} has the parts 0 to {upload.part_count - 1}, not {number}.")
    return min(upload.part_size, upload.size - number * upload.part_size)


def _part_there(upload: Upload, number: int, sha256: str) -> UploadPart | None:
    part = upload.parts.filter(number=number).first()
    if part is not None and part.sha256 != sha256.lower():
        raise PartDiffers(
            f"Another part {number} of {upload.name} is there already: the file has changed. Begin its upload anew."
        )
    return part


def _lock_quota() -> None:
    """Two people who begin at the same moment must not both get the last of the room."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [UPLOADS_LOCK])
