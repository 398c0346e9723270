"""A press of a button becomes the arguments of a vote."""

from uuid import uuid4

import pytest

from annotations.forms import VoteForm

TOKEN, KEY, IMAGE = uuid4(), uuid4(), uuid4()


@pytest.mark.parametrize(
    ("button", "outcome", "image", "reason"),
    [
        ({"image": str(IMAGE)}, "choice", IMAGE, ""),
        ({"outcome": "tie"}, "tie", None, ""),
        ({"outcome": "skip"}, "skip", None, ""),
        ({"skip": "cannot_decide"}, "skip", None, "cannot_decide"),
        ({"flag": "offensive"}, "flag", None, "offensive"),
    ],
)
def test_vote_form_reads_the_button_that_was_pressed(
    button: dict[str, str], outcome: str, image: object, reason: str
) -> None:
    form = VoteForm({"token": str(TOKEN), "key": str(KEY), **button})

    assert form.is_valid()
    assert form.cleaned_data == {
        "token": TOKEN, "idempotency_key": KEY, "outcome": outcome, "image": image, "reason": reason,
    }  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        {"token": str(TOKEN), "key": str(KEY)},
        {"token": "x", "key": str(KEY), "outcome": "tie"},
        {"token": str(TOKEN), "outcome": "tie"},
        {"token": str(TOKEN), "key": str(KEY), "outcome": "maybe"},
        {"token": str(TOKEN), "key": str(KEY), "image": "x"},
        {"token": str(TOKEN), "key": str(KEY), "flag": "x\x00"},
    ],
)
def test_vote_form_refuses_what_no_button_sends(fields: dict[str, str]) -> None:
    assert not VoteForm(fields).is_valid()
