"""The commands that score, generate and train adapters: what they open, what they print, what they refuse."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from annotations.models import Generator, Image
from scoring.hps import load_scorer
from tests.annotations.factories import make_campaign, picture_bytes
from tests.worker.generators import make_images, make_scorers, make_tiny_generator
from tests.worker.test_adapting import QUICK
from worker.models import ImageScore, ModelVersion, Run
from worker.services import following
from worker.services.runs import open_run


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(following, "SECONDS_BETWEEN_LOOKS", 0.05)


def call(*arguments: str, **options: Any) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out, **options)
    return out.getvalue()


def picture_file(folder: Path, name: str, colour: tuple[int, int, int]) -> str:
    path = folder / name
    path.write_bytes(picture_bytes(colour=colour))
    return str(path)


@pytest.mark.django_db
def test_score_images_prints_each_files_score(tmp_path):
    make_scorers(tmp_path / "clip")
    files = [picture_file(tmp_path, "red.png", (200, 0, 0)), picture_file(tmp_path, "blue.png", (0, 0, 200))]

    scores = json.loads(call("score_images", "--scorer", "clip", "--prompt", "a red field", *files))

    with open(files[0], "rb") as red, open(files[1], "rb") as blue:
        expected = load_scorer(tmp_path / "clip", "cpu").score([pillow(red), pillow(blue)], "a red field")
    assert [score["image"] for score in scores] == files
    assert [score["score"] for score in scores] == pytest.approx(expected.tolist())


def pillow(file: Any) -> Any:
    from PIL import Image as Pillow

    picture = Pillow.open(file)
    picture.load()
    return picture


@pytest.mark.django_db
def test_score_images_by_a_folder_and_by_default_with_the_hps_in_use(tmp_path):
    make_scorers(tmp_path / "clip")
    file = picture_file(tmp_path, "red.png", (200, 0, 0))

    by_default = call("score_images", "--prompt", "a red field", file)
    by_folder = call("score_images", "--scorer", str(tmp_path / "clip"), "--prompt", "a red field", file)

    assert json.loads(by_default) == json.loads(by_folder)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--prompt", "a cat"], "Name the image files"),
        (["--prompt", "a cat", "--scorer", "hps-9", "{red}"], "There is no scorer 'hps-9'"),
        (["--prompt", "a cat", "--scorer", "{folder}", "{red}"], "manifest.json"),
        (["--prompt", "a cat", "{folder}/missing.png"], "missing.png can't be scored"),
        (["--prompt", "a cat", "{text}"], "text.png can't be scored: it is not a JPEG, PNG or WebP file"),
        (["--campaign", "nowhere"], "There is no campaign 'nowhere'; known are: none yet."),
    ],
)
def test_score_images_refuses_in_one_line(tmp_path, arguments, words):
    make_scorers(tmp_path / "clip")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty").mkdir()
    known = {
        "{red}": picture_file(tmp_path, "red.png", (200, 0, 0)),
        "{folder}": str(tmp_path / "empty"),
        "{text}": str(tmp_path / "text.png"),
    }

    with pytest.raises(CommandError) as refused:
        call(
            "score_images",
            *(known.get(argument, argument.replace("{folder}", str(tmp_path))) for argument in arguments),
        )

    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_score_images_of_a_campaign_with_all_scorers_in_use(transactional_db, tmp_path, rung):
    make_scorers(tmp_path / "clip")
    campaign = make_campaign(tasks=2, has_files=True)

    told = call("score_images", "--campaign", campaign.slug, "--json")

    assert json.loads(told) == {"clip-1": {"new": 4, "unreadable": 0}, "hps-1": {"new": 4, "unreadable": 0}}
    assert ImageScore.objects.count() == 8
    assert Run.objects.get().state == "succeeded"


def test_score_images_of_a_campaign_waits_for_another_scoring_first(transactional_db, tmp_path, rung):
    make_scorers(tmp_path / "clip")
    first, second = make_campaign(tasks=1, has_files=True), make_campaign(tasks=1, has_files=True)
    open_run(kind=Run.Kind.SCORING, preset="", campaign=first)

    told = call("score_images", "--campaign", second.slug, "--scorer", "clip", stderr=StringIO())

    assert told == "clip-1: 2 images newly scored, 0 unreadable\n"
    assert [run.campaign for run in Run.objects.order_by("pk")] == [first, second]
    assert ImageScore.objects.count() == 6


def test_generate_images_makes_the_generator_and_its_images(transactional_db, tiny_diffusion, tmp_path, rung):
    (tmp_path / "prompts.txt").write_text("a red circle\n\n  a blue square \n")
    arguments = [
        "--generator",
        "tiny",
        "--pipeline",
        "tiny-diffusion",
        "--steps",
        "2",
        "--guidance",
        "2",
        "--synthetic",
    ]

    told = call(
        "generate_images", *arguments, "--prompts", str(tmp_path / "prompts.txt"), "--per-prompt", "2", "--here"
    )

    generator = Generator.objects.get()
    assert told == "4 images made, 0 there already; 0 of the new ones are blank and hidden.\n"
    assert (generator.name, generator.is_synthetic, generator.settings["steps"]) == ("tiny", True, 2)
    assert set(Image.objects.values_list("prompt__text", flat=True)) == {"a red circle", "a blue square"}


def test_generate_images_without_waiting_opens_a_run(transactional_db, rung):
    make_tiny_generator("tiny")
    campaign = make_campaign(tasks=1)

    told = call("generate_images", "--generator", "tiny", "--campaign", campaign.slug, "--per-prompt", "3", "--json")

    run = Run.objects.get()
    assert (run.kind, run.state, run.campaign) == ("generation", "queued", campaign)
    assert run.config == {"generator": "tiny", "per_prompt": 3}
    assert json.loads(told)["run"] == str(run.public_id)
    assert rung == [run.pk]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--generator", "nobody", "--prompts", "{lines}"], "There is no generator 'nobody'; to make one"),
        (["--generator", "tiny", "--prompts", "{missing}"], "missing.txt can't be read"),
        (["--generator", "tiny", "--prompts", "{empty}"], "holds no prompt"),
        (["--generator", "tiny", "--prompts", "{lines}", "--per-prompt", "0"], "at least 1"),
        (["--generator", "tiny", "--campaign", "nowhere"], "There is no campaign 'nowhere'"),
        (["--generator", "tiny", "--pipeline", "another", "--prompts", "{lines}"], "other settings already"),
    ],
)
def test_generate_images_refuses_with_what_to_do(tmp_path, arguments, words):
    make_tiny_generator("tiny")
    (tmp_path / "lines.txt").write_text("a red circle\n")
    (tmp_path / "empty.txt").write_text("\n  \n")
    paths = {f"{{{name}}}": str(tmp_path / f"{name}.txt") for name in ("lines", "missing", "empty")}

    with pytest.raises(CommandError, match=words):
        call("generate_images", *(paths.get(argument, argument) for argument in arguments))
    assert not Run.objects.exists()


def test_train_adapter_waiting_reports_in_words(transactional_db, tiny_diffusion, tmp_path, rung):
    make_scorers(tmp_path / "clip")
    make_images(32, make_tiny_generator("tiny"))

    told = call("train_adapter", "--generator", "tiny", "--config", json.dumps(QUICK), "--wait")

    version = ModelVersion.objects.get(family="adapter")
    assert told.splitlines() == [
        "adapter-1 (synthetic)",
        "  32 images scored by hps-1: 8 preferred, 8 non-preferred",
        f"  {version.metrics['verdict']}",
    ]


def test_train_adapter_that_fails_says_why(transactional_db, tmp_path, rung):
    with pytest.raises(CommandError, match="No generator has made images yet; run generate_images first"):
        call("train_adapter", "--here")
    assert Run.objects.get().state == "failed"


def test_train_adapter_finds_the_active_run(transactional_db, rung):
    opened = open_run(kind=Run.Kind.ADAPTER)
    err = StringIO()

    told = call("train_adapter", "--preset", "paper", stderr=err)

    assert f"There is an active adapter training already: {opened.run.public_id}." in err.getvalue()
    assert told == f"Run {opened.run.public_id} is queued; follow it at /runs/{opened.run.public_id}/ or with --wait.\n"


@pytest.mark.parametrize("config", ["{", "[]", "3"])
def test_train_adapter_refuses_settings_that_are_no_object(config):
    with pytest.raises(CommandError, match="--config"):
        call("train_adapter", "--config", config)
