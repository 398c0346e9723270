"""What a person says of a set of images, and how: checked before anything is stored."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import models
from django.utils.translation import gettext_lazy as _

from annotations.models import Outcome, Vote
from annotations.services.claims import VotingRefused

LONGEST_SHOWN_MS = 24 * 60 * 60 * 1000
LARGEST_COUNT = 100_000


class Reason(models.TextChoices):
    """Why somebody gives no judgement, as the voting screen offers it; programs may give other reasons."""

    CANNOT_DECIDE = "cannot_decide", _("I cannot decide")
    IMAGE_BROKEN = "image_broken", _("An image is broken")
    OFFENSIVE = "offensive", _("Offensive or disturbing")
    PROMPT_UNCLEAR = "prompt_unclear", _("The prompt makes no sense")
    OTHER = "other", _("Something else")


FLAG_REASONS = [Reason.IMAGE_BROKEN, Reason.OFFENSIVE, Reason.PROMPT_UNCLEAR, Reason.OTHER]

# None needs to be given.
SKIP_REASONS = [Reason.CANNOT_DECIDE, Reason.IMAGE_BROKEN, Reason.OFFENSIVE, Reason.PROMPT_UNCLEAR]


class VoteRejected(VotingRefused):
    code = "vote_rejected"


@dataclass(frozen=True)
class Answer:
    """What was said, in the form in which two requests are compared."""

    outcome: Outcome
    image: UUID | None
    reason: str
    shown_ms: int | None
    """For how long the images were in sight, in milliseconds, by the clock of the client."""
    hidden_ms: int = 0
    """For how long the page was out of sight meanwhile; no part of `shown_ms`."""
    client: dict[str, Any] = field(default_factory=dict)
    """How the vote was given: any of the names in `CLIENT_FACTS`."""

    @classmethod
    def of(cls, vote: Vote) -> "Answer":
        return cls(
            outcome=Outcome(vote.outcome),
            image=vote.image.public_id if vote.image else None,
            reason=vote.reason,
            shown_ms=vote.shown_ms,
            hidden_ms=vote.hidden_ms,
            client=vote.client,
        )


def checked_answer(
    *,
    outcome: str,
    image: UUID | None = None,
    reason: str = "",
    shown_ms: int | None = None,
    hidden_ms: int = 0,
    client: dict[str, Any] | None = None,
) -> Answer:
    """All that can be said of an answer without looking at its task; the arguments are those of `record_vote`.

    Raises:
        VoteRejected: it makes no sense whatever the task is.
    """
    if outcome not in Outcome.values:
        raise VoteRejected(f"The outcome must be one of {', '.join(Outcome.values)}.")
    if outcome == Outcome.CHOICE and image is None:
        raise VoteRejected("A choice needs the id of the chosen image.")
    if outcome != Outcome.CHOICE and image is not None:
        raise VoteRejected(f"Only a choice names an image; leave it out with the outcome {outcome}.")
    shown_ms = None if shown_ms is None else _checked_time(shown_ms, what="for which the images were shown")
    return Answer(
        outcome=Outcome(outcome),
        image=image,
        reason=_checked_reason(reason, outcome=outcome),
        shown_ms=shown_ms,
        hidden_ms=_checked_time(hidden_ms, what="for which the page was hidden"),
        client=_checked_client(client or {}),
    )


def _checked_reason(reason: str, *, outcome: str) -> str:
    reason = reason.strip()
    if outcome == Outcome.FLAG and not reason:
        raise VoteRejected("A flag needs a reason.")
    if reason and outcome not in {Outcome.FLAG, Outcome.SKIP}:
        raise VoteRejected("Only a flag or a skip may give a reason.")
    if len(reason) > 200 or "\x00" in reason:
        raise VoteRejected("A reason is plain text of at most 200 characters.")
    return reason


def _checked_time(milliseconds: int, *, what: str) -> int:
    if milliseconds < 0:
        raise VoteRejected(f"The time {what} cannot be negative.")
    return min(milliseconds, LONGEST_SHOWN_MS)


def _checked_client(client: Any) -> dict[str, Any]:
    """The same facts, of which each has a known name and a value that fits it."""
    if not isinstance(client, dict):
        raise VoteRejected("How the vote was given (client) is an object of names and values.")
    for name, value in client.items():
        if name not in CLIENT_FACTS:
            raise VoteRejected(f"client.{name} is not known; known are {', '.join(CLIENT_FACTS)}.")
        fits, wanted = CLIENT_FACTS[name]
        if not fits(value):
            raise VoteRejected(f"client.{name} must be {wanted}.")
    return client


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= LARGEST_COUNT


def _is_size(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(_is_count(side) for side in value)


# What a client may tell of how a vote was given: the test of its value, and that test in words.
CLIENT_FACTS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "input": (lambda value: value in ("key", "pointer", "touch"), "key, pointer or touch"),
    "zoomed": (_is_truth, "true or false: whether the images were enlarged"),
    "flickered": (_is_truth, "true or false: whether they were compared at one place"),
    "viewport": (_is_size, f"[width, height] in whole CSS pixels, each at most {LARGEST_COUNT}"),
    "blurs": (_is_count, f"a count from 0 to {LARGEST_COUNT}: how often the window lost the focus meanwhile"),
    "tie_after_ms": (_is_count, f"whole milliseconds from 0 to {LARGEST_COUNT}: the delay of the tie in force"),
}
