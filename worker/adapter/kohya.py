"""The adapter in the naming of kohya's sd-scripts, which AUTOMATIC1111, ComfyUI and others read."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

Layers = Mapping[str, torch.Tensor]
"""LoRA matrices by peft's names: a layer's path, then `.lora_A.weight` (rank, in) or `.lora_B.weight` (out, rank)."""

MATRICES = {".lora_A.weight": ".lora_down.weight", ".lora_B.weight": ".lora_up.weight"}
"""peft's names of the two matrices and kohya's."""


def write(path: Path, unet: Layers, text_encoder: Layers, *, alpha: float, metadata: Mapping[str, str]) -> None:
    """Write a file in kohya's format: the matrices in fp16, and beside each pair its alpha, which the reader divides
    by the rank and multiplies with.

    Args:
        unet, text_encoder: the layers as trained; a part that is not adapted has none.
        metadata: of the file; `metadata_of` makes it.
    """
    tensors = tensors_of("lora_unet", unet, alpha) | tensors_of("lora_te", with_text_model(text_encoder), alpha)
    save_file(tensors, path, metadata=dict(metadata))


def tensors_of(prefix: str, layers: Layers, alpha: float) -> dict[str, torch.Tensor]:
    """The layers of one part under kohya's names: all dots of a path become underscores.

    Source: kohya-ss/sd-scripts `networks/lora.py`, `LoRANetwork.create_modules` and `LoRAModule`.
    """
    tensors = {}
    for name, matrix in layers.items():
        ending = next(ending for ending in MATRICES if name.endswith(ending))
        layer = f"{prefix}_{name.removesuffix(ending).replace('.', '_')}"
        tensors[layer + MATRICES[ending]] = matrix.detach().to("cpu", torch.float16).contiguous()
        tensors[f"{layer}.alpha"] = torch.tensor(alpha, dtype=torch.float16)
    return tensors


def metadata_of(
    *, rank: int, alpha: float, dropout: float, cross_attention_width: int, prediction: str, title: str, mark: str
) -> dict[str, str]:
    """What web interfaces show of a file, by kohya's keys and those of Stability's ModelSpec.

    Args:
        cross_attention_width: of the UNet, which tells Stable Diffusion 1.x from 2.x.
        prediction: `epsilon` or `v_prediction`.
    """
    is_second = cross_attention_width == 1024
    architecture = "stable-diffusion-v2" if is_second else "stable-diffusion-v1"
    if prediction == "v_prediction" and is_second:
        architecture += "-768-v"
    return {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(rank),
        "ss_network_alpha": f"{alpha:g}",
        "ss_network_dropout": f"{dropout:g}",
        "ss_v2": str(is_second),
        "ss_training_comment": f"Negative prompt: {mark}",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": f"{architecture}/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.title": title,
        "modelspec.prediction_type": "v" if prediction == "v_prediction" else "epsilon",
        "modelspec.usage_hint": f"Use with the negative prompt '{mark}'.",
    }


def with_text_model(layers: Layers) -> dict[str, torch.Tensor]:
    """Layers of the text encoder by the path they have in every version: transformers 5 left out `text_model.`."""
    return {f"text_model.{name.removeprefix('text_model.')}": matrix for name, matrix in layers.items()}
