from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring import metrics, pairwise
from tests.scoring.people import choice


def test_conventions_give_their_names_and_different_numbers_for_the_same_votes():
    # Right; wrong; equal scores; a tie of people; a tie of people with equal scores.
    said, scores = [0, 1, 0, "tie", "tie"], [[2, 1], [2, 1], [1, 1], [9, 1], [1, 1]]
    choices = [choice(one, prompt=f"p{number}") for number, one in enumerate(said)]

    found = {one.name: (one.value, one.n) for one in pairwise.pairwise_accuracies(choices, scores)[:4]}

    assert found == {
        "pairwise, ties as half": (pytest.approx((1 + 0 + 0.5 + 0.5 + 0.5) / 5), 5),
        "pairwise, ties dropped": (pytest.approx((1 + 0 + 0.5) / 3), 3),
        "pairwise, equal scores wrong (ImageReward)": (pytest.approx(1 / 3), 3),
        "inversion score, ties as right (HPS v2)": (pytest.approx(4 / 5), 5),
    }


def test_inversion_score_of_four_is_one_half_for_a_scorer_that_is_always_wrong():
    choices = [choice(0, 4, prompt=prompt) for prompt in "abc"]

    assert pairwise.inversion_score(choices, [[0, 1, 2, 3]] * 3).value == 0.5


def test_threshold_accuracy_by_hand():
    # A scorer that is close on every tie and far on every choice: any threshold between the two tells all.
    choices = [choice("tie" if number % 2 else 0, prompt=f"p{number}") for number in range(40)]
    scores = [[0.1, 0] if number % 2 else [3.0, 0] for number in range(40)]

    assert pairwise.threshold_accuracy(choices, scores).value == 1.0
    assert metrics.pairwise_accuracy(choices, scores).value == 0.75


def test_threshold_accuracy_of_noise_is_that_of_always_seeing_a_tie():
    rng = np.random.default_rng(0)
    choices = [choice("tie" if rng.random() < 0.3 else int(rng.integers(2)), prompt=f"p{n}") for n in range(4000)]
    scores = rng.normal(size=(4000, 2)).tolist()

    assert pairwise.threshold_accuracy(choices, scores).value == pytest.approx((1 + 0.3) / 2, abs=0.02)


def test_threshold_accuracy_is_for_two_images():
    estimate = pairwise.threshold_accuracy([choice(0, 4)], [[1, 2, 3, 4]])

    assert (estimate.value, estimate.reason) == (None, "There is no choice between two images.")


def test_conventions_of_no_choice_have_no_value():
    assert [one.value for one in pairwise.pairwise_accuracies([], [])] == [None] * 5


def plain_strict(choices, scores):
    won = [
        numbers[one.chosen] > numbers[other]
        for one, numbers in zip(choices, scores, strict=True)
        if one.is_decided
        for other in range(len(numbers))
        if other != one.chosen
    ]
    return np.mean(won)


def plain_inversions(choices, scores):
    """As the repository of HPS v2 counts, on ranks."""
    credits = []
    for one, numbers in zip(choices, scores, strict=True):
        if one.outcome == "all_bad":
            continue
        ranks = [int(one.is_decided and place != one.chosen) for place in range(len(numbers))]
        pairs = list(combinations(range(len(numbers)), 2))
        inverted = sum((ranks[i] - ranks[j]) * (numbers[i] - numbers[j]) > 0 for i, j in pairs)
        credits.append(1 - inverted / len(pairs))
    return np.mean(credits)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), n=st.integers(2, 5))
def test_conventions_equal_the_plain_ones(seed, n):
    rng = np.random.default_rng(seed)
    said = ["tie", "all_bad", *map(int, rng.integers(n, size=20))]
    choices = [choice(one, n, prompt=f"p{number % 7}") for number, one in enumerate(said)]
    scores = rng.integers(3, size=(len(said), n)).tolist()

    assert pairwise.strict_accuracy(choices, scores).value == pytest.approx(plain_strict(choices, scores))
    assert pairwise.inversion_score(choices, scores).value == pytest.approx(plain_inversions(choices, scores))
