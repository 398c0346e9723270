"""The addresses to which a page sends a file in parts: for their person alone, and safe to ask again."""

import hashlib
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from annotations.models import Upload, UploadPart
from annotations.services import uploads
from tests.annotations.factories import make_user

pytestmark = pytest.mark.django_db

BEGIN = "/dashboard/campaigns/uploads/"


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "PART_BYTES", 4)


@pytest.fixture
def ada(client: Client) -> Client:
    user = make_user("ada", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="add_campaign"))
    client.force_login(user)
    return client


def begun(client: Client, **body: Any) -> Any:
    return client.post(BEGIN, {"name": "a.zip", "size": 9} | body, content_type="application/json")


def put(client: Client, address: str, content: bytes, sha256: str = "") -> Any:
    sha256 = sha256 or hashlib.sha256(content).hexdigest()
    return client.put(address, content, content_type="application/octet-stream", headers={"X-Part-SHA256": sha256})


def test_an_upload_is_begun_sent_and_begun_again(ada: Client) -> None:
    first = begun(ada)
    shown = first.json()
    put(ada, f"{shown['address']}1/", b"4567")
    again = begun(ada)

    assert (first.status_code, again.status_code) == (201, 200)
    assert shown == {
        "id": str(Upload.objects.get().public_id),
        "address": f"{BEGIN}{Upload.objects.get().public_id}/",
        "part_size": 4,
        "part_count": 3,
        "parts": {},
    }
    assert again.json() == shown | {"parts": {"1": hashlib.sha256(b"4567").hexdigest()}}
    assert ada.get(shown["address"]).json() == again.json()


def test_a_part_sent_twice_is_there_once_and_another_in_its_place_is_refused(ada: Client) -> None:
    address = begun(ada).json()["address"]

    statuses = [put(ada, f"{address}0/", b"0123").status_code for _ in range(2)]
    other = put(ada, f"{address}0/", b"3210")

    assert statuses == [204, 204]
    assert (other.status_code, other.json()["code"]) == (409, "part_differs")
    assert UploadPart.objects.count() == 1


@pytest.mark.parametrize(
    ("number", "content", "sha256", "words"),
    [
        (7, b"0123", "", "has the parts 0 to 2, not 7"),
        (0, b"01234567", "", "has 4 bytes; 5 came"),
        (0, b"", "", "has 4 bytes; 0 came"),
        (0, b"0123", "0" * 64, "damaged on its way"),
        (0, b"0123", "../../etc/passwd", "damaged on its way"),
    ],
)
def test_what_is_no_part_is_refused(ada: Client, number: int, content: bytes, sha256: str, words: str) -> None:
    answer = put(ada, f"{begun(ada).json()['address']}{number}/", content, sha256)

    assert (answer.status_code, answer.json()["code"]) == (400, "refused")
    assert words in answer.json()["detail"]
    assert not UploadPart.objects.exists()


@pytest.mark.parametrize("body", [{"name": 7}, {"size": "9"}, {"size": True}, {"size": 0}, {"name": ""}])
def test_what_is_no_file_is_not_begun(ada: Client, body: dict[str, Any]) -> None:
    assert begun(ada, **body).status_code == 400
    assert not Upload.objects.exists()


def test_a_name_is_never_a_path(ada: Client) -> None:
    shown = begun(ada, name="../../secrets.zip").json()
    put(ada, f"{shown['address']}0/", b"0123")

    assert UploadPart.objects.get().file.name == f"uploads/{shown['id']}/000000"


def test_a_part_larger_than_forms_may_be_is_taken(ada: Client, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(uploads, "PART_BYTES", 4_000_000)
    content = b"x" * 3_000_000
    assert len(content) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    address = begun(ada, size=len(content)).json()["address"]

    assert put(ada, f"{address}0/", content).status_code == 204


def test_uploads_are_their_persons_alone(ada: Client) -> None:
    address = begun(ada).json()["address"]
    ben = Client()
    ben.force_login(make_user("ben", is_staff=True, is_superuser=True))

    assert [ben.get(address).status_code, put(ben, f"{address}0/", b"0123").status_code] == [404, 404]
    assert ben.delete(address).status_code == 404
    assert ada.delete(address).status_code == 204
    assert not Upload.objects.exists()


def test_uploads_are_for_staff_who_may_make_campaigns(client: Client) -> None:
    assert (begun(client).status_code, begun(client).json()["code"]) == (401, "not_authenticated")
    client.force_login(make_user("cleo", is_staff=True))
    assert (begun(client).status_code, begun(client).json()["code"]) == (403, "permission_denied")
    assert not Upload.objects.exists()


def test_parts_need_the_token_against_forgery() -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(make_user(is_staff=True, is_superuser=True))
    upload = Upload.objects.create(name="a.zip", size=9, part_size=4)

    answer = put(strict, reverse("dashboard:upload-part", args=[upload.public_id, 0]), b"0123")

    assert answer.status_code == 403
