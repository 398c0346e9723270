"""The command that trains the classifier."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.worker.test_runs import make_run
from tests.worker.worlds import make_voted_campaign, write_tiny_clip
from worker.models import ModelVersion, Run
from worker.services import following

CONFIG = '{"image_blocks": 1, "readers": 1}'


@pytest.fixture
def _base_model(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.BASE_MODELS = {"tiny-clip": write_tiny_clip(tmp_path / "tiny-clip")}
    monkeypatch.setattr(following, "PATIENCE_SECONDS", 0.1)


def call(*arguments: str) -> str:
    out = StringIO()
    call_command("retrain_classifier", *arguments, stdout=out)
    return out.getvalue()


def test_retrain_classifier_opens_a_run_and_says_where_to_follow_it(db: None) -> None:
    campaign = make_voted_campaign()

    told = call("--campaign", campaign.slug)

    run = Run.objects.get()
    assert told == f"Run {run.public_id} is queued; follow it at /runs/{run.public_id}/ or with --wait.\n"
    assert (run.kind, run.preset, run.campaign) == ("classifier", "tiny", campaign)


@pytest.mark.usefixtures("_base_model")
def test_retrain_classifier_waiting_without_a_worker_trains_here_and_reports_in_words(
    transactional_db: None, capsys: pytest.CaptureFixture[str]
) -> None:
    make_voted_campaign(has_files=True, is_synthetic=True)

    told = call("--wait", "--config", CONFIG)

    run, version = Run.objects.get(), ModelVersion.objects.get(family="hps")
    assert (run.state, str(version)) == ("succeeded", "hps-1")
    assert "No worker is online, so the work is done in this process." in capsys.readouterr().err
    lines = told.splitlines()
    assert lines[0] == "hps-1 (synthetic), on choices of prompts kept out of training:"
    assert [line[2:27].strip() for line in lines[1:-1]] == [
        "this version",
        "base CLIP",
        "chance",
        "human ceiling",
        "difference to base CLIP",
        "this version, by pairs",
    ]
    assert lines[3].endswith("chance 50.0%, 12 choices")
    assert lines[-1] == run.metrics["verdict"]


@pytest.mark.usefixtures("_base_model")
def test_retrain_classifier_as_json_holds_the_figures(transactional_db: None) -> None:
    make_voted_campaign(has_files=True)

    record = json.loads(call("--here", "--json", "--config", CONFIG))

    run = Run.objects.get()
    assert (record["run"], record["state"], record["version"]) == (str(run.public_id), "succeeded", "hps-1")
    assert record["metrics"] == run.metrics


@pytest.mark.usefixtures("_base_model")
def test_retrain_classifier_that_fails_gives_the_reason(transactional_db: None) -> None:
    with pytest.raises(CommandError, match="0 decided choices to train on"):
        call("--here")


def test_retrain_classifier_while_one_is_active_follows_that_one(db: None, capsys: pytest.CaptureFixture[str]) -> None:
    active = make_run()

    assert str(active.public_id) in call()
    assert Run.objects.count() == 1
    assert "There is an active classifier training already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--campaign", "nowhere"], "no campaign 'nowhere'; known are: none yet"),
        (["--config", "{"], "--config is not JSON"),
        (["--config", "[]"], "must be a JSON object"),
        (["--preset", "huge"], "invalid choice: 'huge'"),
    ],
)
def test_retrain_classifier_with_a_wrong_argument_says_what_is_wrong(
    db: None, arguments: list[str], reason: str
) -> None:
    with pytest.raises(CommandError, match=reason):
        call(*arguments)
