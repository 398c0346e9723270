"""Fixtures of the machine's room."""

from pathlib import Path

import pytest
from pytest_django import Settings


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Ids of the runs for which the doorbell rang; nothing reaches a broker."""
    from worker.services import runs

    ids: list[int] = []
    monkeypatch.setattr(runs, "_send", ids.append)
    return ids


@pytest.fixture(scope="session")
def diffusion_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusion pipeline of a few thousand random weights."""
    from tests.worker.tiny_diffusion import build_pipeline

    folder = tmp_path_factory.mktemp("diffusion") / "tiny"
    build_pipeline(folder, "v_prediction")
    return folder


@pytest.fixture
def tiny_diffusion(diffusion_folder: Path, settings: Settings) -> Path:
    """The same, known to the settings as the base model `tiny-diffusion`."""
    settings.BASE_MODELS = {"tiny-diffusion": diffusion_folder}
    return diffusion_folder


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
