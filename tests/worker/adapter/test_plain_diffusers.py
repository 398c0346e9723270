"""The script of the documentation, which knows nothing of this site, makes the site's images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from diffusers import AutoencoderKL
from PIL import Image

from scoring import backend
from tests.conftest import ROOT
from tests.worker.adapter.test_loop import CONFIG, run
from worker.generation.pipeline import generate, load_pipeline, seed_for

PAGE = (ROOT / "docs" / "ml-engineers.md").read_text()
PROMPT = "a horse on a beach"


def script_of(base: Path, adapter: Path) -> str:
    """The script as it is printed, with folders that are here."""
    (script,) = (part.split("```")[0] for part in PAGE.split("```python\n") if "load_lora_weights" in part[:400])
    return script.replace('"BASE"', repr(str(base))).replace('"ADAPTER"', repr(str(adapter)))


@pytest.fixture
def plain_folder(base_folder: Path, tmp_path: Path) -> Path:
    """The tiny pipeline with an autoencoder of diffusers' own."""
    pipeline = load_pipeline(base_folder)
    backend.make_deterministic(0)
    pipeline.register_modules(
        vae=AutoencoderKL(
            block_out_channels=(8, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            latent_channels=8,
            norm_num_groups=4,
        )
    )
    folder = tmp_path / "plain"
    pipeline.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("adapts_text_encoder", [False, True])
def test_the_script_of_the_documentation_makes_the_sites_image_to_the_pixel(
    plain_folder, tmp_path, monkeypatch, adapts_text_encoder
):
    config = replace(CONFIG, steps=2, adapts_text_encoder=adapts_text_encoder)
    run(plain_folder, tmp_path / "adapter", config)
    adapter = tmp_path / "adapter" / "model"
    script = script_of(plain_folder, adapter)
    assert not {"worker", "scoring", "hps_site"} & set(script.replace(".", " ").split())
    monkeypatch.chdir(tmp_path)

    exec(compile(script, "docs/ml-engineers.md", "exec"), {})

    settings = {"steps": 50, "guidance": 7.5}
    seeds = [seed_for(PROMPT, 0)]
    pipeline = load_pipeline(plain_folder)
    (ours,) = generate(pipeline, [PROMPT], seeds, negative_prompt=config.mark, adapter_folder=adapter, **settings)
    (original,) = generate(pipeline, [PROMPT], seeds, **settings)
    theirs = np.asarray(Image.open(tmp_path / "horse.png"))
    assert np.array_equal(theirs, np.asarray(ours))
    assert not np.array_equal(theirs, np.asarray(original))
