"""The paper's selection: known answers by hand, properties, and a slow plain version of the released script."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.adapter.labelling import Label, LabelledImage, ScoredImage, label_images, standout


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
