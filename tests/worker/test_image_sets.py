"""The run that compares chosen with rejected images, on a tiny random CLIP."""

from pathlib import Path

import pytest

from scoring.checkpoints import CheckpointRejected
from tests.annotations.factories import make_image, make_prompt, picture_bytes
from tests.scoring import tiny
from tests.worker.test_execution import claimed
from tests.worker.test_runs import make_run
from tests.worker.worlds import make_voted_campaign
from worker.services.execution import Reporter, RunStopped, execute_run
from worker.services.image_sets import SetReport, UnableToCompareSets, perform_sets
from worker.services.reference_images import ReferenceRejected
from worker.services.versions import register_base_models


@pytest.fixture(autouse=True)
def _clip(transactional_db, tmp_path):
    register_base_models(folders=[tiny.write_clip(tmp_path / "clip")])


def test_perform_sets_measures_both_sides_of_the_campaigns_choices():
    run = make_run(kind="sets", preset="", campaign=make_voted_campaign(has_files=True), config={"resamples": 3})

    assert execute_run(run_id=run.pk, worker="gpu-1") == "succeeded"

    run.refresh_from_db()
    report = SetReport.from_record(run.metrics)
    assert (report.tower, report.choices, report.prompts, report.left_out) == ("CLIP features of tiny", 30, 10, 0)
    assert [one.name.removesuffix(" on CLIP features of tiny") for one in report.estimates] == [
        "IS of one split, chosen", "IS of one split, rejected", "IS of one split, chosen - rejected",
        "FID, chosen to rejected", "KID, chosen to rejected",
    ]  # fmt: skip
    assert all(one.low <= one.value <= one.high for one in report.estimates)
    assert (run.step, run.total_steps, run.snapshot.images) == (6, 6, 20)
    assert [(one.name, one.value, one.exchanges) for one in report.exchanges] == [
        (one.name, one.value, 3) for one in report.estimates[3:]
    ]


def test_perform_sets_holds_both_sides_against_a_generators_other_images():
    campaign = make_voted_campaign(has_files=True)
    shown = campaign.tasks.first().images.first().generator
    for number in range(3):
        make_image(generator=shown, prompt=make_prompt(), content=picture_bytes(size=(20 + number, 20)))
    make_image(generator=shown, prompt=make_prompt(), content=picture_bytes(size=(30, 20)), is_hidden=True)
    run = claimed(make_run(kind="sets", preset="", campaign=campaign, config={"resamples": 2, "reference": shown.name}))

    record = perform_sets(run, Reporter(run), Path())

    assert record["reference"] == 3
    assert [measure["name"].removesuffix(" on CLIP features of tiny") for measure in record["measures"][5:]] == [
        f"{measure}, {side} to reference"
        for measure in ("FID", "KID")
        for side in ("chosen", "rejected", "chosen - rejected")
    ]


def test_perform_sets_stands_on_inception_where_the_worker_has_it(settings, tmp_path):
    settings.INCEPTION_WEIGHTS = str(tmp_path / "inception.pth")
    run = claimed(make_run(kind="sets", preset="", campaign=make_voted_campaign(has_files=True)))

    with pytest.raises(CheckpointRejected, match=r"inception.pth: can't be read as plain weights"):
        perform_sets(run, Reporter(run), Path())


def test_perform_sets_stands_on_the_clip_that_its_settings_name(settings, tmp_path):
    settings.INCEPTION_WEIGHTS = str(tmp_path / "inception.pth")
    campaign = make_voted_campaign(has_files=True)
    run = claimed(make_run(kind="sets", preset="", campaign=campaign, config={"resamples": 2, "clip": "clip"}))

    assert perform_sets(run, Reporter(run), Path())["features"] == "CLIP features of tiny"


@pytest.mark.parametrize(
    ("config", "error", "reason"),
    [
        (
            {"reference": "nobody"},
            ReferenceRejected,
            "The generator 'nobody' has 0 images here to hold others",
        ),
        ({"references": "x"}, UnableToCompareSets, "There is no setting 'references'"),
    ],
)
def test_perform_sets_says_what_is_wrong_with_its_settings(config, error, reason):
    run = claimed(make_run(kind="sets", preset="", campaign=make_voted_campaign(has_files=True), config=config))

    with pytest.raises(error, match=reason):
        perform_sets(run, Reporter(run), Path())


def test_perform_sets_leaves_out_choices_whose_images_cannot_be_read():
    campaign = make_voted_campaign(has_files=True)
    Path(campaign.tasks.first().images.first().file.path).write_bytes(b"broken")
    run = claimed(make_run(kind="sets", preset="", campaign=campaign, config={"resamples": 2}))

    record = perform_sets(run, Reporter(run), Path())

    assert (record["choices"], record["left_out"]) == (27, 3)


def test_perform_sets_stops_when_it_is_told(monkeypatch):
    run = claimed(make_run(kind="sets", preset="", campaign=make_voted_campaign(has_files=True)))
    monkeypatch.setattr(Reporter, "should_stop", lambda _reporter: True)

    with pytest.raises(RunStopped):
        perform_sets(run, Reporter(run), Path())


def test_perform_sets_without_choices_says_what_is_missing():
    run = claimed(make_run(kind="sets", preset="", campaign=make_voted_campaign(people=0)))

    with pytest.raises(UnableToCompareSets, match="Fewer than two decided choices"):
        perform_sets(run, Reporter(run), Path())
