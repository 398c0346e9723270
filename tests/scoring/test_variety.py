"""Variety and copies, beside slow plain versions."""

import numpy as np
import pytest

from scoring.metrics import UnableToMeasure
from scoring.variety import closeness, copies, diversity

RANDOM = np.random.default_rng(5)


def test_diversity_is_the_mean_distance_of_a_prompts_pairs():
    features = RANDOM.normal(size=(4, 3, 8))

    slow = []
    for images in features:
        pairs = [(0, 1), (0, 2), (1, 2)]
        cosines = [images[i] @ images[j] / np.linalg.norm(images[i]) / np.linalg.norm(images[j]) for i, j in pairs]
        slow.append(np.mean([1 - cosine for cosine in cosines]))
    assert diversity(features) == pytest.approx(np.array(slow))
    assert diversity(np.ones((2, 3, 8))) == pytest.approx(np.zeros(2))


def test_diversity_needs_two_images_of_a_prompt():
    with pytest.raises(UnableToMeasure, match="two images per prompt"):
        diversity(np.ones((2, 1, 8)))


def test_copies_are_nearer_than_the_neighbour_of_the_training_image():
    angles = np.radians([0.0, 20.0, 90.0])
    training = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    seen = np.radians([1.0, 55.0, 100.0, 200.0])
    generated = np.stack([np.cos(seen), np.sin(seen)], axis=1)

    # 55 degrees: 35 from both 20 and 90; 20 has a neighbour at 20 degrees, 90 has one at 70.
    assert copies(generated, training).tolist() == [True, False, True, False]
    assert closeness(generated, training) == pytest.approx(np.cos(np.radians([1.0, 35.0, 10.0, 110.0])))


def test_copies_equal_a_slow_plain_version_over_several_blocks(monkeypatch):
    monkeypatch.setattr("scoring.variety.CHUNK", 7)
    training, generated = RANDOM.normal(size=(20, 5)), RANDOM.normal(size=(30, 5))

    def cosine(one, other):
        return one @ other / np.linalg.norm(one) / np.linalg.norm(other)

    slow = []
    for image in generated:
        near = max(range(20), key=lambda place: cosine(image, training[place]))
        others = max(cosine(training[near], training[place]) for place in range(20) if place != near)
        slow.append(cosine(image, training[near]) > others)
    assert copies(generated, training).tolist() == slow
    assert copies(training, training).all()


def test_copies_need_two_training_images():
    with pytest.raises(UnableToMeasure, match="two are needed"):
        copies(np.ones((2, 3)), np.ones((1, 3)))
