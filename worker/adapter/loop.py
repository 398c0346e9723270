"""Training the adapter: the story of one run, from the base model to a folder that diffusers loads."""

import hashlib
import json
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from scoring import backend, checkpoints, training_state
from scoring.distributed import ALONE, Processes
from worker.adapter import artefact, evaluation
from worker.adapter.config import AdapterConfig, negative_with
from worker.adapter.data import ExampleSet
from worker.adapter.encoding import OpenImage, Tell, Text, all_captions, encode_images, kept_text, live_text
from worker.adapter.model import (
    AdaptedModel,
    frozen_pipeline,
    make_optimizer,
    optimizer_class,
    training_scheduler,
)
from worker.adapter.noise import Batch, Draw, losses, seed_of
from worker.generation.pipeline import generate, seed_for, use_scheduler

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

logger = logging.getLogger(__name__)


class TrainingCancelled(Exception):
    """The training was asked to stop; what it did so far is kept, and the next call goes on from there."""


class TrainingDiverged(ValueError):
    """The loss is no number any more; the message says when, and what to lower. Nothing of that step is kept."""

    def __init__(self, step: int, config: AdapterConfig) -> None:
        super().__init__(f"The training diverged at step {step}: lower learning_rate ({config.learning_rate:g}).")


@dataclass(frozen=True)
class StepReport:
    """Where a training stands."""

    stage: str
    """What is being done: `encoding images`, `encoding captions`, `training`."""
    step: int
    """Steps done, in training; things done, in the other stages."""
    total: int
    """Of how many."""
    loss: float | None = None
    """Mean squared error of the batch, before the step; only in training."""
    gradient_norm: float | None = None
    """Of the batch, before clipping; only in training."""


@dataclass(frozen=True)
class SampleWish:
    """What is looked at on the way: the images that generators of this model would make of these prompts."""

    prompts: tuple[str, ...]
    """Each is shown once in every look."""
    steps: int = 50
    guidance: float = 7.5
    negative_prompt: str = ""
    """The generator's own; behind the mark where the adapter draws."""
    scheduler: str = ""
    """A name in `worker.generation.schedulers`; empty: the pipeline's own."""
    width: int | None = None
    """In pixels; None: as the model was trained."""
    height: int | None = None


@dataclass(frozen=True)
class Samples:
    """One look at what the adapter makes, always from the same noise."""

    step: int
    """Steps done; 0: the base model, without adapter and mark. The others have the mark in the negative prompt."""
    prompts: tuple[str, ...]
    pictures: tuple[Image.Image, ...]
    """One for each prompt."""


@dataclass(frozen=True)
class TrainingResult:
    """A finished adapter."""

    folder: Path
    """The artefact, `out_folder/model`."""
    manifest: dict[str, Any]
    """As written in it."""
    metrics: dict[str, Any]
    """`examples`: training images of each kind; `mark`: see `worker.adapter.evaluation.report`."""


def train(
    config: AdapterConfig,
    examples: ExampleSet,
    open_image: OpenImage,
    base_folder: Path,
    out_folder: Path,
    on_step: Callable[[StepReport], None] = lambda _report: None,
    should_stop: Callable[[], bool] = lambda: False,
    *,
    device: str | None = None,
    is_synthetic: bool = False,
    samples: SampleWish | None = None,
    on_samples: Callable[[Samples], None] = lambda _samples: None,
    processes: Processes = ALONE,
) -> TrainingResult:
    """Train a LoRA adapter of the base model on plain noise prediction; no reward enters the loss.

    Called again with the same arguments after it was stopped or killed, it goes on from its last whole checkpoint
    and ends, on a CPU, with the very same weights as if it had run through; once finished it only reads the result.

    Reference: align_sd `train_text_to_image_lora.py`, which is diffusers' LoRA example with the prefix. Different
    here: latents and text embeddings are computed once, captions may lose all but the mark (`caption_dropout`), and
    whether the mark was learnt is measured.

    Args:
        config: every setting.
        examples: from `data.make_examples`.
        open_image: gives the image of a key.
        base_folder: a StableDiffusionPipeline on disk; predicts noise or velocity.
        out_folder: the result will stand in `model/`, whole or absent: `pytorch_lora_weights.safetensors` for
            `pipeline.load_lora_weights`, the same for kohya's readers, and `manifest.json`. Checkpoints and encoded
            images lie beside it.
        on_step: told of every step.
        should_stop: asked before every step.
        device: such as "cuda"; by default the first CUDA device where there is one.
        is_synthetic: whether the images or their labels are; the result is synthetic if they or the base are.
        samples: what to look at after every `config.sample_every` steps, and before the first; None: nothing.
        on_samples: gets each look.
        processes: those that train together, which all call this with the same arguments and see the same
            `out_folder`; the first one reports, asks and writes.

    Raises:
        TrainingCancelled: `should_stop` said so; the state is kept.
        TrainingDiverged: the last checkpoint before it stays.
        BaseModelRejected: the base model is none that can be adapted.
        OptimizerMissing: the optimizer needs a package that is not installed.
    """
    optimizer_class(config)  # a missing package is told before hours of encoding
    base = base_record(base_folder)
    identity = {
        "config": config.to_json(),
        "data_sha256": examples.sha256,
        "base": {"name": base["name"], "sha256": base["sha256"]},
        "is_synthetic": is_synthetic or base["is_synthetic"],
    }
    if finished := _finished(out_folder / "model", identity):
        return finished
    backend.make_deterministic(config.seed)
    pipeline = frozen_pipeline(base_folder, backend.pick_device(processes.device or device), config)

    def tell_encoding(stage: str, done: int, total: int) -> None:
        on_step(StepReport(stage, done, total))
        if should_stop():
            raise TrainingCancelled(f"Cancelled while {stage}, at {done} of {total}.")

    training = _Training(config, examples, pipeline, out_folder / "steps", identity, processes)
    if samples and samples.scheduler:
        use_scheduler(pipeline, samples.scheduler)  # the training goes by a schedule of its own
    training.encode(open_image, out_folder / "encoded", tell_encoding)
    first_step = training.resume()
    if first_step == 0 and samples and config.sample_every:
        with training.model.without_layers():
            training.look(0, samples, on_samples)
    for step in range(first_step, config.steps):
        if processes.agree(first=should_stop()):
            training.keep(step)
            raise TrainingCancelled(f"Cancelled after {step} of {config.steps} steps.")
        report = training.step(step)
        if processes.is_first:
            on_step(report)
        if samples and config.is_sampled(step + 1):
            training.look(step + 1, samples, on_samples)
        if (step + 1) % config.checkpoint_every == 0 and step + 1 < config.steps:
            training.keep(step + 1)
    metrics = {"examples": examples.counts(), "mark": training.measure()}
    manifest = training.write(out_folder / "model", metrics)
    return TrainingResult(out_folder / "model", manifest, metrics)


class _Training:
    """One training with everything it holds."""

    def __init__(
        self,
        config: AdapterConfig,
        examples: ExampleSet,
        pipeline: "StableDiffusionPipeline",
        steps_folder: Path,
        identity: dict[str, Any],
        processes: Processes,
    ) -> None:
        self.config, self.examples, self.pipeline, self.processes = config, examples, pipeline, processes
        self.steps_folder, self.identity = steps_folder, identity
        self.scheduler = training_scheduler(pipeline)
        self.time_steps = self.scheduler.config.num_train_timesteps

    def encode(self, open_image: OpenImage, folder: Path, tell: Tell) -> None:
        """See every image and, unless its encoder is trained too, every caption once; then add the layers."""
        config, dtype = self.config, str(self.pipeline.unet.dtype)
        seen = [self.examples.sha256, self.identity["base"], config.resolution, config.seed, config.mark, dtype]
        name = hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:16]
        self.latents = encode_images(
            self.pipeline, self.examples, self.config, open_image, folder / f"{name}-images.bin", tell, self.processes
        )
        self.text: Text = live_text(self.pipeline)
        if not self.config.adapts_text_encoder:
            captions, path = all_captions(self.examples, self.config), folder / f"{name}-captions.bin"
            self.text = kept_text(self.pipeline, captions, path, tell, self.processes)
        self.model = AdaptedModel(self.pipeline, self.config)
        self.optimizer = make_optimizer(self.model, self.config)

    def resume(self) -> int:
        """Put back the newest kept state of this very training, and give the number of steps it has done."""
        state = training_state.latest(self.steps_folder)
        if state is None or state.record != self.identity:
            return 0
        training_state.restore(self.model, self.optimizer, state.tensors)
        logger.info("Resuming after %d steps.", state.step)
        return state.step

    def keep(self, step: int) -> None:
        """Write a state from which the training goes on after so many steps."""
        if self.processes.is_first:
            tensors = training_state.optimizer_tensors(self.model, self.optimizer)
            training_state.write(self.steps_folder, step=step, tensors=tensors, record=self.identity)

    def step(self, step: int) -> StepReport:
        """One step of the optimizer; it follows from the weights, the seed and the number of the step.

        Raises:
            TrainingDiverged: before the weights are changed, and in all processes alike, as all see the same sums.
        """
        config, trained = self.config, self.model.trained()
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate_at(step)
        batch = Batch.of(step, self.examples.training, self.latents, self.time_steps, config)
        mine = self.processes.share(range(len(batch)))
        size = config.batch_size // config.batch_pieces
        loss = torch.zeros((), device=self.model.unet.device)
        with self.model.dropping(seed_of(step, config) + self.processes.rank):
            for start in range(0, len(mine), size):
                piece = batch.rows(mine[start : start + size])
                part = self.losses(piece.places, piece.captions, piece.draw).sum() / config.batch_size
                part.backward()
                loss += part.detach()
        self.processes.sum_gradients(trained)
        norm = float(torch.nn.utils.clip_grad_norm_(trained, config.largest_gradient_norm))
        whole_loss = self.processes.sum(float(loss))
        if not (math.isfinite(whole_loss) and math.isfinite(norm)):
            raise TrainingDiverged(step + 1, config)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return StepReport("training", step + 1, config.steps, whole_loss, norm)

    def losses(self, places: torch.Tensor, captions: Sequence[str], draw: Draw) -> torch.Tensor:
        """(images,) errors of the model on some of the examples."""
        return losses(self.model.unet, self.scheduler, self.latents[places], captions, self.text, draw)

    def look(self, step: int, wish: SampleWish, on_samples: Callable[[Samples], None]) -> None:
        """Make the samples of a step: by the first process, while the others wait for it at their next step."""
        if not self.processes.is_first:
            return
        prompts, negative = wish.prompts[: self.config.sample_prompts], wish.negative_prompt
        pictures = generate(
            self.pipeline,
            prompts,
            [seed_for(prompt, 0) for prompt in prompts],
            steps=wish.steps,
            guidance=wish.guidance,
            negative_prompt=(negative_with(self.config.mark, negative) if step else negative) or None,
            width=wish.width,
            height=wish.height,
            batch_size=max(1, self.config.batch_size // self.config.batch_pieces),
        )
        on_samples(Samples(step, prompts, tuple(pictures)))

    def measure(self) -> dict[str, object]:
        """Whether the mark was learnt. Several processes all measure the same, which takes no longer than one."""
        config, first = self.config, len(self.examples.training)

        @torch.no_grad()
        def loss(places: torch.Tensor, captions: list[str], generator: torch.Generator) -> torch.Tensor:
            found = []
            for start in range(0, len(places), config.batch_size):
                some = places[start : start + config.batch_size]
                draw = Draw.of((len(some), *self.latents.shape[1:]), self.time_steps, generator)
                found.append(self.losses(some, captions[start : start + config.batch_size], draw).cpu())
            whole = torch.cat(found)
            if not whole.isfinite().all():  # the last step is followed by no other that would tell
                raise TrainingDiverged(config.steps, config)
            return whole

        after = evaluation.mark_gains(self.examples.evaluation, first, loss, config)
        with self.model.without_layers():
            before = evaluation.mark_gains(self.examples.evaluation, first, loss, config)
        return evaluation.report(before, after)

    def write(self, folder: Path, metrics: dict[str, Any]) -> dict[str, Any]:
        """The artefact, written by the first process and read by all."""
        record = {
            **self.identity,
            "metrics": metrics,
            "mark": self.config.mark,
            "seed": self.config.seed,
            "prediction_type": self.scheduler.config.prediction_type,
        }
        if self.processes.is_first:
            artefact.write(folder, self.model, self.config, record)
        self.processes.wait()
        return checkpoints.read_manifest(folder)


def _finished(folder: Path, identity: dict[str, Any]) -> TrainingResult | None:
    """The result of an earlier call with the same arguments, killed after it had saved."""
    try:
        manifest = checkpoints.read_manifest(folder)
    except checkpoints.CheckpointRejected:
        return None
    if any(manifest.get(name) != value for name, value in identity.items()):
        return None
    return TrainingResult(folder, manifest, manifest["metrics"])


def base_record(base_folder: Path) -> dict[str, Any]:
    """Name, hash of the UNet's weights, and whether it is synthetic; a foreign folder without manifest is not."""
    path = base_folder / checkpoints.MANIFEST
    manifest = checkpoints.read_json(path) if path.is_file() else {}
    weights = sorted((base_folder / "unet").glob("*.safetensors"))
    return {
        "name": manifest.get("name", base_folder.name),
        "sha256": checkpoints.file_sha256(weights[0]) if weights else None,
        "is_synthetic": bool(manifest.get("is_synthetic", False)),
    }
