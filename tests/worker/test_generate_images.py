"""`generate_images`: prompts from a file, a tag or a campaign; a generator that is here or a new one."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from annotations.models import Generator, Image
from tests.annotations.factories import make_campaign, make_prompt
from tests.worker.generators import make_tiny_generator
from worker.models import Run
from worker.services.recipes import Recipe

pytestmark = pytest.mark.django_db


def said(*arguments: Any) -> str:
    out = StringIO()
    call_command("generate_images", *map(str, arguments), stdout=out)
    return out.getvalue().strip()


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.txt"
    path.write_text("a red circle\na blue square\n")
    return path


@pytest.mark.django_db(transaction=True)  # the work is done on another connection
def test_a_new_generator_draws_the_prompts_of_a_file(tiny_diffusion: Path, rung: list[int], prompts: Path) -> None:
    words = ["--generator", "new", "--pipeline", "tiny-diffusion", "--steps", 2, "--scheduler", "ddim"]
    words += ["--guidance", 2, "--negative-prompt", "Weird image. ", "--width", 16, "--height", 24, "--synthetic"]

    told = said(*words, "--prompts", prompts, "--per-prompt", 2, "--here")
    again = said("--generator", "new", "--prompts", prompts, "--per-prompt", 3, "--here", "--json")

    generator = Generator.objects.get()
    assert told == "4 images made, 0 there already. None is hidden."
    assert json.loads(again)["metrics"] == {"made": 2, "kept": 4, "hidden": 0, "faults": {}}
    assert Recipe.of(generator) == Recipe(
        "tiny-diffusion",
        steps=2,
        scheduler="ddim",
        guidance=2.0,
        negative_prompt="Weird image. ",
        width=16,
        height=24,
    )
    assert (generator.is_synthetic, Image.objects.count()) == (True, 6)


def test_prompts_of_a_tag_or_a_campaign_are_meant(rung: list[int]) -> None:
    make_tiny_generator("tiny")
    make_prompt(tags=["text"])
    campaign = make_campaign(tasks=1)

    said("--generator", "tiny", "--tag", "text")
    assert Run.objects.get().config == {"generator": "tiny", "per_prompt": 4, "tag": "text"}
    Run.objects.all().delete()

    said("--generator", "tiny", "--campaign", campaign.slug)
    assert (Run.objects.get().config, Run.objects.get().campaign) == ({"generator": "tiny", "per_prompt": 4}, campaign)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--generator", "nobody", "--tag", "x"], "--generator: there is no 'nobody'; give a pipeline to make it."),
        (["--generator", "tiny", "--tag", "x"], "--tag: no prompt has the tag 'x'."),
        (["--generator", "tiny", "--campaign", "x"], "There is no campaign 'x'; known are: none yet."),
        (["--generator", "tiny", "--prompts", "nowhere.txt"], "nowhere.txt can't be read: No such file or directory."),
        (["--generator", "tiny", "--per-prompt", "0", "--tag", "x"], "--per-prompt: it must be a whole number"),
        (["--generator", "a", "--pipeline", "b", "--tag", "x", "--adapter-scale", "9"], "--adapter-scale: it must be"),
        (["--generator", "a", "--pipeline", "b", "--tag", "x", "--scheduler", "c"], "--scheduler: there is no 'c';"),
    ],
)
def test_what_is_no_good_is_named_as_the_option(rung: list[int], words: list[str], message: str) -> None:
    make_tiny_generator("tiny")

    with pytest.raises(CommandError) as caught:
        said(*words)

    assert str(caught.value).startswith(message)
    assert (Run.objects.count(), Generator.objects.count()) == (0, 1)


def test_what_is_hidden_is_told_with_its_reasons(rung: list[int]) -> None:
    from worker.management.commands.generate_images import Command

    run = Run(metrics={"made": 9, "kept": 0, "hidden": 3, "faults": {"blank": 1, "unsafe": 2}})

    assert Command().result(run) == "9 images made, 0 there already. 3 of the new ones are hidden: 1 blank, 2 unsafe."
