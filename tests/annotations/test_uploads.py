"""Files that come in parts: stored once, read as one, refused where they are not what was announced."""

import hashlib
import io
import zipfile
from functools import partial

import pytest
from django.core.files.storage import default_storage

from annotations.models import Upload, UploadPart
from annotations.services import uploads
from annotations.services.uploads import (
    PartDiffers,
    UploadIncomplete,
    UploadRefused,
    begin_upload,
    is_whole,
    open_upload,
    parts_there,
    remove_upload,
    store_part,
)
from tests.annotations.factories import make_user
from tests.annotations.races import at_once

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "PART_BYTES", 4)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def send(upload: Upload, number: int, content: bytes) -> UploadPart:
    return store_part(upload=upload, number=number, content=content, sha256=sha256(content))


def sent(content: bytes, name: str = "images.zip") -> Upload:
    """An upload whose parts are all there, sent from the last to the first."""
    upload = begin_upload(name=name, size=len(content), by=make_user())
    for number in reversed(range(upload.part_count)):
        send(upload, number, content[number * upload.part_size : (number + 1) * upload.part_size])
    return upload


def stored_files() -> list[str]:
    folders, _files = default_storage.listdir("uploads") if default_storage.exists("uploads") else ([], [])
    return sorted(f"{folder}/{name}" for folder in folders for name in default_storage.listdir(f"uploads/{folder}")[1])


def test_open_upload_reads_the_parts_as_one_file_from_anywhere() -> None:
    content = bytes(range(10))
    file = open_upload(sent(content))

    assert (file.read(), file.seek(3), file.read(4), file.seek(-2, io.SEEK_END), file.read()) == (
        content,
        3,
        content[3:7],
        8,
        content[8:],
    )


def test_open_upload_is_a_file_that_a_zip_can_be_read_from() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.txt", "hello " * 50)

    with zipfile.ZipFile(open_upload(sent(packed.getvalue()))) as archive:
        assert archive.read("a/b.txt") == b"hello " * 50


def test_open_upload_tells_which_part_is_missing() -> None:
    upload = begin_upload(name="a.zip", size=9, by=make_user())
    send(upload, 0, b"0123")

    assert not is_whole(upload)
    with pytest.raises(UploadIncomplete, match="part 1 of 3 is missing"):
        open_upload(upload)


def test_open_upload_refuses_a_part_that_changed_in_the_storage() -> None:
    upload = sent(b"01234567")
    part = upload.parts.get(number=1)
    default_storage.delete(str(part.file.name))
    default_storage.save(str(part.file.name), io.BytesIO(b"4567"[::-1]))

    with pytest.raises(UploadIncomplete, match="Part 1 in the storage is not what was sent"):
        open_upload(upload).read()


def test_begin_upload_gives_the_same_person_the_upload_they_began() -> None:
    ada, ben = make_user(), make_user()
    upload = begin_upload(name="a.zip", size=9, by=ada)
    send(upload, 1, b"4567")

    again = begin_upload(name="a.zip", size=9, by=ada)

    assert (again, parts_there(again)) == (upload, {1: sha256(b"4567")})
    assert begin_upload(name="a.zip", size=9, by=ben) != upload
    assert begin_upload(name="a.zip", size=8, by=ada) != upload


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("", 9, "needs a name"),
        ("a" * 256, 9, "at most 255 characters"),
        ("a.zip", 0, "a.zip is empty"),
        ("a.zip", 1001, "at most 1,000 are taken"),
    ],
)
def test_begin_upload_refuses(settings, name: str, size: int, words: str) -> None:
    settings.UPLOAD_MAX_BYTES = 1000

    with pytest.raises(UploadRefused, match=words):
        begin_upload(name=name, size=size, by=make_user())
    assert not Upload.objects.exists()


def test_begin_upload_keeps_within_the_room_for_all_uploads(settings) -> None:
    settings.UPLOAD_QUOTA_BYTES = 20
    first = begin_upload(name="a.zip", size=15, by=make_user())

    with pytest.raises(UploadRefused, match="has 6 bytes, and 5 are left for uploads"):
        begin_upload(name="b.zip", size=6, by=make_user())

    remove_upload(upload=first)
    assert begin_upload(name="b.zip", size=6, by=make_user()).size == 6


def test_store_part_stores_a_part_once() -> None:
    upload = begin_upload(name="a.zip", size=9, by=make_user())

    first, second = send(upload, 2, b"8"), send(upload, 2, b"8")

    assert first == second
    assert stored_files() == [f"{upload.public_id}/000002"]


def test_store_part_refuses_other_bytes_in_the_place_of_a_part() -> None:
    upload = begin_upload(name="a.zip", size=9, by=make_user())
    send(upload, 0, b"0123")

    with pytest.raises(PartDiffers, match="the file has changed"):
        send(upload, 0, b"3210")
    assert parts_there(upload) == {0: sha256(b"0123")}


@pytest.mark.parametrize(
    ("number", "content", "words"),
    [
        (3, b"0", "has the parts 0 to 2, not 3"),
        (-1, b"0", "has the parts 0 to 2, not -1"),
        (0, b"012", "has 4 bytes; 3 came"),
        (2, b"89", "has 1 bytes; 2 came"),
    ],
)
def test_store_part_refuses_what_is_no_part(number: int, content: bytes, words: str) -> None:
    upload = begin_upload(name="a.zip", size=9, by=make_user())

    with pytest.raises(UploadRefused, match=words):
        send(upload, number, content)
    assert stored_files() == []


def test_store_part_refuses_what_was_damaged_on_its_way() -> None:
    upload = begin_upload(name="a.zip", size=9, by=make_user())

    with pytest.raises(UploadRefused, match="damaged on its way"):
        store_part(upload=upload, number=0, content=b"0123", sha256=sha256(b"0124"))
    assert stored_files() == []


@pytest.mark.django_db(transaction=True)
def test_store_part_sent_by_many_at_once_is_there_once() -> None:
    upload = begin_upload(name="a.zip", size=9, by=make_user())
    given = at_once([partial(send, upload, 0, b"0123")] * 8)

    assert len(set(given)) == 1
    assert isinstance(given[0], UploadPart)
    assert len(stored_files()) == 1
    assert open_upload_part(upload) == b"0123"


def open_upload_part(upload: Upload) -> bytes:
    with upload.parts.get().file.open("rb") as file:
        return file.read()


def test_remove_upload_takes_its_files_along() -> None:
    upload = sent(b"0123456789")
    default_storage.save(f"uploads/{upload.public_id}/000009", io.BytesIO(b"of a process that ended"))

    remove_upload(upload=upload)

    assert (Upload.objects.count(), UploadPart.objects.count(), stored_files()) == (0, 0, [])
