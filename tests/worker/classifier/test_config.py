from dataclasses import replace

import pytest

from worker.classifier.config import (
    AESTHETIC_PRESETS,
    PAPER,
    PRESETS,
    TINY,
    AestheticConfig,
    ClassifierConfig,
    ConfigRejected,
)


def test_paper_has_the_numbers_of_the_paper():
    assert PAPER.to_json() == {
        "preset": "paper",
        "architecture": "ViT-L-14-quickgelu",
        "image_size": 224,
        "image_blocks": 10,
        "text_blocks": 6,
        "learning_rate": 1.7e-5,
        "weight_decay": 3.1e-3,
        "epochs": 1,
        "choices_per_batch": 5,
        "beta1": 0.9,
        "beta2": 0.98,
        "epsilon": 1e-6,
        "warmup_steps": 0,
        "precision": "auto",
        "checkpoint_every": 100,
        "raters": "each",
        "weigh_by_reliability": False,
        "choices_at_once": 0,
        "evaluate_every": 0,
        "patience": 0,
        "validation_share": 0.05,
        "cache_megabytes": 60_000,
        "readers": 4,
        "processes": 1,
        "seed": 0,
    }


@pytest.mark.parametrize("name", PRESETS)
def test_presets_read_back(name):
    assert ClassifierConfig.from_json({"preset": name}) == PRESETS[name]
    assert ClassifierConfig.from_json(PRESETS[name].to_json()) == PRESETS[name]


@pytest.mark.parametrize("name", AESTHETIC_PRESETS)
def test_aesthetic_presets_read_back(name):
    assert AestheticConfig.from_json({"preset": name}) == AESTHETIC_PRESETS[name]
    assert AestheticConfig.from_json(AESTHETIC_PRESETS[name].to_json()) == AESTHETIC_PRESETS[name]


def test_from_json_changes_what_is_given():
    assert ClassifierConfig.from_json({"preset": "tiny", "epochs": 5, "learning_rate": 1}) == replace(
        TINY, epochs=5, learning_rate=1.0
    )
    assert AestheticConfig.from_json({"head": "mlp", "seed": 4}) == replace(
        AESTHETIC_PRESETS["tiny"], head="mlp", seed=4
    )


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"preset": "huge"}, "no preset 'huge'; known are hps2, paper, tiny"),
        ({"epoch": 1}, "no setting 'epoch'"),
        ({"epochs": "1"}, "epochs must be of type int, not '1'"),
        ({"epochs": 1.5}, "epochs must be of type int"),
        ({"epochs": True}, "epochs must be of type int"),
        ({"learning_rate": None}, "learning_rate must be of type float"),
        ({"weigh_by_reliability": 1}, "weigh_by_reliability must be of type bool, not 1"),
        ({"processes": 0}, "processes must be at least 1, not 0"),
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"checkpoint_every": 0}, "checkpoint_every must be at least 1"),
        ({"image_blocks": -1}, "image_blocks must not be negative"),
        ({"image_blocks": 0, "text_blocks": 0}, "nothing would be trained"),
        ({"learning_rate": 0.0}, "learning_rate and epsilon must be positive"),
        ({"beta2": 1.0}, "beta1 and beta2"),
        ({"evaluate_every": -1}, "evaluate_every must not be negative"),
        ({"patience": 3}, "set evaluate_every as well"),
        ({"validation_share": 1.0}, "above 0 and below 1"),
        ({"raters": "all"}, "raters must be each or together"),
        ({"precision": "float16"}, "precision must be auto, float32 or bfloat16"),
    ],
)
def test_from_json_says_what_is_wrong(record, reason):
    with pytest.raises(ConfigRejected, match=reason):
        ClassifierConfig.from_json(record)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"preset": "huge"}, "no preset 'huge'"),
        ({"head": "deep"}, "head must be linear or mlp"),
        ({"epochs": 0}, "must be at least 1"),
        ({"learning_rate": -1.0}, "must be positive"),
    ],
)
def test_aesthetic_from_json_says_what_is_wrong(record, reason):
    with pytest.raises(ConfigRejected, match=reason):
        AestheticConfig.from_json(record)
