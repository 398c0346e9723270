from dataclasses import replace

import numpy as np
import pytest

from scoring import checkpoints, hps
from tests.scoring import tiny
from tests.worker.classifier.votes import study
from worker.classifier import loop
from worker.classifier.aesthetic_loop import train_aesthetic
from worker.classifier.config import AESTHETIC_PRESETS
from worker.classifier.reports import TrainingCancelled, UnableToTrain

CHOICES, PICTURES = study()
CONFIG = replace(AESTHETIC_PRESETS["tiny"], choices_per_batch=8, readers=1)


def open_image(key):
    return PICTURES[key].copy()


@pytest.fixture(autouse=True, scope="module")
def _one_commit():
    """Manifests are compared whole; the checkout may move on while the tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "git_commit", lambda: "0" * 40)
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.write_clip(tmp_path_factory.mktemp("base") / "clip")


@pytest.mark.parametrize(("head", "learning_rate"), [("linear", 0.1), ("mlp", 0.01)])
def test_train_aesthetic_learns_what_people_choose(base, tmp_path, head, learning_rate):
    config = replace(CONFIG, head=head, learning_rate=learning_rate)

    result = train_aesthetic(config, CHOICES, open_image, base, tmp_path, device="cpu")

    assert result.metrics["top_one"]["value"] > 0.8
    scorer = hps.load_scorer(result.folder, "cpu")
    test = [choice for choice in CHOICES if choice.split == "test"]
    hits = [
        int(np.argmax(scorer.score([PICTURES[key] for key in choice.images], "whatever"))) == choice.chosen
        for choice in test
    ]
    assert np.mean(hits) == pytest.approx(result.metrics["top_one"]["value"])


def test_train_aesthetic_is_the_same_each_time_and_says_where_it_came_from(base, tmp_path):
    reports = []
    first = train_aesthetic(CONFIG, CHOICES, open_image, base, tmp_path / "a", reports.append, device="cpu")
    again = train_aesthetic(CONFIG, CHOICES, open_image, base, tmp_path / "b", device="cpu")

    assert first.manifest == again.manifest == checkpoints.read_manifest(first.folder)
    assert first.manifest["base"] == {"name": "tiny", "sha256": checkpoints.read_manifest(base)["weights"]["sha256"]}
    assert first.manifest["data_sha256"] == loop.sha256_of_choices(CHOICES)
    assert (first.manifest["kind"], first.manifest["is_synthetic"]) == ("aesthetic", False)
    assert list(dict.fromkeys(r.stage for r in reports)) == ["reading images", "training", "measuring", "saving"]
    assert [r.step for r in reports if r.stage == "training"] == list(range(1, first.steps + 1))


def test_train_aesthetic_leaves_clip_as_it_is(base, tmp_path):
    result = train_aesthetic(CONFIG, CHOICES, open_image, base, tmp_path, device="cpu")

    before, after = checkpoints.read(base)[0], checkpoints.read(result.folder)[0]
    assert all(after[name].equal(before[name]) for name in before if name.startswith("visual."))


def test_train_aesthetic_refuses_when_there_is_nothing_to_train_on(base, tmp_path):
    choices = [choice for choice in CHOICES if choice.split == "test"]

    with pytest.raises(UnableToTrain, match="no choices to train on"):
        train_aesthetic(CONFIG, choices, open_image, base, tmp_path)


def test_train_aesthetic_is_not_tested_on_what_it_is_trained_on(base, tmp_path):
    learnt = next(choice for choice in CHOICES if choice.split == "train")
    test = [choice for choice in CHOICES if choice.split == "test"]
    copy = test[0].images[0]
    others = [choice for choice in test if copy not in choice.images]
    hashes = {learnt.images[0]: "1f", copy: "1f"}
    reports = []

    result = train_aesthetic(CONFIG, CHOICES, open_image, base, tmp_path, reports.append, device="cpu", hashes=hashes)

    assert (result.manifest["test_choices"], result.manifest["test_choices_left_out"]) == (
        len(others),
        len(test) - len(others),
    )
    assert result.metrics["top_one"]["n"] == len(others)
    [note] = [report.note for report in reports if report.note]
    assert note == (
        f"Left out of the test: {len(test) - len(others)} of {len(test)} choices, whose prompt or one of whose images"
        " is trained on."
    )


def test_train_aesthetic_can_be_cancelled(base, tmp_path):
    with pytest.raises(TrainingCancelled, match="Cancelled while reading images"):
        train_aesthetic(CONFIG, CHOICES, open_image, base, tmp_path, should_stop=lambda: True)

    assert not (tmp_path / "model").exists()
