"""What each arm is trained on."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from hps_site.demo.study import training
from hps_site.demo.study.declaration import QUICK, Training
from worker.adapter.data import Kind
from worker.adapter.labelling import ScoredImage


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    scores = rng.normal(20, 2, (50, 4))
    return [
        ScoredImage(f"{prompt}-{place}", f"caption {prompt}", scores[prompt, place])
        for prompt in range(50)
        for place in range(4)
    ]


@pytest.fixture
def config():
    return training.adapter_config(QUICK, seed=3)


def test_shuffling_moves_scores_within_a_caption_alone(images):
    moved = training.shuffled(images, seed=0)

    def by_caption(some):
        groups = defaultdict(list)
        for image in some:
            groups[image.prompt].append(image.score)
        return {caption: sorted(scores) for caption, scores in groups.items()}

    assert [image.image for image in moved] == [image.image for image in images]
    assert by_caption(moved) == by_caption(images)
    kept = np.mean([a.score == b.score for a, b in zip(moved, images, strict=True)])
    assert 0.1 < kept < 0.4  # one in four stays by chance


def test_the_controls_differ_from_the_declared_arm_in_one_thing_each(images, config):
    sets = {each: training.examples_of(each, images, config) for each in Training}
    declared = sets[Training.BY_HPS]

    unmarked = sets[Training.UNMARKED]
    assert [example.image for example in unmarked.training] == [example.image for example in declared.training]
    assert {example.caption(config.mark) for example in unmarked.training} == {
        example.prompt for example in declared.training
    }
    assert sets[Training.PREFERRED].training == tuple(
        example for example in declared.training if example.kind == Kind.PREFERRED
    )
    assert unmarked.evaluation == sets[Training.PREFERRED].evaluation == declared.evaluation
    kinds = {each: Counter(example.kind for example in examples.training) for each, examples in sets.items()}
    assert kinds[Training.SHUFFLED].keys() == kinds[Training.BY_HPS].keys()
    assert set(sets[Training.SHUFFLED].training) != set(declared.training)


def test_marked_images_are_those_of_the_lowest_scores(images, config):
    score = {image.image: image.score for image in images}
    declared = training.examples_of(Training.BY_HPS, images, config)

    means = {
        kind: np.mean([score[example.image] for example in declared.training if example.kind == kind])
        for kind in (Kind.PREFERRED, Kind.NON_PREFERRED)
    }

    assert means[Kind.NON_PREFERRED] < 18.5
    assert means[Kind.PREFERRED] > 21.5
