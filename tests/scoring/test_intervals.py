"""Intervals against known answers, and how often they hold the truth where there is little to go by."""

import numpy as np
import pytest
from scipy import stats

from scoring.correlations import RatedSet, correlations
from scoring.intervals import correlation_interval, interval_about, percentile_interval, wilson_interval
from scoring.reward_hacking import Arms, kept


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (3, 5), (20, 20), (61, 100)])
def test_wilson_interval_is_scipys(hits, n):
    known = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")

    assert wilson_interval(hits / n, n) == pytest.approx((known.low, known.high))


@pytest.mark.parametrize(("clusters", "factor"), [(2, 9.17), (5, 1.58), (30, 1.06), (100, 1.02)])
def test_interval_about_is_wider_the_fewer_the_clusters(clusters, factor):
    resampled = np.linspace(0.4, 0.8, 1001)
    low, high = percentile_interval(resampled)

    wide_low, wide_high = interval_about(0.5, resampled, clusters)

    assert (0.5 - wide_low) / (0.5 - low) == pytest.approx(factor, abs=0.01)
    assert (wide_high - 0.5) / (high - 0.5) == pytest.approx(factor, abs=0.01)


def test_correlation_interval_is_fishers_for_many_pairs():
    rng = np.random.default_rng(0)
    pairs = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], size=2000)
    value = np.corrcoef(pairs.T)[0, 1]
    drawn = [np.corrcoef(pairs[rng.integers(2000, size=2000)].T)[0, 1] for _ in range(1000)]

    fishers = np.tanh(np.arctanh(value) + np.array([-1.96, 1.96]) / np.sqrt(2000 - 3))

    assert correlation_interval(value, np.array(drawn), 2000) == pytest.approx(fishers, abs=0.006)


@pytest.mark.parametrize("value", [-1.0, -0.3, 0.0, 0.999, 1.0])
def test_correlation_interval_stays_between_minus_one_and_one_and_holds_the_number(value):
    resampled = np.clip(value + np.linspace(-0.5, 0.5, 1001), -1, 1)

    low, high = correlation_interval(value, resampled, 4)

    assert -1 <= low <= value <= high <= 1


def share_of_worlds_told_apart(worlds, interval):
    told = [not interval(np.random.default_rng(world)) for world in range(worlds)]
    return np.mean(told)


def test_correlation_of_five_prompts_that_show_nothing_is_seldom_told_as_something():
    def holds_zero(rng):
        sets = [RatedSet(str(n), rng.normal(size=4).tolist(), rng.normal(size=4).tolist()) for n in range(5)]
        found = correlations(sets, seed=0).pearson
        return found.low <= 0 <= found.high

    assert share_of_worlds_told_apart(300, holds_zero) < 0.1


def test_a_part_kept_of_five_prompts_is_seldom_told_as_lost():
    def holds_one(rng):
        arms = Arms(rng.gamma(4, size=5).tolist(), rng.gamma(4, size=5).tolist())
        part = kept(arms)
        return part.low <= 1 <= part.high

    assert share_of_worlds_told_apart(300, holds_one) < 0.1
