"""What is measured of the toy models: known answers for drawings whose defect is known."""

import numpy as np
import pytest
from PIL import Image

from hps_site.demo import evaluation
from hps_site.demo.scenes import Defect, draw, random_scene
from hps_site.demo.truth import utility


@pytest.mark.parametrize("kind", ["haze", "glitch", "wrong colour", "missing"])
def test_looks_like_names_the_defect_of_a_drawing(kind: str) -> None:
    rng = np.random.default_rng(1)
    scenes = [random_scene(rng) for _ in range(50)]

    named = [evaluation.looks_like(draw(scene, rng, [Defect(kind, 0.9)]), scene.caption) for scene in scenes]

    assert named.count(kind) >= 44


def test_image_figures_of_clean_drawings_are_all_good() -> None:
    rng = np.random.default_rng(2)
    scenes = [random_scene(rng) for _ in range(40)]

    figures = evaluation.image_figures([draw(scene, rng) for scene in scenes], [scene.caption for scene in scenes])

    assert figures["good_share"] == 1.0
    assert figures["looks_like"] == {"good": 1.0}
    assert 0 < figures["mean_residual"] < 0.04


def test_choice_figures_of_the_truth_and_of_the_reverse() -> None:
    sets = evaluation.judged_sets(60, seed=3)

    best = evaluation.choice_figures(sets, utilities)
    worst = evaluation.choice_figures(sets, lambda images, caption: -utilities(images, caption))

    assert best["sets"] == 60
    assert best["top_1_of_4"] == best["top_1_of_4_of_the_truth"]
    assert worst["top_1_of_4"] < 0.1
    assert 0.45 < best["top_1_of_4_of_another_person"] < best["top_1_of_4"] < 0.75


def utilities(images: list[Image.Image], caption: str) -> np.ndarray:
    return np.array([utility(np.asarray(image), caption) for image in images])
