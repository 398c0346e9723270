from itertools import product

import numpy as np
import pytest
from scipy import stats

from scoring import comparisons
from tests.scoring.people import choice


def scored(credits, other):
    """Choices of the first image on a prompt each, with scores that are right (1) or wrong (0)."""
    choices = [choice(0, prompt=f"p{number}") for number in range(len(credits))]
    return choices, [[one, 0.5] for one in credits], [[one, 0.5] for one in other]


def test_paired_test_by_hand():
    # Five prompts on which only the first is right: the chance that all five flips agree is 2 of 32.
    test = comparisons.paired_test(*scored([1] * 5 + [1, 0], [0] * 5 + [1, 0]))

    assert (test.p_value, test.prompts, test.difference.value) == (2 / 32, 5, pytest.approx(5 / 7))
    assert test.name == "paired sign-flip permutation test by prompt, two-sided"


def test_paired_test_of_a_scorer_with_itself_has_p_one():
    test = comparisons.paired_test(*scored([1, 0, 1], [1, 0, 1]))

    assert (test.p_value, test.prompts, test.difference.value) == (1.0, 0, 0.0)


def test_paired_test_of_nothing_has_no_p():
    assert comparisons.paired_test([], [], []).p_value is None


def test_paired_test_flips_whole_prompts():
    # A hundred votes on one prompt are one flip: nothing is shown.
    choices = [choice(0, prompt="p", annotator=f"a{number}") for number in range(100)]

    assert comparisons.paired_test(choices, [[1, 0]] * 100, [[0, 1]] * 100).p_value == 1.0


def test_paired_test_equals_going_through_all_flips():
    rng = np.random.default_rng(3)
    mine, theirs = rng.integers(2, size=12), rng.integers(2, size=12)
    choices, scores, other = scored(mine.tolist(), theirs.tolist())
    differences = mine - theirs
    flips = [abs(np.dot(signs, differences)) >= abs(differences.sum()) for signs in product((1, -1), repeat=12)]

    assert comparisons.paired_test(choices, scores, other).p_value == pytest.approx(np.mean(flips))


def test_paired_test_by_random_flips_agrees_with_scipy():
    rng = np.random.default_rng(4)
    mine, theirs = rng.random(200) < 0.55, rng.random(200) < 0.45
    choices, scores, other = scored(mine.astype(int).tolist(), theirs.astype(int).tolist())
    oracle = stats.permutation_test(
        (mine.astype(float), theirs.astype(float)),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9999,
        rng=np.random.default_rng(0),
    )

    assert comparisons.paired_test(choices, scores, other).p_value == pytest.approx(oracle.pvalue, abs=0.01)


def test_paired_test_rejects_equal_scorers_one_time_in_twenty():
    rng = np.random.default_rng(5)
    p_values = []
    for _ in range(200):
        mine, theirs = rng.integers(2, size=(2, 60))
        p_values.append(comparisons.paired_test(*scored(mine.tolist(), theirs.tolist())).p_value)

    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.04)


def test_holm_adjusted_by_hand_in_the_order_given():
    # Sorted: 3 * .01, then 2 * .02 = .04, then 1 * .03, which must not fall below the .04 before it.
    assert comparisons.holm_adjusted([0.02, None, 0.03, 0.01]) == [0.04, None, 0.04, 0.03]
    assert comparisons.holm_adjusted([0.6, 0.9]) == [1.0, 1.0]
    assert comparisons.holm_adjusted([]) == []


def test_holm_adjusted_tells_apart_any_of_six_alike_scorers_at_most_one_time_in_twenty():
    rng = np.random.default_rng(6)
    smallest = [min(comparisons.holm_adjusted(rng.random(15).tolist())) for _ in range(1000)]

    assert np.mean(np.array(smallest) < 0.05) == pytest.approx(0.05, abs=0.02)
