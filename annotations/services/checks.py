"""Checks on the people who vote: sets whose obvious answer is known."""

from dataclasses import dataclass
from uuid import UUID

from annotations.models import Outcome, Task, Vote


@dataclass(frozen=True)
class Feedback:
    """What a person is told after a practice vote."""

    is_right: bool
    expected: UUID
    """The public id of the image that is the obvious answer."""


def feedback_on(vote: Vote) -> Feedback | None:
    """Whether a practice vote was right, and what would have been; None for all other votes."""
    expected = vote.task.expected
    if vote.task.purpose != Task.Purpose.PRACTICE or expected is None:
        return None
    is_right = vote.outcome == Outcome.CHOICE and vote.image_id == expected.pk
    return Feedback(is_right=is_right, expected=expected.public_id)
