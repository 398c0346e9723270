"""The paper's selection: known answers by hand, properties, and a slow plain version of the released script."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.adapter.labelling import (
    Answer,
    JudgedImage,
    JudgedSet,
    Label,
    LabelledImage,
    ScoredImage,
    Source,
    balance,
    judge_images,
    label_images,
    pick_images,
    standout,
)


def scored(prompt: str, *scores: float) -> list[ScoredImage]:
    return [ScoredImage(f"{prompt}-{place}", prompt, score) for place, score in enumerate(scores)]


def plainly_labelled(groups: dict[str, list[float]], alpha: float) -> list[tuple[str, int, str]]:
    """As align_sd `select_training_images.py` reads: softmax of the scores less their mean, threshold alpha / n."""
    found = []
    for prompt in sorted(groups):
        scores = groups[prompt]
        if len(scores) < 4:
            continue
        mean = sum(scores) / len(scores)
        for label, sign in (("preferred", 1), ("non_preferred", -1)):
            odds = [math.exp(sign * (score - mean)) for score in scores]
            shares = [value / sum(odds) for value in odds]
            if max(shares) > alpha / len(scores):
                found.append((prompt, shares.index(max(shares)), label))
    return found


def test_standout_probability_by_hand():
    found = standout(np.array([20.0, 20.0 + math.log(5), 20.0, 20.0]), alpha=2.0)

    assert found == (1, pytest.approx(5 / 8))


def test_standout_at_exactly_the_threshold_is_none():
    # Each of four equal images has exactly 1 / 4; "more than" is the paper's word.
    assert standout(np.zeros(4), alpha=1.0) is None
    assert standout(np.zeros(4), alpha=0.999) == (0, 0.25)


def test_standout_temperature_makes_differences_larger_or_smaller():
    scores = np.array([21.0, 20.0, 20.0, 20.0])

    assert standout(scores, alpha=2.0) is None
    assert standout(scores, alpha=2.0, temperature=0.5) == (0, pytest.approx(math.exp(2) / (math.exp(2) + 3)))


def test_label_images_finds_one_of_each():
    labelled = label_images(scored("a cat", 18.0, 20.0, 20.1, 23.0))

    odds = [math.exp(score - 20) for score in (18.0, 20.0, 20.1, 23.0)]
    against = [1 / value for value in odds]
    assert labelled == [
        LabelledImage("a cat-3", "a cat", Label.PREFERRED, pytest.approx(odds[3] / sum(odds)), 4),
        LabelledImage("a cat-0", "a cat", Label.NON_PREFERRED, pytest.approx(against[0] / sum(against)), 4),
    ]


def test_label_images_leaves_out_small_groups_and_equal_scores():
    images = scored("three", 10.0, 20.0, 30.0) + scored("equal", 20.0, 20.0, 20.0, 20.0)

    assert label_images(images) == []
    assert [image.prompt for image in label_images(images, smallest_group=3)] == ["three", "three"]


def test_label_images_does_not_depend_on_order():
    images = scored("a cat", 18.0, 20.0, 20.0, 23.0) + scored("a dog", 30.0, 20.0, 20.0, 30.0, 20.0)
    shuffled = random.Random(0).sample(images, len(images))

    assert label_images(shuffled, alpha=1.2) == label_images(images, alpha=1.2) != []


@given(
    st.lists(
        st.lists(st.integers(1500, 2500).map(lambda score: score / 100), min_size=2, max_size=9, unique=True),
        max_size=6,
    )
)
def test_label_images_agrees_with_the_plain_version(groups):
    named = {f"prompt {number}": scores for number, scores in enumerate(groups)}
    images = [image for prompt, scores in named.items() for image in scored(prompt, *scores)]

    labelled = label_images(images)

    assert [(image.prompt, int(image.image.rpartition("-")[2]), image.label.value) for image in labelled] == (
        plainly_labelled(named, alpha=2.0)
    )


def answers(*sets: JudgedSet, fewest_votes: int = 3) -> dict[str, str]:
    return {image.image: image.answer.value for image in judge_images(sets, fewest_votes=fewest_votes)}


@pytest.mark.parametrize(
    ("judged", "expected"),
    [
        (JudgedSet("a cat", ("a", "b", "c"), {"a": 3, "b": 1}), {"a": "chosen", "b": "rejected", "c": "rejected"}),
        (JudgedSet("a cat", ("a", "b"), {"a": 1}, all_bad=2), {"a": "all_bad", "b": "all_bad"}),
        (JudgedSet("a cat", ("a", "b"), {"a": 1}, ties=2), {"a": "even", "b": "even"}),
        # Half is not more than half, and a tie is a judgement for no image.
        (JudgedSet("a cat", ("a", "b"), {"a": 2, "b": 2}), {}),
        (JudgedSet("a cat", ("a", "b"), {"a": 2}, ties=2), {}),
        (JudgedSet("a cat", ("a", "b"), {"a": 2}, ties=1, all_bad=1), {}),
        (JudgedSet("a cat", ("a", "b"), {"a": 2}), {}),
    ],
    ids=["chosen", "all bad", "even", "half each", "half ties", "half undecided", "too few"],
)
def test_judge_images_of_one_set(judged, expected):
    assert answers(judged) == expected


def test_judge_images_tells_which_share_of_the_judgements_says_so():
    assert judge_images([JudgedSet("a cat", ("a", "b"), {"a": 3}, ties=1)]) == [
        JudgedImage("a", "a cat", Answer.CHOSEN, 0.75, 2),
        JudgedImage("b", "a cat", Answer.REJECTED, 0.75, 2),
    ]


def test_judge_images_with_a_smaller_minimum_believes_fewer_people():
    judged = JudgedSet("a cat", ("a", "b"), {"a": 1})

    assert answers(judged, fewest_votes=1) == {"a": "chosen", "b": "rejected"}
    assert answers(judged, fewest_votes=2) == {}


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (JudgedSet("a cat", ("a", "c"), {"a": 4}), "chosen"),
        (JudgedSet("a cat", ("a", "c"), {"c": 4}), "rejected"),
        (JudgedSet("a cat", ("a", "c"), {}, ties=4), "even"),
        (JudgedSet("a cat", ("a", "c"), {}, all_bad=4), "even"),
        (JudgedSet("a cat", ("a", "c"), {"a": 2, "c": 2}), "chosen"),
    ],
)
def test_judge_images_of_an_image_chosen_in_one_set_and_seen_in_another(second, expected):
    assert answers(JudgedSet("a cat", ("a", "b"), {"a": 3}), second)["a"] == expected


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (JudgedSet("a cat", ("a", "c"), {"c": 4}), "all_bad"),
        (JudgedSet("a cat", ("a", "c"), {}, ties=4), "even"),
    ],
)
def test_judge_images_of_an_image_all_bad_in_one_set_and_seen_in_another(second, expected):
    assert answers(JudgedSet("a cat", ("a", "b"), {}, all_bad=3), second)["a"] == expected


COUNTS = st.integers(0, 4)


@given(st.lists(st.tuples(st.lists(COUNTS, min_size=3, max_size=3), COUNTS, COUNTS), max_size=4), st.randoms())
def test_judge_images_agrees_with_a_plain_version_in_any_order(said, random_numbers):
    sets = [
        JudgedSet("a cat", ("a", "b", "c"), dict(zip("abc", chosen, strict=True)), ties, all_bad)
        for chosen, ties, all_bad in said
    ]
    shuffled = random_numbers.sample(sets, len(sets))

    assert judge_images(shuffled) == judge_images(sets)
    assert answers(*sets) == plainly_judged(sets)


def plainly_judged(sets: list[JudgedSet]) -> dict[str, str]:
    """Every ballot on its own, image by image."""
    found = {}
    for image in "abc":
        said = []
        for judged in sets:
            ballots = [name for name, count in judged.chosen.items() for _vote in range(count)]
            ballots += ["tie"] * judged.ties + ["bad"] * judged.all_bad
            most = max(set(ballots), key=ballots.count, default="")
            if len(ballots) >= 3 and ballots.count(most) > len(ballots) / 2:
                said.append({"tie": "even", "bad": "all_bad", image: "chosen"}.get(most, "rejected"))
        if said:
            is_bad = "all_bad" in said and not {"chosen", "even"} & set(said)
            rest = "chosen" if set(said) == {"chosen"} else "rejected" if "rejected" in said else "even"
            found[image] = "all_bad" if is_bad else rest
    return found


SCORED = scored("a cat", 18.0, 20.0, 20.1, 23.0) + scored("a dog", 18.0, 20.0, 20.1, 23.0)
JUDGED = judge_images(
    [JudgedSet("a cat", ("a cat-0", "a cat-1"), {"a cat-0": 3}), JudgedSet("a cat", ("a cat-2",), {}, all_bad=3)]
)
BY_PEOPLE = [
    LabelledImage("a cat-0", "a cat", Label.PREFERRED, 1.0, 2, Source.PEOPLE),
    LabelledImage("a cat-2", "a cat", Label.NON_PREFERRED, 1.0, 1, Source.PEOPLE),
]


def test_pick_images_by_hps_hears_no_people():
    assert pick_images(SCORED, JUDGED, labels_from="hps") == label_images(SCORED)


def test_pick_images_by_people_hears_no_hps():
    assert pick_images(SCORED, JUDGED, labels_from="people") == BY_PEOPLE


def test_pick_images_by_both_leaves_to_hps_the_prompts_that_people_have_no_answer_to():
    dogs = [image for image in SCORED if image.prompt == "a dog"]

    assert pick_images(SCORED, JUDGED, labels_from="both") == BY_PEOPLE + label_images(dogs)


def test_pick_images_by_both_does_not_overrule_people_who_found_all_alike():
    even = judge_images([JudgedSet("a cat", ("a cat-0", "a cat-3"), {}, ties=3)])

    assert {image.prompt for image in pick_images(SCORED, even, labels_from="both")} == {"a dog"}


def test_pick_images_takes_rejected_images_for_bad_only_where_that_is_said():
    rejected = LabelledImage("a cat-1", "a cat", Label.NON_PREFERRED, 1.0, 2, Source.PEOPLE)

    assert rejected not in pick_images((), JUDGED, labels_from="people")
    assert rejected in pick_images((), JUDGED, labels_from="people", rejected="non_preferred")


@given(st.integers(0, 12), st.integers(0, 12), st.one_of(st.none(), st.floats(0, 3)), st.integers(0, 5))
def test_balance_keeps_all_preferred_and_the_share_of_the_others(preferred, non_preferred, share, seed):
    images = [LabelledImage(f"p{number}", "a cat", Label.PREFERRED, 0.9, 4) for number in range(preferred)]
    images += [LabelledImage(f"n{number}", "a cat", Label.NON_PREFERRED, 0.9, 4) for number in range(non_preferred)]

    kept, spare = balance(images, share, np.random.default_rng(seed))

    wanted = non_preferred if share is None else min(non_preferred, round(share * preferred))
    assert kept[:preferred] == images[:preferred]
    assert len(kept) == preferred + wanted
    assert sorted(image.image for image in [*kept, *spare]) == sorted(image.image for image in images)
    assert balance(images, share, np.random.default_rng(seed)) == (kept, spare)
