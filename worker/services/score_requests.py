"""Scores for somebody who waits for them: asked by the web process, answered by a worker, kept for a minute."""

import io
import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import PIL.Image
from celery import current_app
from django.core.cache import cache
from kombu.exceptions import KombuError

from annotations.models import Image
from scoring.checkpoints import CheckpointRejected
from worker.services.runs import BROKER_SECONDS
from worker.services.scoring import UnknownScorer, open_picture, version_named
from worker.services.versions import scorer_for

logger = logging.getLogger(__name__)

ANSWER_JOB = "worker.answer_score_request"

# Requests go to the workers that don't train, so that none waits for the end of a training.
QUEUE = "default"

PATIENCE_SECONDS = 20.0
SECONDS_BETWEEN_LOOKS = 0.05

# Question and answer are forgotten after this time.
KEPT_SECONDS = 60


class ScoresRefused(ValueError):
    """What was asked for can't be scored; the message says why."""


class NoAnswer(Exception):
    """No worker answered in time."""


@dataclass(frozen=True)
class ScoreRequest:
    """Which images shall be scored for which prompt."""

    prompt: str
    scorer: str
    """Name of a version, see `version_named`."""
    public_ids: tuple[str, ...] = ()
    """Stored images."""
    files: tuple[tuple[str, bytes], ...] = ()
    """Other images: a name for the answer, and the bytes as `read_image` gives them."""


def request_scores(*, request: ScoreRequest, patience_seconds: float = PATIENCE_SECONDS) -> list[dict[str, Any]]:
    """Have a worker score images and wait for it; this process loads no model.

    Returns:
        `[{"image", "score"}]`: stored images by their public ids, then files by their names, in the order asked.

    Raises:
        ScoresRefused: an image or the scorer is not there, or an image can't be read.
        NoAnswer: the broker is away, or no worker answered in time.
    """
    number = uuid.uuid4().hex
    cache.set(_question_key(number), asdict(request), timeout=KEPT_SECONDS)
    try:
        _send(number, patience_seconds)
    except (KombuError, OSError) as error:
        logger.warning("The broker can't be reached for a score request: %s", error)
        raise NoAnswer from error
    deadline = time.monotonic() + patience_seconds
    while (answer := cache.get(_answer_key(number))) is None:
        if time.monotonic() > deadline:
            raise NoAnswer
        time.sleep(SECONDS_BETWEEN_LOOKS)
    cache.delete_many([_question_key(number), _answer_key(number)])
    if "refused" in answer:
        raise ScoresRefused(answer["refused"])
    scores: list[dict[str, Any]] = answer["scores"]
    return scores


def answer_score_request(*, number: str) -> None:
    """Do the work of a request and leave the answer where `request_scores` looks for it."""
    asked = cache.get(_question_key(number))
    if asked is None:
        return  # nobody waits any more
    try:
        answer: dict[str, Any] = {"scores": scores_of(ScoreRequest(**asked))}
    except (ScoresRefused, UnknownScorer, CheckpointRejected) as error:
        answer = {"refused": str(error)}
    cache.set(_answer_key(number), answer, timeout=KEPT_SECONDS)


def scores_of(request: ScoreRequest) -> list[dict[str, Any]]:
    """The scores asked for, worked out in this process.

    Raises:
        UnknownScorer: no such scorer.
        ScoresRefused: an image is not there or can't be read.
    """
    scorer = scorer_for(version_named(request.scorer))
    pictures = [*_stored_pictures(request.public_ids), *(_opened(content) for _name, content in request.files)]
    names = [*request.public_ids, *(name for name, _content in request.files)]
    values = scorer.score(pictures, request.prompt).tolist()
    return [{"image": name, "score": value} for name, value in zip(names, values, strict=True)]


def _stored_pictures(public_ids: Sequence[str]) -> list[PIL.Image.Image]:
    stored = {str(image.public_id): image for image in Image.objects.filter(public_id__in=public_ids)}
    if unknown := [public_id for public_id in public_ids if public_id not in stored]:
        raise ScoresRefused(f"There is no image {unknown[0]}.")
    try:
        return [open_picture(stored[public_id]) for public_id in public_ids]
    except OSError as error:
        raise ScoresRefused(f"An image can't be read: {error}.") from error


def _opened(content: bytes) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(content))


def _send(number: str, patience_seconds: float) -> None:
    with current_app.connection_for_write(connect_timeout=BROKER_SECONDS) as connection:
        connection.ensure_connection(max_retries=1, timeout=BROKER_SECONDS)
        current_app.send_task(
            ANSWER_JOB,
            kwargs={"number": number},
            queue=QUEUE,
            connection=connection,
            retry=False,
            expires=patience_seconds,
        )


def _question_key(number: str) -> str:
    return f"score-request:{number}"


def _answer_key(number: str) -> str:
    return f"score-answer:{number}"
