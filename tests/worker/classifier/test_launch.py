"""A training shared by two processes is the training of one."""

import os
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from scoring import checkpoints
from tests.scoring import tiny
from tests.worker.classifier.votes import study
from worker.classifier import launch
from worker.classifier.config import TINY
from worker.classifier.data import UnableToReadImage
from worker.classifier.launch import train_together
from worker.classifier.loop import train
from worker.classifier.reports import StepReport, TrainingCancelled, UnableToTrain
from worker.classifier.towers import UnableToUnlock

CHOICES, PICTURES = study()
# The last batch of an epoch is one choice: one of two processes has none. What attention adds to its keys has no
# gradient but rounding, and AdamW would make steps of that; so its epsilon stands well above.
CONFIG = replace(
    TINY, choices_per_batch=8, epochs=2, learning_rate=3e-3, checkpoint_every=5, readers=1, evaluate_every=4,
    validation_share=0.2, epsilon=1e-5,
)  # fmt: skip


@pytest.fixture
def base(tmp_path):
    return tiny.write_clip(tmp_path / "base")


@pytest.fixture
def paths(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for key, picture in PICTURES.items():
        picture.save(folder / f"{key}.png")
    return {key: folder / f"{key}.png" for key in PICTURES}


@pytest.mark.slow
def test_train_together_takes_the_steps_of_one_process(base, paths, tmp_path):
    alone, together = [], []
    more = {"device": "cpu", "reliability": {"p1": 0.5}}

    one = train(
        CONFIG, CHOICES, lambda key: PICTURES[key].copy(), base, tmp_path / "one", alone.append,
        cache_folder=tmp_path / "cache one", **more,
    )  # fmt: skip
    two = train_together(
        replace(CONFIG, processes=2), CHOICES, paths, base, tmp_path / "two", together.append,
        cache_folder=tmp_path / "cache two", **more,
    )  # fmt: skip

    tensors_of_one, tensors_of_two = checkpoints.read(one.folder)[0], checkpoints.read(two.folder)[0]
    assert tensors_of_one.keys() == tensors_of_two.keys()
    for name, tensor in tensors_of_one.items():
        np.testing.assert_allclose(tensors_of_two[name].numpy(), tensor.numpy(), atol=1e-4, rtol=0, err_msg=name)
    assert told(together, "loss") == pytest.approx(told(alone, "loss"), abs=1e-4)
    assert told(together, "validation_loss") == pytest.approx(told(alone, "validation_loss"), abs=1e-4)
    assert two.metrics == one.metrics
    assert (two.steps, two.resumed_from, len(told(together, "loss"))) == (one.steps, 0, one.steps)


def told(reports: list[StepReport], name: str) -> list[float]:
    return [getattr(report, name) for report in reports if getattr(report, name) is not None]


def test_train_together_asks_for_a_gpu_for_each_process(base, paths, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)

    with pytest.raises(UnableToTrain, match="2 processes want a GPU each; here are 1"):
        train_together(replace(CONFIG, processes=2), CHOICES, paths, base, tmp_path)


def pretend(monkeypatch, script):
    """Lets a few lines of Python stand for the processes; they find the order's folder in `folder`."""
    start = "import json, pathlib, sys, time; folder = pathlib.Path(sys.argv[1])\n"
    monkeypatch.setattr(launch, "command", lambda folder, _number: [sys.executable, "-c", start + script, str(folder)])


SAYS_WHY = """
(folder / "error.json").write_text(json.dumps({{"error": "{}", "text": "{}"}}))
sys.exit(1)
"""


@pytest.mark.parametrize(
    ("script", "error", "text"),
    [
        (SAYS_WHY.format("UnableToReadImage", "Image 4-1 is gone"), UnableToReadImage, "Image 4-1 is gone"),
        (SAYS_WHY.format("UnableToUnlock", "the model has 3"), UnableToUnlock, "the model has 3"),
        ('sys.exit("the card fell off")', UnableToTrain, "processes died. The end of its log: the card fell off"),
    ],
    ids=["in words", "too many blocks", "unforeseen"],
)
def test_train_together_says_what_a_process_died_of(base, paths, tmp_path, monkeypatch, script, error, text):
    pretend(monkeypatch, script)

    with pytest.raises(error, match=text):
        train_together(replace(CONFIG, processes=2), CHOICES, paths, base, tmp_path, device="cpu")

    assert not (tmp_path / "model").exists()


def test_train_together_that_is_cancelled_ends_the_processes(base, paths, tmp_path, monkeypatch):
    pretend(
        monkeypatch,
        'reports = (folder / "reports.jsonl").open("a", buffering=1)\n'
        'print(json.dumps({"stage": "training", "step": 3, "total": 9}), file=reports)\n'
        "time.sleep(60)",
    )
    told = []
    start = time.monotonic()

    with pytest.raises(TrainingCancelled, match="Cancelled while training, at 3 of 9"):
        train_together(
            replace(CONFIG, processes=2), CHOICES, paths, base, tmp_path, told.append, lambda: len(told) == 2,
            device="cpu",
        )  # fmt: skip

    assert told == [StepReport("starting the processes", 0, 1), StepReport("training", 3, 9)]
    assert time.monotonic() - start < 20


def test_a_process_ends_when_its_parent_is_gone():
    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:
        if os.fork() == 0:
            os.close(reading)
            launch._end_with_parent()
            os.write(writing, b"1")
            time.sleep(60)
        else:
            time.sleep(60)
        os._exit(0)
    os.close(writing)

    assert os.read(reading, 1) == b"1"
    os.kill(parent, 9)
    os.waitpid(parent, 0)

    assert os.read(reading, 1) == b""  # nobody holds the other end any more
    os.close(reading)
