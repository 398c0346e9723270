"""The adapter's settings: the paper's numbers, checks, and JSON there and back."""

import json
import math
from dataclasses import fields

import pytest

from worker.adapter.config import PAPER, PRESETS, RULES, AdapterConfig, AdapterConfigRejected, negative_with


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
        ({"stepz": 5}, "There is no setting 'stepz'; there are: mark, labels_from"),
        ({"batch_size": 10, "batch_pieces": 3}, "3 equal pieces of a batch of 10 don't exist"),
        ({"sample_every": 1}, r"351 looks of 4 samples are more than 240 images; raise sample_every \(1\)"),
    ],
)
def test_from_json_refuses_with_reason(changes, words):
    with pytest.raises(AdapterConfigRejected, match=words):
        AdapterConfig.from_json(changes, preset="tiny")


WHOLE = "a whole number from 1 to 2,147,483,647"


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("steps", 0, WHOLE),
        ("steps", 2.5, WHOLE),
        ("steps", math.inf, WHOLE),
        ("steps", "many", WHOLE),
        ("steps", True, WHOLE),
        ("rank", 2.5, WHOLE),
        ("fewest_votes", 0, WHOLE),
        ("checkpoint_every", 1.5, WHOLE),
        ("checkpoint_every", 2**31, WHOLE),
        ("smallest_group", 1, "a whole number from 2 to 2,147,483,647"),
        ("seed", "x", "a whole number from 0 to 2,147,483,647"),
        ("sample_every", -1, "a whole number from 0 to 2,147,483,647"),
        ("resolution", "512", "a multiple of 8 from 8 to 2,147,483,647, or null"),
        ("resolution", 500, "a multiple of 8 from 8 to 2,147,483,647, or null"),
        ("learning_rate", math.nan, "a number above 0"),
        ("learning_rate", "1e-4", "a number above 0"),
        ("lora_alpha", 0, "a number above 0, or null"),
        ("noise_offset", -0.1, "a number of at least 0"),
        ("regularisation_per_labelled", -1, "a number of at least 0"),
        ("non_preferred_per_preferred", -1, "a number of at least 0, or null"),
        ("caption_dropout", 1.0, "a number of at least 0 and below 1"),
        ("lora_dropout", 1, "a number of at least 0 and below 1"),
        ("decay_share", 1.1, "a number from 0 to 1"),
        ("betas", (0.9,), "a list of two numbers of at least 0 and below 1"),
        ("betas", (0.9, 1), "a list of two numbers of at least 0 and below 1"),
        ("drops_blurred", "no", "true or false"),
        ("adapts_text_encoder", 1, "true or false"),
        ("mark", 5, "a text of one line that stands before a caption"),
        ("mark", " ", "a text of one line that stands before a caption"),
        ("mark", "weird\0", "a text of one line that stands before a caption"),
        ("layers", "to_q", "a list of at least one text"),
        ("layers", (), "a list of at least one text"),
        ("text_layers", (5,), "a list of at least one text"),
        ("labels_from", "votes", "one of hps, people, both"),
        ("rejected", "bad", "one of left_out, non_preferred"),
        ("optimizer", "sgd", "one of adamw, adamw_8bit"),
        ("precision", "float16", "one of auto, float32, bfloat16"),
    ],
)
def test_from_json_names_the_setting_its_value_and_what_would_be_right(name, value, right):
    with pytest.raises(AdapterConfigRejected) as refused:
        AdapterConfig.from_json({name: list(value) if isinstance(value, tuple) else value}, preset="tiny")

    assert str(refused.value) == f"{name} must be {right}, not {value!r}."


def test_every_setting_has_a_rule():
    assert list(RULES) == [field.name for field in fields(AdapterConfig)]


@pytest.mark.parametrize(
    ("mark", "own", "joined"),
    [
        ("Weird image. ", "", "Weird image. "),
        ("Weird image. ", "blurry", "Weird image. blurry"),
        ("weird", "blurry", "weird, blurry"),
    ],
)
def test_negative_with_puts_the_mark_before_what_is_there(mark, own, joined):
    assert negative_with(mark, own) == joined


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
