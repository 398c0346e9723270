"""Loading and generating: one seed gives one image, whoever its neighbours are; adapters come and go."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from diffusers import StableDiffusionPipeline

from worker.generation.patch_vae import PatchVAE
from worker.generation.pipeline import PipelineRejected, generate, load_pipeline, seed_for, use_scheduler

PROMPTS = ["a red circle", "a blue circle", "a red circle"]
SEEDS = [seed_for("a red circle", 0), seed_for("a blue circle", 0), seed_for("a red circle", 1)]


@pytest.fixture(scope="module")
def pipeline(diffusion_folder: Path) -> StableDiffusionPipeline:
    return load_pipeline(diffusion_folder)


def made(
    pipeline: StableDiffusionPipeline, prompts: list[str] = PROMPTS, seeds: list[int] = SEEDS, **given
) -> np.ndarray:
    images = generate(pipeline, prompts, seeds, **{"steps": 2, "guidance": 3.0, **given})
    return np.stack([np.asarray(image) for image in images]).astype(int)


def test_seed_for_depends_on_prompt_and_index_alone() -> None:
    seeds = [seed_for(prompt, index) for prompt in ("a cat", "a dog") for index in range(3)]

    assert len(set(seeds)) == 6
    assert seed_for("a cat", 0) == int(sha256(b"a cat").hexdigest(), 16) % (2**31 - 1)
    assert seed_for("a cat", 2) == seed_for("a cat", 0) + 2


def test_load_pipeline_gives_the_patch_autoencoder_its_class(pipeline: StableDiffusionPipeline) -> None:
    assert type(pipeline.vae) is PatchVAE
    assert pipeline.vae_scale_factor == 4
    assert pipeline.safety_checker is None


def test_load_pipeline_of_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineRejected, match="no pipeline of diffusers in safetensors"):
        load_pipeline(tmp_path)


def test_load_pipeline_never_reads_pickled_weights(diffusion_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(diffusion_folder, tmp_path / "pickled")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))

    with pytest.raises(PipelineRejected):
        load_pipeline(folder)


def test_another_scheduler_predicts_what_the_model_was_trained_to(diffusion_folder: Path) -> None:
    pipeline = load_pipeline(diffusion_folder)

    use_scheduler(pipeline, "dpm++-2m-karras")

    config = pipeline.scheduler.config
    assert (config.prediction_type, config.use_karras_sigmas) == ("v_prediction", True)


def test_generate_gives_the_same_images_again(pipeline: StableDiffusionPipeline) -> None:
    first, again = made(pipeline), made(pipeline)

    assert first.shape == (3, 16, 16, 3)
    assert (first == again).all()
    assert (first[0] != first[2]).any()


def test_generate_gives_an_image_that_its_neighbours_do_not_change(pipeline: StableDiffusionPipeline) -> None:
    together = made(pipeline)

    alone = made(pipeline, PROMPTS[2:], SEEDS[2:])
    in_pairs = made(pipeline, batch_size=2)

    assert np.abs(together[2] - alone[0]).max() <= 1
    assert np.abs(together - in_pairs).max() <= 1


def test_generate_steers_away_from_the_negative_prompt(pipeline: StableDiffusionPipeline) -> None:
    assert (made(pipeline) == made(pipeline, negative_prompt="")).all()
    assert (made(pipeline) != made(pipeline, negative_prompt="Weird image. ")).any()


def test_generate_uses_the_adapter_for_one_call_alone(pipeline: StableDiffusionPipeline, adapter_folder: Path) -> None:
    before = made(pipeline)

    adapted = made(pipeline, adapter_folder=adapter_folder)
    switched_off = made(pipeline, adapter_folder=adapter_folder, adapter_scale=0.0)
    after = made(pipeline)

    assert (before != adapted).any()
    assert (before == switched_off).all()
    assert (before == after).all()


def test_generate_reports_every_step_of_every_batch(pipeline: StableDiffusionPipeline) -> None:
    seen: list[tuple[int, int]] = []

    made(pipeline, batch_size=2, on_step=lambda done, total: seen.append((done, total)))

    assert seen == [(2, 6), (4, 6), (5, 6), (6, 6)]


def test_generate_ends_where_the_report_raises_and_leaves_no_adapter(
    pipeline: StableDiffusionPipeline, adapter_folder: Path
) -> None:
    before = made(pipeline)

    def cancel(done: int, total: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        made(pipeline, adapter_folder=adapter_folder, on_step=cancel)

    assert (made(pipeline) == before).all()


def test_generate_with_fewer_seeds_than_prompts_is_refused(pipeline: StableDiffusionPipeline) -> None:
    with pytest.raises(ValueError, match="shorter"):
        made(pipeline, PROMPTS, SEEDS[:1])


def test_model_index_names_the_autoencoder_by_its_own_module(diffusion_folder: Path) -> None:
    index = json.loads((diffusion_folder / "model_index.json").read_text())

    assert index["vae"][1] == "PatchVAE"
