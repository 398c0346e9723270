"""A finished adapter on disk: diffusers' file, the same for kohya's readers, and the manifest."""

from pathlib import Path
from typing import Any

import torch

from scoring import checkpoints
from worker.adapter import kohya
from worker.adapter.config import AdapterConfig
from worker.adapter.model import AdaptedModel

WEIGHTS = "pytorch_lora_weights.safetensors"
"""The name that diffusers' `load_lora_weights` looks for."""

KOHYA_WEIGHTS = "kohya_lora_weights.safetensors"
"""For AUTOMATIC1111, ComfyUI and others."""


def write(folder: Path, model: AdaptedModel, config: AdapterConfig, record: dict[str, Any]) -> dict[str, Any]:
    """Write the adapter, whole or not at all, and give its manifest.

    In diffusers' file lora_alpha / rank is multiplied into the weights, so that every version of diffusers applies the
    adapter as it was trained, with or without its metadata.

    Args:
        record: what the manifest says beside what is filled in here; see `scoring.checkpoints.write`.
    """
    from diffusers import StableDiffusionPipeline

    unet, text_encoder = layers_of(model.unet), layers_of(model.text_encoder)
    with checkpoints.whole_or_absent(folder) as unfinished:
        StableDiffusionPipeline.save_lora_weights(
            unfinished,
            unet_lora_layers=_scaled(unet, config.lora_scale),
            text_encoder_lora_layers=_scaled(kohya.with_text_model(text_encoder), config.lora_scale) or None,
            weight_name=WEIGHTS,
            safe_serialization=True,
        )
        alpha = config.lora_scale * config.rank
        kohya.write(
            unfinished / KOHYA_WEIGHTS,
            unet,
            text_encoder,
            alpha=alpha,
            metadata=kohya.metadata_of(
                rank=config.rank,
                alpha=alpha,
                dropout=config.lora_dropout,
                cross_attention_width=model.unet.config.cross_attention_dim,
                prediction=record["prediction_type"],
                title=f"adapter of {record['base']['name']}",
                mark=config.mark,
            ),
        )
        manifest = {
            **record,
            "kind": "adapter",
            "name": f"adapter of {record['base']['name']}",
            "format": checkpoints.FORMAT,
            "libraries": checkpoints.library_versions(),
            "git_commit": checkpoints.git_commit(),
            "weights": _file_record(unfinished / WEIGHTS),
            "kohya": _file_record(unfinished / KOHYA_WEIGHTS),
        }
        checkpoints.write_json(unfinished / checkpoints.MANIFEST, manifest)
        for path in unfinished.iterdir():
            # safetensors writes for its own user alone; the site may run as another than the worker.
            path.chmod((unfinished / checkpoints.MANIFEST).stat().st_mode)
    return manifest


def layers_of(part: Any) -> dict[str, torch.Tensor]:
    """The LoRA matrices of a part of the model by peft's names; none where it isn't adapted."""
    from peft import get_peft_model_state_dict

    return {} if part is None else dict(get_peft_model_state_dict(part))


def _scaled(layers: dict[str, torch.Tensor], scale: float) -> dict[str, torch.Tensor]:
    return {name: matrix * scale if name.endswith(".lora_B.weight") else matrix for name, matrix in layers.items()}


def _file_record(path: Path) -> dict[str, Any]:
    return {"file": path.name, "sha256": checkpoints.file_sha256(path), "bytes": path.stat().st_size}
