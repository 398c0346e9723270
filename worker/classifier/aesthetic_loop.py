"""The training of the aesthetic head: what makes a picture win, whatever its prompt."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scoring import aesthetic, backend, hps
from scoring.losses import choice_loss, shared_targets
from scoring.preferences import Choice
from worker.classifier.config import AestheticConfig
from worker.classifier.data import ChoiceTable, ImageReader, OpenImage, batches, hold_out, tabulate
from worker.classifier.evaluation import measure
from worker.classifier.loop import cosine, sha256_of_choices
from worker.classifier.reports import (
    OnStep,
    ShouldStop,
    StepReport,
    TrainingCancelled,
    TrainingResult,
    UnableToTrain,
    never,
    tell_nobody,
)

EMBEDDED_AT_ONCE = 256


def train_aesthetic(
    config: AestheticConfig,
    choices: Sequence[Choice],
    open_image: OpenImage,
    base_folder: Path,
    out_folder: Path,
    on_step: OnStep = tell_nobody,
    should_stop: ShouldStop = never,
    *,
    device: str | None = None,
    is_synthetic: bool = False,
    hashes: Mapping[str, str] | None = None,
) -> TrainingResult:
    """Train a head on the embeddings of a frozen CLIP model to tell which image of each choice was chosen.

    The loss is that of the classifier with the head's number in place of the cosine, so no text comes into it. The
    embeddings are worked out once; after that a training takes seconds, which is why a killed one begins anew.

    Args:
        config: see `AestheticConfig`.
        choices: both sides of the split, as for `loop.train`, those left out that it leaves out.
        open_image: from an image's key to the picture; called from several threads.
        base_folder: artefact of kind `clip` or `hps` whose image half is used as it is.
        out_folder: the result will stand in `model/`.
        on_step: told of every step; what it raises ends the training.
        should_stop: asked before every step.
        device: by default CUDA where there is one.
        is_synthetic: whether the votes are simulated; the result is synthetic if they or the base are.
        hashes: SHA-256 of each image's file by key, by which copies on the other side of the split are found.

    Raises:
        UnableToTrain: there is nothing to train on, or all test choices are of what is trained on.
        UnableToReadImage: an image is missing or damaged.
        TrainingCancelled: `should_stop` said so.
        CheckpointRejected: the base can't be read.
    """

    def tell(stage: str, step: int, total: int, **more: Any) -> None:
        if should_stop():
            raise TrainingCancelled(f"Cancelled while {stage}, at {step} of {total}.")
        on_step(StepReport(stage, step, total, **more))

    table = tabulate(choices)
    train_rows = table.rows("train")
    if not len(train_rows):
        raise UnableToTrain("There are no choices to train on; collect votes first.")
    held_out = hold_out(choices, [table.choices[row] for row in train_rows], hashes or {})
    if held_out.note:
        tell("reading images", 0, len(table.images), note=held_out.note)
    backend.make_deterministic(config.seed)
    clip = hps.load_clip_scorer(base_folder, device)
    embeddings = _embed(clip, table, open_image, config.readers, tell)
    head = aesthetic.AestheticHead(embeddings.shape[1], config.head).to(clip.device).train()
    steps = _fit(head, config, table, train_rows, embeddings, tell)
    tell("measuring", 0, 1)
    metrics = measure(held_out.choices, _scores(head, table, held_out.choices, embeddings))
    tell("saving", 0, 1)
    manifest = {
        "name": f"Aesthetic score on {clip.manifest.get('name') or 'CLIP'}",
        "is_synthetic": is_synthetic or bool(clip.manifest.get("is_synthetic", False)),
        "model": clip.manifest["model"],
        "preprocessing": clip.manifest["preprocessing"],
        "base": {"name": clip.manifest.get("name"), "sha256": clip.manifest["weights"]["sha256"]},
        "config": config.to_json(),
        "seed": config.seed,
        "data_sha256": sha256_of_choices(choices),
        "metrics": metrics,
        "train_choices": len(train_rows),
        "test_choices": len(held_out.choices),
        "test_choices_left_out": held_out.left_out,
        "steps": steps,
    }
    folder = out_folder / "model"
    return TrainingResult(folder, aesthetic.save(folder, clip.model, head, manifest), metrics, steps, 0)


def _embed(clip: hps.ClipScorer, table: ChoiceTable, open_image: OpenImage, readers: int, tell: Any) -> torch.Tensor:
    """Embeddings of all images of the table, (images, embed_dim)."""
    parts = []
    with ImageReader(open_image, clip.preprocessing, readers) as reader:
        for start in range(0, len(table.images), EMBEDDED_AT_ONCE):
            end = start + EMBEDDED_AT_ONCE
            reader.ask(table.images[start : end + EMBEDDED_AT_ONCE])
            parts.append(clip.encode_squares(reader.squares(table.images[start:end])))
            tell("reading images", min(end, len(table.images)), len(table.images))
    return torch.cat(parts).clone()  # a normal tensor: those of inference can't take part in training


def _fit(
    head: aesthetic.AestheticHead,
    config: AestheticConfig,
    table: ChoiceTable,
    rows: NDArray[np.int64],
    embeddings: torch.Tensor,
    tell: Any,
) -> int:
    """Train the head in place; how many steps it took."""
    total = -(-len(rows) // config.choices_per_batch) * config.epochs
    groups = [
        {"params": [p for p in head.parameters() if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in head.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate)
    coming = batches(rows, size=config.choices_per_batch, epochs=config.epochs, seed=config.seed)
    for step, some in enumerate(coming):
        rate = config.learning_rate * cosine(step / total)
        for group in optimizer.param_groups:
            group["lr"] = rate
        mask = torch.from_numpy(table.mask[some]).to(embeddings.device)
        votes, ties = (torch.from_numpy(given[some]).to(embeddings.device) for given in (table.votes, table.ties))
        targets = shared_targets(votes, ties, mask)
        images = torch.from_numpy(table.image_ids[some]).to(embeddings.device)
        loss = choice_loss(head(embeddings[images]), mask, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        tell("training", step + 1, total, loss=loss.item(), learning_rate=rate)
    return total


@torch.no_grad()
def _scores(
    head: aesthetic.AestheticHead, table: ChoiceTable, choices: Sequence[Choice], embeddings: torch.Tensor
) -> list[list[float]]:
    values = dict(zip(table.images, head.eval()(embeddings).double().tolist(), strict=True))
    return [[values[key] for key in choice.images] for choice in choices]
