"""Leave one generator out, from the votes to the figures of a run, on a tiny random CLIP."""

import json
from io import StringIO

import pytest
from django.core.management import call_command

from annotations.models import Split
from tests.annotations.factories import (
    make_annotators,
    make_campaign,
    make_generator,
    make_image,
    make_prompt,
    make_task,
    picture_bytes,
)
from tests.worker.test_execution import claimed
from tests.worker.test_runs import log_of, make_run
from tests.worker.worlds import vote_on, write_tiny_clip
from worker.classifier import loop
from worker.models import ModelVersion
from worker.services.execution import Reporter, execute_run, workdir_of
from worker.services.generalisation import NothingToLeaveOut, perform_leave_out

CONFIG = {"fewest_test": 4, "fewest_train": 4, "epochs": 1, "readers": 1, "choices_per_batch": 8}
PAINTERS = {"alder": (250, 20, 0), "birch": (20, 250, 0), "cedar": (0, 20, 250)}


@pytest.fixture(autouse=True)
def _tiny_clip(settings, tmp_path):
    settings.BASE_MODELS = {"tiny-clip": write_tiny_clip(tmp_path / "base")}


def make_voted(*, train=6, test=4, painters=PAINTERS):
    """Everybody chose one of three generators' images on each prompt, in turn."""
    campaign = make_campaign(tasks=0)
    people = make_annotators(2)
    generators = {name: make_generator(name) for name in painters}
    for number in range(train + test):
        prompt = make_prompt(split=Split.TRAIN if number < train else Split.TEST)
        images = [
            make_image(
                prompt=prompt,
                generator=generators[name],
                content=picture_bytes(colour=tuple(max(0, shade - 3 * number) for shade in colour)),
            )
            for name, colour in painters.items()
        ]
        task = make_task(campaign=campaign, images=images, prompt=prompt, votes=0)
        for person in people:
            vote_on(task, person, image=images[number % len(images)])
    return campaign


def make_leave_out(campaign, **config):
    return make_run(kind="leave_out", preset="tiny", campaign=campaign, config=CONFIG | config)


def trainings(monkeypatch):
    """The folders in which models are trained from now on, in order."""
    folders = []
    train = loop.train

    def noted(config, choices, open_image, base, folder, *arguments, **options):
        folders.append((folder.name, sorted({name for choice in choices for name in choice.generators})))
        return train(config, choices, open_image, base, folder, *arguments, **options)

    monkeypatch.setattr(loop, "train", noted)
    return folders


def test_each_generator_is_left_out_once_and_measured_by_a_model_that_never_saw_it(transactional_db, monkeypatch):
    folders = trainings(monkeypatch)
    run = make_leave_out(make_voted())

    assert execute_run(run_id=run.pk, worker="gpu-1") == "succeeded"

    run.refresh_from_db()
    assert folders == [
        ("model-0", ["alder", "birch", "cedar"]),
        ("model-1", ["birch", "cedar"]),
        ("model-2", ["alder", "cedar"]),
        ("model-3", ["alder", "birch"]),
    ]
    rows = run.metrics["generators"]
    assert [(row["generator"], row["train_choices"], row["test_choices"], row["prompts"]) for row in rows] == [
        ("alder", 8, 8, 4), ("birch", 8, 8, 4), ("cedar", 8, 8, 4),
    ]  # fmt: skip
    assert all(row["unseen_top_one"]["n"] == 8 for row in rows)
    assert run.metrics["unseen_top_one"]["n"] == 24
    assert run.metrics["chance"]["value"] == pytest.approx(1 / 3)
    assert run.metrics["passed_over"] == []
    assert run.metrics["verdict"] in log_of(run)
    assert (run.step, run.total_steps, run.snapshot.train_choices) == (400, 400, 12)
    assert not ModelVersion.objects.exists()
    assert not workdir_of(run).exists()


def test_a_run_that_was_stopped_trains_no_model_twice(transactional_db, monkeypatch):
    run = make_leave_out(make_voted())
    folders = trainings(monkeypatch)
    monkeypatch.setattr(Reporter, "should_stop", lambda reporter: _stops(reporter, len(folders) > 2))
    assert execute_run(run_id=run.pk, worker="gpu-1", is_shutting_down=lambda: True) == "queued"
    monkeypatch.undo()
    assert sorted(path.name for path in workdir_of(run).glob("scores-*")) == ["scores-0.json", "scores-1.json"]
    again = trainings(monkeypatch)

    assert execute_run(run_id=run.pk, worker="gpu-2") == "succeeded"

    assert [name for name, _ in folders] == ["model-0", "model-1", "model-2"]
    assert [name for name, _ in again] == ["model-2", "model-3"]


def _stops(reporter, is_time):
    reporter.was_told_to_stop = reporter.was_told_to_stop or is_time
    return reporter.was_told_to_stop


def test_what_was_scored_before_is_taken_as_it_stands(transactional_db, tmp_path):
    run = claimed(make_leave_out(make_voted()))
    first = perform_leave_out(run, Reporter(run), tmp_path)
    (kept,) = tmp_path.glob("scores-3.json")
    kept.write_text(json.dumps([[0.0, 0.0, 1.0]] * 8))

    again = perform_leave_out(run, Reporter(run), tmp_path)

    assert again["generators"][:2] == first["generators"][:2]
    chose_it = again["generators"][2]["unseen_top_one"]["value"]
    assert chose_it == 0.25  # of prompts 6 to 9, on which people chose generators 0, 1, 2 and 0


def test_without_a_generator_to_leave_out_the_run_says_what_is_missing(transactional_db, tmp_path):
    two = dict(list(PAINTERS.items())[:2])
    run = claimed(make_leave_out(make_voted(train=10, test=5, painters=two)))

    with pytest.raises(NothingToLeaveOut, match="alder: 0 choices to train on are left without it; at least 4"):
        perform_leave_out(run, Reporter(run), tmp_path)


def test_the_command_follows_the_run_and_prints_each_generator(transactional_db):
    campaign = make_voted()
    out = StringIO()
    options = {"campaign": campaign.slug, "config": json.dumps(CONFIG), "here": True}

    call_command("leave_one_generator_out", **options, stdout=out, stderr=StringIO())

    lines = out.getvalue().splitlines()
    assert [line.split("  ")[0] for line in lines[1:6]] == [
        "left out", "alder (8)", "birch (8)", "cedar (8)", "all together (24)",
    ]  # fmt: skip
    assert lines[6].startswith("On generators that it never saw")


@pytest.mark.parametrize("setting", [{"weigh_by_reliability": True}, {"processes": 2}], ids=str)
def test_a_setting_that_these_trainings_have_not_is_refused_and_not_passed_over(transactional_db, setting):
    run = make_leave_out(make_voted(), **setting)

    assert execute_run(run_id=run.pk, worker="gpu-1") == "failed"

    run.refresh_from_db()
    assert run.error_text == (
        "Training without each generator takes all people alike and one process: leave out weigh_by_reliability "
        "and processes."
    )
