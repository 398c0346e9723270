"""A Stable Diffusion pipeline of a few thousand weights, written to a folder as real ones are, and pictures for it."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from scoring import backend
from worker.generation.patch_vae import PatchVAE

SIDE = 16


def build_pipeline(folder: Path, prediction_type: str):
    """Random weights, the letters as vocabulary, images of 16 x 16."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    backend.make_deterministic(0)
    torch.use_deterministic_algorithms(False)
    letters = [chr(number) for number in range(32, 127)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    tokenizer = CLIPTokenizer(
        vocab={word: number for number, word in enumerate(words)},
        merges=[],
        model_max_length=24,
        pad_token="<|endoftext|>",
    )
    text = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=24,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    unet = UNet2DConditionModel(
        sample_size=4,
        in_channels=8,
        out_channels=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=8,
        norm_num_groups=4,
    )
    pictures = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (32, 3, SIDE, SIDE))).float()
    pipeline = StableDiffusionPipeline(
        vae=PatchVAE.fit(pictures, latent_channels=8),
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(prediction_type=prediction_type, clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    manifest = {"kind": "diffusion", "name": "a tiny test model", "is_synthetic": True, "format": 1}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def teach(pipeline, steps: int) -> None:
    from diffusers import DDPMScheduler

    keys = [f"{kind}-lesson-{number}" for number in range(8) for kind in ("good", "bad")]
    pixels = np.stack([np.asarray(open_image(key)) for key in keys])
    words = [f"{'red' if key.startswith('good') else 'loud'} {place}" for place, key in enumerate(keys)]
    with torch.no_grad():
        latents = pipeline.vae.encode(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1).latent_dist.mode()
        text = pipeline.encode_prompt(words, "cpu", 1, do_classifier_free_guidance=False)[0]
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    optimizer = torch.optim.AdamW(pipeline.unet.parameters(), 3e-3)
    random = torch.Generator().manual_seed(0)
    for _step in range(steps):
        noise = torch.randn(latents.shape, generator=random)
        times = torch.randint(scheduler.config.num_train_timesteps, (len(keys),), generator=random)
        predicted = pipeline.unet(scheduler.add_noise(latents, noise, times), times, text).sample
        torch.nn.functional.mse_loss(predicted, scheduler.get_velocity(latents, noise, times)).backward()
        optimizer.step()
        optimizer.zero_grad()


def open_image(key: str) -> Image.Image:
    """Plain red for keys that begin with "good", loud noise for the others; equal keys give equal images."""
    rng = np.random.default_rng(list(key.encode()))
    if key.startswith("good"):
        pixels = np.zeros((SIDE, SIDE, 3)) + rng.uniform(180, 220)
        pixels[..., 1:] = 30
    else:
        pixels = rng.choice([0.0, 255.0], (SIDE, SIDE, 3))
    return Image.fromarray(pixels.astype(np.uint8))
