"""Training the adapter: the story of one run, from the base model to a folder that diffusers loads."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from scoring import backend, checkpoints, training_state
from worker.adapter import evaluation
from worker.adapter.config import AdapterConfig
from worker.adapter.data import ExampleSet, Kind, batch_at
from worker.adapter.encoding import Encoded, OpenImage, encode
from worker.generation.pipeline import load_pipeline

if TYPE_CHECKING:
    from diffusers import DDPMScheduler, StableDiffusionPipeline

logger = logging.getLogger(__name__)

WEIGHTS = "pytorch_lora_weights.safetensors"
"""The name that diffusers' `load_lora_weights` looks for."""


class TrainingCancelled(Exception):
    """The training was asked to stop; what it did so far is kept, and the next call goes on from there."""


class BaseModelRejected(ValueError):
    """The base model can't be adapted by this loop; the message says why."""


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
) -> TrainingResult:
    """Train a LoRA adapter of the base model's UNet on plain noise prediction; no reward enters the loss.

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
            `pipeline.load_lora_weights`, and `manifest.json`. Checkpoints and encoded images lie beside it.
        on_step: told of every step.
        should_stop: asked before every step.
        device: such as "cuda"; by default the first CUDA device where there is one.
        is_synthetic: whether the images or their labels are; the result is synthetic if they or the base are.

    Raises:
        TrainingCancelled: `should_stop` said so; the state is kept.
        BaseModelRejected: the base model predicts neither noise nor velocity.
    """
    base = _base_record(base_folder)
    identity = {
        "config": config.to_json(),
        "data_sha256": examples.sha256,
        "base": {"name": base["name"], "sha256": base["sha256"]},
        "is_synthetic": is_synthetic or base["is_synthetic"],
    }
    if finished := _finished(out_folder / "model", identity):
        return finished
    backend.make_deterministic(config.seed)
    pipeline = _frozen_pipeline(base_folder, backend.pick_device(device))
    scheduler = _training_scheduler(pipeline)

    def tell_encoding(stage: str, done: int, total: int) -> None:
        on_step(StepReport(stage, done, total))
        if should_stop():
            raise TrainingCancelled(f"Cancelled while {stage}, at {done} of {total}.")

    encoded = encode(pipeline, examples, config, open_image, out_folder / "encoded", tell_encoding)
    unet = _with_adapter(pipeline.unet, config)
    parameters = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, config.learning_rate, config.betas, config.epsilon, config.weight_decay, foreach=False
    )
    for step in range(_resume(unet, optimizer, out_folder / "steps", identity), config.steps):
        if should_stop():
            _keep(unet, optimizer, out_folder / "steps", step, identity)
            raise TrainingCancelled(f"Cancelled after {step} of {config.steps} steps.")
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate_at(step)
        loss = _batch_loss(unet, scheduler, encoded, examples, config, step)
        gradient_norm = torch.nn.utils.clip_grad_norm_(parameters, config.largest_gradient_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        on_step(StepReport("training", step + 1, config.steps, loss, float(gradient_norm)))
        if (step + 1) % config.checkpoint_every == 0 and step + 1 < config.steps:
            _keep(unet, optimizer, out_folder / "steps", step + 1, identity)

    metrics = {"examples": examples.counts(), "mark": _measure(unet, scheduler, encoded, examples, config)}
    manifest = _write(
        out_folder / "model", unet, {**identity, "metrics": metrics, "mark": config.mark, "seed": config.seed}
    )
    return TrainingResult(out_folder / "model", manifest, metrics)


def _finished(folder: Path, identity: dict[str, Any]) -> TrainingResult | None:
    """The result of an earlier call with the same arguments, killed after it had saved."""
    try:
        manifest = checkpoints.read_manifest(folder)
    except checkpoints.CheckpointRejected:
        return None
    if any(manifest.get(name) != value for name, value in identity.items()):
        return None
    return TrainingResult(folder, manifest, manifest["metrics"])


def _frozen_pipeline(base_folder: Path, device: torch.device) -> "StableDiffusionPipeline":
    pipeline = load_pipeline(base_folder, device)
    dtype = backend.pick_dtype(device)
    if dtype != pipeline.unet.dtype:
        pipeline.to(dtype)
    for part in (pipeline.vae, pipeline.text_encoder, pipeline.unet):
        part.requires_grad_(False)
        part.eval()
    return pipeline


def _training_scheduler(pipeline: "StableDiffusionPipeline") -> "DDPMScheduler":
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    if scheduler.config.prediction_type not in ("epsilon", "v_prediction"):
        raise BaseModelRejected(
            f"The base model predicts {scheduler.config.prediction_type!r}; epsilon and v_prediction can be adapted."
        )
    return scheduler


def _with_adapter(unet: Any, config: AdapterConfig) -> Any:
    """The UNet with LoRA layers that change nothing yet; they are float32 and the only thing that is trained."""
    from peft import LoraConfig

    unet.add_adapter(
        LoraConfig(
            r=config.rank, lora_alpha=config.rank, init_lora_weights="gaussian", target_modules=list(config.layers)
        )
    )
    for parameter in unet.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return unet


def _resume(unet: Any, optimizer: torch.optim.Optimizer, folder: Path, record: dict[str, Any]) -> int:
    """Put back the newest kept state of this very training, and give the number of steps it has done."""
    state = training_state.latest(folder)
    if state is None or state.record != record:
        return 0
    training_state.restore(unet, optimizer, state.tensors)
    logger.info("Resuming after %d steps.", state.step)
    return state.step


def _keep(unet: Any, optimizer: torch.optim.Optimizer, folder: Path, step: int, record: dict[str, Any]) -> None:
    training_state.write(folder, step=step, tensors=training_state.optimizer_tensors(unet, optimizer), record=record)


def _batch_loss(
    unet: Any, scheduler: "DDPMScheduler", encoded: Encoded, examples: ExampleSet, config: AdapterConfig, step: int
) -> float:
    """One batch forward and back, in pieces; noise, time steps and dropped captions follow from seed and step."""
    noise = torch.Generator().manual_seed(1_000_003 * config.seed + step)
    batch = torch.from_numpy(batch_at(step, len(examples.training), config))
    total = 0.0
    for piece in batch.chunk(config.batch_pieces):
        dropped = torch.rand(len(piece), generator=noise) < config.caption_dropout
        captions = [
            _mark_alone(examples, place, config) if is_dropped else examples.training[place].caption(config.mark)
            for place, is_dropped in zip(piece.tolist(), dropped.tolist(), strict=True)
        ]
        loss = _losses(unet, scheduler, encoded, piece, captions, noise).mean() / config.batch_pieces
        loss.backward()
        total += float(loss.detach())
    return total


def _mark_alone(examples: ExampleSet, place: int, config: AdapterConfig) -> str:
    return config.mark if examples.training[place].kind == Kind.NON_PREFERRED else ""


def _losses(
    unet: Any,
    scheduler: "DDPMScheduler",
    encoded: Encoded,
    places: torch.Tensor,
    captions: list[str],
    generator: torch.Generator,
) -> torch.Tensor:
    """(images,) squared errors of the predicted noise or velocity at random times."""
    device, dtype = unet.device, unet.dtype
    latents = encoded.latents[places].float()
    noise = torch.randn(latents.shape, generator=generator)
    times = torch.randint(scheduler.config.num_train_timesteps, (len(places),), generator=generator)
    noisy = scheduler.add_noise(latents, noise, times)
    is_velocity = scheduler.config.prediction_type == "v_prediction"
    target = scheduler.get_velocity(latents, noise, times) if is_velocity else noise
    text = encoded.text(captions).to(device, dtype)
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        predicted = unet(noisy.to(device, dtype), times.to(device), text).sample
    return functional.mse_loss(predicted.float(), target.to(device), reduction="none").mean((1, 2, 3))


def _measure(
    unet: Any, scheduler: "DDPMScheduler", encoded: Encoded, examples: ExampleSet, config: AdapterConfig
) -> dict[str, object]:
    @torch.no_grad()
    def loss(places: torch.Tensor, captions: list[str], generator: torch.Generator) -> torch.Tensor:
        pieces = zip(places.split(config.batch_size), _split(captions, config.batch_size), strict=True)
        return torch.cat([_losses(unet, scheduler, encoded, piece, words, generator).cpu() for piece, words in pieces])

    first = len(examples.training)
    after = evaluation.mark_gains(examples.evaluation, first, loss, config)
    unet.disable_adapters()
    before = evaluation.mark_gains(examples.evaluation, first, loss, config)
    unet.enable_adapters()
    return evaluation.report(before, after)


def _split(captions: list[str], size: int) -> list[list[str]]:
    return [captions[start : start + size] for start in range(0, len(captions), size)]


def _write(folder: Path, unet: Any, record: dict[str, Any]) -> dict[str, Any]:
    """Write the adapter and give its manifest: that of every artefact, with the name of diffusers for the weights."""
    from diffusers import StableDiffusionPipeline
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import get_peft_model_state_dict

    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(unet))
    with checkpoints.whole_or_absent(folder) as unfinished:
        StableDiffusionPipeline.save_lora_weights(unfinished, unet_lora_layers=layers, safe_serialization=True)
        weights = unfinished / WEIGHTS
        manifest = {
            **record,
            "kind": "adapter",
            "name": f"adapter of {record['base']['name']}",
            "format": checkpoints.FORMAT,
            "libraries": checkpoints.library_versions(),
            "git_commit": checkpoints.git_commit(),
            "weights": {"file": WEIGHTS, "sha256": checkpoints.file_sha256(weights), "bytes": weights.stat().st_size},
        }
        checkpoints.write_json(unfinished / checkpoints.MANIFEST, manifest)
    return manifest


def _base_record(base_folder: Path) -> dict[str, Any]:
    """Name, hash of the UNet's weights, and whether it is synthetic; a foreign folder without manifest is not."""
    path = base_folder / checkpoints.MANIFEST
    manifest = checkpoints.read_json(path) if path.is_file() else {}
    weights = sorted((base_folder / "unet").glob("*.safetensors"))
    return {
        "name": manifest.get("name", base_folder.name),
        "sha256": checkpoints.file_sha256(weights[0]) if weights else None,
        "is_synthetic": bool(manifest.get("is_synthetic", False)),
    }
