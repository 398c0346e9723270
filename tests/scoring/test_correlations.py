import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from scoring import correlations, rankings
from scoring.correlations import RatedSet
from scoring.metrics import UnableToMeasure, chance_level, pairwise_accuracy, top_one_accuracy
from scoring.signatures import beside_chance
from tests.scoring.people import choice, sr_4way, sr_metric, votes


def values(found):
    return found.tau_b.value, found.spearman.value, found.pearson.value


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("tifa_mplug-large", (0.4717, 0.5922, 0.5967)), ("clipscore_vitb32", (0.2314, 0.3198, 0.3318))],
)
def test_correlations_with_real_ratings(shared_data, metric, expected):
    records = json.loads((shared_data / "tifa" / "human_annotations_with_scores.json").read_text()).values()
    scores, ratings = [record[metric] for record in records], [record["human_avg"] for record in records]

    found = correlations.correlations([RatedSet("tifa", scores, ratings)])

    assert tuple(round(value, 4) for value in values(found)) == expected
    assert [one.name for one in (found.tau_b, found.spearman, found.pearson)] == [
        "Kendall's tau-b",
        "Spearman's rho",
        "Pearson's r",
    ]
    assert found.tau_b.n == 800


@settings(max_examples=30, deadline=None)
@given(numbers=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=30))
def test_correlations_of_one_set_are_those_of_scipy(numbers):
    x, y = np.array(numbers, dtype=float).T
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert values(correlations.correlations([RatedSet("p", x, y)])) == (None, None, None)
        return
    expected = stats.kendalltau(x, y).statistic, stats.spearmanr(x, y).statistic, stats.pearsonr(x, y).statistic

    assert values(correlations.correlations([RatedSet("p", x, y)])) == pytest.approx(expected)


def plain_within(sets):
    """Pairs of one set only, one at a time."""
    agree = disagree = x_tied = y_tied = both = 0
    for one in sets:
        for i in range(len(one.scores)):
            for j in range(i):
                x, y = one.scores[i] - one.scores[j], one.ratings[i] - one.ratings[j]
                agree, disagree = agree + (x * y > 0), disagree + (x * y < 0)
                x_tied, y_tied, both = x_tied + (x == 0 != y), y_tied + (y == 0 != x), both + (x == 0 == y)
    told = agree + disagree
    return (agree - disagree) / np.sqrt((told + x_tied) * (told + y_tied))


def random_sets(seed, sets=12):
    rng = np.random.default_rng(seed)
    numbers = rng.integers(4, size=(sets, 2, 4)).tolist()
    return [RatedSet(f"p{n % 8}", scores, ratings) for n, (scores, ratings) in enumerate(numbers)]


@pytest.mark.parametrize("seed", range(5))
def test_tau_b_within_sets_equals_the_plain_one(seed):
    sets = random_sets(seed)

    assert correlations.correlations(sets).tau_b.value == pytest.approx(plain_within(sets))


def test_correlations_do_not_see_what_sets_have_in_common():
    sets = random_sets(1)
    shifted = [
        RatedSet(one.cluster, [score + 100 * n for score in one.scores], one.ratings) for n, one in enumerate(sets)
    ]

    assert values(correlations.correlations(shifted)) == pytest.approx(values(correlations.correlations(sets)))


def test_correlations_lie_in_their_intervals_which_are_resampled_by_prompt():
    found = correlations.correlations(random_sets(2, sets=40))

    for one in (found.tau_b, found.spearman, found.pearson):
        assert -1 <= one.low < one.value < one.high <= 1
    alone = correlations.correlations([RatedSet("p", [1, 2, 3], [1, 3, 2])]).tau_b
    assert (alone.low, alone.reason) == (None, "All are of one prompt: no interval.")


def test_correlations_refuse_numbers_that_do_not_fit():
    with pytest.raises(UnableToMeasure, match="sea: 2 scores for 1 ratings"):
        correlations.correlations([RatedSet("sea", [1, 2], [1])])
    with pytest.raises(UnableToMeasure, match=r"sea: .* not a finite number"):
        correlations.correlations([RatedSet("sea", [1, float("nan")], [1, 2])])
    assert correlations.correlations([]).pearson.value is None


def test_vote_shares_by_hand():
    choices = [*votes([0, 0, 1, "tie", "all_bad"], 2, prompt="a"), choice(1, prompt="unscored")]

    [shares] = correlations.vote_shares(choices, {"a-0": 5.0, "a-1": 3.0})

    assert (shares.cluster, shares.scores, list(shares.ratings)) == ("a", [5.0, 3.0], [2.5 / 4, 1.5 / 4])


def test_generator_agreement_of_the_right_the_reverse_and_a_constant_scorer():
    names = ["gull", "hawk", "kite"]
    choices = [
        choice(chosen, 3, prompt=f"{number}", generators=names) for number, chosen in enumerate([0] * 6 + [1] * 3 + [2])
    ]
    score = {image: float(-place) for one in choices for place, image in enumerate(one.images)}

    # The scorer only ever votes for one: the two others share the last place.
    right = correlations.generator_agreement(choices, score)
    wrong = correlations.generator_agreement(choices, {image: -value for image, value in score.items()})
    equal = correlations.generator_agreement(choices, dict.fromkeys(score, 1.0))

    assert (right.value, right.n) == (pytest.approx(2 / np.sqrt(6)), 3)
    assert wrong.value == pytest.approx(-2 / np.sqrt(6))
    assert (equal.value, equal.reason) == (None, "All scores or all ratings are equal.")
    assert (right.low, right.high) == (pytest.approx(0), 1.0)


def test_generator_agreement_of_one_generator_says_why_not():
    agreed = correlations.generator_agreement([choice(0, generators=("a", "a"))], {"p-0": 1.0, "p-1": 0.0})

    assert agreed.value is None
    assert "at least two" in agreed.reason


def ranked_world(rng, prompts, *, gap):
    """Three votes on each set of three birds, each `gap` above the next; the scorer swaps the last two."""
    names, worths = ["gull", "hawk", "kite"], np.array([gap, 0.0, -gap])
    shares = np.exp(worths) / np.exp(worths).sum()
    choices = [
        choice(int(rng.choice(3, p=shares)), 3, prompt=f"{number}", generators=names)
        for number in range(prompts)
        for _ in range(3)
    ]
    seen = worths[[0, 2, 1]] + rng.gumbel(size=(prompts, 3))
    return choices, {f"{number}-{place}": row[place] for number, row in enumerate(seen) for place in range(3)}


def places_by(choices):
    ranking = rankings.rank_votes(*rankings.tabulate(choices), resamples=0)
    return [place.log_worth for place in sorted(ranking.places, key=lambda place: place.generator)]


def test_generator_agreement_has_the_interval_of_new_rankings_by_prompt():
    rng = np.random.default_rng(7)
    choices, score = ranked_world(rng, 60, gap=0.5)
    said = [
        choice(int(np.argmax([score[image] for image in one.images])), 3, prompt=one.prompt, generators=one.generators)
        for one in choices
    ]
    drawn = []
    for _ in range(300):
        rows = [3 * place + vote for place in rng.integers(60, size=60) for vote in range(3)]
        people, scorer = (places_by([votes[row] for row in rows]) for votes in (choices, said))
        drawn.append(stats.kendalltau(people, scorer).statistic)
    low, high = np.quantile(drawn, [0.025, 0.975])

    found = correlations.generator_agreement(choices, score)

    reach = max(found.value - low, high - found.value)
    assert found.value == pytest.approx(stats.kendalltau(places_by(choices), places_by(said)).statistic)
    # Of three generators there are four values: the two ways to draw must reach the same ones.
    assert (found.low, found.high) == pytest.approx((max(-1, found.value - reach), min(1, found.value + reach)))


def test_generator_agreement_holds_the_truth_in_its_interval():
    rng = np.random.default_rng(8)

    found = [correlations.generator_agreement(*ranked_world(rng, 50, gap=0.6)) for _ in range(30)]

    # One pair of three the other way round.
    told = [one for one in found if one.low is not None]
    assert np.mean([one.low - 1e-9 <= 1 / 3 <= one.high + 1e-9 for one in told]) >= 0.9
    assert all(one.value == pytest.approx(1 / 3) for one in found if one.low is None)
    assert any(one.low > -0.5 for one in told)


def test_generator_agreement_of_one_prompt_has_no_interval():
    agreed = correlations.generator_agreement([choice(0, generators=("a", "b"))] * 3, {"p-0": 1.0, "p-1": 0.0})

    assert (agreed.value, agreed.low, agreed.reason) == (1.0, None, "All are of one prompt: no interval.")


@pytest.mark.parametrize(("name", "agrees"), [("LPIPS", True), ("PSNR", False)])
def test_a_metric_that_disagrees_with_people_is_shown_as_such(shared_data, name, agrees):
    choices = sr_4way(shared_data, "train", "test")
    metric, sign = sr_metric(shared_data, name), -1 if name == "LPIPS" else 1
    score = {
        image: sign * metric[made_by, one.prompt[-4:]]
        for one in choices
        for image, made_by in zip(one.images, one.generators, strict=True)
    }

    numbers = [[score[image] for image in one.images] for one in choices]
    pairwise, top_one = pairwise_accuracy(choices, numbers), top_one_accuracy(choices, numbers)
    tau = correlations.correlations(correlations.vote_shares(choices, score)).tau_b

    if agrees:
        assert pairwise.low > 0.5
        assert tau.low > 0
    else:
        assert pairwise.value < 0.5
        assert tau.high < 0
    assert beside_chance(top_one, chance_level(choices)) == ("above" if agrees else "below")
