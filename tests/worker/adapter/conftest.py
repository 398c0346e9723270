"""Base models of a few thousand weights, made once for all tests of the adapter."""

from pathlib import Path

import pytest

from tests.worker.tiny_diffusion import build_pipeline, teach
from worker.generation.pipeline import load_pipeline


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("diffusion") / "v-prediction"
    build_pipeline(folder, "v_prediction")
    return folder


@pytest.fixture(scope="session")
def epsilon_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("diffusion") / "epsilon"
    build_pipeline(folder, "epsilon")
    return folder


@pytest.fixture(scope="session")
def taught_folder(base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model after it has seen red squares and noise for a moment, told apart by words other than the mark."""
    pipeline = load_pipeline(base_folder)
    teach(pipeline, steps=60)
    folder = tmp_path_factory.mktemp("diffusion") / "taught"
    pipeline.save_pretrained(folder)
    return folder
