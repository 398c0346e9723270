"""What manage.py does before Django does anything."""

import subprocess
import sys
from pathlib import Path

import pytest

import manage

ROOT = Path(__file__).resolve().parent.parent


def test_half_of_the_cores_are_left_to_others_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    manage.leave_cores_for_others()
    assert manage.os.environ["OMP_NUM_THREADS"] == "3"

    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    manage.leave_cores_for_others()
    assert manage.os.environ["OMP_NUM_THREADS"] == "5"


def test_numpy_is_not_loaded_before_the_cores_are_shared_out() -> None:
    program = "import sys, manage; print('numpy' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "False"
