"""The two tiny base models that come with the repository, made ready to load on the first need."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from scoring import checkpoints

if TYPE_CHECKING:
    import torch

SHIPPED = Path(__file__).parent / "weights"
"""What is in the repository: fp16 weights without the untaught words, and `manifest.json` with how they were made."""
CLIP_FILE, DIFFUSION_FILE = "tiny-clip.safetensors", "tiny-diffusion.safetensors"
LARGEST_SHIPPED_BYTES = 10 * 2**20
"""All shipped files together stay below this."""

VOCABULARY = 49408
"""Words of CLIP's tokenizer."""
ROWS, ROW_IDS = "token_embedding.rows", "token_embedding.row_ids"
"""The taught rows of the token table and which words they are, in the shipped file."""


class UnableToUnpack(ValueError):
    """The shipped weights are missing or are not those of their manifest; the message says what to do."""


class BaseModels(NamedTuple):
    """Where the two models stand, ready to load."""

    clip: Path
    """An artefact of `scoring.checkpoints`, for `scoring.hps.load_scorer`."""
    diffusion: Path
    """A folder of diffusers with a `manifest.json`, for `worker.generation.pipeline.load_pipeline`."""


def unpack(into: Path, shipped: Path = SHIPPED) -> BaseModels:
    """Write the two base models as `tiny-clip/` and `tiny-diffusion/`, each whole or not at all.

    A folder already there from the same shipped weights is left alone, one from other weights is replaced.

    Raises:
        UnableToUnpack: the shipped files are missing or were changed.
    """
    models = BaseModels(clip=into / "tiny-clip", diffusion=into / "tiny-diffusion")
    source = _source(shipped)
    missing = [folder for folder in models if _unpacked_from(folder) != source]
    if not missing:
        return models
    about = _checked_manifest(shipped)
    clip_weights = full_clip_weights(_read(shipped / CLIP_FILE), about["clip"]["table_seed"])
    if models.clip in missing:
        _write_clip(models.clip, clip_weights, about, source)
    if models.diffusion in missing:
        _write_diffusion(models.diffusion, clip_weights, _read(shipped / DIFFUSION_FILE), about, source)
    return models


def full_clip_weights(packed: Mapping[str, "torch.Tensor"], table_seed: int) -> dict[str, "torch.Tensor"]:
    """The tiny CLIP's weights in float32 with the whole token table, (49408, 96), from what is shipped.

    The untaught rows come from the seed and have the taught rows' mean length: a word never seen is then as distinct
    as any other, where rows near zero would make all such words one.
    """
    import torch  # slow import

    weights = {name: value.float() for name, value in packed.items() if name not in {ROWS, ROW_IDS}}
    rows, row_ids = packed[ROWS].float(), packed[ROW_IDS].long()
    noise = np.random.default_rng(table_seed).standard_normal((VOCABULARY, rows.shape[1]), dtype=np.float32)
    length = rows.norm(dim=1).mean()
    table = torch.nn.functional.normalize(torch.from_numpy(noise), dim=1) * length
    table[row_ids] = rows
    return {**weights, "token_embedding.weight": table}


def _write_clip(folder: Path, weights: dict[str, "torch.Tensor"], about: dict[str, Any], source: str) -> None:
    part = about["clip"]
    checkpoints.write(
        folder,
        weights,
        {
            "kind": "clip",
            "name": "tiny-clip",
            "is_synthetic": True,
            "unpacked_from": source,
            "model": part["model"],
            "preprocessing": part["preprocessing"],
            "config": part["training"],
            "seed": part["training"]["seed"],
            "metrics": part["metrics"],
        },
    )


def _write_diffusion(
    folder: Path,
    clip_weights: dict[str, "torch.Tensor"],
    weights: dict[str, "torch.Tensor"],
    about: dict[str, Any],
    source: str,
) -> None:
    from hps_site.demo import toy_diffusion  # slow import

    part = about["diffusion"]
    pipeline = toy_diffusion.pipeline_from(clip_weights, weights)
    with checkpoints.whole_or_absent(folder) as unfinished:
        pipeline.save_pretrained(unfinished)
        checkpoints.write_json(
            unfinished / checkpoints.MANIFEST,
            {
                "kind": "diffusion",
                "name": "tiny-diffusion",
                "is_synthetic": True,
                "unpacked_from": source,
                "config": part["training"],
                "seed": part["training"]["seed"],
                "metrics": part["metrics"],
                "format": checkpoints.FORMAT,
                "libraries": checkpoints.library_versions(),
            },
        )


def _checked_manifest(shipped: Path) -> dict[str, Any]:
    about = checkpoints.read_json(shipped / checkpoints.MANIFEST)
    for part, name in (("clip", CLIP_FILE), ("diffusion", DIFFUSION_FILE)):
        if checkpoints.file_sha256(shipped / name) != about[part]["sha256"]:
            raise UnableToUnpack(f"{shipped / name} is not the file of its manifest; check it out again.")
    return about


def _source(shipped: Path) -> str:
    """Names the shipped weights: the hash of their manifest, which holds the hashes of the files."""
    manifest = shipped / checkpoints.MANIFEST
    if not manifest.is_file():
        raise UnableToUnpack(f"{manifest} is missing; check it out again, or make the weights with: make toy-weights")
    return checkpoints.file_sha256(manifest)


def _unpacked_from(folder: Path) -> str | None:
    manifest = folder / checkpoints.MANIFEST
    if not manifest.is_file():
        return None
    return json.loads(manifest.read_text(encoding="utf-8")).get("unpacked_from")


def _read(path: Path) -> dict[str, "torch.Tensor"]:
    from safetensors.torch import load_file  # slow import

    return load_file(path)
