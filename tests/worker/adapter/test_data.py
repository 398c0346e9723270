"""Examples: which caption is marked, which images are held out, and the order of batches."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from worker.adapter.config import AdapterConfig
from worker.adapter.data import Example, Kind, NotEnoughImages, batch_at, make_examples
from worker.adapter.labelling import Label, LabelledImage

CONFIG = AdapterConfig(
    evaluation_share=0.2, non_preferred_per_preferred=0.5, regularisation_per_labelled=1.0, batch_size=4, batch_pieces=1
)


def labelled(prompts: int) -> list[LabelledImage]:
    return [
        LabelledImage(f"{label}-{number}", f"prompt {number}", label, 0.9, 4)
        for number in range(prompts)
        for label in Label
    ]


def test_caption_marks_only_the_non_preferred():
    captions = {kind: Example("key", "a cat", kind).caption("Weird image. ") for kind in Kind}

    assert captions == {
        Kind.PREFERRED: "a cat",
        Kind.NON_PREFERRED: "Weird image. a cat",
        Kind.REGULARISATION: "a cat",
    }


def test_make_examples_keeps_the_shares_and_separates_the_prompts():
    others = [(f"other-{number}", f"other prompt {number}") for number in range(100)]

    examples = make_examples(labelled(20), others, CONFIG)

    in_all = Counter(example.kind for example in (*examples.training, *examples.evaluation))
    labelled_training = [example for example in examples.training if example.kind != Kind.REGULARISATION]
    assert (in_all[Kind.PREFERRED], in_all[Kind.NON_PREFERRED]) == (20, 10)
    assert examples.counts()["regularisation"] == len(labelled_training)
    assert len({example.prompt for example in examples.evaluation}) == 4
    assert not {example.prompt for example in examples.training} & {example.prompt for example in examples.evaluation}


def test_make_examples_takes_neither_labelled_nor_held_out_prompts_as_regularisation():
    images = labelled(20)
    others = [(image.image, image.prompt) for image in images] + [(f"more-{n}", f"prompt {n}") for n in range(20)]

    examples = make_examples(images, others, replace(CONFIG, regularisation_per_labelled=9.0))

    held_out = {example.prompt for example in examples.evaluation}
    regularisation = {example.image for example in examples.training if example.kind == Kind.REGULARISATION}
    assert regularisation == {f"more-{number}" for number in range(20) if f"prompt {number}" not in held_out}


def test_make_examples_same_seed_same_hash():
    others = [(f"other-{number}", "other") for number in range(100)]

    first, again = (make_examples(labelled(20), others, CONFIG) for _time in range(2))
    different = make_examples(labelled(20), others, replace(CONFIG, seed=1))

    assert first.sha256 == again.sha256 != different.sha256


@pytest.mark.parametrize("missing", Label)
def test_make_examples_without_one_label_says_what_to_do(missing):
    images = [image for image in labelled(20) if image.label != missing]

    with pytest.raises(NotEnoughImages, match="generate more images per prompt, or lower alpha"):
        make_examples(images, [], replace(CONFIG, non_preferred_per_preferred=None))


def test_batch_at_shows_every_example_once_per_pass():
    batches = [batch_at(step, 10, CONFIG) for step in range(5)]

    shown = np.concatenate(batches)
    assert sorted(shown[:10]) == sorted(shown[10:]) == list(range(10))
    assert list(shown[:10]) != list(shown[10:])
