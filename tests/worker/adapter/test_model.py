"""The layers that are added to the base model: what they are, when they drop, and what they leave alone."""

import sys
from dataclasses import replace

import pytest
import torch

from worker.adapter.config import TINY
from worker.adapter.model import AdaptedModel, OptimizerMissing, frozen_pipeline, make_optimizer, optimizer_class

CPU = torch.device("cpu")
CONFIG = replace(TINY, rank=4)


def adapted(base_folder, **settings) -> AdaptedModel:
    config = replace(CONFIG, **settings)
    model = AdaptedModel(frozen_pipeline(base_folder, CPU, config), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.1)
    return model


def layers_of(model: AdaptedModel) -> list:
    return [module for module in model.modules() if hasattr(module, "lora_A")]


def test_only_the_layers_are_trained(base_folder):
    model = adapted(base_folder)

    assert {name.split(".lora_")[1].split(".")[0] for name, each in model.named_parameters() if each.requires_grad} == {
        "A",
        "B",
    }
    assert model.text_encoder is None


def test_the_text_encoder_gets_layers_where_wanted(base_folder):
    model = adapted(base_folder, adapts_text_encoder=True)

    names = {name for name, each in model.named_parameters() if each.requires_grad and name.startswith("text_encoder")}
    layer = "text_encoder.encoder.layers.0.self_attn"
    assert names == {
        f"{layer}.{part}.lora_{matrix}.default.weight"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj")
        for matrix in "AB"
    }


@pytest.mark.parametrize(("alpha", "scale"), [(None, 1.0), (1.0, 0.25), (8.0, 2.0)])
def test_a_layer_adds_alpha_by_rank_times_its_two_matrices(base_folder, alpha, scale):
    layer = layers_of(adapted(base_folder, lora_alpha=alpha))[0]
    seen = torch.randn(2, layer.in_features)

    down, up = layer.lora_A.default.weight, layer.lora_B.default.weight
    expected = layer.base_layer(seen) + scale * (seen @ down.T @ up.T)
    assert torch.allclose(layer(seen), expected, atol=1e-6)


def test_dropout_leaves_out_its_share_of_what_a_layer_sees_and_only_while_training(base_folder):
    model = adapted(base_folder, lora_dropout=0.25)
    layer = layers_of(model)[0]
    seen = torch.ones(4000, layer.in_features)
    whole = layer(seen)

    with model.dropping(seed=1):
        through = layer.lora_dropout.default(seen)
        one = layer(seen)
    with model.dropping(seed=1):
        layer.lora_dropout.default(seen)
        again = layer(seen)
    assert (through == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert through.max().item() == pytest.approx(1 / 0.75)
    assert torch.equal(one, again)
    assert not torch.equal(one, whole)
    assert torch.equal(layer(seen), whole)


def test_without_layers_the_model_is_the_base(base_folder):
    base = frozen_pipeline(base_folder, CPU, CONFIG).unet
    model = adapted(base_folder)
    seen = torch.randn(1, 8, 4, 4), torch.tensor([3]), torch.randn(1, 24, 16)

    with torch.no_grad():
        expected = base(*seen).sample
        with model.without_layers():
            alone = model.unet(*seen).sample
        together = model.unet(*seen).sample
    assert torch.equal(alone, expected)
    assert not torch.allclose(together, expected)


def test_bfloat16_freezes_the_base_in_it_and_trains_float32(base_folder):
    model = adapted(base_folder, precision="bfloat16")

    formats = {(each.requires_grad, each.dtype) for each in model.parameters()}
    assert formats == {(True, torch.float32), (False, torch.bfloat16)}


def test_the_8_bit_optimizer_without_its_package_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)

    with pytest.raises(OptimizerMissing, match="pip install bitsandbytes, or choose the optimizer adamw"):
        optimizer_class(replace(CONFIG, optimizer="adamw_8bit"))


def test_the_optimizer_has_the_settings_and_the_layers(base_folder):
    model = adapted(base_folder)

    optimizer = make_optimizer(model, replace(CONFIG, learning_rate=0.5, betas=(0.1, 0.2), weight_decay=0.3))

    (group,) = optimizer.param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.5, (0.1, 0.2), 0.3)
    assert [id(each) for each in group["params"]] == [id(each) for each in model.trained()]
