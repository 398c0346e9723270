"""Images from prompts: the same noise for every generator, none made twice, blank ones hidden."""

import io

import numpy as np
import PIL.Image
import pytest

from annotations.models import Generator, Image
from annotations.services.images import read_image
from tests.annotations.factories import make_campaign, make_generator, make_prompt
from tests.worker.generators import claimed_run, make_tiny_generator
from worker.generation import pipeline as drawing
from worker.models import Run
from worker.services import generation
from worker.services.execution import RunStopped, StopReason
from worker.services.generation import (
    Generated,
    Recipe,
    UnableToGenerate,
    generate_for_prompts,
    images_by_seed,
    is_blank,
    perform_generation,
)
from worker.services.generation import (
    make_generator as make_recipe_generator,
)


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


def test_generate_for_prompts_stopped_keeps_what_was_made(db, tiny_diffusion, rung, monkeypatch):
    monkeypatch.setattr(generation, "MAX_BATCH", 2)
    generator, prompts = make_tiny_generator(), [make_prompt() for _ in range(3)]
    _run, reporter = claimed_run(Run.Kind.GENERATION, {}, preset="")
    reporter.stop(StopReason.SHUTDOWN)

    with pytest.raises(RunStopped):
        generate_for_prompts(generator=generator, prompts=prompts, per_prompt=2, reporter=reporter)

    assert Image.objects.count() == 2
    assert generate_for_prompts(generator=generator, prompts=prompts, per_prompt=2) == Generated(4, 2, 0)


def test_generate_for_prompts_hides_blank_images(db, tiny_diffusion, monkeypatch):
    black, noise = PIL.Image.new("RGB", (16, 16)), PIL.Image.effect_noise((16, 16), 80)
    monkeypatch.setattr(drawing, "generate", lambda *_arguments, **_options: [black, noise])

    generated = generate_for_prompts(generator=make_tiny_generator(), prompts=[make_prompt()], per_prompt=2)

    assert generated == Generated(made=2, kept=0, hidden=1)
    assert [image.is_hidden for image in Image.objects.order_by("pk")] == [True, False]


def test_is_blank_tells_a_plain_picture_from_a_faint_one():
    faint = np.full((8, 8, 3), 100, np.uint8)
    faint[0, 0, 2] = 110

    assert is_blank(PIL.Image.new("RGB", (8, 8), "white"))
    assert not is_blank(PIL.Image.fromarray(faint))


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


def test_recipe_of_an_imported_generator_is_refused(db):
    with pytest.raises(UnableToGenerate, match="has no recipe"):
        Recipe.of(make_generator("dall-e"))


def test_make_generator_refuses_another_recipe_under_the_same_name(db):
    first = make_tiny_generator("tiny")

    assert make_tiny_generator("tiny") == first
    with pytest.raises(UnableToGenerate, match="other settings already"):
        make_recipe_generator(name="tiny", recipe=Recipe("tiny-diffusion", steps=9))


def test_perform_generation_for_texts(db, tiny_diffusion, rung, tmp_path):
    make_tiny_generator("tiny")
    config = {"generator": "tiny", "prompts": ["a red circle", "a blue square", "a red circle"], "per_prompt": 2}
    run, reporter = claimed_run(Run.Kind.GENERATION, config, preset="")

    metrics = perform_generation(run, reporter, tmp_path)

    run.refresh_from_db()
    assert metrics == {"made": 4, "kept": 0, "hidden": 0}
    assert (run.step, run.total_steps, run.is_synthetic) == (4, 4, True)


def test_perform_generation_for_a_campaigns_prompts(db, tiny_diffusion, rung, tmp_path):
    generator, campaign = make_tiny_generator("tiny"), make_campaign(tasks=2)
    make_prompt("not of the campaign")
    run, reporter = claimed_run(Run.Kind.GENERATION, {"generator": "tiny"}, preset="", campaign=campaign)

    assert perform_generation(run, reporter, tmp_path)["made"] == 2
    assert set(Image.objects.filter(generator=generator).values_list("prompt", flat=True)) == set(
        campaign.tasks.values_list("prompt", flat=True)
    )


@pytest.mark.parametrize(
    ("config", "words"),
    [({"generator": "nobody"}, "no generator 'nobody'"), ({"generator": "tiny"}, "no prompts to make images of")],
)
def test_perform_generation_refuses_with_reason(db, rung, tmp_path, config, words):
    make_tiny_generator("tiny")
    run, reporter = claimed_run(Run.Kind.GENERATION, config, preset="")

    with pytest.raises(UnableToGenerate, match=words):
        perform_generation(run, reporter, tmp_path)
    assert Generator.objects.count() == 1
