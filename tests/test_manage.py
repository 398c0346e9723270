"""What manage.py does before Django does anything."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db.migrations.recorder import MigrationRecorder

import manage

ROOT = Path(__file__).resolve().parent.parent


def test_threads_that_wait_for_each_other_sleep_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    manage.wait_without_turning()
    assert manage.os.environ["OMP_WAIT_POLICY"] == "PASSIVE"

    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    manage.wait_without_turning()
    assert manage.os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


def test_numpy_is_not_loaded_before_it_is_said_how_threads_wait() -> None:
    program = "import sys, manage; print('numpy' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "False"


@pytest.fixture
def new_home() -> Iterator[Path]:
    """A home without a database, under a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="hps-") as folder:
        yield Path(folder) / "home"


def run_manage(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}}
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment | variables, capture_output=True, text=True, check=False, timeout=100
    )


@pytest.mark.slow
def test_the_first_command_on_a_new_home_makes_the_tables(new_home: Path) -> None:
    result = run_manage("rank_generators", "--campaign", "none-yet", HPS_SITE_HOME=str(new_home))

    assert result.returncode == 1
    assert "none-yet" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_a_database_that_somebody_else_keeps_is_not_changed(monkeypatch: pytest.MonkeyPatch, db: None) -> None:
    MigrationRecorder.Migration.objects.filter(app="annotations").delete()
    monkeypatch.setenv("DATABASE_URL", "postgresql://somewhere/else")

    with pytest.raises(SystemExit, match=r"run `python manage.py migrate` first"):
        manage.bring_up_to_date("rank_generators")
