"""The aesthetic score: what a small head on CLIP's image embedding makes of a picture, whatever its prompt.

Manifest: as in `scoring.hps`, with `"kind": "aesthetic"` and `"head": "mlp"` or `"linear"` under `model`. The weights
are the image half of CLIP under `visual.` and the head under `head.`, so that the folder needs no other.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from scoring import checkpoints, hps
from scoring.backend import pick_device
from scoring.checkpoints import CheckpointRejected
from scoring.halves import encode_image, for_scoring
from scoring.preprocessing import Preprocessing

KIND = "aesthetic"

HeadName = Literal["mlp", "linear"]


class AestheticHead(nn.Module):
    """From an image embedding of length one, (n, embed_dim), to one number per image, (n,).

    `mlp` is the published one, embed_dim-1024-128-64-16-1 without activations, with dropout .2, .2, .1 between the
    first four (christophschuhmann/improved-aesthetic-predictor, simple_inference.py); its names `layers.0.weight`,
    `layers.2.weight`, ... are kept, so that its file loads as it is. `linear` is a single layer: as the published one
    has no activations, the two can say the same.
    """

    def __init__(self, embed_dim: int, head: HeadName = "mlp") -> None:
        super().__init__()
        if head == "linear":
            self.layers = nn.Sequential(nn.Linear(embed_dim, 1))
            return
        self.layers = nn.Sequential(
            nn.Linear(embed_dim, 1024),
            nn.Dropout(0.2),
            nn.Linear(1024, 128),
            nn.Dropout(0.2),
            nn.Linear(128, 64),
            nn.Dropout(0.1),
            nn.Linear(64, 16),
            nn.Linear(16, 1),
        )

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.layers(embeddings)
        return scores.squeeze(-1)


class AestheticScorer:
    """The image half of a CLIP model with a head; the prompt is not looked at.

    With the published weights the range is about 1..10, as people rated the pictures it was trained on; with a head
    trained on choices the zero is arbitrary and only differences within one prompt mean something.
    """

    def __init__(
        self,
        visual: nn.Module,
        head: AestheticHead,
        preprocessing: Preprocessing,
        manifest: dict[str, Any],
        device: torch.device,
    ) -> None:
        self.visual = for_scoring(visual.to(device))
        self.head = head.to(device).eval().requires_grad_(False)
        self.preprocessing = preprocessing
        self.manifest = manifest
        self.kind = KIND
        self.device = device

    def score(self, images: Sequence[Image.Image], prompt: str) -> NDArray[np.float64]:
        """One number per picture, (n,), higher is better; the prompt is there for the common form alone."""
        return np.fromiter(self.score_pairs((image, prompt) for image in images), dtype=np.float64)

    def score_pairs(self, pairs: Iterable[tuple[Image.Image, str]], batch_size: int | None = None) -> Iterator[float]:
        """One number per picture, in order, worked out batch by batch while the pairs are read."""
        images = (image for image, _ in pairs)
        while batch := list(islice(images, batch_size or hps.batch_for(self.device))):
            yield from self._score_batch(batch).tolist()

    @torch.inference_mode()
    def _score_batch(self, images: Sequence[Image.Image]) -> torch.Tensor:
        squares = np.stack([self.preprocessing.square(image) for image in images])
        pixels = torch.from_numpy(self.preprocessing.normalise(squares)).to(self.device)
        embeddings = nn.functional.normalize(encode_image(self.visual, pixels), dim=-1)
        scores: torch.Tensor = self.head(embeddings).double()
        return scores


def load(folder: Path, device: str | None = None) -> AestheticScorer:
    """The scorer in an artefact's folder.

    Raises:
        CheckpointRejected: the folder is no whole artefact of kind `aesthetic`, or its weights don't fit.
    """
    tensors, manifest = checkpoints.read(folder)
    if manifest.get("kind") != KIND:
        raise CheckpointRejected(f"{folder}: kind {manifest.get('kind')!r}, needed is {KIND}.")
    clip, preprocessing = hps.build_from_manifest(folder, manifest)
    head = AestheticHead(clip.visual.output_dim, manifest["model"].get("head", "mlp"))
    hps.load_weights(folder, clip.visual, _under("visual.", tensors))
    hps.load_weights(folder, head, _under("head.", tensors))
    return AestheticScorer(clip.visual, head, preprocessing, manifest, pick_device(device))


def save(folder: Path, clip: nn.Module, head: AestheticHead, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Write a head together with the image half of the CLIP model it was trained on.

    Args:
        folder: where the artefact shall stand.
        clip: the CLIP model.
        head: as trained.
        manifest: `model` with the CLIP model's architecture, `preprocessing`, and what is known of the training.

    Returns:
        The manifest as written.
    """
    tensors = {f"head.{name}": tensor for name, tensor in head.state_dict().items()}
    tensors |= {name: tensor for name, tensor in clip.state_dict().items() if name.startswith("visual.")}
    head_name: HeadName = "linear" if len(head.layers) == 1 else "mlp"
    complete = {**manifest, "kind": KIND, "model": {**manifest["model"], "head": head_name}}
    return checkpoints.write(folder, tensors, complete)


def head_of(tensors: Mapping[str, torch.Tensor]) -> HeadName | None:
    """Which of the heads published by LAION this is, by the names of its weights, or None."""
    if set(tensors) == {"weight", "bias"} and tensors["weight"].shape[0] == 1:
        return "linear"
    return "mlp" if tensors and all(name.startswith("layers.") for name in tensors) else None


def import_published_head(
    path: Path, clip_folder: Path, folder: Path, *, name: str = "", resize: str = "shortest"
) -> dict[str, Any]:
    """Join a published head with a CLIP artefact of the model it was trained on, once.

    Args:
        path: `sac+logos+ava1-l14-linearMSE.pth` of christophschuhmann/improved-aesthetic-predictor, or
            `sa_0_4_vit_l_14_linear.pth` and its like of LAION-AI/aesthetic-predictor. Heads with an activation
            (`reluMSE`) have other names and are refused.
        clip_folder: the artefact of OpenAI's ViT-L/14 for these files.
        folder: where the artefact shall stand.
        name: for people; by default the file's.
        resize: see `Preprocessing`; the published heads were trained on the middle of pictures.

    Returns:
        The manifest as written.

    Raises:
        CheckpointRejected: the file can't be read without running code or is another model's, or there is no CLIP.
    """
    clip, preprocessing, base = hps.load_clip(clip_folder)
    tensors = checkpoints.convert_torch_file(path)
    kind = head_of(tensors) or "mlp"
    head = AestheticHead(clip.visual.output_dim, kind)
    if kind == "linear":
        tensors = {f"layers.0.{part}": tensor for part, tensor in tensors.items()}
    hps.load_weights(path, head, tensors)
    manifest = {
        "name": name or path.stem,
        "is_synthetic": bool(base.get("is_synthetic", False)),
        "model": base["model"],
        "preprocessing": replace(preprocessing, resize=resize).to_manifest(),
        "base": {"name": base.get("name"), "sha256": base["weights"]["sha256"]},
        "converted_from": {"file": path.name, "sha256": checkpoints.file_sha256(path)},
    }
    return save(folder, clip, head, manifest)


def _under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
