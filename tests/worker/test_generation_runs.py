"""Runs that make images: what they may be asked for, and that they do it."""

import json
import shutil

import pytest

from annotations.models import Generator, Image
from tests.annotations.factories import make_campaign, make_generator, make_prompt
from tests.worker.generators import claimed_run, make_tiny_generator
from tests.worker.test_versions import register, write_artefact
from worker.models import Run
from worker.services.generation_runs import open_generation, perform_generation, wish_of
from worker.services.recipes import FieldRejected, Recipe

TINY = {"pipeline": "tiny-diffusion", "steps": 2, "guidance": 2.0}


def performed(config, tmp_path, campaign=None):
    run, reporter = claimed_run(Run.Kind.GENERATION, config, preset="", campaign=campaign)
    metrics = perform_generation(run, reporter, tmp_path)
    run.refresh_from_db()
    return run, metrics


def test_perform_generation_for_texts(db, tiny_diffusion, rung, tmp_path):
    make_tiny_generator("tiny")
    prompts = ["a red circle", {"prompt": "a blue square", "tags": ["shape"]}, "a red circle"]

    run, metrics = performed({"generator": "tiny", "prompts": prompts, "per_prompt": 2}, tmp_path)

    assert metrics == {"made": 4, "kept": 0, "hidden": 0, "faults": {}}
    assert (run.step, run.total_steps, run.is_synthetic) == (4, 4, True)
    assert Image.objects.filter(prompt__tags=["shape"]).count() == 2


def test_perform_generation_for_a_campaigns_prompts(db, tiny_diffusion, rung, tmp_path):
    generator, campaign = make_tiny_generator("tiny"), make_campaign(tasks=2)
    make_prompt("not of the campaign")

    _run, metrics = performed({"generator": "tiny"}, tmp_path, campaign)

    assert metrics["made"] == 2
    assert set(Image.objects.filter(generator=generator).values_list("prompt", flat=True)) == set(
        campaign.tasks.values_list("prompt", flat=True)
    )


def test_perform_generation_for_a_tag(db, tiny_diffusion, rung, tmp_path):
    make_tiny_generator("tiny")
    wanted = make_prompt(tags=["anatomy", "hands"])
    make_prompt(tags=["text"])

    performed({"generator": "tiny", "tag": "anatomy"}, tmp_path)

    assert [image.prompt for image in Image.objects.all()] == [wanted]


def test_perform_generation_makes_the_generator_that_the_config_describes(db, tiny_diffusion, rung, tmp_path):
    performed({"generator": "new", "prompts": ["a cat"], **TINY, "scheduler": "ddim", "width": 24}, tmp_path)

    generator = Generator.objects.get(name="new")
    assert Recipe.of(generator) == Recipe("tiny-diffusion", steps=2, guidance=2.0, scheduler="ddim", width=24)
    assert (generator.images.get().width, generator.images.get().height) == (24, 16)


@pytest.mark.parametrize("says", [True, False])
def test_a_generator_of_the_toy_world_is_known_by_its_pipelines_manifest(
    db, diffusion_folder, settings, rung, tmp_path, says
):
    folder = shutil.copytree(diffusion_folder, tmp_path / "pipeline")
    (folder / "manifest.json").write_text(json.dumps({"is_synthetic": says}))

    run, _metrics = performed({"generator": "new", "prompts": ["a cat"], **TINY, "pipeline": str(folder)}, tmp_path)

    assert (Generator.objects.get().is_synthetic, run.is_synthetic) == (says, says)


@pytest.fixture
def library(db, files):
    """A generator that draws, one that does not, a scorer, an empty campaign and one with prompts."""
    make_tiny_generator("tiny")
    make_generator("dall-e")
    register(write_artefact(files / "artefacts" / "one"))
    return {"empty": make_campaign(slug="empty", tasks=0), "full": make_campaign(slug="full")}


@pytest.mark.parametrize(
    ("config", "campaign", "message"),
    [
        ({"prompts": ["a"]}, None, "generator: a name of at most 120 characters is needed"),
        ({"generator": "nobody", "prompts": ["a"]}, None, "generator: there is no 'nobody'; give a pipeline"),
        ({"generator": "dall-e", "prompts": ["a"]}, None, "generator: the images of 'dall-e' were made elsewhere"),
        ({"generator": "dall-e", "pipeline": "sd", "prompts": ["a"]}, None, "generator: 'dall-e' has other settings"),
        ({"generator": "tiny", "pipeline": "sd", "prompts": ["a"]}, None, "generator: 'tiny' has other settings"),
        ({"generator": "new", "steps": 9, "prompts": ["a"]}, None, "pipeline: it is needed"),
        ({"generator": "new", "pipeline": "sd", "width": 9, "prompts": ["a"]}, None, "width: it must be a multiple"),
        ({"generator": "new", "pipeline": "sd", "adapter": "hps-1", "prompts": ["a"]}, None, "adapter: there is no"),
        ({"generator": "tiny", "colour": "red", "prompts": ["a"]}, None, "colour: there is no such setting"),
        ({"generator": "tiny", "prompts": ["a"], "per_prompt": 0}, None, "per_prompt: it must be a whole number"),
        ({"generator": "tiny"}, None, "prompts: say one of three: prompts, a tag, or a campaign"),
        ({"generator": "tiny", "prompts": ["a"], "tag": "b"}, None, "prompts: say one of three"),
        ({"generator": "tiny", "prompts": ["a"]}, "full", "prompts: say one of three"),
        ({"generator": "tiny", "tag": "nothing"}, None, "tag: no prompt has the tag 'nothing'"),
        ({"generator": "tiny", "tag": 7}, None, "tag: it must be a text, not 7"),
        ({"generator": "tiny"}, "empty", "campaign: .* has no prompts yet"),
        ({"generator": "tiny", "prompts": [7]}, None, "prompts: number 1: a text is missing"),
    ],
)
def test_open_generation_names_the_field_and_opens_nothing(library, rung, config, campaign, message):
    with pytest.raises(FieldRejected, match=f"^{message}"):
        open_generation(config=config, campaign=library.get(campaign))

    assert (Run.objects.count(), rung) == (0, [])


def test_a_wish_for_the_same_generator_again_is_taken(library):
    wish = wish_of({"generator": "tiny", "prompts": ["a cat"], **TINY}, None)

    assert wish.recipe == Recipe.of(Generator.objects.get(name="tiny"))
