from dataclasses import replace

import evalica
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring import agreement, metrics
from scoring.metrics import Estimate
from tests.scoring.people import choice, random_votes, sr_4way, votes


def undefined(name, unit):
    return Estimate(name, None, None, None, 0, unit, "No two people have done the same task yet.")


def test_human_ceiling_by_hand():
    # Three for 0 and one for 1: the three see 2:1 for 0 and are right, the one sees 3:0 for 0 and is wrong.
    choices = votes([0, 0, 0, 1], 3, prompt="a")
    # One each for 0, 1 and 2: each sees the two others level, and chose neither.
    choices += votes([0, 1, 2], 3, prompt="b")
    # Two for 0 and one for 1: the two see 1:1 and get half; the one is wrong.
    choices += votes([0, 0, 1], 2, prompt="c")
    # Alone on a task, and one beside a tie: nobody to compare with.
    choices += votes([0], 2, prompt="d") + votes([0, "tie", "all_bad"], 2, prompt="e")

    ceiling = agreement.human_ceiling(choices)

    assert (ceiling.name, ceiling.n) == ("human ceiling", 10)
    assert ceiling.value == pytest.approx((3 + 0 + 1) / 10)


def test_human_ceiling_is_undefined_where_nobody_sits_beside_another():
    choices = votes([0], 2, prompt="a") + votes([1, "tie"], 2, prompt="b")

    assert agreement.human_ceiling(choices) == undefined("human ceiling", "choices")


def test_human_ceiling_of_people_of_one_mind_is_one_and_of_random_people_chance():
    alike = [vote for prompt in "abc" for vote in votes([1, 1, 1], 3, prompt=prompt)]

    assert agreement.human_ceiling(alike).value == 1
    assert agreement.human_ceiling(random_votes(0, tasks=600, people=5, n=4)).value == pytest.approx(0.25, abs=0.03)


def plain_ceiling(choices):
    credits = []
    for number, one in enumerate(choices):
        others = [c.answer for place, c in enumerate(choices) if place != number and c.task == one.task]
        counts = [others.count(key) for key in one.images]
        if others:
            credits.append((others.count(one.answer) == max(counts)) / counts.count(max(counts)))
    return np.mean(credits)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), people=st.integers(2, 6), n=st.integers(2, 5))
def test_human_ceiling_equals_the_plain_one_and_is_below_the_highest_attainable(seed, people, n):
    choices = random_votes(seed, tasks=6, people=people, n=n)

    ceiling = agreement.human_ceiling(choices).value

    assert ceiling == pytest.approx(plain_ceiling(choices))
    assert ceiling <= agreement.highest_attainable(choices).value


def test_highest_attainable_by_hand_and_reached_by_the_scorer_that_knows_the_votes():
    choices = votes([0, 0, 0, 1], 3, prompt="a") + votes([0, 1], 2, prompt="b") + votes(["tie"], 2, prompt="c")
    shares = {"a": [3.0, 1, 0], "b": [1.0, 0], "c": [0.0, 0]}

    highest = agreement.highest_attainable(choices)

    assert (highest.value, highest.n) == (pytest.approx(4 / 6), 6)
    assert metrics.top_one_accuracy(choices, [shares[one.prompt] for one in choices]).value == highest.value


def test_percent_agreement_by_hand():
    # Six pairs, of which three agree; one pair that agrees on a tie; a pair that differs.
    choices = votes([0, 0, 0, 1], prompt="a") + votes(["tie", "tie"], prompt="b") + votes([0, "all_bad"], prompt="c")

    share = agreement.percent_agreement(choices)

    assert (share.value, share.n, share.unit) == (pytest.approx(4 / 8), 8, "pairs of people")
    assert agreement.percent_agreement(choices[:1]) == undefined("percent agreement", "pairs of people")


def test_people_are_matched_whatever_the_order_in_which_they_saw_the_images():
    first = choice(0, images=("x", "y"))
    turned = choice(1, images=("y", "x"), annotator="ben")

    assert agreement.percent_agreement([first, turned]).value == 1
    assert agreement.answer_counts([first, turned]).tolist() == [[2]]


def test_answer_counts_by_image_and_by_generator():
    made_by = ("new", "old")
    choices = [
        choice(0, prompt="a", generators=made_by),
        choice(1, prompt="a", annotator="ben", generators=made_by),
        choice(0, prompt="b", generators=made_by[::-1]),
        choice("tie", prompt="b", annotator="ben", generators=made_by[::-1]),
    ]

    assert agreement.answer_counts(choices).tolist() == [[1, 1, 0], [1, 0, 1]]
    assert agreement.answer_counts(choices, by="generator").tolist() == [[1, 1, 0], [0, 1, 1]]
    with pytest.raises(ValueError, match="doesn't name its generators"):
        agreement.answer_counts([replace(choices[0], generators=())], by="generator")


# Krippendorff, Computing Krippendorff's alpha-reliability (2011), example C: four observers, twelve units, five values.
KRIPPENDORFF_2011 = """
1 2 3 3 2 1 4 1 2 . . .
1 2 3 3 2 2 4 1 2 5 . 3
. 3 3 3 2 3 4 2 2 5 1 .
1 2 3 3 2 4 4 1 2 5 1 .
"""


def test_krippendorff_alpha_of_the_published_example():
    answers = [line.split() for line in KRIPPENDORFF_2011.strip().splitlines()]
    counts = np.array([[[row[unit] for row in answers].count(value) for value in "12345"] for unit in range(12)])

    alpha = agreement.krippendorff_alpha(counts)

    assert (round(alpha.value, 3), alpha.n) == (0.743, 40)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_krippendorff_alpha_equals_evalicas(seed):
    rng = np.random.default_rng(seed)
    answers = rng.integers(0, 3, (4, 12)).astype(float)
    answers[rng.random(answers.shape) < 0.2] = np.nan
    counts = np.stack([(answers == value).sum(axis=0) for value in range(3)], axis=1)

    expected = evalica.alpha(pd.DataFrame(answers), distance="nominal").alpha

    assert agreement.krippendorff_alpha(counts).value == pytest.approx(expected, abs=1e-12)


def test_krippendorff_alpha_at_its_ends():
    assert agreement.krippendorff_alpha(np.array([[3, 0], [0, 3]])).value == 1
    assert agreement.krippendorff_alpha(np.array([[1, 1]] * 500)).value == pytest.approx(-1, abs=0.01)
    chance = agreement.answer_counts(random_votes(0, tasks=2000, people=3, n=4))
    assert agreement.krippendorff_alpha(chance).value == pytest.approx(0, abs=0.03)


def test_krippendorff_alpha_says_why_it_is_undefined():
    assert agreement.krippendorff_alpha(np.array([[1, 0], [0, 1]])) == undefined("Krippendorff's alpha", "answers")
    assert agreement.krippendorff_alpha(np.array([[2, 0], [3, 0]])).reason == (
        "All people gave one and the same answer to everything."
    )


def test_fleiss_kappa_of_the_published_example():
    # Fleiss (1971) as worked out on Wikipedia: 14 people, ten subjects, five categories.
    counts = np.array(
        [
            [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
            [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
        ]
    )  # fmt: skip

    kappa = agreement.fleiss_kappa(counts)

    assert (kappa.name, round(kappa.value, 3), kappa.n) == ("Fleiss' kappa", 0.210, 10)


def test_fleiss_kappa_says_why_it_is_undefined():
    assert agreement.fleiss_kappa(np.zeros((0, 2), dtype=int)) == undefined("Fleiss' kappa", "tasks")
    assert agreement.fleiss_kappa(np.array([[1, 0]])) == undefined("Fleiss' kappa", "tasks")
    assert agreement.fleiss_kappa(np.array([[2, 0], [3, 2]])).reason == (
        "It needs equally many people on every task, here 2 to 5; read alpha."
    )
    assert agreement.fleiss_kappa(np.array([[2, 0], [2, 0]])).reason == "All people gave one and the same answer."


def test_agreement_on_a_real_study(shared_data):
    test, both = sr_4way(shared_data, "test"), sr_4way(shared_data, "train", "test")

    ceiling = agreement.human_ceiling(test)
    kappa = agreement.fleiss_kappa(agreement.answer_counts(both, by="generator"))

    assert (round(ceiling.value, 3), ceiling.n) == (0.352, 540)
    assert (round(kappa.value, 4), kappa.n) == (0.0443, 30)
    assert agreement.krippendorff_alpha(agreement.answer_counts(both)).value == pytest.approx(kappa.value, abs=0.001)
