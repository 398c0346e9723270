"""Stable Diffusion with a safety checker, and SDXL: the published layouts with a few thousand random weights."""

from pathlib import Path

import torch

import scoring.backend  # noqa: F401  before diffusers

SIDE = 16


def build_stable_diffusion(folder: Path, *, blocks: bool) -> None:
    """As Stable Diffusion 1.x comes from the hub, its safety checker included, which blocks everything or nothing."""
    from diffusers import PNDMScheduler, StableDiffusionPipeline
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPTextModel

    torch.manual_seed(0)
    look = {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "image_size": 16,
        "patch_size": 8,
    }
    checker = StableDiffusionSafetyChecker(
        CLIPConfig(text_config=text_settings(8), vision_config=look, projection_dim=8)
    )
    # A picture is blocked where its likeness to a concept is above the concept's weight.
    checker.concept_embeds_weights.data.fill_(-2.0 if blocks else 2.0)
    checker.special_care_embeds_weights.data.fill_(2.0)
    StableDiffusionPipeline(
        vae=autoencoder(),
        text_encoder=CLIPTextModel(text_config(16)),
        tokenizer=tokenizer(),
        unet=unet(cross_attention_dim=16),
        scheduler=PNDMScheduler(skip_prk_steps=True, steps_offset=1),
        safety_checker=checker,
        feature_extractor=CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=16),
    ).save_pretrained(folder)


def build_sdxl(folder: Path) -> None:
    """Two text encoders, and a UNet that is told sizes."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(0)
    StableDiffusionXLPipeline(
        vae=autoencoder(),
        text_encoder=CLIPTextModel(text_config(16)),
        text_encoder_2=CLIPTextModelWithProjection(text_config(16, projection_dim=16)),
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(),
        unet=unet(
            cross_attention_dim=32,
            addition_embed_type="text_time",
            addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=6 * 4 + 16,
        ),
        scheduler=EulerDiscreteScheduler(steps_offset=1),
    ).save_pretrained(folder)


def tokenizer():
    from transformers import CLIPTokenizer

    return CLIPTokenizer(vocab=words(), merges=[], model_max_length=24, pad_token="<|endoftext|>")


def words() -> dict[str, int]:
    letters = [chr(number) for number in range(32, 127)]
    return {
        word: number
        for number, word in enumerate(
            ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
        )
    }


def text_settings(size: int) -> dict[str, int]:
    return {
        "vocab_size": len(words()),
        "hidden_size": size,
        "intermediate_size": size,
        "num_hidden_layers": 2,  # SDXL takes the last but one
        "num_attention_heads": 2,
        "max_position_embeddings": 24,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }


def text_config(size: int, **more: int):
    from transformers import CLIPTextConfig

    return CLIPTextConfig(**text_settings(size), **more)


def autoencoder():
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(4, 4, 4, 4),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=2,
        sample_size=SIDE,
    )


def unet(**more):
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=SIDE // 8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(4, 8),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=4,
        norm_num_groups=2,
        **more,
    )
