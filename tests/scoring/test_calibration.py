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
    assert (curve.error.value, curve.n) == (pytest.approx(0), 8)


def test_calibration_error_of_a_scorer_that_is_too_sure():
    choices = [choice(number % 2, prompt=f"p{number}") for number in range(40)]

    assert calibration(choices, [[50, 0]] * 40).error.value == pytest.approx(0.5)


def test_calibration_of_a_true_model_lies_on_the_diagonal():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(2000, 3))
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    choices = [choice(int(rng.choice(3, p=row)), 3, prompt=f"p{number}") for number, row in enumerate(shares)]

    curve = calibration(choices, scores.tolist())

    assert curve.error.value < 0.03
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
    assert (calibration([], []).bins, calibration([], []).error.value) == ([], None)


def by_odds(rng, prompts, *, said):
    """Three votes on each of many sets of three, and scores that are as sure as people, or `said` times as sure."""
    worths = rng.normal(size=(prompts, 3))
    shares = np.exp(worths) / np.exp(worths).sum(axis=1, keepdims=True)
    choices = [
        choice(int(rng.choice(3, p=row)), 3, prompt=f"p{number}") for number, row in enumerate(shares) for _ in range(3)
    ]
    return choices, np.repeat(said * worths, 3, axis=0).tolist()


def test_calibration_error_has_the_interval_of_recounts_by_prompt():
    rng = np.random.default_rng(2)
    choices, scores = by_odds(rng, 30, said=2)
    found = calibration(choices, scores).error
    drawn = []
    for _ in range(200):
        rows = [3 * place + vote for place in rng.integers(30, size=30) for vote in range(3)]
        drawn.append(calibration([choices[row] for row in rows], [scores[row] for row in rows]).error.value)
    low, high = np.quantile(drawn, [0.025, 0.975])
    reach = max(found.value - low, high - found.value)

    assert (found.name, found.n, found.unit) == ("expected calibration error", 270, "images")
    assert (found.low, found.high) == pytest.approx((max(0, found.value - reach), found.value + reach), abs=0.02)


def test_calibration_error_of_a_scorer_that_is_too_sure_lies_in_its_interval():
    rng = np.random.default_rng(3)
    # Of so many that chance is out of the question.
    truth = calibration(*by_odds(rng, 5_000, said=3)).error.value

    found = [calibration(*by_odds(rng, 40, said=3)).error for _ in range(40)]

    assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.9


def test_calibration_error_of_one_prompt_has_no_interval():
    error = calibration([choice(0), choice(1)], [[1, 0]] * 2).error

    assert (error.low, error.high, error.reason) == (None, None, "All are of one prompt: no interval.")
