"""Published scorers, converted once into artefacts: HPS v1 and v2, PickScore, and LAION's aesthetic heads.

Nothing in a file of weights tells with which activation it was trained, and with the other one a model gives other,
worse scores without any error. So it is taken from the folder's `config.json`, from what is known of a published file,
or from the caller; never guessed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch

from scoring import aesthetic, checkpoints, hps
from scoring.checkpoints import CheckpointRejected
from scoring.hps import Architecture
from scoring.preprocessing import Preprocessing

import open_clip  # isort: skip # after scoring.hps, which makes its import of torchvision possible


@dataclass(frozen=True)
class Published:
    """A file that is known by its name."""

    pattern: str
    architecture: str


PUBLISHED = (
    # tgxs002/align_sd README: `clip.load("ViT-L/14")`, so OpenAI's model and its QuickGELU.
    Published("hpc*.p*", "ViT-L-14-quickgelu"),
    # tgxs002/HPSv2 img_score.py: `create_model_and_transforms("ViT-H-14", "laion2B-s32B-b79K", ...)`.
    Published("HPS_v2*.pt", "ViT-H-14"),
)

CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"

# Names within a block: open_clip's, and transformers'. Attention's three projections, one in open_clip, are apart.
BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}

# Names outside of the blocks.
OUTSIDE = {
    "logit_scale": "logit_scale",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
}

# transformers keeps them as linear layers, (out, in); open_clip as matrices, (in, out).
TURNED = {"text_projection": "text_projection.weight", "visual.proj": "visual_projection.weight"}


def convert(
    path: Path,
    folder: Path,
    *,
    name: str,
    kind: str = "hps",
    architecture: Architecture | None = None,
    resize: str | None = None,
    clip_folder: Path | None = None,
) -> dict[str, Any]:
    """Turn a foreign scorer into an artefact that `scoring.hps.load_scorer` takes.

    Args:
        path: a folder that transformers' `CLIPModel.save_pretrained` wrote, such as PickScore's; a file with
            open_clip's weights, such as `hpc.pt` or `HPS_v2.1_compressed.pt`; or a published aesthetic head.
        folder: where the artefact shall stand.
        name: for people.
        kind: `hps` for what was trained on people's choices, `clip` for what was not; a head is always `aesthetic`.
        architecture: what open_clip calls the model, see `scoring.hps.build_clip`; for a file that is not known by
            its name. A folder says it itself.
        resize: `longest` or `shortest`, see `Preprocessing`. By default what a folder says, `shortest` for an
            aesthetic head, and `longest` for other files: so HPS v1 and v2 were trained. The released scorer of v1
            crops, give `shortest` for its numbers.
        clip_folder: for an aesthetic head, the artefact of the CLIP that it stands on.

    Returns:
        The manifest.

    Raises:
        CheckpointRejected: the weights can't be read without running code, are no such model's, or are not said to
            be of a certain activation.
    """
    if path.is_dir():
        if architecture is not None:
            raise CheckpointRejected(f"{path}: its {CONFIG} says what model it is; leave the architecture out.")
        return _convert_folder(path, folder, name, kind, resize)
    tensors = checkpoints.convert_torch_file(path)
    if aesthetic.head_of(tensors):
        if clip_folder is None:
            raise CheckpointRejected(f"{path}: is an aesthetic head; say which CLIP it stands on.")
        return aesthetic.import_published_head(path, clip_folder, folder, name=name, resize=resize or "shortest")
    architecture = _architecture(path, architecture)
    return hps.import_clip_file(
        path,
        folder,
        architecture=architecture,
        preprocessing=Preprocessing(size=_image_size(architecture), resize=resize or "longest"),
        kind=kind,
        name=name,
    )


def _architecture(path: Path, asked: Architecture | None) -> Architecture:
    """What a file's model is, which must be the asked where the file is known."""
    known = next((each for each in PUBLISHED if fnmatch(path.name, each.pattern)), None)
    if known and asked not in (None, known.architecture):
        raise CheckpointRejected(
            f"{path}: a file of this name is a {known.architecture}, not {asked}; give it another name if it isn't."
        )
    if asked is None and known is None:
        fitting = ", ".join(_fitting(hps.clip_tensors(path))) or "none that open_clip knows"
        raise CheckpointRejected(
            f"{path}: its weights don't tell the activation; name the architecture. Of its shape: {fitting}."
            " What was trained from OpenAI's weights needs one with -quickgelu."
        )
    return asked or known.architecture  # type: ignore[union-attr] # one of them is there


def _fitting(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Names of open_clip's architectures of the class CLIP whose weights have these shapes."""
    needed = (hps.STEM, "visual.positional_embedding", "visual.proj", "positional_embedding", "token_embedding.weight")
    if not all(name in tensors for name in needed):
        return []
    image, text = ({name for name in tensors if name.startswith(f"{stem}transformer.")} for stem in ("visual.", ""))
    stem, patches, projection, positions, tokens = (tensors[name].shape for name in needed)
    shape = {
        "embed_dim": projection[1],
        "vision_cfg": {
            "width": stem[0], "patch_size": stem[-1], "layers": _blocks(image),
            "image_size": round((patches[0] - 1) ** 0.5) * stem[-1],
        },
        "text_cfg": {
            "width": tokens[1], "vocab_size": tokens[0], "context_length": positions[0], "layers": _blocks(text),
        },
    }  # fmt: skip
    records = {name: open_clip.get_model_config(name) or {} for name in open_clip.list_models()}
    known = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"}
    return [name for name, record in records.items() if record.keys() <= known and _has(record, shape)]


def _blocks(names: set[str]) -> int:
    return len({name.partition("resblocks.")[2].partition(".")[0] for name in names})


def _has(record: Mapping[str, Any], shape: Mapping[str, Any]) -> bool:
    return all(
        _has(record.get(key, {}), value) if isinstance(value, dict) else record.get(key) == value
        for key, value in shape.items()
    )


def _image_size(architecture: Architecture) -> int:
    record = open_clip.get_model_config(architecture) if isinstance(architecture, str) else architecture
    if record is None:
        raise CheckpointRejected(f"open_clip knows no model {architecture!r}.")
    return int(record["vision_cfg"]["image_size"])


def _convert_folder(path: Path, folder: Path, name: str, kind: str, resize: str | None) -> dict[str, Any]:
    architecture = _architecture_of_folder(path)
    weights = next(
        (path / file for file in ("model.safetensors", "pytorch_model.bin") if (path / file).is_file()), None
    )
    if weights is None:
        raise CheckpointRejected(f"{path}: holds neither model.safetensors nor pytorch_model.bin.")
    tensors = to_open_clip(weights, checkpoints.convert_torch_file(weights), architecture)
    model = hps.build_clip(architecture)
    hps.load_weights(weights.parent, model, tensors)
    return checkpoints.write(
        folder,
        tensors,
        {
            "kind": kind,
            "name": name,
            "is_synthetic": False,
            "model": {"architecture": architecture},
            "preprocessing": _preprocessing_of_folder(path, architecture, resize).to_manifest(),
            "scale": model.logit_scale.exp().item(),
            "converted_from": {"file": weights.name, "sha256": checkpoints.file_sha256(weights)},
        },
    )


def _architecture_of_folder(path: Path) -> dict[str, Any]:
    """open_clip's description of the model that transformers' `config.json` describes."""
    from transformers import CLIPConfig  # its defaults fill in what the file leaves out

    record = checkpoints.read_json(path / CONFIG)
    if record.get("model_type") != "clip":
        raise CheckpointRejected(f"{path / CONFIG}: model_type {record.get('model_type')!r}, needed is clip.")
    config = CLIPConfig.from_dict(record)
    text, vision = config.text_config, config.vision_config
    activations = {text.hidden_act, vision.hidden_act}
    if len(activations) > 1 or not activations <= {"gelu", "quick_gelu"}:
        raise CheckpointRejected(
            f"{path / CONFIG}: hidden_act must be gelu or quick_gelu, the same in both halves, not {activations}."
        )
    if {text.layer_norm_eps, vision.layer_norm_eps} != {1e-5}:
        raise CheckpointRejected(f"{path / CONFIG}: layer_norm_eps must be 1e-5, as open_clip's is.")
    return {
        "embed_dim": config.projection_dim,
        "quick_gelu": activations == {"quick_gelu"},
        "vision_cfg": {
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
            "width": vision.hidden_size,
            "layers": vision.num_hidden_layers,
            "head_width": vision.hidden_size // vision.num_attention_heads,
            "mlp_ratio": vision.intermediate_size / vision.hidden_size,
        },
        "text_cfg": {
            "context_length": text.max_position_embeddings,
            "vocab_size": text.vocab_size,
            "width": text.hidden_size,
            "heads": text.num_attention_heads,
            "layers": text.num_hidden_layers,
            "mlp_ratio": text.intermediate_size / text.hidden_size,
        },
    }


def _preprocessing_of_folder(path: Path, architecture: Mapping[str, Any], resize: str | None) -> Preprocessing:
    """As CLIP's own processor, with the means and deviations of the folder's where it has one."""
    plain = Preprocessing(size=architecture["vision_cfg"]["image_size"], resize=resize or "shortest")
    if not (path / PROCESSOR).is_file():
        return plain
    record = checkpoints.read_json(path / PROCESSOR)
    mean, std = (tuple(record.get(key, default)) for key, default in
                 (("image_mean", plain.mean), ("image_std", plain.std)))  # fmt: skip
    return replace(plain, mean=mean, std=std)


def to_open_clip(
    path: Path, tensors: Mapping[str, torch.Tensor], architecture: Mapping[str, Any]
) -> dict[str, torch.Tensor]:
    """The weights of transformers' CLIPModel by open_clip's names.

    Args:
        path: of the file, for messages.
        tensors: as CLIPModel's `state_dict()`.
        architecture: see `scoring.hps.build_clip`.

    Raises:
        CheckpointRejected: one of them is missing.
    """
    try:
        named = {ours: tensors[theirs] for ours, theirs in OUTSIDE.items()}
        named |= {ours: tensors[theirs].T.contiguous() for ours, theirs in TURNED.items()}
        for half, ours, theirs in (("vision_cfg", "visual.", "vision_model"), ("text_cfg", "", "text_model")):
            for number in range(architecture[half]["layers"]):
                block = _block(tensors, f"{theirs}.encoder.layers.{number}")
                named |= {f"{ours}transformer.resblocks.{number}.{name}": tensor for name, tensor in block.items()}
    except KeyError as error:
        raise CheckpointRejected(f"{path}: lacks {error}, so it is no CLIPModel of transformers.") from error
    return named


def _block(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    block = {
        f"{ours}.{part}": tensors[f"{prefix}.{theirs}.{part}"]
        for ours, theirs in BLOCK.items()
        for part in ("weight", "bias")
    }
    for part in ("weight", "bias"):
        each = [tensors[f"{prefix}.self_attn.{one}_proj.{part}"] for one in "qkv"]
        block[f"attn.in_proj_{part}"] = torch.cat(each)
    return block
