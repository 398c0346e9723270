"""What may be said of a set of images, before anything is looked up."""

from typing import Any
from uuid import uuid4

import pytest

from annotations.models import Outcome
from annotations.services.answers import LONGEST_SHOWN_MS, Answer, VoteRejected, checked_answer


def test_an_answer_is_what_was_given() -> None:
    image = uuid4()
    client = {
        "input": "key", "zoomed": True, "flickered": False, "viewport": [1280, 800], "blurs": 2, "tie_after_ms": 5000,
    }  # fmt: skip

    answer = checked_answer(outcome="choice", image=image, shown_ms=812, hidden_ms=40, client=client)

    assert answer == Answer(Outcome.CHOICE, image, reason="", shown_ms=812, hidden_ms=40, client=client)


def test_times_are_kept_within_a_day() -> None:
    answer = checked_answer(outcome="skip", shown_ms=10**12, hidden_ms=10**12)

    assert (answer.shown_ms, answer.hidden_ms) == (LONGEST_SHOWN_MS, LONGEST_SHOWN_MS)


def test_reasons_are_trimmed() -> None:
    assert checked_answer(outcome="flag", reason=" offensive ").reason == "offensive"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"outcome": "maybe"}, "The outcome must be one of choice, tie, all_bad, skip, flag."),
        ({"outcome": "choice"}, "A choice needs the id of the chosen image."),
        ({"outcome": "tie", "image": uuid4()}, "Only a choice names an image; leave it out with the outcome tie."),
        ({"outcome": "flag", "reason": "  "}, "A flag needs a reason."),
        ({"outcome": "tie", "reason": "equal"}, "Only a flag or a skip may give a reason."),
        ({"outcome": "flag", "reason": "x" * 201}, "A reason is plain text of at most 200 characters."),
        ({"shown_ms": -1}, "The time for which the images were shown cannot be negative."),
        ({"hidden_ms": -1}, "The time for which the page was hidden cannot be negative."),
        ({"client": ["key"]}, "How the vote was given (client) is an object of names and values."),
        (
            {"client": {"model": "x"}},
            "client.model is not known; known are input, zoomed, flickered, viewport, blurs, tie_after_ms.",
        ),
        ({"client": {"input": "thought"}}, "client.input must be key, pointer or touch."),
        ({"client": {"input": []}}, "client.input must be key, pointer or touch."),
        ({"client": {"zoomed": 1}}, "client.zoomed must be true or false: whether the images were enlarged."),
        (
            {"client": {"viewport": [390]}},
            "client.viewport must be [width, height] in whole CSS pixels, each at most 100000.",
        ),
        (
            {"client": {"viewport": [390, True]}},
            "client.viewport must be [width, height] in whole CSS pixels, each at most 100000.",
        ),
        (
            {"client": {"blurs": -1}},
            "client.blurs must be a count from 0 to 100000: how often the window lost the focus meanwhile.",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(VoteRejected) as refusal:
        checked_answer(**{"outcome": "tie", **fields})

    assert str(refusal.value) == says
