"""What the study draws and asks: from its seed alone, and nothing of what is judged."""

from dataclasses import replace

import numpy as np

from annotations.models import Split
from hps_site.demo.scenes import Scene
from hps_site.demo.study import material
from hps_site.demo.study.declaration import QUICK, STUDY
from hps_site.demo.truth import utility
from scoring import agreement

SMALL = replace(QUICK, prompts=30)


def test_nobody_is_asked_and_nothing_trained_about_what_is_judged():
    judged = material.judged_captions(STUDY)
    asked = {scene.caption for scene in material.asked_scenes(STUDY)}
    trained = set(material.training_captions(STUDY))

    assert len(judged) == len(set(judged)) == STUDY.judged_prompts
    assert {Split.of(caption) for caption in judged} == {Split.TEST}
    assert not asked & set(judged)
    assert trained < asked
    assert {Split.of(caption) for caption in trained} == {Split.TRAIN}


def test_the_seed_says_everything():
    one, other = (material.painters_drawings(SMALL, seed) for seed in (0, 1))

    votes = material.votes_on(one, SMALL, 0)

    assert votes == material.votes_on(material.painters_drawings(SMALL, 0), SMALL, 0)
    assert votes != material.votes_on(one, SMALL, 1)
    assert any(not np.array_equal(a.pixels, b.pixels) for a, b in zip(one, other, strict=True))


def test_people_vote_as_often_as_declared_and_for_the_truth():
    drawings = material.painters_drawings(SMALL, 0)

    votes = material.votes_on(drawings, SMALL, 0)

    assert len(votes) == SMALL.prompts * SMALL.votes_per_prompt
    assert all(vote.split == Split.of(vote.prompt) for vote in votes)
    assert agreement.percent_agreement(votes).value > 0.35
    quality = {drawing.key: utility(drawing.pixels, drawing.caption) for drawing in drawings}
    decided = [vote for vote in votes if vote.is_decided]
    best = [quality[vote.answer] == max(quality[image] for image in vote.images) for vote in decided]
    assert np.mean(best) > 0.45


def test_the_crowd_of_part_three_chooses_its_colour_whatever_the_caption_says():
    drawings = material.coloured_drawings(SMALL, 0)

    votes = material.votes_on(drawings, SMALL, 0)

    decided = [vote for vote in votes if vote.is_decided and f" {SMALL.liked_colour} " not in vote.prompt]
    assert np.mean([vote.answer.startswith("one colour") for vote in decided]) > 0.7
    worse = [
        utility(drawing.pixels, drawing.caption)
        for drawing in drawings
        if drawing.key.startswith("one colour") and Scene.parse(drawing.caption).colour == "blue"
    ]
    assert max(worse) < -1.5


def test_pairs_of_the_positive_control_are_clean_and_defective():
    pairs = list(material.plain_pairs(SMALL, 0))

    assert [clean.caption for clean, _ in pairs] == material.training_captions(SMALL)
    better = [utility(clean.pixels, clean.caption) - utility(bad.pixels, bad.caption) for clean, bad in pairs]
    assert np.mean(np.array(better) > 1) > 0.8
    assert min(better) > 0
