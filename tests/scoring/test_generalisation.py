from dataclasses import replace

import pytest

from scoring import generalisation
from scoring.generalisation import LeftOut, PassedOver, leave_one_out, measure, pooled, verdict, without
from scoring.preferences import Choice

FOUR = Choice("a cat", ("1", "2", "3", "4"), "choice", 2, "ada", "train", ("A", "B", "C", "B"))


def choice(prompt, chosen, generators=("A", "B"), split="test"):
    return Choice(prompt, tuple(f"{prompt}-{name}" for name in generators), "choice", chosen, "ada", split, generators)


def test_without_a_generator_a_choice_is_one_among_the_others():
    assert without(FOUR, "B") == replace(FOUR, images=("1", "3"), generators=("A", "C"), chosen=1)
    assert without(FOUR, "A") == replace(FOUR, images=("2", "3", "4"), generators=("B", "C", "B"), chosen=1)
    assert without(FOUR, "D") == FOUR


@pytest.mark.parametrize(
    ("given", "generator"),
    [
        (FOUR, "C"),  # its own image was chosen
        (choice("x", 0), "B"),  # only one is left
        (replace(FOUR, generators=()), "A"),
        (replace(FOUR, generators=("A", None, "C", "B")), "A"),  # who knows whether that one is A's
    ],
)
def test_without_a_generator_nothing_may_be_left_of_a_choice(given, generator):
    assert without(given, generator) is None


def test_without_a_generator_a_tie_is_one_of_the_others():
    tie = replace(FOUR, outcome="tie", chosen=None)

    assert without(tie, "B") == replace(tie, images=("1", "3"), generators=("A", "C"))


def test_leave_one_out_trains_without_and_tests_with_each_generator():
    train = [choice(f"train {n}", n % 2, ("A", "B", "C"), "train") for n in range(20)]
    test = [choice(f"test {n}", 0) for n in range(4)] + [choice(f"test {n}", 0, ("B", "C")) for n in range(4, 6)]

    split = leave_one_out(train + test, fewest_test=2, fewest_train=10)

    assert [part.generator for part in split.parts] == ["B", "A", "C"]
    assert [part.test for part in split.parts] == [test, test[:4], test[4:]]
    for part in split.parts:
        assert part.train
        assert all(part.generator not in one.generators and one.split == "train" for one in part.train)
    assert len(split.parts[2].train) == 20  # C was never chosen
    assert len(split.parts[0].train) == 10


def test_leave_one_out_says_why_a_generator_is_passed_over():
    train = [choice(f"train {n}", 0, split="train") for n in range(20)]
    test = [choice(f"test {n}", 0) for n in range(4)] + [choice("test", 0, ("B", "C"))]

    split = leave_one_out(train + test, fewest_test=2, fewest_train=1)

    assert split.parts == []
    assert split.passed_over == [
        PassedOver("B", "0 choices to train on are left without it; at least 1 are needed."),
        PassedOver("A", "0 choices to train on are left without it; at least 1 are needed."),
        PassedOver("C", "1 choices to test on; at least 2 are needed."),
    ]


def test_leave_one_out_takes_the_generators_that_were_shown_most():
    train = [choice(f"train {n}", n % 3, ("A", "B", "C"), "train") for n in range(30)]
    test = [choice(f"test {n}", 0) for n in range(4)] + [choice("test", 0, ("A", "C"))]

    split = leave_one_out(train + test, fewest_test=1, fewest_train=1, most=2)

    assert [part.generator for part in split.parts] == ["A", "B"]
    assert split.passed_over == [PassedOver("C", "Only the 2 generators that were shown most are left out.")]


def test_measure_holds_three_models_against_each_other_on_the_same_choices():
    part = LeftOut("A", [choice("t", 0, split="train")], [choice(f"{n}", 0) for n in range(8)])
    right, wrong = [[1.0, 0.0]] * 8, [[0.0, 1.0]] * 8

    found = measure(part, right, [[1.0, 0.0]] * 6 + [[0.0, 1.0]] * 2, wrong)

    assert (found["generator"], found["train_choices"], found["test_choices"], found["prompts"]) == ("A", 1, 8, 8)
    values = {name: found[name]["value"] for name in found if isinstance(found[name], dict)}
    assert values == {
        "unseen_top_one": 1.0, "seen_top_one": 0.75, "base_top_one": 0.0, "chance": 0.5, "human_ceiling": None,
        "highest_attainable": 1.0, "unseen_difference": 1.0, "seen_difference": 0.25,
    }  # fmt: skip


def test_pooled_counts_a_choice_with_each_generator_that_it_shows():
    test = [choice("1", 0), choice("2", 0)]
    parts = [LeftOut("A", [], test), LeftOut("B", [], test)]
    right, wrong = [[1.0, 0.0]] * 2, [[0.0, 1.0]] * 2

    found = pooled(
        parts,
        {"unseen": {"A": right, "B": wrong}, "seen": dict.fromkeys("AB", right), "base": dict.fromkeys("AB", wrong)},
    )

    assert (found["unseen_top_one"]["value"], found["unseen_top_one"]["n"]) == (0.5, 4)
    assert found["seen_difference"]["value"] == -0.5
    assert found["human_ceiling"]["value"] is None  # nobody stands beside themselves
    assert found["highest_attainable"]["n"] == 2


@pytest.mark.parametrize(
    ("beside_base", "beside_seen", "words"),
    [
        ((0.1, 0.2), (-0.1, 0.1), "it is better than base CLIP. Nothing shows that it would do better"),
        ((-0.2, -0.1), (-0.3, -0.1), "it is worse than base CLIP. Having seen them is worth something."),
        ((-0.1, 0.1), (-0.1, 0.1), "no difference from base CLIP is shown."),
        ((None, None), (None, None), "Too few choices for an interval"),
    ],
)
def test_verdict_says_what_the_intervals_show(beside_base, beside_seen, words):
    record = {
        name: dict(zip(("low", "high"), interval, strict=True))
        for name, interval in (("unseen_difference", beside_base), ("seen_difference", beside_seen))
    }

    assert words in verdict(record)


def test_every_figure_is_told_as_a_record():
    assert all(
        set(record) == {"name", "value", "low", "high", "n", "unit", "reason"}
        for record in generalisation.figures([], [], [], []).values()
    )
