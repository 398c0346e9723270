"""The tiny CLIP: open_clip's own class at small size, taught on drawn scenes which picture belongs to which caption.

Good and defective drawings are shown with the same caption, so that it learns what a picture shows and not how well:
that is left to the votes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

import scoring.backend  # noqa: F401  before open_clip: makes its own import of torchvision possible

import open_clip  # isort: skip

from hps_site.demo.base_models import ROW_IDS, ROWS, VOCABULARY
from hps_site.demo.scenes import Scene, draw, every_scene, random_defects

CONTEXT_LENGTH = 24
WIDTH = 96
ARCHITECTURE: dict[str, Any] = {
    "embed_dim": WIDTH,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": WIDTH, "layers": 4, "head_width": 24},
    "text_cfg": {
        "context_length": CONTEXT_LENGTH,
        "vocab_size": VOCABULARY,
        "width": WIDTH,
        "heads": 4,
        "layers": 3,
    },
    "quick_gelu": False,
}
"""The arguments of `open_clip.CLIP`, as a checkpoint's manifest has them."""
PREPROCESSING: dict[str, Any] = {"size": 32, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "resize": "longest"}
"""How it sees pictures, as a checkpoint's manifest has it."""
FIRST_LOGIT_SCALE, LAST_LOGIT_SCALE = 14.0, 100.0
"""Ramped, not learnt: left to itself it ends near 18, and softmax(100 cos) is then far too sure of itself."""


@dataclass(frozen=True)
class ClipTraining:
    """How long and how the tiny CLIP is taught."""

    steps: int = 450
    batch: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup_steps: int = 40
    seed: int = 1
    clean_share: float = 0.5


def pixels(images: Sequence[np.ndarray]) -> torch.Tensor:
    """Pictures as the tiny CLIP wants them: uint8 (N, 32, 32, 3) in, float (N, 3, 32, 32) out."""
    values = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    mean = torch.tensor(PREPROCESSING["mean"]).view(3, 1, 1)
    deviation = torch.tensor(PREPROCESSING["std"]).view(3, 1, 1)
    return (values - mean) / deviation


def tokens(texts: Sequence[str]) -> torch.Tensor:
    """Token ids (N, 24), by open_clip's own tokenizer."""
    return open_clip.SimpleTokenizer(context_length=CONTEXT_LENGTH)(list(texts))


def caption_tokens() -> np.ndarray:
    """The ids that occur in captions, sorted; the only rows of the token table that are ever taught."""
    return np.unique(tokens([scene.caption for scene in every_scene()]).numpy())


def build(vocabulary: int = VOCABULARY) -> open_clip.CLIP:
    """An untaught tiny CLIP."""
    text = {**ARCHITECTURE["text_cfg"], "vocab_size": vocabulary}
    return open_clip.CLIP(**{**ARCHITECTURE, "text_cfg": text})


def train(
    training: ClipTraining, scenes: Sequence[Scene], on_step: Callable[[int, float], None] = lambda _step, _loss: None
) -> dict[str, torch.Tensor]:
    """Teach a tiny CLIP on drawings of `scenes`; gives its weights as they are shipped, but in float32.

    Of the token table it has the taught rows alone; `base_models.full_clip_weights` makes the rest.
    `on_step` gets the number of steps done and the loss. Same settings, same machine: same weights.
    """
    torch.manual_seed(training.seed)
    rng = np.random.default_rng(training.seed)
    rows = caption_tokens()
    # The end of text keeps the highest id among the rows kept, which is how open_clip finds where to read the text.
    all_tokens = torch.from_numpy(np.searchsorted(rows, tokens([scene.caption for scene in scenes]).numpy()))
    model = build(vocabulary=len(rows))
    model.logit_scale.requires_grad_(False)
    optimizer = torch.optim.AdamW(_groups(model, training.weight_decay), lr=training.learning_rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, training))
    for step in range(training.steps):
        chosen = rng.choice(len(scenes), size=min(training.batch, len(scenes)), replace=False)
        images = pixels([draw(scenes[i], rng, random_defects(rng, training.clean_share)) for i in chosen])
        scale = _logit_scale(step, training.steps)
        similarity = (
            model.encode_image(images, normalize=True) @ model.encode_text(all_tokens[chosen], normalize=True).T
        )
        answers = torch.arange(len(chosen))
        loss = (F.cross_entropy(scale * similarity, answers) + F.cross_entropy(scale * similarity.T, answers)) / 2
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        on_step(step + 1, loss.item())
    model.logit_scale.fill_(math.log(LAST_LOGIT_SCALE))
    weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
    weights[ROWS] = weights.pop("token_embedding.weight")
    weights[ROW_IDS] = torch.from_numpy(rows.astype(np.int32))
    return weights


@torch.inference_mode()
def recall_at_1(model: open_clip.CLIP, scenes: Sequence[Scene], seed: int) -> float:
    """How often the nearest of all the scenes' captions is a clean drawing's own; chance is 1 / number of scenes."""
    rng = np.random.default_rng(seed)
    images = model.encode_image(pixels([draw(scene, rng) for scene in scenes]), normalize=True)
    texts = model.encode_text(tokens([scene.caption for scene in scenes]), normalize=True)
    nearest = (images @ texts.T).argmax(1)
    return (nearest == torch.arange(len(scenes))).float().mean().item()


@torch.inference_mode()
def scores(model: open_clip.CLIP, images: Sequence[Image.Image], caption: str) -> np.ndarray:
    """100 * cosine of each picture with the caption, (n,)."""
    pictures = model.encode_image(pixels([np.asarray(image) for image in images]), normalize=True)
    return (100 * pictures @ model.encode_text(tokens([caption]), normalize=True)[0]).numpy()


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    return [
        {"params": [weight for weight in trained if weight.ndim > 1], "weight_decay": weight_decay},
        {"params": [weight for weight in trained if weight.ndim <= 1], "weight_decay": 0.0},
    ]


def _rate(step: int, training: ClipTraining) -> float:
    if step < training.warmup_steps:
        return (step + 1) / training.warmup_steps
    done = (step - training.warmup_steps) / max(1, training.steps - training.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * done))


def _logit_scale(step: int, steps: int) -> float:
    return FIRST_LOGIT_SCALE * (LAST_LOGIT_SCALE / FIRST_LOGIT_SCALE) ** (step / max(1, steps - 1))
