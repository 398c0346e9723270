"""How many votes it takes: known answers, properties, and a slow plain search beside the quick one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from scoring.power import UnableToPlan, design_effect, interval_width, votes_for_width, votes_to_tell_apart


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
