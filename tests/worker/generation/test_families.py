"""The published kinds of pipelines: Stable Diffusion with a safety checker, SDXL; schedulers, sizes, precision."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline

from tests.worker.tiny_pipelines import build_sdxl, build_stable_diffusion
from worker.generation.faults import Fault
from worker.generation.pipeline import (
    ImageTooLarge,
    PipelineRejected,
    draw,
    generate,
    load_pipeline,
    native_size,
    seed_for,
    use_scheduler,
)
from worker.generation.schedulers import SCHEDULERS

PROMPTS = ["a red circle", "a blue circle", "a green circle"]
SEEDS = [seed_for(prompt, 0) for prompt in PROMPTS]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("families")
    build_stable_diffusion(home / "sd", blocks=False)
    build_stable_diffusion(home / "strict", blocks=True)
    build_sdxl(home / "sdxl")
    return {folder.name: folder for folder in home.iterdir()}


@pytest.fixture
def stable_diffusion(folders: dict[str, Path]) -> DiffusionPipeline:
    return load_pipeline(folders["sd"])


def drawn(pipeline: DiffusionPipeline, **given):
    return [
        each for batch in draw(pipeline, PROMPTS, SEEDS, **{"steps": 2, "guidance": 3.0, **given}) for each in batch
    ]


def pixels(pipeline: DiffusionPipeline, **given) -> np.ndarray:
    return np.stack([np.asarray(each.picture) for each in drawn(pipeline, **given)]).astype(int)


def test_load_pipeline_takes_the_class_from_the_model_index(folders: dict[str, Path]) -> None:
    assert type(load_pipeline(folders["sd"])) is StableDiffusionPipeline
    assert type(load_pipeline(folders["sdxl"])) is StableDiffusionXLPipeline


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers' own
@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_draw_gives_what_plain_diffusers_gives(folders: dict[str, Path], kind: str) -> None:
    pipeline = load_pipeline(folders[kind])
    plain = DiffusionPipeline.from_pretrained(folders[kind], safety_checker=None, local_files_only=True)
    plain.set_progress_bar_config(disable=True)

    images = plain(
        PROMPTS,
        negative_prompt=["grey"] * 3,
        num_inference_steps=2,
        guidance_scale=3.0,
        generator=[torch.Generator().manual_seed(seed) for seed in SEEDS],
    ).images

    ours = pixels(pipeline, negative_prompt="grey")
    assert ours.tolist() == np.stack([np.asarray(image) for image in images]).tolist()
    assert native_size(pipeline) == (16, 16)
    assert ours.shape == (3, 16, 16, 3)


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_draw_gives_the_size_that_is_asked_for(folders: dict[str, Path], kind: str) -> None:
    (image, *_rest) = drawn(load_pipeline(folders[kind]), width=32, height=24)

    assert (image.picture.size, image.fault) == ((32, 24), None)


def test_every_scheduler_draws_its_own_images_and_the_same_again(stable_diffusion: DiffusionPipeline) -> None:
    made = {}
    for name, scheduler in SCHEDULERS.items():
        use_scheduler(stable_diffusion, name)
        assert type(stable_diffusion.scheduler).__name__ == scheduler.class_name
        made[name] = pixels(stable_diffusion, steps=4).tobytes()
        assert pixels(stable_diffusion, steps=4).tobytes() == made[name]

    assert len(set(made.values())) == len(SCHEDULERS)


def test_weights_have_the_precision_that_is_asked_for(folders: dict[str, Path]) -> None:
    pipeline = load_pipeline(folders["sd"], precision="bfloat16")

    assert {part.dtype for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder)} == {torch.bfloat16}
    assert [each.fault for each in drawn(pipeline)] == [None] * 3


def test_what_the_safety_checker_blocks_is_told(folders: dict[str, Path]) -> None:
    blocked = drawn(load_pipeline(folders["strict"], keeps_safety_checker=True))
    passed = drawn(load_pipeline(folders["sd"], keeps_safety_checker=True))

    assert [each.fault for each in blocked] == [Fault.UNSAFE] * 3
    assert [each.fault for each in passed] == [None] * 3
    assert not np.asarray(blocked[0].picture).any()


def test_a_training_loads_no_safety_checker(folders: dict[str, Path]) -> None:
    assert load_pipeline(folders["strict"]).safety_checker is None


def test_numbers_that_are_not_finite_make_an_image_broken(stable_diffusion: DiffusionPipeline) -> None:
    stable_diffusion.vae.decoder.conv_out.weight.data.fill_(torch.nan)

    assert [each.fault for each in drawn(stable_diffusion)] == [Fault.BROKEN] * 3


def test_an_infinite_latent_makes_its_own_image_broken_though_it_is_clipped(
    stable_diffusion: DiffusionPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = stable_diffusion.vae.decode
    monkeypatch.setattr(stable_diffusion.vae, "decode", lambda latents, **given: decode(latents.clip(-9, 9), **given))
    step = stable_diffusion.scheduler.step

    def spoilt(*arguments, **given):
        output = step(*arguments, **given)
        output[0][1] = torch.inf
        return output

    monkeypatch.setattr(stable_diffusion.scheduler, "step", spoilt)

    assert [each.fault for each in drawn(stable_diffusion, steps=1)] == [None, Fault.BROKEN, None]


def test_an_image_of_another_size_is_broken(stable_diffusion: DiffusionPipeline, monkeypatch) -> None:
    decode = stable_diffusion.vae.decode
    monkeypatch.setattr(stable_diffusion.vae, "decode", lambda latents, **given: decode(latents[..., :1, :], **given))

    assert [each.fault for each in drawn(stable_diffusion, width=16, height=16)] == [Fault.BROKEN] * 3


def test_an_image_of_one_colour_is_blank(stable_diffusion: DiffusionPipeline) -> None:
    stable_diffusion.vae.decoder.conv_out.weight.data.zero_()

    assert [each.fault for each in drawn(stable_diffusion)] == [Fault.BLANK] * 3


@pytest.fixture
def small_memory(stable_diffusion: DiffusionPipeline, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The memory holds two latents, guidance included: so one image at a time. Sizes that were tried."""
    forward, sizes = stable_diffusion.unet.forward, []

    def forward_if_it_fits(latents, *arguments, **given):
        sizes.append(len(latents))
        if len(latents) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(latents, *arguments, **given)

    monkeypatch.setattr(stable_diffusion.unet, "forward", forward_if_it_fits)
    return sizes


def test_out_of_memory_halves_the_batch_and_loses_no_image(
    folders: dict[str, Path], stable_diffusion: DiffusionPipeline, small_memory: list[int]
) -> None:
    told: list[str] = []
    seen: list[tuple[int, int]] = []

    ours = pixels(stable_diffusion, batch_size=3, tell=told.append, on_step=lambda *steps: seen.append(steps))

    assert np.abs(ours - pixels(load_pipeline(folders["sd"]))).max() <= 1
    assert (small_memory[0], set(small_memory[1:])) == (6, {2})
    assert told == ["Out of memory; 1 images at once from now on."]
    assert seen[-1] == (6, 6)


def test_an_image_that_does_not_fit_alone_is_refused_in_words(stable_diffusion: DiffusionPipeline, monkeypatch) -> None:
    def never(*_arguments, **_given):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(stable_diffusion.unet, "forward", never)

    with pytest.raises(ImageTooLarge, match="One image of 16 x 24 pixels is too much for the memory"):
        drawn(stable_diffusion, height=24)


def test_other_errors_are_not_taken_for_a_lack_of_memory(stable_diffusion: DiffusionPipeline, monkeypatch) -> None:
    def broken(*_arguments, **_given):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(stable_diffusion.unet, "forward", broken)

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        drawn(stable_diffusion)


def test_a_pipeline_of_another_kind_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders["sd"], tmp_path / "audio")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": "AudioLDMPipeline"}))

    with pytest.raises(PipelineRejected, match="AudioLDMPipeline"):
        load_pipeline(folder)


def test_same_noise_for_every_model(folders: dict[str, Path]) -> None:
    first = []
    for kind in ("sd", "sdxl"):
        pipeline = load_pipeline(folders[kind])
        use_scheduler(pipeline, "ddim")
        prepare, seen = pipeline.prepare_latents, []

        def watched(*arguments, prepare=prepare, seen=seen, **given):
            seen.append(prepare(*arguments, **given))
            return seen[-1]

        pipeline.prepare_latents = watched
        generate(pipeline, PROMPTS, SEEDS, steps=1, guidance=1.0)
        first.append(seen[0])

    assert torch.equal(*first)


def test_the_size_of_a_model_whose_transformer_takes_any_is_its_pipelines():
    takes_any = SimpleNamespace(transformer=SimpleNamespace(config=SimpleNamespace()), vae_scale_factor=8)

    assert native_size(SimpleNamespace(**vars(takes_any), default_sample_size=128)) == (1024, 1024)
    with pytest.raises(PipelineRejected, match="SimpleNamespace does not say for which size of image it was made"):
        native_size(takes_any)
