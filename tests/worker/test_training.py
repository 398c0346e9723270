"""The performers of trainings: from votes in the database to a version, on a tiny random CLIP."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from annotations.models import Campaign, Image, Prompt, Snapshot
from annotations.queries.quality import reliabilities_of
from annotations.services.snapshots import read_reliability, read_snapshot
from tests.worker.test_execution import claimed, expire_lease
from tests.worker.test_runs import log_of, make_run
from tests.worker.worlds import make_voted_campaign, write_tiny_clip
from worker.classifier import launch, loop
from worker.classifier.loop import sha256_of, sha256_of_choices
from worker.models import ModelVersion, Run
from worker.services import training
from worker.services.base_models import BaseModelMissing
from worker.services.execution import Reporter, RunStopped, execute_run
from worker.services.training import base_folder_of, perform_classifier, verdict
from worker.services.versions import folder_of, promote_version, scorer_for

CONFIG = {"image_blocks": 1, "choices_per_batch": 4, "checkpoint_every": 2, "readers": 1}


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_clip(tmp_path_factory.mktemp("base") / "tiny-clip")


@pytest.fixture(autouse=True)
def _base_models(settings: Any, tiny_clip: Path) -> None:
    settings.BASE_MODELS = {"tiny-clip": tiny_clip}


def make_classifier_run(campaign: Campaign | None = None, **fields: Any) -> Run:
    return make_run(preset="tiny", campaign=campaign, config=CONFIG, **fields)


def trained() -> ModelVersion:
    return ModelVersion.objects.exclude(family="clip").get()


def perform(run: Run, workdir: Path) -> dict[str, Any]:
    workdir.mkdir(parents=True, exist_ok=True)
    return perform_classifier(run, Reporter(run), workdir)


def test_perform_classifier_registers_a_version_with_its_figures(transactional_db: None) -> None:
    campaign = make_voted_campaign(has_files=True, is_synthetic=True)
    run = make_classifier_run(campaign)

    state = execute_run(run_id=run.pk, worker="gpu-1")

    run.refresh_from_db()
    version = trained()
    assert state == "succeeded"
    assert (str(version), version.run, version.snapshot, version.is_synthetic) == ("hps-1", run, run.snapshot, True)
    assert version.metrics == run.metrics
    assert set(run.metrics) == {
        "top_one", "base_top_one", "top_one_difference", "pairwise", "chance", "human_ceiling", "highest_attainable",
        "verdict",
    }  # fmt: skip
    assert (run.metrics["top_one"]["n"], run.metrics["chance"]["value"]) == (12, 0.5)
    assert version.manifest["data_sha256"] == sha256_of_choices(read_snapshot(Snapshot.objects.get()))
    assert run.is_synthetic
    assert str(ModelVersion.objects.current().get()) == "clip-1"
    assert scorer_for(version).kind == "hps"
    assert f"Registered as hps-1. {run.metrics['verdict']}" in log_of(run)
    assert [event.step for event in run.events.filter(metrics__has_key="loss")][-1] == run.total_steps == 10


def test_perform_classifier_again_finds_the_frozen_blocks_in_the_cache(transactional_db: None, files: Path) -> None:
    campaign = make_voted_campaign(has_files=True)
    execute_run(run_id=make_classifier_run(campaign).pk, worker="gpu-1")
    again = make_classifier_run(campaign)

    execute_run(run_id=again.pk, worker="gpu-1")

    (said,) = [line for line in log_of(again) if line.startswith("Frozen blocks")]
    assert said.startswith("Frozen blocks, images: 0 worked out, 12 found in the cache; prompts: 0 worked out, 6 found")
    assert list((files / "cache" / "trunk").glob("*/*.safetensors"))


def test_perform_aesthetic_registers_a_version_of_its_family(transactional_db: None) -> None:
    run = make_run(
        kind="aesthetic",
        preset="tiny",
        campaign=make_voted_campaign(has_files=True),
        config={"epochs": 1, "readers": 1},
    )

    assert execute_run(run_id=run.pk, worker="gpu-1") == "succeeded"

    version = trained()
    assert (str(version), scorer_for(version).kind) == ("aesthetic-1", "aesthetic")
    assert "base_top_one" not in version.metrics


def test_perform_classifier_weighs_people_by_their_reliability_when_the_votes_were_frozen(
    transactional_db: None,
) -> None:
    campaign = make_voted_campaign(has_files=True, people=5)
    run = make_run(preset="tiny", campaign=campaign, config=CONFIG | {"weigh_by_reliability": True})
    expected = reliabilities_of(campaign)

    execute_run(run_id=run.pk, worker="gpu-1")

    version = trained()
    assert len(set(expected.values())) > 1
    assert read_reliability(version.snapshot) == expected
    assert version.manifest["reliability"] == {
        "people": 5,
        "least": min(expected.values()),
        "most": max(expected.values()),
        "sha256": sha256_of(json.dumps(expected, sort_keys=True)),
    }
    card = (folder_of(version) / "README.md").read_text()
    assert "- how people count: by their reliability when the votes were frozen" in card


def test_perform_classifier_weighs_all_alike_unless_asked(transactional_db: None) -> None:
    execute_run(run_id=make_classifier_run(make_voted_campaign(has_files=True)).pk, worker="gpu-1")

    assert "reliability" not in trained().manifest
    assert read_reliability(trained().snapshot) == {}


def test_perform_classifier_with_processes_gives_them_files_and_everything_else(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def together(config: Any, choices: Any, paths: dict[str, Path], *more: Any, **options: Any) -> Any:
        asked.update(options, config=config, paths=paths)
        return loop.train(config, choices, lambda key: PIL.Image.open(paths[key]), *more, **options)

    monkeypatch.setattr(launch, "train_together", together)
    campaign = make_voted_campaign(has_files=True)
    run = make_run(preset="tiny", campaign=campaign, config=CONFIG | {"processes": 2})

    assert execute_run(run_id=run.pk, worker="gpu-1") == "succeeded"

    images = {str(image.public_id): image for image in Image.objects.all()}
    assert asked["config"].processes == 2
    assert asked["paths"] == {key: Path(image.file.path) for key, image in images.items()}
    assert asked["hashes"] == {key: image.sha256 for key, image in images.items()}


def test_perform_classifier_says_what_it_leaves_out(transactional_db: None) -> None:
    campaign = make_voted_campaign(has_files=True)
    Prompt.objects.filter(pk=campaign.tasks.filter(prompt__split="train").first().prompt_id).update(is_near_test=True)
    run = make_classifier_run(campaign)

    execute_run(run_id=run.pk, worker="gpu-1")

    assert trained().snapshot.train_choices == 15
    (said,) = [line for line in log_of(run) if line.startswith("Left out")]
    assert said == (
        "Left out of training: 3 votes on near-duplicates of test prompts, 0 votes on images that are on the test side"
        " too."
    )


def test_perform_classifier_compares_with_the_version_in_use(transactional_db: None) -> None:
    campaign = make_voted_campaign(has_files=True)
    execute_run(run_id=make_classifier_run(campaign).pk, worker="gpu-1")
    promote_version(version=trained())

    run = make_classifier_run(campaign)
    execute_run(run_id=run.pk, worker="gpu-1")

    run.refresh_from_db()
    in_use = run.metrics["in_use"]
    assert (in_use["version"], in_use["difference"]["value"], in_use["difference"]["n"]) == ("hps-1", 0.0, 12)
    assert in_use["top_one"]["value"] == run.metrics["top_one"]["value"]


def test_perform_classifier_that_was_stopped_goes_on_from_its_checkpoint_on_the_same_votes(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_voted_campaign(has_files=True)
    run = make_classifier_run()
    steps = iter(range(1000))
    monkeypatch.setattr(Reporter, "should_stop", _stop_when(lambda reporter: next(steps) > 8))
    assert execute_run(run_id=run.pk, worker="gpu-1", is_shutting_down=lambda: True) == "queued"
    monkeypatch.undo()
    first_snapshot = Run.objects.get().snapshot
    make_voted_campaign(has_files=True)

    assert execute_run(run_id=run.pk, worker="gpu-2") == "succeeded"

    assert any(line.startswith("Going on from step ") for line in log_of(run))
    assert Run.objects.get().snapshot == first_snapshot
    assert Snapshot.objects.count() == 1


def _stop_when(is_time: Callable[[Reporter], bool]) -> Callable[[Reporter], bool]:
    def should_stop(reporter: Reporter) -> bool:
        if is_time(reporter):
            reporter.was_told_to_stop = True
        return reporter.was_told_to_stop

    return should_stop


def test_perform_classifier_again_after_it_registered_gives_the_same_figures(
    transactional_db: None, tmp_path: Path
) -> None:
    run = claimed(make_classifier_run(make_voted_campaign(has_files=True)))
    first = perform(run, tmp_path)

    again = perform(run, tmp_path)

    assert again == first
    assert ModelVersion.objects.exclude(family="clip").count() == 1


def test_perform_classifier_by_a_zombie_publishes_nothing(
    transactional_db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = claimed(make_classifier_run(make_voted_campaign(has_files=True)))
    publish = training._publish

    def publish_and_lose_the_run(result: Path, folder: Path) -> Path:
        published = publish(result, folder)
        expire_lease(run)
        claimed(run)
        return published

    monkeypatch.setattr(training, "_publish", publish_and_lose_the_run)

    with pytest.raises(RunStopped):
        perform(run, tmp_path)

    assert ModelVersion.objects.exclude(family="clip").count() == 0


def test_perform_classifier_removes_what_an_earlier_attempt_published(transactional_db: None, files: Path) -> None:
    run = make_classifier_run(make_voted_campaign(has_files=True))
    orphan = files / "artefacts" / "hps" / str(run.public_id) / "0"
    orphan.mkdir(parents=True)

    execute_run(run_id=run.pk, worker="gpu-1")

    assert list(orphan.parent.iterdir()) == [folder_of(trained())]
    card = (folder_of(trained()) / "README.md").read_text()
    assert f"- people: {trained().snapshot.annotators}\n" in card
    assert str(trained().metrics["verdict"]) in card


@pytest.mark.parametrize(
    ("spoil", "code", "text"),
    [
        (
            lambda run: run.campaign.tasks.first().votes.model.objects.all().delete(),
            "not_enough_choices",
            "Collect more",
        ),
        (lambda run: Run.objects.update(config={"epochs": 0}), "config_rejected", "epochs must be at least 1"),
        (lambda run: Run.objects.update(config={"base": "huge"}), "base_model_missing", "'huge' is not on this worker"),
        (
            lambda run: Path(run.campaign.tasks.first().images.first().file.path).write_bytes(b"broken"),
            "unable_to_read_image",
            "remove or replace it",
        ),
    ],
    ids=["no votes", "bad setting", "no base model", "damaged image"],
)
def test_perform_classifier_that_cannot_succeed_says_why(
    transactional_db: None, spoil: Callable[[Run], object], code: str, text: str
) -> None:
    run = make_classifier_run(make_voted_campaign(has_files=True))
    spoil(run)

    assert execute_run(run_id=run.pk, worker="gpu-1") == "failed"

    run.refresh_from_db()
    assert run.error_code == code
    assert text in run.error_text
    assert ModelVersion.objects.exclude(family="clip").count() == 0


def test_base_folder_of_a_run_may_be_named_in_its_settings(db: None, tiny_clip: Path, settings: Any) -> None:
    settings.BASE_MODELS = {"mine": tiny_clip}

    assert base_folder_of(make_run(preset="tiny", config={"base": "mine"})) == tiny_clip
    with pytest.raises(BaseModelMissing, match="'clip-vit-l-14' is not on this worker"):
        base_folder_of(Run(preset="paper"))


def estimate(value: float | None, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"name": "", "value": value, "low": low, "high": high, "n": 100, "unit": "choices", "reason": "no votes"}


@pytest.mark.parametrize(
    ("top_one", "difference", "words"),
    [
        (estimate(0.75, 0.72, 0.78), estimate(0.1, 0.05, 0.15), "Better than base CLIP. As near to people"),
        (estimate(0.60, 0.55, 0.65), estimate(0.1, 0.05, 0.15), "Better than base CLIP. Below the human ceiling"),
        (estimate(0.85, 0.80, 0.90), estimate(0.0, -0.1, 0.1), "No difference from base CLIP shown. Above the human"),
        (estimate(0.60, 0.55, 0.65), estimate(-0.1, -0.15, -0.05), "Worse than base CLIP. Below"),
        (estimate(0.52, 0.45, 0.59), estimate(0.1, 0.05, 0.15), "Next to nothing was learnt: chance lies within"),
        (estimate(0.40, 0.35, 0.45), estimate(0.1, 0.05, 0.15), "Worse than chance. Below"),
        (estimate(0.60, None, None), None, "Too few test choices for an interval"),
        (estimate(None), None, "Nothing could be measured: no votes"),
        (estimate(0.60, 0.55, 0.65), None, "Better than chance; not compared with base CLIP."),
    ],
)
def test_verdict_says_in_words_what_the_figures_show(
    top_one: dict[str, Any], difference: dict[str, Any] | None, words: str
) -> None:
    metrics = {
        "top_one": top_one,
        "top_one_difference": difference,
        "chance": estimate(0.5),
        "human_ceiling": estimate(0.75, 0.7, 0.8),
    }

    assert verdict(metrics).startswith(words)


def test_verdict_compares_with_the_version_in_use() -> None:
    metrics = {
        "top_one": estimate(0.75, 0.72, 0.78),
        "top_one_difference": estimate(0.1, 0.05, 0.15),
        "chance": estimate(0.5),
        "human_ceiling": estimate(None),
        "in_use": {"version": "hps-3", "difference": estimate(0.0, -0.02, 0.02)},
    }

    assert verdict(metrics) == "Better than base CLIP. No difference from the version in use (hps-3) shown."


def test_verdict_says_when_there_is_next_to_nothing_to_learn() -> None:
    metrics = {
        "top_one": estimate(0.34, 0.29, 0.39),
        "base_top_one": estimate(0.33, 0.28, 0.39),
        "top_one_difference": estimate(0.01, 0.0, 0.02),
        "chance": estimate(0.25),
        "human_ceiling": estimate(0.35, 0.28, 0.41),
    }
    words = "There is next to nothing to learn"

    assert words in verdict(metrics)
    assert words not in verdict(metrics | {"top_one_difference": estimate(0.05, 0.01, 0.09)})
    assert words not in verdict(metrics | {"base_top_one": estimate(0.2, 0.15, 0.25)})
