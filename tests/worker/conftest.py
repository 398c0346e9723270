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
