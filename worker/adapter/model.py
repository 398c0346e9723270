"""The base model with the layers that are trained: everything frozen but LoRA in the UNet and in the text encoder."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from scoring import backend
from worker.adapter.config import AdapterConfig
from worker.generation.pipeline import load_pipeline

if TYPE_CHECKING:
    from diffusers import DDPMScheduler, StableDiffusionPipeline


class BaseModelRejected(ValueError):
    """The base model can't be adapted by this loop; the message says why."""


class OptimizerMissing(ValueError):
    """The optimizer that was asked for needs a package that is not installed."""


class AdaptedModel(torch.nn.Module):
    """UNet and perhaps text encoder of a pipeline, with LoRA layers that change nothing yet.

    The layers are float32, whatever the format of the frozen weights, and are the only thing that is trained. The
    pipeline works with them from now on.
    """

    def __init__(self, pipeline: "StableDiffusionPipeline", config: AdapterConfig) -> None:
        super().__init__()
        self.unet: Any = _with_layers(pipeline.unet, config.layers, config)
        self.text_encoder: Any = None
        if config.adapts_text_encoder:
            self.text_encoder = _with_layers(pipeline.text_encoder, config.text_layers, config)

    @property
    def adapted(self) -> list[Any]:
        """The parts that have layers."""
        return [self.unet] if self.text_encoder is None else [self.unet, self.text_encoder]

    def trained(self) -> list[torch.nn.Parameter]:
        """The weights of the layers."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    @contextlib.contextmanager
    def dropping(self, seed: int) -> Iterator[None]:
        """For the time of the block, LoRA's dropout works, from this seed; the frozen layers are left as they are."""
        torch.manual_seed(seed)
        layers = [module for name, module in self.named_modules() if "lora_dropout" in name]
        for layer in layers:
            layer.train()
        try:
            yield
        finally:
            for layer in layers:
                layer.eval()

    @contextlib.contextmanager
    def without_layers(self) -> Iterator[None]:
        """For the time of the block, the base model as it was."""
        for part in self.adapted:
            part.disable_adapters()
        try:
            yield
        finally:
            for part in self.adapted:
                part.enable_adapters()


def frozen_pipeline(base_folder: Path, device: torch.device, config: AdapterConfig) -> "StableDiffusionPipeline":
    """The base model, every weight frozen, in the training's number format.

    Raises:
        BaseModelRejected: it is no Stable Diffusion 1.x or 2.x.
        PipelineRejected: the folder can't be read.
    """
    from diffusers import StableDiffusionPipeline

    pipeline = load_pipeline(base_folder, device)
    if not isinstance(pipeline, StableDiffusionPipeline):
        raise BaseModelRejected(
            f"The base model is a {type(pipeline).__name__}; Stable Diffusion 1.x and 2.x can be adapted."
        )
    auto = config.precision == "auto"
    dtype = backend.pick_dtype(device) if auto else getattr(torch, config.precision)
    if dtype != pipeline.unet.dtype:
        pipeline.to(dtype)
    for part in (pipeline.vae, pipeline.text_encoder, pipeline.unet):
        part.requires_grad_(False).eval()
    return pipeline


def training_scheduler(pipeline: "StableDiffusionPipeline") -> "DDPMScheduler":
    """The noise schedule of the base model.

    Raises:
        BaseModelRejected: it predicts neither noise nor velocity.
    """
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    if scheduler.config.prediction_type not in ("epsilon", "v_prediction"):
        raise BaseModelRejected(
            f"The base model predicts {scheduler.config.prediction_type!r}; epsilon and v_prediction can be adapted."
        )
    return scheduler


def optimizer_class(config: AdapterConfig) -> type[torch.optim.Optimizer]:
    """AdamW, or the one of bitsandbytes that keeps its memory in 8 bits.

    Raises:
        OptimizerMissing: bitsandbytes is not installed.
    """
    if config.optimizer == "adamw":
        return torch.optim.AdamW
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise OptimizerMissing(
            "The optimizer adamw_8bit needs the package bitsandbytes on the worker: pip install bitsandbytes, or choose"
            " the optimizer adamw."
        ) from error
    optimizer: type[torch.optim.Optimizer] = AdamW8bit
    return optimizer


def make_optimizer(model: AdaptedModel, config: AdapterConfig) -> torch.optim.Optimizer:
    """The optimizer of everything that is trained."""
    wanted = optimizer_class(config)
    is_fused: dict[str, Any] = {"fused": True} if wanted is torch.optim.AdamW else {}
    return wanted(  # type: ignore[call-arg]
        model.trained(),
        lr=config.learning_rate,
        betas=config.betas,
        eps=config.epsilon,
        weight_decay=config.weight_decay,
        **is_fused,
    )


def _with_layers(part: Any, layers: tuple[str, ...], config: AdapterConfig) -> Any:
    from peft import LoraConfig

    part.add_adapter(
        LoraConfig(
            r=config.rank,
            lora_alpha=config.lora_scale * config.rank,
            lora_dropout=config.lora_dropout,
            init_lora_weights="gaussian",
            target_modules=list(layers),
        )
    )
    for parameter in part.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return part.eval()
