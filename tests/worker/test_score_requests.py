"""Scores for somebody who waits: from the API through a worker and back, and what happens when nobody works."""

import io
import subprocess
import sys
from typing import Any

import PIL.Image
import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from tests.annotations.factories import make_generator, make_image, make_user, picture_bytes
from tests.worker.generators import make_images, make_scorers
from worker import jobs
from worker.models import ModelVersion
from worker.services import score_requests
from worker.services.score_requests import NoAnswer, ScoreRequest, request_scores
from worker.services.scoring import open_picture
from worker.services.versions import scorer_for


@pytest.fixture
def scorers(db: None, tmp_path) -> dict[str, ModelVersion]:
    return make_scorers(tmp_path / "clip")


@pytest.fixture
def at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that takes every message at once."""
    monkeypatch.setattr(
        score_requests,
        "_send",
        lambda number, _patience: jobs.answer_score_request(number=number, from_a_later_version=1),
    )


@pytest.fixture
def nobody_at_work(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Messages that nobody takes."""
    numbers: list[str] = []
    monkeypatch.setattr(score_requests, "_send", lambda number, _patience: numbers.append(number))
    monkeypatch.setattr(score_requests, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(request_scores, "__kwdefaults__", {"patience_seconds": 0.0})
    return numbers


@pytest.fixture
def staff(db: None) -> APIClient:
    client = APIClient()
    client.force_authenticate(make_user(is_staff=True))
    return client


def post(client: APIClient, body: dict[str, Any], **options: Any) -> Any:
    return client.post("/api/v1/scores", body, **{"format": "json"} | options)


def test_scores_of_stored_images_in_the_order_asked(scorers, at_work, staff):
    images = make_images(3, make_generator())
    wanted = [str(images[place].public_id) for place in (2, 0, 2)]

    answer = post(staff, {"images": wanted, "prompt": "another prompt"})

    expected = scorer_for(scorers["hps"]).score([open_picture(images[2]), open_picture(images[0])], "another prompt")
    assert answer.status_code == 200
    assert [score["image"] for score in answer.json()["scores"]] == wanted
    assert [score["score"] for score in answer.json()["scores"]] == pytest.approx(
        [expected[0], expected[1], expected[0]], abs=1e-4
    )


def test_scores_of_files_stand_behind_those_of_stored_images(scorers, at_work, staff):
    stored, content = make_image(), picture_bytes(colour=(200, 10, 10))
    body = {
        "prompt": "a red field",
        "images": [str(stored.public_id)],
        "files": [SimpleUploadedFile("red.png", content, "image/png")],
        "scorer": "clip-1",
    }

    answer = post(staff, body, format="multipart")

    (expected,) = scorer_for(scorers["clip"]).score([PIL.Image.open(io.BytesIO(content))], "a red field")
    assert [score["image"] for score in answer.json()["scores"]] == [str(stored.public_id), "red.png"]
    assert answer.json()["scores"][1]["score"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"prompt": "a cat"}, "Give the ids of images, or files."),
        ({"prompt": " ", "images": ["00000000-0000-4000-8000-000000000000"]}, "prompt: "),
        ({"prompt": "a cat", "images": ["00000000-0000-4000-8000-000000000000"]}, "There is no image 00000000"),
        ({"prompt": "a cat", "images": ["no-uuid"]}, "images: "),
        ({"prompt": "a cat", "images": ["00000000-0000-4000-8000-000000000000"] * 65}, "images: "),
    ],
)
def test_scores_of_nothing_useful_are_refused(scorers, at_work, staff, body, words):
    answer = post(staff, body)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert words in answer.json()["detail"]


def test_scores_by_an_unknown_scorer_are_refused_with_the_names(scorers, at_work, staff):
    answer = post(staff, {"prompt": "a cat", "images": [str(make_image().public_id)], "scorer": "hps-9"})

    assert answer.status_code == 400
    assert "Name one of: clip-1, hps-1" in answer.json()["detail"]


def test_scores_of_an_image_without_its_file_are_refused(scorers, at_work, staff):
    image = make_image()
    default_storage.delete(image.file.name)

    answer = post(staff, {"prompt": "a cat", "images": [str(image.public_id)]})

    assert (answer.status_code, "can't be read" in answer.json()["detail"]) == (400, True)


def test_scores_of_a_file_that_is_no_image_are_refused_before_any_worker_hears_of_it(scorers, nobody_at_work, staff):
    body = {"prompt": "a cat", "files": [SimpleUploadedFile("evil.png", b"GIF89a", "image/png")]}

    answer = post(staff, body, format="multipart")

    assert (answer.status_code, nobody_at_work) == (400, [])
    assert answer.json()["detail"].startswith("evil.png is no image that can be scored: ")


def test_scores_without_a_worker_are_503_with_what_to_do(scorers, nobody_at_work, staff):
    answer = post(staff, {"prompt": "a cat", "images": [str(make_image().public_id)]})

    assert (answer.status_code, answer.json()["code"]) == (503, "no_worker")
    assert "Start one that listens on the queue 'default'" in answer.json()["detail"]
    assert len(nobody_at_work) == 1


def test_scores_without_a_broker_are_503(scorers, staff, monkeypatch):
    def refuse(_number: str, _patience: float) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(score_requests, "_send", refuse)

    assert post(staff, {"prompt": "a cat", "images": [str(make_image().public_id)]}).status_code == 503


def test_answer_to_a_forgotten_request_does_nothing(scorers):
    assert score_requests.answer_score_request(number="forgotten") is None


@pytest.mark.parametrize("is_staff", [False, None])
def test_scores_are_for_staff(db, is_staff):
    client = APIClient()
    if is_staff is not None:
        client.force_authenticate(make_user(is_staff=is_staff))

    assert post(client, {"prompt": "a cat", "images": []}).status_code in {401, 403}


def test_request_scores_goes_to_the_workers_that_do_not_train_and_expires(monkeypatch):
    sent: dict[str, Any] = {}
    monkeypatch.setattr(
        score_requests.current_app, "send_task", lambda name, **options: sent.update(options, name=name)
    )

    with pytest.raises(NoAnswer):
        request_scores(request=ScoreRequest(prompt="a cat", scorer="hps"), patience_seconds=0.0)

    assert (sent["name"], sent["queue"], sent["expires"]) == ("worker.answer_score_request", "default", 0.0)


def test_the_web_process_asks_for_scores_without_torch():
    program = (
        "import django, sys; django.setup(); import hps_site.urls, worker.api.scores;"
        "print(sorted({'torch', 'open_clip', 'diffusers', 'peft'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
