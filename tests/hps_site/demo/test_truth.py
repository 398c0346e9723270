"""The hidden quality: clean above defective, whatever the defect, and it never looks away from the caption."""

import numpy as np
import pytest

from hps_site.demo import truth
from hps_site.demo.scenes import DEFECTS, Defect, Scene, UnreadableCaption, draw, random_scene

SCENE = Scene("medium", "red", "cross", "at the bottom", "beige")


@pytest.mark.parametrize("kind", DEFECTS)
def test_utility_ranks_clean_above_defective(kind: str) -> None:
    rng = np.random.default_rng(3)
    scenes = [random_scene(rng) for _ in range(60)]

    clean = [truth.utility(draw(scene, rng), scene.caption) for scene in scenes]
    spoilt = [truth.utility(draw(scene, rng, [Defect(kind, 0.9)]), scene.caption) for scene in scenes]

    assert np.mean(np.array(clean) > np.array(spoilt)) > 0.93


def test_is_good_for_clean_drawings_everywhere() -> None:
    rng = np.random.default_rng(4)
    scenes = [random_scene(rng) for _ in range(200)]

    assert all(truth.is_good(draw(scene, rng), scene.caption) for scene in scenes)


@pytest.mark.parametrize(
    "caption",
    [
        Scene("large", "red", "cross", "at the bottom", "beige").caption,
        Scene("medium", "blue", "cross", "at the bottom", "beige").caption,
        Scene("medium", "red", "circle", "at the bottom", "beige").caption,
        Scene("medium", "red", "cross", "at the top", "beige").caption,
        Scene("medium", "red", "cross", "at the bottom", "black").caption,
    ],
)
def test_residual_is_larger_for_a_caption_with_one_word_changed(caption: str) -> None:
    picture = draw(SCENE, np.random.default_rng(5))

    assert truth.residual(picture, caption) > truth.residual(picture, SCENE.caption) + 0.02


def test_residual_equals_the_slow_search_over_all_templates() -> None:
    rng = np.random.default_rng(6)
    scene = Scene("small", "green", "ring", "in the centre", "white")
    picture = draw(scene, rng, [Defect("haze", 0.5)])
    background, colour = np.array((244, 244, 244)) / 255, np.array((34, 160, 62)) / 255
    rendered = [
        background + mask.reshape(32, 32, 1) * (colour - background) for mask in truth._bank("ring", "small").masks
    ]

    slow = min(np.sqrt(((picture / 255 - template) ** 2).mean()) for template in rendered)

    assert truth.residual(picture, scene.caption) == pytest.approx(slow, abs=1e-4)


def test_utility_is_the_negative_residual_in_units() -> None:
    picture = draw(SCENE, np.random.default_rng(7))

    assert truth.utility(picture, SCENE.caption) == -truth.residual(picture, SCENE.caption) / truth.RESIDUAL_UNIT


def test_residual_of_a_text_that_is_no_caption_is_refused() -> None:
    with pytest.raises(UnreadableCaption):
        truth.residual(np.zeros((32, 32, 3), np.uint8), "a dog")
