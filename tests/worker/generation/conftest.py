"""An adapter to the tiny pipeline, in a folder as real ones are."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def adapter_folder(diffusion_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter whose matrices are not zero, in diffusers' format."""
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    from worker.generation.pipeline import load_pipeline

    unet = load_pipeline(diffusion_folder).unet
    unet.add_adapter(LoraConfig(r=4, lora_alpha=4, init_lora_weights=False, target_modules=["to_q", "to_v"]))
    folder = tmp_path_factory.mktemp("adapter") / "lora"
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=get_peft_model_state_dict(unet))
    return folder
