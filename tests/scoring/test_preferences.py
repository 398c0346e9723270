import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.preferences import Choice, ChoiceRejected, read_lines, write_lines

CHOICE = Choice("a red circle", ("a", "b", "c"), "choice", 1, "ada", "train", ("one", None, "two"))
LINE = (
    '{"annotator":"ada","chosen":1,"generators":["one",null,"two"],"images":["a","b","c"],'
    '"outcome":"choice","prompt":"a red circle","split":"train"}'
)


def changed(**fields):
    return json.dumps({key: value for key, value in (json.loads(LINE) | fields).items() if value != "absent"})


def test_to_json_is_one_sorted_line():
    assert CHOICE.to_json() == LINE


def test_from_json_reads_back():
    assert Choice.from_json(LINE) == CHOICE


def test_from_json_takes_a_record_without_generators():
    assert Choice.from_json(changed(generators="absent")) == replace(CHOICE, generators=())


@settings(max_examples=50)
@given(
    prompt=st.text(),
    images=st.lists(st.text(), min_size=2, max_size=9),
    outcome=st.sampled_from(["choice", "tie", "all_bad"]),
    data=st.data(),
)
def test_lines_are_read_back_whatever_the_text(prompt, images, outcome, data):
    chosen = data.draw(st.integers(0, len(images) - 1)) if outcome == "choice" else None
    choice = Choice(prompt, tuple(images), outcome, chosen, "ada", "test")

    lines = write_lines([choice, choice])

    assert list(read_lines(lines.split("\n"))) == [choice, choice]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "Not JSON"),
        ("[]", "must be a JSON object"),
        (changed(prompt="absent"), r"missing: \['prompt'\]"),
        (changed(colour="red"), r"unknown: \['colour'\]"),
        (changed(prompt=7), "prompt must be a text"),
        (changed(images="abc"), "images must be a list"),
        (changed(generators=[1, 2, 3]), "generators must be a list"),
        (changed(chosen=True), "chosen must be a whole number"),
        (changed(chosen=3), "chosen must be 0 to 2, not 3"),
        (changed(chosen=None), "chosen must be 0 to 2, not None"),
        (changed(chosen=-1), "chosen must be 0 to 2, not -1"),
        (changed(outcome="tie"), "chosen must be null, not 1"),
        (changed(outcome="skip"), "must be choice, tie or all_bad, not 'skip'"),
        (changed(split="validation"), "must be train or test, not 'validation'"),
        (changed(images=["a"], generators=[], chosen=0), "2 to 9 images, this one has 1"),
        (changed(images=list("abcdefghij"), generators=[]), "2 to 9 images, this one has 10"),
        (changed(generators=["one"]), "1 generators named for 3 images"),
    ],
)
def test_from_json_says_what_is_wrong(line, reason):
    with pytest.raises(ChoiceRejected, match=reason):
        Choice.from_json(line)


def test_read_lines_names_the_line():
    with pytest.raises(ChoiceRejected, match=r"^Line 3: Not JSON"):
        list(read_lines([LINE, "", "nonsense"]))


def test_task_is_the_same_in_every_order_of_the_images():
    assert replace(CHOICE, images=("c", "a", "b")).task == CHOICE.task
    assert replace(CHOICE, images=("c", "a", "d")).task != CHOICE.task
    assert replace(CHOICE, prompt="another").task != CHOICE.task


def test_answer_is_the_chosen_image_or_the_outcome():
    assert [CHOICE.answer, replace(CHOICE, outcome="tie", chosen=None).answer] == ["b", "tie"]
    assert [CHOICE.is_decided, replace(CHOICE, outcome="all_bad", chosen=None).is_decided] == [True, False]
