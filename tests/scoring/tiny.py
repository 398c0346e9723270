"""Models so small that a test makes them anew, and pictures for them."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from scoring import checkpoints, hps
from scoring.preprocessing import Preprocessing

ARCHITECTURE: dict[str, Any] = {
    "embed_dim": 8,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 16, "patch_size": 8, "width": 16, "layers": 3, "head_width": 8},
    "text_cfg": {"context_length": 10, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 3},
}
PREPROCESSING = Preprocessing(size=16)


def clip(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return hps.build_clip(ARCHITECTURE)


def write_clip(folder: Path, *, kind: str = "clip", seed: int = 0, **more: Any) -> Path:
    manifest = {
        "kind": kind,
        "name": "tiny",
        "model": {"architecture": ARCHITECTURE},
        "preprocessing": PREPROCESSING.to_manifest(),
    }
    checkpoints.write(folder, clip(seed).state_dict(), manifest | more)
    return folder


def picture(brightness: int, *, seed: int = 0, size: tuple[int, int] = (16, 16)) -> Image.Image:
    noise = np.random.default_rng(seed).integers(-20, 20, (size[1], size[0], 3))
    return Image.fromarray(np.clip(noise + brightness, 0, 255).astype(np.uint8))
