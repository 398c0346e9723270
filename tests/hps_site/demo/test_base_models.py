"""The shipped weights unpack to folders that the real loaders read: whole or absent, and only once."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hps_site.demo import base_models
from hps_site.demo.base_models import BaseModels, UnableToUnpack, unpack
from hps_site.demo.scenes import Scene, draw
from scoring import checkpoints
from scoring.hps import load_scorer
from worker.generation.pipeline import generate, load_pipeline, seed_for

SCENE = Scene("large", "red", "circle", "on the left", "white")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> BaseModels:
    return unpack(tmp_path_factory.mktemp("base-models"))


def files_in(folder: Path) -> dict[str, tuple[int, int]]:
    """What a rewritten file would change: its inode and the time it was written."""
    return {str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*")}


def test_shipped_files_are_small_and_those_of_their_manifest() -> None:
    about = json.loads((base_models.SHIPPED / "manifest.json").read_text())
    files = sorted(path.name for path in base_models.SHIPPED.iterdir())

    assert files == ["manifest.json", "tiny-clip.safetensors", "tiny-diffusion.safetensors"]
    assert sum(path.stat().st_size for path in base_models.SHIPPED.iterdir()) < base_models.LARGEST_SHIPPED_BYTES
    assert about["is_synthetic"] is True
    for part in ("clip", "diffusion"):
        shipped = base_models.SHIPPED / about[part]["file"]
        assert shipped.stat().st_size == about[part]["bytes"]
        assert checkpoints.file_sha256(shipped) == about[part]["sha256"]
        assert about[part]["training"]["seed"] > 0


def test_unpack_gives_a_clip_that_load_scorer_reads(models: BaseModels) -> None:
    scorer = load_scorer(models.clip, device="cpu")
    rng = np.random.default_rng(0)
    right = draw(SCENE, rng)
    others = [draw(Scene("small", "blue", "star", place, "black"), rng) for place in ("at the top", "on the right")]

    scores = scorer.score([Image.fromarray(image) for image in (right, *others)], SCENE.caption)

    assert scorer.kind == "clip"
    assert scorer.manifest["is_synthetic"] is True
    assert scores.argmax() == 0
    assert scores[0] > scores[1] + 10


def test_unpack_gives_a_diffusion_model_that_makes_what_the_caption_says(models: BaseModels) -> None:
    pipeline = load_pipeline(models.diffusion)
    captions = [Scene("large", colour, "square", "in the centre", "white").caption for colour in ("red", "blue")]

    red, blue = generate(pipeline, captions, [seed_for(caption, 0) for caption in captions], steps=6, guidance=3.0)

    assert red.size == (32, 32)
    middle = [np.asarray(image)[12:20, 12:20].reshape(-1, 3).mean(0) for image in (red, blue)]
    assert middle[0][0] > middle[0][2]
    assert middle[1][2] > middle[1][0]


def test_unpack_leaves_alone_what_is_there(models: BaseModels) -> None:
    before = files_in(models.clip.parent)

    again = unpack(models.clip.parent)

    assert again == models
    assert files_in(models.clip.parent) == before


def test_unpack_replaces_models_of_other_weights(models: BaseModels, tmp_path: Path) -> None:
    for folder in models:
        shutil.copytree(folder, tmp_path / folder.name)
    manifest = tmp_path / "tiny-clip" / "manifest.json"
    record = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(record | {"unpacked_from": "other weights"}))

    unpack(tmp_path)

    assert json.loads(manifest.read_text()) == record
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny-clip", "tiny-diffusion"]


def test_unpack_that_breaks_off_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import StableDiffusionPipeline

    def saves_half(self: StableDiffusionPipeline, folder: Path) -> None:
        (folder / "unet").mkdir()
        raise OSError("the disk is full")

    monkeypatch.setattr(StableDiffusionPipeline, "save_pretrained", saves_half)

    with pytest.raises(OSError, match="the disk is full"):
        unpack(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["tiny-clip"]


def test_unpack_refuses_weights_that_were_changed(tmp_path: Path) -> None:
    shipped = shutil.copytree(base_models.SHIPPED, tmp_path / "shipped")
    with (shipped / "tiny-clip.safetensors").open("ab") as file:
        file.write(b"more")

    with pytest.raises(UnableToUnpack, match="not the file of its manifest"):
        unpack(tmp_path / "models", shipped)

    assert not (tmp_path / "models").exists()


def test_unpack_without_shipped_weights_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(UnableToUnpack, match="make toy-weights"):
        unpack(tmp_path, tmp_path / "nowhere")


def test_full_clip_weights_give_untaught_words_rows_of_the_taught_length() -> None:
    packed = {base_models.ROWS: torch.full((2, 4), 3.0), base_models.ROW_IDS: torch.tensor([5, 9], dtype=torch.int32)}

    table = base_models.full_clip_weights(packed, table_seed=1)["token_embedding.weight"]
    again = base_models.full_clip_weights(packed, table_seed=1)["token_embedding.weight"]

    assert table.shape == (49408, 4)
    assert torch.equal(table[[5, 9]], torch.full((2, 4), 3.0))
    assert torch.allclose(table.norm(dim=1), torch.full((49408,), 6.0))
    assert len(torch.unique(table, dim=0)) == 49407
    assert torch.equal(table, again)
