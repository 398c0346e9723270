import pytest

from scoring.metrics import Estimate
from scoring.signatures import beside_chance, follows, has_drifted, is_above_ceiling, is_no_better_than_base


def around(value, width=0.1):
    return Estimate("n", value, value - width, value + width, 100)


UNKNOWN = Estimate("n", None, None, None, 0)


@pytest.mark.parametrize(
    ("accuracy", "words"),
    [(around(0.7), "above"), (around(0.55), "not told apart"), (around(0.49), "below"), (UNKNOWN, "unknown")],
)
def test_beside_chance_is_above_only_with_the_whole_interval(accuracy, words):
    assert beside_chance(accuracy, Estimate("chance", 0.5, None, None, 100)) == words


@pytest.mark.parametrize(("accuracy", "is_bad"), [(0.5, True), (0.6, True), (0.61, False), (0.4, True)])
def test_no_better_than_base_is_not_above_its_interval(accuracy, is_bad):
    assert is_no_better_than_base(around(accuracy), around(0.5)) is is_bad


@pytest.mark.parametrize(("accuracy", "is_bad"), [(0.75, False), (0.69, False), (0.95, True)])
def test_above_the_ceiling_needs_both_intervals(accuracy, is_bad):
    assert is_above_ceiling(around(accuracy), around(0.7)) is is_bad


@pytest.mark.parametrize(
    ("scores", "people", "is_bad"),
    [
        (0.8, 0.0, True),
        (0.8, 0.75, False),
        (0.25, 0.0, False),
        (-0.8, 0.0, True),
        (-0.8, -0.75, False),
        (-0.8, 0.9, True),
    ],
)
def test_a_score_follows_what_people_do_not(scores, people, is_bad):
    assert follows(around(scores), around(people)) is is_bad


def test_drift_needs_both_intervals():
    assert has_drifted(around(0.9), around(0.6))
    assert not has_drifted(around(0.7), around(0.6))
    assert not has_drifted(around(0.4), around(0.9))


def test_nothing_is_said_of_what_is_not_known():
    assert not is_no_better_than_base(UNKNOWN, around(0.5))
    assert not is_above_ceiling(around(0.9), UNKNOWN)
    assert not follows(UNKNOWN, UNKNOWN)
    assert not has_drifted(around(0.9), UNKNOWN)
    assert follows(around(0.9), UNKNOWN)
