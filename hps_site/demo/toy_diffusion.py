"""The tiny diffusion model: diffusers' own StableDiffusionPipeline, small, taught on good and defective drawings.

The defects are few and clear, so that images of one prompt differ in kind: that is what people then choose between, and
what an adapter can learn to leave out.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

import scoring.backend  # noqa: F401  before diffusers: makes its own import of torchvision possible

import open_clip  # isort: skip
from diffusers import (  # isort: skip
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.models.attention_processor import AttnProcessor  # isort: skip
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer  # isort: skip

from hps_site.demo import toy_clip
from hps_site.demo.scenes import Defect, Scene, draw, random_defects, random_scene
from worker.generation.patch_vae import PatchVAE

LATENT_CHANNELS = 16
MODES = ("haze", "glitch", "wrong colour", "missing")
"""The defects that the model learns to make."""
NOISE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "v_prediction",
}
"""Stable Diffusion's schedule of noise; the model predicts the velocity."""


@dataclass(frozen=True)
class DiffusionTraining:
    """How long and how the tiny diffusion model is taught."""

    steps: int = 3600
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_steps: int = 100
    decay_share: float = 0.3
    """The last part of the steps, in which the learning rate falls to nothing."""
    average_over_steps: int = 300
    """The weights that are kept are a running average over about this many steps."""
    dropped_captions: float = 0.1
    clean_share: float = 0.5
    snr_limit: float = 5.0
    """Steps with little noise weigh less than this signal-to-noise ratio would give them (Min-SNR, 2303.09556)."""
    seed: int = 2


def tokenizer() -> CLIPTokenizer:
    """The tokenizer of transformers on open_clip's own word list: the same ids, padded with the end of text as Stable
    Diffusion 1 does (open_clip pads with 0, which is the word "!").
    """
    source = open_clip.SimpleTokenizer(context_length=toy_clip.CONTEXT_LENGTH)
    start, end = "<start_of_text>", "<end_of_text>"
    return CLIPTokenizer(
        vocab=dict(source.encoder),
        merges=[pair for pair, _ in sorted(source.bpe_ranks.items(), key=lambda item: item[1])],
        bos_token=start,
        eos_token=end,
        pad_token=end,
        unk_token=end,
        model_max_length=toy_clip.CONTEXT_LENGTH,
    )


def text_encoder(clip_weights: dict[str, torch.Tensor]) -> CLIPTextModel:
    """The text half of a tiny CLIP (full token table) as transformers' CLIPTextModel; its hidden states are equal."""
    text = toy_clip.ARCHITECTURE["text_cfg"]
    config = CLIPTextConfig(
        vocab_size=text["vocab_size"],
        hidden_size=text["width"],
        intermediate_size=4 * text["width"],
        projection_dim=toy_clip.ARCHITECTURE["embed_dim"],
        num_hidden_layers=text["layers"],
        num_attention_heads=text["heads"],
        max_position_embeddings=text["context_length"],
        hidden_act="gelu",
        bos_token_id=text["vocab_size"] - 2,
        eos_token_id=text["vocab_size"] - 1,
        pad_token_id=text["vocab_size"] - 1,
    )
    encoder = CLIPTextModel(config)
    encoder.load_state_dict(_as_transformers_names(clip_weights, text["layers"]))
    return encoder.eval().requires_grad_(False)


def _as_transformers_names(weights: dict[str, torch.Tensor], layers: int) -> dict[str, torch.Tensor]:
    renamed = {
        "embeddings.token_embedding.weight": weights["token_embedding.weight"],
        "embeddings.position_embedding.weight": weights["positional_embedding"],
        "final_layer_norm.weight": weights["ln_final.weight"],
        "final_layer_norm.bias": weights["ln_final.bias"],
    }
    places = {
        "ln_1": "layer_norm1",
        "ln_2": "layer_norm2",
        "attn.out_proj": "self_attn.out_proj",
        "mlp.c_fc": "mlp.fc1",
        "mlp.c_proj": "mlp.fc2",
    }
    for layer in range(layers):
        ours, theirs = f"transformer.resblocks.{layer}", f"encoder.layers.{layer}"
        for end in ("weight", "bias"):
            for old, new in places.items():
                renamed[f"{theirs}.{new}.{end}"] = weights[f"{ours}.{old}.{end}"]
            # open_clip keeps query, key and value in one matrix.
            stacked = weights[f"{ours}.attn.in_proj_{end}"].chunk(3)
            for part, value in zip("qkv", stacked, strict=True):
                renamed[f"{theirs}.self_attn.{part}_proj.{end}"] = value
    return renamed


def build_unet() -> UNet2DConditionModel:
    """An untaught denoiser; the text comes in at 8 x 8 and at 4 x 4."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        layers_per_block=1,
        block_out_channels=(48, 64),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=toy_clip.WIDTH,
        attention_head_dim=4,  # diffusers reads this as the number of heads
        norm_num_groups=16,
    )


def fit_vae(seed: int, images: int = 3000) -> PatchVAE:
    """The autoencoder, fitted to drawings of every kind."""
    rng = np.random.default_rng(seed)
    drawings = [draw(random_scene(rng), rng, random_defects(rng, clean_share=0.6)) for _ in range(images)]
    return PatchVAE.fit(signed_pixels(drawings), LATENT_CHANNELS)


def signed_pixels(images: Sequence[np.ndarray]) -> torch.Tensor:
    """uint8 (N, 32, 32, 3) to float (N, 3, 32, 32) in -1..1, as an autoencoder of diffusers wants them."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def assemble(vae: PatchVAE, encoder: CLIPTextModel, unet: UNet2DConditionModel) -> StableDiffusionPipeline:
    """The whole pipeline, with a scheduler that needs few steps."""
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=encoder,
        tokenizer=tokenizer(),
        unet=unet.eval(),
        scheduler=DPMSolverMultistepScheduler(**NOISE, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def packed(vae: PatchVAE, unet: UNet2DConditionModel) -> dict[str, torch.Tensor]:
    """The weights as they are shipped: the denoiser in half precision. The text encoder is the tiny CLIP's."""
    weights = {f"unet.{name}": value.half() for name, value in unet.state_dict().items()}
    return weights | {f"vae.{name}": value for name, value in vae.state_dict().items()}


def pipeline_from(clip_weights: dict[str, torch.Tensor], weights: dict[str, torch.Tensor]) -> StableDiffusionPipeline:
    """The pipeline in float32, from a tiny CLIP's weights (full token table) and what `packed` gave."""
    vae, unet = PatchVAE(latent_channels=LATENT_CHANNELS), build_unet()
    vae.load_state_dict(_under("vae.", weights))
    unet.load_state_dict({name: value.float() for name, value in _under("unet.", weights).items()})
    return assemble(vae, text_encoder(clip_weights), unet)


@torch.inference_mode()
def encode_captions(encoder: CLIPTextModel, captions: Sequence[str]) -> torch.Tensor:
    """(N, 24, 96) hidden states of each caption, as the pipeline computes them."""
    ids = tokenizer()(
        list(captions), padding="max_length", truncation=True, max_length=toy_clip.CONTEXT_LENGTH, return_tensors="pt"
    ).input_ids
    return torch.cat([encoder(part).last_hidden_state for part in ids.split(256)]).clone()


class Lesson:
    """The training in progress: everything that a checkpoint holds, and one step of it."""

    def __init__(
        self, training: DiffusionTraining, vae: PatchVAE, encoder: CLIPTextModel, scenes: Sequence[Scene]
    ) -> None:
        torch.manual_seed(training.seed)
        self.training = training
        self.vae = vae
        self.scenes = list(scenes)
        # The last row is the empty caption, for guidance.
        self.text = encode_captions(encoder, [*(scene.caption for scene in scenes), ""])
        self.unet = build_unet()
        # On a CPU the plain attention is faster here than the fused one (7.8 against 9.2 ms per image).
        self.unet.set_attn_processor(AttnProcessor())
        self.average = build_unet().requires_grad_(False)
        self.average.load_state_dict(self.unet.state_dict())
        self.optimizer = torch.optim.AdamW(
            self.unet.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay, betas=(0.9, 0.99)
        )
        self.noise = DDPMScheduler(**NOISE)
        self.step = 0

    def advance(self) -> float:
        """One step of training; gives its loss. All that is random in it comes from the seed and the step's number."""
        rng = np.random.default_rng([self.training.seed, self.step])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        latents, text = self._batch(rng)
        noise = torch.randn(latents.shape, generator=generator)
        moments = torch.randint(self.noise.config.num_train_timesteps, (len(latents),), generator=generator)
        predicted = self.unet(self.noise.add_noise(latents, noise, moments), moments, text).sample
        errors = (predicted - self.noise.get_velocity(latents, noise, moments)).square().mean((1, 2, 3))
        alphas = self.noise.alphas_cumprod[moments]
        ratio = alphas / (1 - alphas)
        loss = (errors * ratio.clamp(max=self.training.snr_limit) / (ratio + 1)).mean()
        for group in self.optimizer.param_groups:
            group["lr"] = self.training.learning_rate * self._rate()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.unet.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return errors.mean().item()

    def _batch(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = rng.integers(len(self.scenes), size=self.training.batch)
        images = [draw(self.scenes[i], rng, self._defects(rng)) for i in chosen]
        chosen[rng.random(len(chosen)) < self.training.dropped_captions] = len(self.scenes)
        return self.vae.encode(signed_pixels(images)).latent_dist.mode(), self.text[chosen]

    def _defects(self, rng: np.random.Generator) -> tuple[Defect, ...]:
        if rng.random() < self.training.clean_share:
            return ()
        return (Defect(MODES[rng.integers(len(MODES))], float(rng.uniform(0.8, 1.0))),)

    def _rate(self) -> float:
        warm = min(1.0, (self.step + 1) / self.training.warmup_steps)
        left = (self.training.steps - self.step) / max(1.0, self.training.decay_share * self.training.steps)
        return warm * min(1.0, left)

    @torch.no_grad()
    def _update_average(self) -> None:
        # Early on a shorter memory, or the first random weights would stay in the average.
        keep = min(1 - 1 / self.training.average_over_steps, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.unet.parameters()), 1 - keep)

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        tensors = {f"unet.{name}": value for name, value in self.unet.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for number, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value.clone() for name, value in state.items()}
        about = {"step": str(self.step), "training": json.dumps(asdict(self.training))}
        unfinished = path.with_suffix(".part")
        save_file({name: value.contiguous() for name, value in tensors.items()}, unfinished, metadata=about)
        unfinished.replace(path)

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint; what follows is what would have followed without the break."""
        tensors = load_file(path)
        self.unet.load_state_dict(_under("unet.", tensors))
        self.average.load_state_dict(_under("average.", tensors))
        state = self.optimizer.state_dict()
        for key, value in _under("optimizer.", tensors).items():
            number, name = key.split(".")
            state["state"].setdefault(int(number), {})[name] = value
        self.optimizer.load_state_dict(state)
        self.step = int(_metadata(path)["step"])


def train(
    lesson: Lesson,
    checkpoint: Path,
    on_step: Callable[[Lesson, float], None] = lambda _lesson, _loss: None,
    save_every: int = 250,
) -> UNet2DConditionModel:
    """Teach until the lesson's last step, from its checkpoint where there is one; gives the averaged denoiser."""
    if checkpoint.exists():
        lesson.restore(checkpoint)
    while lesson.step < lesson.training.steps:
        loss = lesson.advance()
        if not math.isfinite(loss):
            raise TrainingDiverged(f"The loss is {loss} at step {lesson.step}; take a smaller learning rate.")
        if lesson.step % save_every == 0 or lesson.step == lesson.training.steps:
            lesson.save(checkpoint)
        on_step(lesson, loss)
    return lesson.average.eval()


class TrainingDiverged(RuntimeError):
    """The denoiser's loss is no number any more."""


def _under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _metadata(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return dict(file.metadata())
