"""Scenes: captions that read back, drawings that repeat, defects that show."""

import numpy as np
import pytest

from hps_site.demo import scenes
from hps_site.demo.scenes import Defect, Scene, UnreadableCaption, draw, every_scene, is_held_out, random_defects


def test_every_scene_has_its_own_caption_that_reads_back() -> None:
    everything = every_scene()

    captions = [scene.caption for scene in everything]

    assert len(everything) == 2880
    assert len(set(captions)) == 2880
    assert [Scene.parse(caption) for caption in captions] == everything


def test_caption_reads_as_a_sentence() -> None:
    scene = Scene("large", "red", "circle", "on the left", "white")

    assert scene.caption == "a large red circle on the left, white background"


def test_parse_of_another_text_says_what_a_caption_looks_like() -> None:
    with pytest.raises(UnreadableCaption, match="one is 'a large red circle on the left, white background'"):
        Scene.parse("Weird image. a large red circle on the left, white background")


def test_draw_gives_the_same_picture_for_the_same_seed() -> None:
    scene = Scene("small", "pink", "star", "at the top", "grey")
    defects = [Defect(kind, 0.7) for kind in scenes.DEFECTS]

    first, again, other = (draw(scene, np.random.default_rng(seed), defects) for seed in (4, 4, 5))

    assert first.dtype == np.uint8
    assert first.shape == (32, 32, 3)
    assert (first == again).all()
    assert (first != other).any()


def test_draw_puts_the_object_in_its_colour_at_its_place() -> None:
    picture = draw(Scene("large", "blue", "square", "on the right", "white"), np.random.default_rng(0)).astype(int)

    assert np.abs(picture[16, 22] - scenes.COLOURS["blue"]).max() <= 15
    assert np.abs(picture[16, 4] - scenes.BACKGROUNDS["white"]).max() <= 15


def test_shape_mask_covers_the_area_of_a_circle() -> None:
    mask = scenes.shape_mask("circle", 8.0, (16.0, 16.0))

    assert mask.sum() == pytest.approx(np.pi * 8**2, rel=0.05)


@pytest.mark.parametrize("kind", scenes.DEFECTS)
def test_draw_with_a_defect_differs_from_the_clean_drawing(kind: str) -> None:
    scene = Scene("large", "green", "triangle", "in the centre", "beige")

    clean = draw(scene, np.random.default_rng(1)).astype(int)
    spoilt = draw(scene, np.random.default_rng(1), [Defect(kind, 1.0)]).astype(int)

    assert np.abs(clean - spoilt).mean() > 3


def test_random_defects_are_absent_as_often_as_asked() -> None:
    rng = np.random.default_rng(2)

    drawn = [random_defects(rng, clean_share=0.3) for _ in range(2000)]

    assert np.mean([not defects for defects in drawn]) == pytest.approx(0.3, abs=0.04)
    assert {defect.kind for defects in drawn for defect in defects} == set(scenes.DEFECTS)
    assert {len(defects) for defects in drawn} == {0, 1, 2}


def test_is_held_out_keeps_about_one_in_ten() -> None:
    assert sum(is_held_out(scene) for scene in every_scene()) == 277
