"""How many votes it takes: known answers, properties, and a slow plain search beside the quick one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from scoring.power import (
    FEWEST_PROMPTS,
    UnableToPlan,
    design_effect,
    interval_width,
    plan_pairs,
    power_of,
    smallest_share,
    votes_for_width,
    votes_to_tell_apart,
)


@pytest.mark.parametrize(("chosen", "votes"), [(5, 10), (37, 100), (0, 20), (450, 900)])
def test_interval_width_is_that_of_wilsons_interval(chosen, votes):
    interval = stats.binomtest(chosen, votes).proportion_ci(0.95, method="wilson")

    assert interval_width(votes, chosen / votes) == pytest.approx(interval.high - interval.low, abs=1e-12)


def test_votes_for_width_known_answers():
    # At one half the width is z / sqrt(n + z^2): n = z^2 (1 / width^2 - 1).
    assert votes_for_width(0.1) == 381
    assert votes_for_width(0.2) == 93
    assert votes_for_width(0.1, design_effect=2.0) == 762


@given(width=st.floats(0.05, 0.9), share=st.floats(0, 1))
def test_votes_for_width_agrees_with_a_slow_search(width, share):
    slow = next(votes for votes in range(1, 10_000) if interval_width(votes, share) <= width)

    assert votes_for_width(width, share=share) == slow


@given(votes=st.integers(1, 100_000), share=st.floats(0, 1))
def test_interval_width_shrinks_with_every_vote_and_is_symmetric(votes, share):
    assert interval_width(votes + 1, share) < interval_width(votes, share) <= 1
    assert interval_width(votes, share) == pytest.approx(interval_width(votes, 1 - share))


def test_votes_to_tell_apart_known_answers():
    assert votes_to_tell_apart(0.6) == 194
    assert votes_to_tell_apart(0.4) == 194
    assert votes_to_tell_apart(0.55) == 783
    assert votes_to_tell_apart(0.6, design_effect=1.5) == 291
    assert votes_to_tell_apart(1.0) == 4


@pytest.mark.parametrize("share", [0.55, 0.6, 0.7])
def test_votes_to_tell_apart_gives_the_wanted_power_by_the_exact_binomial(share):
    votes = votes_to_tell_apart(share)
    lowest = int(stats.binom.ppf(0.975, votes, 0.5)) + 1

    assert stats.binom.sf(lowest - 1, votes, share) == pytest.approx(0.8, abs=0.05)


def test_design_effect_is_the_square_of_the_ratio_of_widths():
    independent = interval_width(400, 0.6)

    assert design_effect(2 * independent, votes=400, share=0.6) == pytest.approx(4)
    assert design_effect(0.5 * independent, votes=400, share=0.6) == 1


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (lambda: votes_for_width(0), "width lies between"),
        (lambda: votes_for_width(1), "width lies between"),
        (lambda: votes_for_width(0.1, share=1.1), "share lies between"),
        (lambda: votes_for_width(0.1, design_effect=0.5), "1 or more"),
        (lambda: interval_width(0, 0.5), "at least one vote"),
        (lambda: votes_to_tell_apart(0.5), "share is one half"),
        (lambda: votes_to_tell_apart(0.6, power=1), "lie between 0 and 1"),
    ],
)
def test_what_no_number_of_votes_does_is_refused(plan, words):
    with pytest.raises(UnableToPlan, match=words):
        plan()


@given(share=st.floats(0.51, 0.99), effect=st.floats(1, 9))
def test_power_of_the_votes_that_were_asked_for_is_the_power_asked_for(share, effect):
    votes = votes_to_tell_apart(share, design_effect=effect)

    assert power_of(share, votes=votes, design_effect=effect) >= 0.8 - 1e-9


def test_power_of_known_answers():
    assert power_of(0.6, votes=194) == pytest.approx(0.8, abs=0.002)
    assert power_of(0.5, votes=1000) == pytest.approx(0.025, abs=0.001)
    assert (power_of(1.0, votes=100), power_of(1.0, votes=1)) == (1, 0)


def test_plan_pairs_asks_about_many_prompts_rather_than_often():
    plan = plan_pairs(0.6, available=1000)

    # 194 independent votes, five on a pair count for 5 / 1.8 of them: 350 votes.
    assert (plan.prompts, plan.votes_per_pair, plan.votes) == (70, 5, 350)
    assert plan.power == pytest.approx(0.8, abs=0.01)


def test_plan_pairs_takes_more_votes_where_prompts_are_few_and_says_what_it_is_worth():
    tight = plan_pairs(0.6, available=57)
    hopeless = plan_pairs(0.55, available=40)

    assert (tight.prompts, tight.votes_per_pair) == (57, 9)
    assert tight.power >= 0.8
    assert (hopeless.prompts, hopeless.votes_per_pair) == (40, 21)
    assert hopeless.power < 0.8


def test_plan_pairs_takes_numbers_as_they_are_given():
    plan = plan_pairs(0.6, available=500, prompts=100, votes_per_pair=20)

    assert (plan.prompts, plan.votes_per_pair) == (100, 20)
    assert plan_pairs(0.6, available=50, prompts=100).prompts == 50
    assert plan_pairs(0.9, available=500).prompts == FEWEST_PROMPTS


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"available": 0}, "a prompt and a vote"),
        ({"available": 9, "likeness": 1.1}, "between 0 and 1, not at 1.1"),
        ({"available": 9, "prompts": -1}, "a prompt and a vote"),
    ],
)
def test_plan_pairs_refuses(fields, words):
    with pytest.raises(UnableToPlan, match=words):
        plan_pairs(0.6, **fields)


def test_plan_pairs_finds_the_share_as_often_as_it_says_in_a_simulated_study():
    plan = plan_pairs(0.6, available=1000, likeness=0.2)
    random = np.random.default_rng(0)
    precision = 1 / 0.2 - 1  # of the beta distribution whose votes have this intraclass correlation
    shares = random.beta(0.6 * precision, 0.4 * precision, size=(4000, plan.prompts))
    won = random.binomial(plan.votes_per_pair, shares) / plan.votes_per_pair
    z = (won.mean(axis=1) - 0.5) / (won.std(axis=1, ddof=1) / np.sqrt(plan.prompts))

    assert (z > 1.96).mean() == pytest.approx(plan.power, abs=0.05)


def test_smallest_share_is_the_one_whose_votes_were_asked_for():
    assert smallest_share(194) == pytest.approx(0.6, abs=0.001)
    assert smallest_share(783, design_effect=1.0) == pytest.approx(0.55, abs=0.001)
    assert smallest_share(388, design_effect=2.0) == pytest.approx(0.6, abs=0.001)
    assert smallest_share(2) is None
