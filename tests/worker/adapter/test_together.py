"""Training from a folder in the released form: alone, and in two processes that `accelerate launch` starts."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from scoring import distributed
from scoring.distributed import Processes, UnableToJoin
from tests.conftest import ROOT
from tests.worker.tiny_diffusion import open_image
from worker.adapter import released
from worker.adapter.__main__ import main
from worker.adapter.artefact import WEIGHTS
from worker.adapter.labelling import Label, LabelledImage
from worker.adapter.released import ReleasedDataRejected

SETTINGS = {
    "rank": 2,
    "steps": 3,
    "batch_size": 6,
    "batch_pieces": 2,
    "learning_rate": 1e-3,
    "resolution": None,
    "evaluation_share": 0.25,
    "evaluation_draws": 1,
    "checkpoint_every": 2,
    "caption_dropout": 0.3,
    "non_preferred_per_preferred": 1.0,
    "regularisation_per_labelled": 0.1,
}
# On a CPU build of torch, accelerate's own start needs our repair of torchvision's import. `--multi_gpu` starts several
# processes without GPUs too; `--cpu --num_processes 2` starts one.
ACCELERATE = "import scoring.backend; from accelerate.commands.accelerate_cli import main; main()"
TWO = [
    *(sys.executable, "-c", ACCELERATE, "launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
    *("--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no"),
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four pairs of images and two others, as align_sd's scripts write them."""
    folder = tmp_path / "data"
    lines = []
    for kind, name in (("positive", "good"), ("negative", "bad")):
        (folder / kind).mkdir(parents=True)
        for number in range(4):
            file = f"{kind}/{number}.png"
            open_image(f"{name}-{number}").save(folder / file)
            lines.append({"id": number, "file_name": file, "prompt": f"red {number}", "type": kind})
    open_image("good-other").save(folder / "other.png")
    others = [{"file_name": "other.png", "caption": "a square"}]
    (folder / released.LABELLED).write_text("\n".join(map(json.dumps, lines)))
    (folder / released.REGULARISATION).write_text("\n".join(map(json.dumps, others)))
    return folder


def train(launcher: list[str], data: Path, base: Path, out: Path) -> dict:
    command = [*launcher, "-m", "worker.adapter", "--data", data, "--base", base, "--out", out]
    settings = ["--device", "cpu", "--config", json.dumps(SETTINGS), "--synthetic"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*map(str, command), *settings], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    return json.loads(line)


@pytest.mark.slow
def test_two_processes_train_as_one(base_folder, data, tmp_path):
    alone = train([sys.executable], data, base_folder, tmp_path / "alone")
    together = train(TWO, data, base_folder, tmp_path / "together")

    assert (alone["processes"], together["processes"]) == (1, 2)
    one, two = (load_file(tmp_path / name / "model" / WEIGHTS) for name in ("alone", "together"))
    assert one.keys() == two.keys()
    assert max((one[name] - two[name]).abs().max().item() for name in one) < 1e-4
    assert max(one[name].abs().max().item() for name in one) > 1e-2
    assert together["examples"] == alone["examples"] == {"preferred": 3, "non_preferred": 3, "regularisation": 1}
    encoded = [next((tmp_path / name / "encoded").glob("*-images.bin")).read_bytes() for name in ("alone", "together")]
    assert torch.allclose(*(torch.frombuffer(bytearray(each), dtype=torch.float32) for each in encoded), atol=1e-5)


def test_read_gives_labelled_images_and_the_others(data):
    labelled, others = released.read(data)

    assert labelled[4] == LabelledImage("negative/0.png", "red 0", Label.NON_PREFERRED, 1.0, 1)
    assert [image.label for image in labelled] == [Label.PREFERRED] * 4 + [Label.NON_PREFERRED] * 4
    assert others == [("other.png", "a square")]


def test_read_without_others_gives_none(data):
    (data / released.REGULARISATION).unlink()

    assert released.read(data)[1] == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", r"annotation.jsonl, line 1: not JSON"),
        ("[]", r"line 1: not a JSON object"),
        ('{"prompt": "x", "type": "positive"}', "file_name must be a text, not None"),
        ('{"file_name": "../out.png", "prompt": "x", "type": "positive"}', r"leads out of the folder: '../out.png'"),
        ('{"file_name": "no.png", "prompt": "x", "type": "positive"}', "no image 'no.png'"),
        ('{"file_name": "other.png", "type": "positive"}', "prompt must be a text"),
        ('{"file_name": "other.png", "prompt": "x", "type": "good"}', "positive or negative, not 'good'"),
    ],
)
def test_read_names_the_line_that_is_wrong(data, line, words):
    (data / released.LABELLED).write_text(line)
    shutil.copy(data / "other.png", data.parent / "out.png")

    with pytest.raises(ReleasedDataRejected, match=words):
        released.read(data)


def test_a_broken_picture_ends_the_training_in_words(base_folder, data, tmp_path, monkeypatch, capsys):
    picture = data / "positive" / "1.png"
    picture.write_bytes(picture.read_bytes()[:60])
    arguments = ["--data", data, "--base", base_folder, "--out", tmp_path / "out", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["worker.adapter", *map(str, arguments), "--config", json.dumps(SETTINGS)])

    assert main() == 1
    assert "positive/1.png: can't be read as a picture (" in capsys.readouterr().err


def test_processes_that_do_not_find_each_other_say_so(data, tmp_path, monkeypatch, capsys):
    def alone(_device: str | None) -> Processes:
        raise UnableToJoin("8 processes were started, and only 1 joined.")

    monkeypatch.setattr(distributed, "join", alone)
    monkeypatch.setattr(sys, "argv", ["worker.adapter", "--data", str(data), "--base", "base", "--out", str(tmp_path)])

    assert main() == 1
    assert capsys.readouterr().err == "8 processes were started, and only 1 joined.\n"


def test_read_without_the_file_says_which(tmp_path):
    with pytest.raises(ReleasedDataRejected, match=r"annotation.jsonl: can't be read"):
        released.read(tmp_path)
