"""The pair policies: what they prefer, and that their chances are probabilities."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotations.policies import POLICIES, Standing, chances
from annotations.policies.coverage import coverage
from annotations.policies.focused import PRIOR, SHARPNESS, focused
from annotations.policies.uniform import uniform
from scoring import rankings


def standing_of_pairs(
    answers: dict[str, list[float]], *, out: dict[str, int] | None = None, free: dict[str, int] | None = None
) -> Standing:
    """Sets of generators named by single digits; each answer list has one number per generator of the campaign."""
    matchups = sorted(answers)
    generators = sorted({digit for matchup in matchups for digit in matchup if digit != "?"})
    return Standing(
        matchups=tuple(matchups),
        shown=np.array([[matchup.count(digit) for digit in generators] for matchup in matchups], dtype=float),
        answers=np.array([answers[matchup] for matchup in matchups], dtype=float),
        out=np.array([(out or {}).get(matchup, 0) for matchup in matchups], dtype=float),
        free=np.array([(free or {}).get(matchup, 10) for matchup in matchups], dtype=float),
    )


def by_matchup(standing: Standing, values: np.ndarray) -> dict[str, float]:
    return dict(zip(standing.matchups, values.tolist(), strict=True))


def exact_fall_of_doubt(standing: Standing) -> np.ndarray:
    """tr(M (S - S')) with S' the covariance after one more answer, all by loops and inverses."""
    log_worths, _ = rankings.fit_worths(standing.shown, standing.answers, PRIOR)
    generators = range(len(log_worths))

    def information_of(row: np.ndarray) -> np.ndarray:
        weights = row * np.exp(log_worths)
        share = weights / weights.sum()
        return np.diag(share) - np.outer(share, share)

    precision = PRIOR * np.eye(len(log_worths))
    for row, answers, out in zip(standing.shown, standing.answers, standing.out, strict=True):
        precision += (answers.sum() + out) * information_of(row)
    covariance = np.linalg.inv(precision)
    sensitivity = np.zeros_like(covariance)
    for i, j in itertools.combinations(generators, 2):
        contrast = np.zeros(len(log_worths))
        contrast[i], contrast[j] = 1, -1
        error = math.sqrt(contrast @ covariance @ contrast)
        slope = math.exp(-((contrast @ log_worths / error) ** 2) / 2) / math.sqrt(2 * math.pi) / error
        sensitivity += slope**2 * np.outer(contrast, contrast)
    return np.array(
        [
            np.trace(sensitivity @ (covariance - np.linalg.inv(precision + information_of(row))))
            for row in standing.shown
        ]
    )


PAIRS = {"12": [5, 3, 0, 0], "13": [8, 0, 1, 0], "14": [3, 0, 0, 0], "23": [0, 4, 4, 0], "24": [0, 1, 0, 1]}
FOURS = {"1234": [50, 30, 20, 10], "1235": [40, 35, 30, 0, 5], "2345": [0, 44, 21, 20, 15]}


def test_focused_is_the_exact_fall_of_doubt_for_pairs() -> None:
    standing = standing_of_pairs(PAIRS, out={"23": 2})
    exact = exact_fall_of_doubt(standing)

    relative = focused(standing) ** (1 / SHARPNESS)

    assert relative == pytest.approx(exact / exact.max(), rel=1e-9)


def test_focused_is_nearly_the_exact_fall_of_doubt_for_sets_of_four() -> None:
    answers = {matchup: [*counts, *[0] * (5 - len(counts))] for matchup, counts in FOURS.items()}
    standing = standing_of_pairs(answers)
    exact = exact_fall_of_doubt(standing)

    relative = focused(standing) ** (1 / SHARPNESS)

    assert relative == pytest.approx(exact / exact.max(), rel=0.02)


def test_focused_asks_about_open_neighbours_rather_than_what_is_settled() -> None:
    # 1 and 2 are far better than 3 and 4; of 1 and 2 nobody knows the order, that of 3 and 4 is known.
    standing = standing_of_pairs(
        {"12": [5, 5, 0, 0], "13": [20, 0, 1, 0], "24": [0, 20, 0, 1], "34": [0, 0, 40, 5], "14": [20, 0, 0, 1]}
    )

    weights = by_matchup(standing, focused(standing))

    assert weights["12"] == 1
    assert max(weights[matchup] for matchup in ("13", "24", "34", "14")) < 0.01


def test_focused_counts_what_people_are_looking_at_as_answered() -> None:
    answers = {"12": [3, 3, 0, 0], "34": [0, 0, 3, 3]}
    even = by_matchup(*with_weights(standing_of_pairs(answers)))
    busy = by_matchup(*with_weights(standing_of_pairs(answers, out={"12": 20})))

    assert even["12"] == pytest.approx(even["34"])
    assert busy["12"] < 0.1 < busy["34"] == 1


def with_weights(standing: Standing) -> tuple[Standing, np.ndarray]:
    return standing, focused(standing)


def test_focused_begins_with_all_alike() -> None:
    standing = standing_of_pairs({"12": [0, 0, 0], "13": [0, 0, 0], "23": [0, 0, 0]})

    assert focused(standing) == pytest.approx(np.ones(3))


@pytest.mark.parametrize("matchup", ["??", "11"])
def test_focused_gives_no_weight_to_sets_that_compare_nothing_known(matchup: str) -> None:
    standing = standing_of_pairs({matchup: [0, 0], "12": [0, 0]})

    assert by_matchup(standing, focused(standing)) == {matchup: 0, "12": 1}


def test_coverage_asks_about_a_new_generator_first() -> None:
    standing = standing_of_pairs(
        {"12": [10, 10, 0, 0], "13": [0, 0, 0, 0], "23": [10, 0, 10, 0], "14": [0, 0, 0, 0], "24": [0, 0, 0, 0]}
    )

    weights = by_matchup(standing, coverage(standing))

    # Asked about: 1 in 20 sets, 2 in 40, 3 in 20, 4 in none.
    assert weights == {"12": 20, "13": 40, "14": 60, "23": 20, "24": 40}


def test_coverage_counts_what_people_are_looking_at() -> None:
    standing = standing_of_pairs({"12": [5, 5, 0, 0], "34": [0, 0, 0, 0]}, out={"34": 10})

    assert by_matchup(standing, coverage(standing)) == {"12": 0, "34": 0}


def test_uniform_gives_each_free_vote_the_same_chance() -> None:
    standing = standing_of_pairs({"12": [9, 0, 0], "13": [0, 0, 0]}, free={"12": 1, "13": 3})

    assert uniform(standing).tolist() == [1, 3]


def test_chances_keep_the_random_share_for_all() -> None:
    standing = standing_of_pairs({"12": [50, 0, 0, 0], "34": [0, 0, 2, 2]}, free={"12": 30, "34": 10})

    likely = by_matchup(standing, chances(standing, policy=focused, random_share=0.2))

    assert likely["12"] == pytest.approx(0.2 * 30 / 40, rel=1e-3)


def test_chances_are_those_of_uniform_where_the_policy_has_no_preference() -> None:
    standing = standing_of_pairs({"12": [5, 5], "21": [0, 0]}, free={"12": 1, "21": 3})

    assert chances(standing, policy=lambda _standing: np.zeros(2), random_share=0).tolist() == [0.25, 0.75]


@st.composite
def standings(draw: st.DrawFn) -> Standing:
    generators = draw(st.integers(0, 5))
    rows = draw(st.integers(1, 8))
    counts = st.lists(st.integers(0, 3), min_size=generators, max_size=generators)
    shown = np.array([draw(counts) for _ in range(rows)], dtype=float).reshape(rows, generators)
    votes = np.array([draw(st.integers(0, 10_000)) for _ in range(rows)], dtype=float)
    shares = np.array([draw(counts) for _ in range(rows)], dtype=float).reshape(rows, generators) * (shown > 0)
    numbers = st.lists(st.integers(0, 1000), min_size=rows, max_size=rows)
    return Standing(
        matchups=tuple(map(str, range(rows))),
        shown=shown,
        answers=shares * votes[:, None],
        out=np.array(draw(numbers), dtype=float),
        free=np.array(draw(numbers), dtype=float),
    )


@settings(max_examples=150, deadline=None)
@given(standing=standings(), policy=st.sampled_from(sorted(POLICIES)), random_share=st.floats(0, 1))
def test_chances_are_probabilities_of_just_what_has_work(standing: Standing, policy: str, random_share: float) -> None:
    likely = chances(standing, policy=POLICIES[policy], random_share=random_share)

    assert ((likely > 0) == (standing.free > 0)).all()
    assert likely.sum() == pytest.approx(1 if standing.free.any() else 0)
