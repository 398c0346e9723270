"""Images from prompts: the same noise for every generator, none made twice, faulty ones hidden with the reason."""

import io

import numpy as np
import PIL.Image
import pytest
import torch

import scoring.backend  # noqa: F401  before diffusers

import diffusers  # isort: skip

from annotations.models import Image
from annotations.queries.voting import visible_images
from annotations.services.images import read_image
from tests.annotations.factories import make_prompt
from tests.worker.generators import claimed_run, make_tiny_generator
from tests.worker.tiny_pipelines import build_stable_diffusion
from worker.generation import hub
from worker.generation import pipeline as drawing
from worker.generation.faults import Fault
from worker.generation.patch_vae import PatchVAE
from worker.generation.pipeline import Drawn
from worker.models import Run
from worker.services import generation
from worker.services.execution import Reporter, RunStopped, StopReason
from worker.services.generation import (
    Generated,
    Recipe,
    UnableToGenerate,
    generate_for_prompts,
    images_by_seed,
    load_generator,
)
from worker.services.generation import make_generator as make_recipe_generator


def pixels(image: Image) -> np.ndarray:
    with image.file.open("rb") as file:
        return np.asarray(PIL.Image.open(io.BytesIO(file.read())).convert("RGB")).astype(int)


def test_generate_for_prompts_stores_what_the_pipeline_draws(db, tiny_diffusion):
    generator, prompt = make_tiny_generator(), make_prompt("a red circle")

    generated = generate_for_prompts(generator=generator, prompts=[prompt], per_prompt=2)

    images = list(Image.objects.order_by("pk"))
    seeds = [drawing.seed_for("a red circle", index) for index in range(2)]
    expected = drawing.generate(
        drawing.load_pipeline(tiny_diffusion), ["a red circle"] * 2, seeds, steps=2, guidance=2.0
    )
    assert generated == Generated(made=2, kept=0, hidden=0)
    assert [(image.prompt, image.generator, image.seed) for image in images] == [
        (prompt, generator, seed) for seed in seeds
    ]
    assert images[0].settings == generator.settings == Recipe("tiny-diffusion", steps=2, guidance=2.0).to_json()
    assert [pixels(image).tolist() for image in images] == [np.asarray(picture).tolist() for picture in expected]
    with images[0].file.open("rb") as file:
        assert read_image(file.read()).sha256 == images[0].sha256


def test_generate_for_prompts_makes_nothing_twice(db, tiny_diffusion):
    generator, prompts = make_tiny_generator(), [make_prompt(), make_prompt()]
    generate_for_prompts(generator=generator, prompts=prompts[:1], per_prompt=2)
    before = set(Image.objects.values_list("pk", flat=True))

    generated = generate_for_prompts(generator=generator, prompts=prompts, per_prompt=3)

    assert generated == Generated(made=4, kept=2, hidden=0)
    assert before < set(Image.objects.values_list("pk", flat=True))
    assert Image.objects.values("prompt", "seed").distinct().count() == Image.objects.count() == 6


def test_generate_for_prompts_loads_nothing_when_all_is_there(db, tiny_diffusion, monkeypatch):
    generator, prompt = make_tiny_generator(), make_prompt()
    generate_for_prompts(generator=generator, prompts=[prompt], per_prompt=1)
    monkeypatch.setattr(generation, "load_generator", pytest.fail)

    assert generate_for_prompts(generator=generator, prompts=[prompt], per_prompt=1) == Generated(0, 1, 0)


def stop_after(reporter: Reporter, images: int) -> None:
    """Let a run be asked to stop as soon as so many images are stored."""
    step = reporter.step

    def step_and_look(*arguments, **figures):
        step(*arguments, **figures)
        if Image.objects.count() >= images:
            reporter.stop(StopReason.SHUTDOWN)

    reporter.step = step_and_look


def test_generate_for_prompts_stopped_keeps_what_was_made(db, tiny_diffusion, rung, monkeypatch):
    monkeypatch.setattr(generation, "MAX_BATCH", 2)
    generator, prompts = make_tiny_generator(), [make_prompt() for _ in range(3)]
    _run, reporter = claimed_run(Run.Kind.GENERATION, {}, preset="")
    stop_after(reporter, 2)

    with pytest.raises(RunStopped):
        generate_for_prompts(generator=generator, prompts=prompts, per_prompt=2, reporter=reporter)

    assert Image.objects.count() == 2
    assert generate_for_prompts(generator=generator, prompts=prompts, per_prompt=2) == Generated(4, 2, 0)


def test_generate_for_prompts_stops_between_two_denoising_steps(db, tiny_diffusion, rung, monkeypatch):
    _run, reporter = claimed_run(Run.Kind.GENERATION, {}, preset="")
    asked = iter([False, True])
    monkeypatch.setattr(reporter, "should_stop", lambda: next(asked))

    with pytest.raises(RunStopped):
        generate_for_prompts(
            generator=make_tiny_generator(steps=9), prompts=[make_prompt()], per_prompt=2, reporter=reporter
        )

    assert Image.objects.count() == 0
    assert list(asked) == []


def test_generate_for_prompts_stores_faulty_images_hidden_with_the_reason(db, tiny_diffusion, monkeypatch):
    noise = PIL.Image.effect_noise((16, 16), 80).convert("RGB")
    black, white = PIL.Image.new("RGB", (16, 16)), PIL.Image.new("RGB", (16, 16), "white")
    drawn = [Drawn(noise), Drawn(black, Fault.UNSAFE), Drawn(white, Fault.BLANK), Drawn(noise.rotate(90), Fault.BROKEN)]
    monkeypatch.setattr(drawing, "draw", lambda *_arguments, **_options: iter([drawn[:2], drawn[2:]]))

    generated = generate_for_prompts(generator=make_tiny_generator(), prompts=[make_prompt()], per_prompt=4)

    assert generated == Generated(made=4, kept=0, hidden=3, faults={"blank": 1, "broken": 1, "unsafe": 1})
    assert list(Image.objects.order_by("pk").values_list("is_hidden", "hidden_reason")) == [
        (False, ""),
        (True, "unsafe"),
        (True, "blank"),
        (True, "broken"),
    ]
    assert visible_images().count() == 1


def test_generate_for_prompts_hides_what_the_pipelines_safety_checker_blocks(db, tmp_path):
    build_stable_diffusion(tmp_path / "strict", blocks=True)
    generator = make_tiny_generator(pipeline=str(tmp_path / "strict"))

    generated = generate_for_prompts(generator=generator, prompts=[make_prompt()], per_prompt=2)

    assert generated == Generated(made=2, kept=0, hidden=2, faults={"unsafe": 2})
    assert visible_images().count() == 0


def test_generate_for_prompts_makes_equal_faulty_images_only_once(db, tiny_diffusion, monkeypatch):
    black = Drawn(PIL.Image.new("RGB", (16, 16)), Fault.UNSAFE)
    monkeypatch.setattr(drawing, "draw", lambda _pipeline, prompts, *_arguments, **_options: [[black] * len(prompts)])
    generator, prompt = make_tiny_generator(), make_prompt()

    first = generate_for_prompts(generator=generator, prompts=[prompt], per_prompt=3)
    again = generate_for_prompts(generator=generator, prompts=[prompt], per_prompt=3)

    image = Image.objects.get()
    assert (first.made, again) == (3, Generated(made=0, kept=3, hidden=0))
    assert {image.seed, *image.settings["other_seeds"]} == {drawing.seed_for(prompt.text, index) for index in range(3)}
    assert images_by_seed(generator, [prompt], 2) == {prompt.pk: image}


def test_generate_for_prompts_says_when_the_memory_was_too_small(db, tiny_diffusion, rung, monkeypatch):
    load = generation.load_generator

    def load_into_small_memory(recipe):
        pipeline = load(recipe)
        forward = pipeline.unet.forward

        def forward_if_it_fits(latents, *arguments, **given):
            if len(latents) > 4:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return forward(latents, *arguments, **given)

        pipeline.unet.forward = forward_if_it_fits
        return pipeline

    monkeypatch.setattr(generation, "load_generator", load_into_small_memory)
    run, reporter = claimed_run(Run.Kind.GENERATION, {}, preset="")

    generated = generate_for_prompts(
        generator=make_tiny_generator(), prompts=[make_prompt(), make_prompt()], per_prompt=2, reporter=reporter
    )

    assert generated == Generated(made=4, kept=0, hidden=0)
    assert run.events.filter(text="Out of memory; 2 images at once from now on.").count() == 1


def test_plain_diffusers_gives_the_same_image_from_model_adapter_and_negative_prompt(
    db, tiny_diffusion, adapter_folder, monkeypatch
):
    monkeypatch.setattr(generation, "adapter_folder", {"adapter-1": adapter_folder}.__getitem__)
    recipe = Recipe(
        "tiny-diffusion",
        adapter="adapter-1",
        adapter_scale=0.5,
        negative_prompt="Weird image. ",
        scheduler="ddim",
        width=24,
        height=32,
        steps=2,
    )
    generator, prompt = make_recipe_generator(name="wide", recipe=recipe), make_prompt("a red circle")

    generate_for_prompts(generator=generator, prompts=[prompt], per_prompt=1)

    image = Image.objects.get()
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(
        tiny_diffusion, vae=PatchVAE.from_pretrained(tiny_diffusion / "vae"), safety_checker=None
    )
    pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.load_lora_weights(str(adapter_folder), adapter_name="mine")
    pipe.set_adapters(["mine"], [0.5])
    expected = pipe(
        "a red circle",
        negative_prompt="Weird image. ",
        num_inference_steps=2,
        width=24,
        height=32,
        generator=torch.Generator().manual_seed(image.seed),
    ).images[0]
    assert (image.width, image.height, image.settings) == (24, 32, recipe.to_json())
    assert pixels(image).tolist() == np.asarray(expected).tolist()


def test_generators_with_the_same_pipeline_draw_from_the_same_noise(db, tiny_diffusion):
    prompt = make_prompt()
    plain, same = make_tiny_generator("plain"), make_tiny_generator("same")
    steered = make_tiny_generator("steered", negative_prompt="Weird image. ")

    for generator in (plain, same, steered):
        generate_for_prompts(generator=generator, prompts=[prompt], per_prompt=1)

    images = [images_by_seed(generator, [prompt], 0)[prompt.pk] for generator in (plain, same, steered)]
    assert images[0].sha256 == images[1].sha256 != images[2].sha256
    assert images[0].seed == images[2].seed


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pipeline": "/nowhere/at-all"}, "no diffusion pipeline in /nowhere/at-all"),
        ({"adapter": "adapter-7"}, "no adapter 'adapter-7'"),
        ({"adapter": "clip-1"}, "no adapter 'clip-1'"),
    ],
)
def test_generate_for_prompts_says_what_is_missing(db, tiny_diffusion, changes, words):
    generator = make_tiny_generator(**changes)

    with pytest.raises(UnableToGenerate, match=words):
        generate_for_prompts(generator=generator, prompts=[make_prompt()], per_prompt=1)


def test_a_pipeline_of_the_hub_is_fetched_only_where_the_settings_allow_it(settings, monkeypatch, tmp_path):
    asked = []

    def download(name, **given):
        asked.append((name, given))
        return str(tmp_path)

    monkeypatch.setattr(hub.DiffusionPipeline, "download", download)

    settings.HUB_DOWNLOADS = False
    with pytest.raises(UnableToGenerate, match=r"CompVis/stable-diffusion-v1-4 is no folder here.*HUB_DOWNLOADS=1"):
        generation.pipeline_folder("CompVis/stable-diffusion-v1-4")
    settings.HUB_DOWNLOADS = True
    folders = [generation.pipeline_folder(name) for name in ("CompVis/stable-diffusion-v1-4", "owner/name@v2")]

    assert folders == [tmp_path, tmp_path]
    assert asked == [
        ("CompVis/stable-diffusion-v1-4", {"revision": None, "use_safetensors": True}),
        ("owner/name", {"revision": "v2", "use_safetensors": True}),
    ]


def test_a_pipeline_that_the_hub_does_not_give_is_refused_in_words(settings, monkeypatch):
    settings.HUB_DOWNLOADS = True

    def download(name, **_given):
        raise OSError("Cannot load model nobody/nothing: model is not cached locally.\nlong story")

    monkeypatch.setattr(hub.DiffusionPipeline, "download", download)

    with pytest.raises(drawing.PipelineRejected, match=r"can't be fetched from the hub: Cannot .* locally\.$"):
        load_generator(Recipe("nobody/nothing"))
