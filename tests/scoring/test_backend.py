import subprocess
import sys

import torch

from scoring import backend


def test_open_clip_can_be_imported_after_backend():
    script = "import scoring.backend, torchvision, open_clip; print(torchvision.__version__)"

    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100, check=False)

    assert (ran.returncode, ran.stderr) == (0, "")


def test_make_torchvision_importable_declares_nothing_where_the_operators_load(monkeypatch):
    monkeypatch.setattr(backend, "_compiled_operators_load", lambda: True)
    monkeypatch.setattr(backend, "_declared", [])

    backend.make_torchvision_importable()

    assert backend._declared == []


def test_make_torchvision_importable_declares_once():
    before = list(backend._declared)

    backend.make_torchvision_importable()

    assert backend._declared == before


def test_pick_device_takes_what_is_asked_for():
    assert backend.pick_device("cpu") == torch.device("cpu")
    assert backend.pick_device("cuda:1") == torch.device("cuda", 1)


def test_pick_device_takes_cuda_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert backend.pick_device() == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert backend.pick_device() == torch.device("cpu")


def test_pick_dtype_is_float32_on_the_cpu():
    assert backend.pick_dtype(torch.device("cpu")) == torch.float32


def test_make_deterministic_repeats_random_numbers():
    backend.make_deterministic(3)
    first = torch.rand(5)
    backend.make_deterministic(3)

    assert torch.equal(torch.rand(5), first)
