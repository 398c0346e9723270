"""The adapter's settings: the paper's numbers, checks, and JSON there and back."""

import json

import pytest

from worker.adapter.config import PAPER, PRESETS, AdapterConfig, AdapterConfigRejected


def test_paper_has_the_papers_numbers():
    assert (PAPER.mark, PAPER.alpha, PAPER.temperature, PAPER.smallest_group) == ("Weird image. ", 2.0, 1.0, 4)
    assert (PAPER.rank, PAPER.layers) == (32, ("to_q", "to_k", "to_v", "to_out.0"))
    assert (PAPER.learning_rate, PAPER.batch_size, PAPER.steps) == (1e-5, 40, 10_000)
    assert (PAPER.betas, PAPER.weight_decay, PAPER.epsilon) == ((0.9, 0.999), 1e-2, 1e-8)
    assert PAPER.resolution == 512


@pytest.mark.parametrize("name", PRESETS)
def test_from_json_reads_back_what_to_json_wrote(name):
    settings = json.loads(json.dumps(PRESETS[name].to_json()))

    assert AdapterConfig.from_json(settings) == PRESETS[name]


def test_from_json_changes_the_preset():
    assert AdapterConfig.from_json({"steps": 5}, preset="tiny").steps == 5
    assert AdapterConfig.from_json({"steps": 5}, preset="tiny").rank == PRESETS["tiny"].rank


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stepz": 5}, "Unknown settings: stepz"),
        ({"steps": 0}, "steps must be above 0"),
        ({"caption_dropout": 1.0}, "caption_dropout must be"),
        ({"mark": " "}, "The mark must be"),
        ({"decay_share": 1.1}, "decay_share must lie between 0 and 1"),
        ({"smallest_group": 1}, "smallest_group"),
        ({"labels_from": "votes"}, "labels_from must be one of hps, people, both, not 'votes'"),
        ({"rejected": "bad"}, "rejected must be one of left_out, non_preferred, not 'bad'"),
        ({"fewest_votes": 0}, "fewest_votes must be above 0"),
        ({"batch_size": 10, "batch_pieces": 3}, "3 equal pieces"),
        ({"layers": []}, "at least one kind of layer"),
        ({"regularisation_per_labelled": -1}, "can't be negative"),
        ({"steps": "many"}, "wrong type"),
        ({"lora_alpha": 0}, "lora_alpha must be above 0, or null"),
        ({"lora_dropout": 1}, "lora_dropout must be"),
        ({"noise_offset": -0.1}, "noise_offset must not be negative"),
        ({"adapts_text_encoder": "yes"}, "true or false, not 'yes'"),
        ({"adapts_text_encoder": True, "text_layers": []}, "at least one kind of layer"),
        ({"optimizer": "sgd"}, "optimizer must be one of adamw, adamw_8bit, not 'sgd'"),
        ({"precision": "float16"}, "precision must be one of auto, float32, bfloat16"),
        ({"sample_every": -1}, "sample_every must not be negative"),
        ({"sample_every": 1}, r"351 looks of 4 samples are more than 240 images; raise sample_every \(1\)"),
    ],
)
def test_from_json_refuses_with_reason(changes, words):
    with pytest.raises(AdapterConfigRejected, match=words):
        AdapterConfig.from_json(changes, preset="tiny")


def test_what_the_paper_does_not_have_is_off():
    assert (PAPER.lora_scale, PAPER.lora_dropout, PAPER.adapts_text_encoder) == (1.0, 0.0, False)
    assert (PAPER.noise_offset, PAPER.optimizer, PAPER.precision) == (0.0, "adamw", "auto")


def test_lora_scale_is_alpha_by_rank():
    assert AdapterConfig(rank=8, lora_alpha=4).lora_scale == 0.5


def test_is_sampled_every_so_many_steps_and_at_the_end():
    config = AdapterConfig(steps=10, sample_every=4)

    assert [step for step in range(11) if config.is_sampled(step)] == [0, 4, 8, 10]
    assert not any(AdapterConfig(steps=10, sample_every=0).is_sampled(step) for step in range(11))


def test_learning_rate_at_is_constant_in_the_paper_and_falls_at_the_end_where_told():
    assert {PAPER.learning_rate_at(step) for step in (0, 5_000, 9_999)} == {1e-5}
    falling = AdapterConfig(learning_rate=1.0, steps=10, decay_share=0.4)
    assert [falling.learning_rate_at(step) for step in (0, 5, 6, 7, 9)] == [1.0, 1.0, 1.0, 0.75, 0.25]


def test_from_json_refuses_an_unknown_preset():
    with pytest.raises(AdapterConfigRejected, match="there are paper, tiny"):
        AdapterConfig.from_json({}, preset="huge")
