import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from scoring import metrics
from scoring.metrics import Estimate, UnableToMeasure
from tests.scoring.people import choice, random_votes, sr_4way, sr_metric, sr_pairs, votes


def estimate(value=None, low=None, high=None):
    return Estimate("share", value, low, high, 10)


def test_top_one_accuracy_by_hand():
    choices = [choice(0, 3, prompt="a"), choice(2, 3, prompt="b"), choice(1, 2, prompt="c"), choice("tie", 2)]
    # right, one of two that share the highest, wrong; the tie is left out
    scores = [[3.0, 2, 1], [1, 5, 5], [2, 1], [1, 2]]

    top_one = metrics.top_one_accuracy(choices, scores)

    assert (top_one.name, top_one.value, top_one.n, top_one.unit) == ("top-1 of n", 0.5, 3, "choices")
    assert 0 <= top_one.low < 0.5 < top_one.high <= 1


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 10))
def test_top_one_accuracy_equals_the_plain_one_and_sees_order_alone(seed, scale):
    rng = np.random.default_rng(seed)
    choices = [choice(int(rng.integers(n)), int(n), prompt=f"p{i}") for i, n in enumerate(rng.integers(2, 10, 20))]
    scores = [[float(value) for value in rng.integers(0, 4, len(one.images))] for one in choices]
    plain = [
        (numbers[one.chosen] == max(numbers)) / numbers.count(max(numbers))
        for one, numbers in zip(choices, scores, strict=True)
    ]

    top_one = metrics.top_one_accuracy(choices, scores)
    rescaled = metrics.top_one_accuracy(choices, [[scale * value - 100 for value in numbers] for numbers in scores])

    assert top_one.value == pytest.approx(np.mean(plain))
    assert rescaled == top_one


def test_top_one_accuracy_of_equal_scores_is_chance():
    choices = random_votes(1, tasks=5, people=3, n=4)

    assert metrics.top_one_accuracy(choices, [[1.0] * 4] * 15).value == metrics.chance_level(choices).value == 0.25


def test_top_one_accuracy_is_undefined_without_choices():
    expected = Estimate("top-1 of n", None, None, None, 0, "choices", "There is nothing to measure yet.")

    assert metrics.top_one_accuracy([], []) == expected
    assert metrics.top_one_accuracy([choice("tie")], [[1.0, 2]]) == expected


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ([], "given for 0 choices, there are 1"),
        ([[1.0]], "Choice 0 has 2 images and 1 scores"),
        ([[1.0, float("nan")]], "not a finite number"),
        ([[1.0, float("inf")]], "not a finite number"),
    ],
)
def test_top_one_accuracy_says_what_is_wrong_with_the_scores(scores, reason):
    with pytest.raises(UnableToMeasure, match=reason):
        metrics.top_one_accuracy([choice(0)], scores)


def test_top_one_difference_by_hand():
    choices = [choice(0, prompt=prompt) for prompt in "abcd"]
    right, wrong = [2.0, 1], [1.0, 2]

    difference = metrics.top_one_difference(choices, [right, right, right, wrong], [right, wrong, right, right])

    assert difference.value == 0
    assert difference.low < 0 < difference.high


def test_top_one_difference_to_itself_is_nothing():
    choices = random_votes(1, tasks=5, people=3, n=4)
    scores = [[4.0, 3, 2, 1]] * 15

    difference = metrics.top_one_difference(choices, scores, scores)

    assert (difference.value, difference.low, difference.high) == (0, 0, 0)


def test_top_one_difference_is_narrower_than_the_accuracies():
    choices = random_votes(1, tasks=100, people=1, n=2)
    rng = np.random.default_rng(0)
    scores = [[float(value) for value in rng.random(2)] for _ in choices]
    nearly = [numbers if row % 20 else numbers[::-1] for row, numbers in enumerate(scores)]

    difference = metrics.top_one_difference(choices, scores, nearly)
    alone = metrics.top_one_accuracy(choices, scores)

    assert difference.high - difference.low < 0.6 * (alone.high - alone.low)


def test_pairwise_accuracy_by_hand():
    # against 2, 3, 9: won, equal, lost; then a tie of three images: three pairs of half each
    choices = [choice(0, 4, prompt="a"), choice("tie", 3, prompt="b"), choice("all_bad", 2, prompt="c")]
    scores = [[3.0, 2, 3, 9], [1, 2, 3], [1, 2]]

    half = metrics.pairwise_accuracy(choices, scores)
    dropped = metrics.pairwise_accuracy(choices, scores, ties="dropped")

    assert (half.name, half.value, half.n, half.unit) == ("pairwise, ties as half", 0.5, 6, "pairs")
    assert (dropped.name, dropped.value, dropped.n) == ("pairwise, ties dropped", 0.5, 3)
    assert metrics.pairwise_accuracy(choices, [[9.0, 2, 3, 3], *scores[1:]]).value == pytest.approx(4.5 / 6)
    assert metrics.pairwise_accuracy(choices, [[9.0, 2, 3, 3], *scores[1:]], ties="dropped").value == 1


def test_pairwise_accuracy_turns_round_with_the_scores():
    choices = random_votes(2, tasks=10, people=4, n=3) + votes(["tie", 0, 1], 3, prompt="ties")
    rng = np.random.default_rng(0)
    scores = [[float(value) for value in rng.integers(0, 3, 3)] for _ in choices]

    accuracy = metrics.pairwise_accuracy(choices, scores).value
    turned = metrics.pairwise_accuracy(choices, [[-value for value in numbers] for numbers in scores]).value

    assert accuracy + turned == pytest.approx(1)


def test_chance_level_by_hand():
    choices = [choice(0, 2), choice(1, 4), choice(3, 4), choice("tie", 9)]

    assert metrics.chance_level(choices) == Estimate("chance", pytest.approx(1 / 3), None, None, 3, "choices", "Exact.")
    assert metrics.chance_level([]).value is None


def test_clustered_mean_widens_with_what_votes_of_a_prompt_share():
    values = np.tile([0.0, 1.0], 50)
    apart = metrics.clustered_mean(values, [f"p{row}" for row in range(100)], name="share")
    together = metrics.clustered_mean(np.sort(values), [f"p{row // 10}" for row in range(100)], name="share")

    assert apart.value == together.value == 0.5
    assert together.high - together.low > 2.5 * (apart.high - apart.low)


def test_clustered_mean_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(80):
        shares = rng.beta(3, 3, size=60)
        values = (rng.random((60, 5)) < shares[:, None]).astype(float).ravel()
        interval = metrics.clustered_mean(values, np.repeat([f"p{p}" for p in range(60)], 5), name="share", seed=seed)
        covered += interval.low <= 0.5 <= interval.high

    assert 70 <= covered <= 79


@pytest.mark.parametrize("prompts", [2, 3, 5, 10])
def test_few_prompts_that_show_nothing_seldom_seem_to_show_something(prompts):
    rng = np.random.default_rng(0)
    verdicts = []
    for seed in range(200):
        votes = rng.binomial(5, rng.beta(2, 2, prompts)).astype(float)  # people agree somewhat within each prompt
        clusters = [str(prompt) for prompt in range(prompts)]
        weights = np.full(prompts, 5)
        verdicts.append(metrics.verdict(metrics.clustered_mean(votes, clusters, name="x", weights=weights, seed=seed)))

    assert np.mean([verdict != "no difference shown" for verdict in verdicts]) <= 0.09
    assert metrics.verdict(metrics.clustered_mean(np.ones(12), [str(n) for n in range(12)], name="x")) == "preferred"


def test_an_interval_stays_where_its_number_can_lie():
    apart = np.array([0.0, 1.0, 1.0])

    share = metrics.clustered_mean(apart, ["a", "b", "c"], name="share")
    difference = metrics.clustered_mean(apart, ["a", "b", "c"], name="difference", within=metrics.DIFFERENCE_OF_SHARES)
    anything = metrics.clustered_mean(apart, ["a", "b", "c"], name="anything", within=metrics.ANYWHERE)

    assert (share.low, share.high) == (0.0, 1.0)
    assert (difference.low, difference.high) == (-1.0, 1.0)
    assert anything.low < -1
    assert anything.high > 1


def test_prompts_that_all_say_the_same_have_wilsons_interval_whatever_they_say():
    alike = metrics.clustered_mean(np.full(4, 3.0), list("abcd"), name="x", weights=np.full(4, 5))

    known = stats.binomtest(12, 20).proportion_ci(method="wilson")
    of_twenty = metrics.clustered_mean(np.full(20, 0.6), [str(n) for n in range(20)], name="x")
    assert (alike.value, alike.low < 0.5 < alike.high) == (0.6, True)
    assert (of_twenty.low, of_twenty.high) == pytest.approx((known.low, known.high))


def test_clustered_mean_is_near_the_normal_interval():
    values = np.random.default_rng(0).random(400)
    error = values.std() / 20

    share = metrics.clustered_mean(values, [str(row) for row in range(400)], name="share")

    assert (share.low, share.high) == pytest.approx(
        (values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.1 * error
    )


def test_clustered_mean_has_the_same_interval_each_time_and_in_every_order():
    values, prompts = np.arange(40.0), [f"p{row % 7}" for row in range(40)]
    order = np.random.default_rng(0).permutation(40)

    first = metrics.clustered_mean(values, prompts, name="share", seed=4)

    assert metrics.clustered_mean(values[order], [prompts[row] for row in order], name="share", seed=4) == first
    assert metrics.clustered_mean(values, prompts, name="share", seed=5) != first


def test_clustered_mean_is_the_same_in_small_portions(monkeypatch):
    values, prompts = np.arange(40.0), [f"p{row % 7}" for row in range(40)]
    whole = metrics.clustered_mean(values, prompts, name="share")

    monkeypatch.setattr(metrics, "_CELLS", 70)

    assert metrics.clustered_mean(values, prompts, name="share") == whole


def test_clustered_mean_of_one_prompt_has_no_interval():
    assert metrics.clustered_mean(np.ones(3), ["p"] * 3, name="share") == Estimate(
        "share", 1, None, None, 3, "choices", "All are of one prompt: no interval."
    )


def test_clustered_mean_of_few_unanimous_prompts_proves_nothing():
    three = metrics.clustered_mean(np.ones(30), [f"p{row % 3}" for row in range(30)], name="share")
    many = metrics.clustered_mean(np.zeros(30), [f"p{row}" for row in range(30)], name="share")

    assert (three.low, three.high) == pytest.approx((0.438, 1), abs=1e-3)  # Wilson's interval of 3 in 3
    assert [metrics.verdict(three), metrics.verdict(many)] == ["no difference shown", "not preferred"]


def test_vote_share_and_prompts_won_by_hand():
    pair = ("new", "old")
    answers = {"a": [0, 0, 1], "b": [1, "tie", "all_bad"], "c": [0, 1], "d": [0]}
    choices = [
        choice(answer, prompt=prompt, generators=pair) for prompt, given in answers.items() for answer in given
    ] + [choice(0, prompt="e", generators=("old", "older"))]

    share = metrics.vote_share(choices, "new")
    won = metrics.prompts_won(choices, "new")

    assert (share.name, share.value, share.n) == ("share of votes", pytest.approx(4.5 / 8), 8)
    # a won, b lost, c even, d won
    assert (won.name, won.value, won.n, won.unit) == ("share of prompts won", pytest.approx(2.5 / 4), 4, "prompts")


def test_vote_share_of_the_two_sides_sums_to_one():
    choices = [
        choice(answer, prompt=f"p{number}", generators=("new", "old") if number % 2 else ("old", "new"))
        for number, answer in enumerate([0, 1, "tie", 1, 1, 0, 0, "tie", 1])
    ]

    new, old = (metrics.vote_share(choices, name) for name in ("new", "old"))

    assert new.value + old.value == pytest.approx(1)
    assert new.low == pytest.approx(1 - old.high)


def test_vote_share_is_undefined_where_nothing_was_shown():
    assert metrics.vote_share([choice(0, generators=("a", "b"))], "new").value is None


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.51, 0.7, "preferred"),
        (0.5, 0.7, "no difference shown"),
        (0.3, 0.7, "no difference shown"),
        (0.3, 0.49, "not preferred"),
        (None, None, "no difference shown"),
    ],
)
def test_verdict(low, high, expected):
    assert metrics.verdict(estimate(0.5, low, high)) == expected


def test_verdict_on_a_difference_is_against_zero():
    assert metrics.verdict(estimate(0.1, 0.05, 0.15), against=0) == "preferred"


def test_tau_b_by_hand():
    # Of six pairs three agree, two disagree, and one is tied in the ratings: (3 - 2) / sqrt(6 * 5).
    tau = metrics.tau_b([1, 2, 3, 4], [1, 3, 3, 2.5])

    assert (tau.name, tau.n) == ("tau-b", 4)
    assert tau.value == pytest.approx(1 / np.sqrt(30))


def test_tau_b_is_undefined_for_equal_scores():
    assert metrics.tau_b([1, 1], [1, 2]) == Estimate(
        "tau-b", None, None, None, 2, "things", "All scores or all ratings are equal."
    )
    assert metrics.tau_b([], []).value is None
    with pytest.raises(UnableToMeasure, match="2 scores for 1 ratings"):
        metrics.tau_b([1, 2], [1])


def test_estimate_is_a_record_for_json():
    assert json.loads(json.dumps(estimate(0.5, 0.4, 0.6).to_record())) == {
        "name": "share", "value": 0.5, "low": 0.4, "high": 0.6, "n": 10, "unit": "choices", "reason": ""
    }  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "expected"), [("tifa_mplug-large", 0.4717), ("clipscore_vitb32", 0.2314), ("tifa_vilt", 0.3824)]
)
def test_tau_b_on_real_ratings(shared_data, metric, expected):
    records = json.loads((shared_data / "tifa" / "human_annotations_with_scores.json").read_text()).values()

    tau = metrics.tau_b([record[metric] for record in records], [record["human_avg"] for record in records])

    assert (round(tau.value, 4), tau.n) == (expected, 800)


def test_top_one_accuracy_on_a_real_study(shared_data):
    choices = sr_4way(shared_data, "test")
    always_resshift = [[float(name == "ResShift") for name in one.generators] for one in choices]

    top_one = metrics.top_one_accuracy(choices, always_resshift)

    assert (round(top_one.value, 3), top_one.n) == (0.344, 540)
    assert metrics.chance_level(choices).value == 0.25


@pytest.mark.parametrize(
    ("name", "first", "second"),
    # CLIPIQA has 15 equal scores among the 900 pairs of the second experiment; counted as lost they would give .509.
    [("LPIPS", 0.607, 0.578), ("CLIPIQA", 0.550, 0.517), ("SSIM", 0.496, 0.466), ("PSNR", 0.476, 0.424)],
)
def test_pairwise_accuracy_on_a_real_study(shared_data, name, first, second):
    metric = sr_metric(shared_data, name)
    sign = -1 if name == "LPIPS" else 1
    measured = []
    for choices in (sr_4way(shared_data, "train", "test"), sr_pairs(shared_data)):
        scores = [[sign * metric[made_by, one.prompt[-4:]] for made_by in one.generators] for one in choices]
        measured.append(round(metrics.pairwise_accuracy(choices, scores).value, 3))

    assert measured == [first, second]


def test_interval_is_the_same_whether_the_draws_were_kept_or_not(monkeypatch):
    values, clusters = np.random.default_rng(0).random(300), [f"p{number % 60}" for number in range(300)]
    kept = [metrics.clustered_mean(values, clusters, name="mean") for _ in range(2)]

    monkeypatch.setattr(metrics, "_KEPT_CELLS", 0)

    assert kept == [metrics.clustered_mean(values, clusters, name="mean")] * 2
