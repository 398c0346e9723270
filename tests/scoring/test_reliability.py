import itertools
from collections import Counter, defaultdict

import krippendorff
import numpy as np
import pandas as pd
import pytest
from crowdkit.aggregation import OneCoinDawidSkene
from crowdkit.metrics.data import alpha_krippendorff
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from scoring import agreement, reliability
from scoring.preferences import Choice
from scoring.reliability import ALL_BAD, TIE
from tests.scoring.people import choice, votes


def crowd(seed: int, *, people=8, tasks=40, n=3, missing=0.3, skill=(0.4, 0.95)) -> list[Choice]:
    """People of differing skill in finding image 0 of each task; some say a tie now and then."""
    rng = np.random.default_rng(seed)
    skills = rng.uniform(*skill, people)
    said = []
    for task, person in itertools.product(range(tasks), range(people)):
        if rng.random() < missing:
            continue
        answer = 0 if rng.random() < skills[person] else int(rng.integers(1, n))
        said.append(choice("tie" if rng.random() < 0.1 else answer, n, prompt=f"p{task}", annotator=f"a{person}"))
    return said


def labels(choices: list[Choice]) -> pd.DataFrame:
    """The same answers as a crowd-kit table."""
    answers = reliability.answers_of(choices)
    return pd.DataFrame({"task": answers.task, "worker": answers.person, "label": answers.answer})


def test_share_has_wilsons_interval():
    for hits, n in [(0, 5), (3, 8), (8, 8), (500, 1000)]:
        interval = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")

        of_share = reliability.share("gold", hits, n, "tasks")

        assert (of_share.value, of_share.n, of_share.unit) == (hits / n, n, "tasks")
        assert (of_share.low, of_share.high) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_share_of_nothing_says_so():
    assert reliability.share("gold", 0, 0).reason == "There is nothing to measure yet."


def test_reliability_of_a_new_person_is_unknown():
    estimate = reliability.reliability(0, 0)

    assert (estimate.value, estimate.low, estimate.high, estimate.n) == (
        0.5,
        pytest.approx(0.025),
        pytest.approx(0.975),
        0,
    )


def test_reliability_by_hand():
    # Nine of ten gold right and nothing else: Beta(10, 2).
    estimate = reliability.reliability(9, 10)

    assert estimate.value == pytest.approx(10 / 12)
    assert (estimate.low, estimate.high) == pytest.approx(stats.beta(10, 2).interval(0.95))
    assert reliability.reliability(9, 10, 3.0, 3.0).value == pytest.approx(13 / 15)


@settings(max_examples=50, deadline=None)
@given(right=st.integers(0, 30), wrong=st.integers(0, 30))
def test_reliability_lies_in_its_interval_and_rises_with_each_right_answer(right, wrong):
    before, after = reliability.reliability(right, right + wrong), reliability.reliability(right + 1, right + wrong + 1)

    assert 0 <= before.low < before.value < before.high <= 1
    assert after.value > before.value


def test_reliability_interval_holds_what_it_promises():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 1, 2000)
    estimates = [reliability.reliability(int(rng.binomial(20, p)), 20) for p in truth]

    held = [estimate.low <= p <= estimate.high for estimate, p in zip(estimates, truth, strict=True)]

    assert np.mean(held) == pytest.approx(0.95, abs=0.015)


def test_doubt_falls_with_right_answers_and_rises_with_wrong_ones():
    assert reliability.doubt(0, 0, required=0.8) == pytest.approx(0.8)
    assert reliability.doubt(10, 10, required=0.8) == pytest.approx(0.8**11)
    assert reliability.doubt(5, 10, required=0.8) > 0.95


def test_answers_of_names_the_place_in_the_order_of_the_keys():
    said = [
        choice(0, images=("y", "x"), annotator="ada"),
        choice("tie", images=("x", "y"), annotator="ben"),
        choice("all_bad", 3, prompt="q", annotator="ada"),
    ]

    answers = reliability.answers_of(said)

    assert (answers.people, answers.person.tolist()) == (["ada", "ben"], [0, 1, 0])
    assert (answers.task.tolist(), answers.answer.tolist()) == ([0, 0, 1], [1, TIE, ALL_BAD])
    assert answers.images.tolist() == [2, 3]


def test_one_coin_finds_the_skills_that_made_the_answers():
    said = crowd(1, people=6, tasks=600, missing=0, skill=(0.5, 0.9))
    shares = Counter(one.annotator for one in said if one.chosen == 0)

    answers = reliability.answers_of(said)
    skills = dict(zip(answers.people, reliability.one_coin(answers).skills, strict=True))

    assert skills == pytest.approx({person: hits / 600 for person, hits in shares.items()}, abs=0.04)


# crowd-kit asks pandas for what a later pandas will no longer have.
@pytest.mark.filterwarnings("ignore:The (inplace|copy) keyword")
@pytest.mark.parametrize("seed", [0, 1])
def test_one_coin_equals_crowd_kits(seed):
    said = crowd(seed, skill=(0.6, 0.95))
    oracle = OneCoinDawidSkene(n_iter=40, tol=0).fit(labels(said).astype({"label": str}))

    ours = reliability.one_coin(reliability.answers_of(said))

    assert ours.skills == pytest.approx(oracle.skills_.sort_index().to_numpy(), abs=1e-6)
    columns = sorted(oracle.probas_.columns, key=int)
    assert ours.posteriors == pytest.approx(oracle.probas_.sort_index()[columns].to_numpy(), abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_krippendorff_alpha_equals_crowd_kits_and_krippendorffs(seed):
    said = crowd(seed)
    table = labels(said)
    matrix = table.pivot_table(index="worker", columns="task", values="label").to_numpy()

    alpha = agreement.krippendorff_alpha(agreement.answer_counts(said)).value

    assert alpha == pytest.approx(alpha_krippendorff(table.astype({"label": str})), abs=1e-6)
    assert alpha == pytest.approx(krippendorff.alpha(matrix, level_of_measurement="nominal"), abs=1e-6)


def test_one_coin_of_one_answer_only_trusts_everybody():
    assert reliability.one_coin(reliability.answers_of(votes([0, 0]))).skills.tolist() == [1, 1]


def test_crowd_fit_by_hand():
    said = (
        votes([0, 0, 0, 0, 1], prompt="a")  # a0 to a3 see 3:1 (75 %, not decided); a4 sees 4:0 and differs
        + votes([1, 1, 1, 1, 1], prompt="b")  # all see 4:0 and agree
        + votes([0, 0, 0, "tie", 0], prompt="c")  # a3 names no image, the others see 3:0
        + votes([0, 0, 0], prompt="d")  # two others are too few
    )

    fit = reliability.crowd_fit(reliability.answers_of(said))

    assert fit.hits.tolist() == [2, 2, 2, 1, 2]
    assert fit.tasks.tolist() == [2, 2, 2, 1, 3]
    assert fit.chance.tolist() == [1, 1, 1, 0.5, 1.5]
    assert (fit.weighted_hits.tolist(), fit.weights.tolist()) == ([2, 2, 2, 1, 2], [2, 2, 2, 1, 3])


def plain_fit(said: list[Choice]) -> dict[str, tuple[int, int]]:
    hits, tasks = Counter(), Counter()
    for one in said:
        others = [c.answer for c in said if c.task == one.task and c is not one and c.is_decided]
        if not one.is_decided or len(others) < 3:
            continue
        favourite, top = Counter(others).most_common(1)[0]
        if top / len(others) >= 0.8:
            tasks[one.annotator] += 1
            hits[one.annotator] += one.answer == favourite
    return {person: (hits[person], tasks[person]) for person in tasks}


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), people=st.integers(3, 9), n=st.integers(2, 5))
def test_crowd_fit_equals_the_plain_one_and_keeps_to_its_bounds(seed, people, n):
    said = crowd(seed, people=people, tasks=12, n=n, missing=0.1, skill=(0.7, 0.95))

    answers = reliability.answers_of(said)
    fit = reliability.crowd_fit(answers)

    rows = zip(answers.people, fit.hits.tolist(), fit.tasks.tolist(), strict=True)
    assert {person: (hits, tasks) for person, hits, tasks in rows if tasks} == plain_fit(said)
    assert (fit.weighted_hits <= fit.weights).all()
    assert (fit.weights <= fit.tasks).all()


def test_places_of_pairs_have_the_exact_test():
    said = [choice(0, prompt=f"p{number}") for number in range(15)] + [choice(1), choice("tie")]

    seen = reliability.places(said)

    assert (seen.chosen, seen.choices, seen.favourite, seen.even_share) == ((15, 1), 16, 0, 0.5)
    assert seen.p_value == pytest.approx(2 * 17 / 2**16)
    assert seen.share(0) == reliability.share("share of place 1", 15, 16)


def test_places_of_four_have_the_chi_square_test_of_the_commonest_size():
    said = [choice(place, 4, prompt=f"p{number}") for number, place in enumerate([0] * 10 + [1, 2, 3] * 2)]
    said += [choice(1, 2, prompt=f"q{number}") for number in range(5)]

    seen = reliability.places(said)

    assert seen.chosen == (10, 2, 2, 2)
    assert seen.p_value == pytest.approx(stats.chi2.sf((36 + 4 * 3) / 4, 3))
    assert reliability.places([choice("tie")]) is None


def test_preference_p_value_of_two_generators_is_the_sign_test_of_large_samples():
    said = [choice(int(number >= 40), prompt=f"p{number}", generators=("new", "old")) for number in range(60)]

    # Forty of sixty: (40 - 30)^2 / 15.
    assert reliability.preference_p_value(said) == pytest.approx(stats.chi2.sf(100 / 15, 1))


def test_preference_p_value_is_even_for_those_who_guess():
    rng = np.random.default_rng(0)
    names = np.array(["a", "b", "c", "d"])
    found = []
    for _ in range(400):
        shown = [tuple(rng.choice(names, 3, replace=False)) for _ in range(60)]
        said = [choice(int(rng.integers(3)), 3, prompt=f"p{at}", generators=of) for at, of in enumerate(shown)]
        found.append(reliability.preference_p_value(said))

    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_preference_p_value_needs_two_generators():
    assert reliability.preference_p_value([choice(0)]) is None
    assert reliability.preference_p_value([choice(0, generators=("a", "a"))]) is None
    assert reliability.preference_p_value([choice("tie", generators=("a", "b"))]) is None


def test_everything_stands_for_nobody():
    answers = reliability.answers_of([])

    assert reliability.crowd_fit(answers).tasks.tolist() == []
    assert defaultdict(int, zip(answers.people, answers.person, strict=True)) == {}
