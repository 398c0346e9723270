"""The file for AUTOMATIC1111 and ComfyUI: names as kohya's, and the same adapter when it is read."""

import pytest
import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig, get_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel

from worker.adapter import kohya
from worker.adapter.config import ATTENTION, TEXT_ATTENTION

# Stable Diffusion 1.x as kohya's sd-scripts name it. The lists were compared with the 264 modules of a published file's
# key table (PaddleNLP, ppdiffusers/webui_lora_helper.py).
BLOCKS = [
    *(f"down_blocks_{block}_attentions_{place}" for block in (0, 1, 2) for place in (0, 1)),
    "mid_block_attentions_0",
    *(f"up_blocks_{block}_attentions_{place}" for block in (1, 2, 3) for place in (0, 1, 2)),
]
UNET_ATTENTION = [
    f"lora_unet_{block}_transformer_blocks_0_{attention}_{layer}"
    for block in BLOCKS
    for attention in ("attn1", "attn2")
    for layer in ("to_q", "to_k", "to_v", "to_out_0")
]
UNET_OTHERS = [
    f"lora_unet_{block}_{layer}"
    for block in BLOCKS
    for layer in ("proj_in", "transformer_blocks_0_ff_net_0_proj", "transformer_blocks_0_ff_net_2", "proj_out")
]
TEXT_LAYERS = [f"lora_te_text_model_encoder_layers_{number}" for number in range(12)]
TEXT = [f"{layer}_self_attn_{part}" for layer in TEXT_LAYERS for part in TEXT_ATTENTION]
TEXT_OTHERS = [f"{layer}_mlp_{part}" for layer in TEXT_LAYERS for part in ("fc1", "fc2")]


@pytest.fixture
def stable_diffusion() -> tuple[UNet2DConditionModel, CLIPTextModel]:
    """The parts of Stable Diffusion 1.x, without memory for their weights."""
    with torch.device("meta"):
        return UNet2DConditionModel(cross_attention_dim=768), CLIPTextModel(
            CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
        )


def names_of(prefix: str, part, layers) -> set[str]:
    """Kohya's names for an adapter of these layers."""
    with torch.device("meta"):
        part.add_adapter(LoraConfig(r=1, target_modules=list(layers)), adapter_name=str(len(layers)))
    state = get_peft_model_state_dict(part, adapter_name=str(len(layers)))
    matrices = {name: torch.zeros(1) for name in state}
    return set(kohya.tensors_of(prefix, matrices if prefix == "lora_unet" else kohya.with_text_model(matrices), 1.0))


def keys(modules) -> set[str]:
    endings = ("lora_down.weight", "lora_up.weight", "alpha")
    return {f"{module}.{ending}" for module in modules for ending in endings}


def by_kohyas_rule(unet) -> set[str]:
    """`LoRANetwork.create_modules`: every linear layer and 1 x 1 convolution in a Transformer2DModel."""
    return {
        f"lora_unet.{name}.{child}".replace(".", "_")
        for name, module in unet.named_modules()
        if type(module).__name__ == "Transformer2DModel"
        for child, layer in module.named_modules()
        if type(layer).__name__ in {"Linear", "Conv2d"}
    }


def test_names_of_stable_diffusion_are_kohyas(stable_diffusion):
    unet, text_encoder = stable_diffusion
    assert (len(UNET_ATTENTION), len(UNET_OTHERS), len(TEXT), len(TEXT_OTHERS)) == (128, 64, 48, 24)
    assert by_kohyas_rule(unet) == {*UNET_ATTENTION, *UNET_OTHERS}

    assert names_of("lora_unet", unet, ATTENTION) == keys(UNET_ATTENTION)
    assert names_of("lora_te", text_encoder, TEXT_ATTENTION) == keys(TEXT)


def test_names_of_all_layers_that_kohya_adapts_are_kohyas(stable_diffusion):
    unet, text_encoder = stable_diffusion
    everywhere = (*ATTENTION, "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2")

    assert names_of("lora_unet", unet, everywhere) == keys([*UNET_ATTENTION, *UNET_OTHERS])
    assert names_of("lora_te", text_encoder, (*TEXT_ATTENTION, "fc1", "fc2")) == keys([*TEXT, *TEXT_OTHERS])


def test_with_text_model_names_layers_alike_in_all_versions_of_transformers():
    old, new = "text_model.encoder.layers.0.mlp.fc1.lora_A.weight", "encoder.layers.0.mlp.fc1.lora_A.weight"

    assert kohya.with_text_model({old: torch.ones(1)}).keys() == kohya.with_text_model({new: torch.ones(1)}).keys()


def test_write_gives_half_precision_matrices_with_alpha_rank_and_the_mark(tmp_path):
    down, up = torch.randn(2, 5), torch.randn(3, 2)
    layers = {"mid_block.a.to_out.0.lora_A.weight": down, "mid_block.a.to_out.0.lora_B.weight": up}
    metadata = kohya.metadata_of(
        rank=2,
        alpha=0.5,
        dropout=0.1,
        cross_attention_width=768,
        prediction="epsilon",
        title="adapter of SD",
        mark="Weird image. ",
    )

    kohya.write(tmp_path / "a.safetensors", layers, {}, alpha=0.5, metadata=metadata)

    tensors = load_file(tmp_path / "a.safetensors")
    name = "lora_unet_mid_block_a_to_out_0"
    assert tensors.keys() == {f"{name}.lora_down.weight", f"{name}.lora_up.weight", f"{name}.alpha"}
    assert torch.equal(tensors[f"{name}.lora_down.weight"], down.half())
    assert torch.equal(tensors[f"{name}.lora_up.weight"], up.half())
    assert (tensors[f"{name}.alpha"].item(), tensors[f"{name}.alpha"].shape) == (0.5, ())
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert file.metadata() == metadata
    assert (metadata["ss_network_dim"], metadata["ss_network_alpha"]) == ("2", "0.5")
    assert metadata["modelspec.usage_hint"] == "Use with the negative prompt 'Weird image. '."


@pytest.mark.parametrize(
    ("width", "prediction", "architecture"),
    [
        (768, "epsilon", "stable-diffusion-v1/lora"),
        (1024, "epsilon", "stable-diffusion-v2/lora"),
        (1024, "v_prediction", "stable-diffusion-v2-768-v/lora"),
    ],
)
def test_metadata_tells_which_stable_diffusion_it_is_for(width, prediction, architecture):
    metadata = kohya.metadata_of(
        rank=2, alpha=2, dropout=0, cross_attention_width=width, prediction=prediction, title="", mark="x"
    )

    assert metadata["modelspec.architecture"] == architecture
    assert metadata["ss_v2"] == str(width == 1024)
