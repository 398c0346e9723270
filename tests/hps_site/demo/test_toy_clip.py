"""Teaching the tiny CLIP: it learns, and the same way every time."""

import numpy as np
import pytest
import torch

from hps_site.demo import base_models, toy_clip
from hps_site.demo.scenes import Scene, draw, every_scene
from hps_site.demo.toy_clip import ClipTraining

FEW = every_scene()[::97]
SHORT = ClipTraining(steps=6, batch=16, warmup_steps=2, seed=3)


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return toy_clip.train(SHORT, FEW)


def test_caption_tokens_are_the_words_of_the_world_and_the_marks_around_them() -> None:
    rows = toy_clip.caption_tokens()

    assert len(rows) == 36
    assert set(toy_clip.tokens(["a large red circle on the left, white background"])[0].tolist()) <= set(rows.tolist())
    assert not set(toy_clip.tokens(["weird image"])[0, 1:3].tolist()) & set(rows.tolist())


def test_train_lowers_the_loss() -> None:
    losses = []

    training = ClipTraining(steps=12, batch=24, warmup_steps=2, seed=4)
    toy_clip.train(training, FEW, lambda step, loss: losses.append(loss))

    assert len(losses) == 12
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


def test_train_gives_the_same_weights_for_the_same_seed(weights: dict[str, torch.Tensor]) -> None:
    again = toy_clip.train(SHORT, FEW)

    assert weights.keys() == again.keys()
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_train_ends_at_the_logit_scale_of_clip(weights: dict[str, torch.Tensor]) -> None:
    assert weights["logit_scale"].exp().item() == pytest.approx(100.0, rel=1e-5)


def test_train_with_few_rows_equals_the_model_with_the_whole_table(weights: dict[str, torch.Tensor]) -> None:
    rows = toy_clip.caption_tokens()
    compact, whole = toy_clip.build(vocabulary=len(rows)), toy_clip.build()
    few = {name: value for name, value in weights.items() if name not in {base_models.ROWS, base_models.ROW_IDS}}
    compact.load_state_dict({**few, "token_embedding.weight": weights[base_models.ROWS]})
    whole.load_state_dict(base_models.full_clip_weights(weights, table_seed=1))
    ids = toy_clip.tokens([scene.caption for scene in FEW])

    with torch.inference_mode():
        by_few = compact.encode_text(torch.from_numpy(np.searchsorted(rows, ids.numpy())))
        by_all = whole.encode_text(ids)

    assert torch.allclose(by_few, by_all, atol=1e-5)


def test_pixels_are_those_of_the_scorers_preprocessing() -> None:
    from PIL import Image

    from scoring.preprocessing import Preprocessing

    image = draw(Scene("large", "red", "circle", "on the left", "white"), np.random.default_rng(0))
    preprocessing = Preprocessing.from_manifest(toy_clip.PREPROCESSING)

    theirs = preprocessing.normalise(preprocessing.square(Image.fromarray(image)))

    assert np.allclose(toy_clip.pixels([image])[0].numpy(), theirs, atol=1e-5)
