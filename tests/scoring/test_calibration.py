import numpy as np
import pytest

from scoring.calibration import calibration
from tests.scoring.people import choice


def test_calibration_by_hand():
    # Odds of 3 to 1: .75 and .25; right on three prompts of four.
    choices = [choice(chosen, prompt=f"p{number}") for number, chosen in enumerate([0, 0, 0, 1, "tie"])]

    curve = calibration(choices, [[np.log(3), 0]] * 5)

    assert [(one.low, one.high, one.predicted, one.observed.value, one.observed.n) for one in curve.bins] == [
        (0.2, 0.3, pytest.approx(0.25), 0.25, 4),
        (0.7, 0.8, pytest.approx(0.75), 0.75, 4),
    ]
    assert (curve.error, curve.n) == (pytest.approx(0), 8)


def test_calibration_error_of_a_scorer_that_is_too_sure():
    choices = [choice(number % 2, prompt=f"p{number}") for number in range(40)]

    assert calibration(choices, [[50, 0]] * 40).error == pytest.approx(0.5)


def test_calibration_of_a_true_model_lies_on_the_diagonal():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(2000, 3))
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    choices = [choice(int(rng.choice(3, p=row)), 3, prompt=f"p{number}") for number, row in enumerate(shares)]

    curve = calibration(choices, scores.tolist())

    assert curve.error < 0.03
    assert sum(one.observed.low <= one.predicted <= one.observed.high for one in curve.bins) >= len(curve.bins) - 1


def test_calibration_equals_a_plain_count():
    rng = np.random.default_rng(1)
    choices = [choice(int(rng.integers(n)), n, prompt=f"p{number}") for number, n in enumerate([2, 3, 4] * 20)]
    scores = [rng.normal(size=len(one.images)).tolist() for one in choices]
    said = [[] for _ in range(10)]
    for one, numbers in zip(choices, scores, strict=True):
        shares = np.exp(numbers) / np.sum(np.exp(numbers))
        for place, share in enumerate(shares):
            said[int(share * 10)].append((share, place == one.chosen))

    found = [(one.predicted, one.observed.value) for one in calibration(choices, scores).bins]

    assert found == [pytest.approx(tuple(np.mean(pairs, axis=0))) for pairs in said if pairs]


def test_calibration_of_nothing_has_no_bins():
    assert (calibration([], []).bins, calibration([], []).error) == ([], None)
