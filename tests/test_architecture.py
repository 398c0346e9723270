"""What may import what, and that the website starts without the machine-learning packages."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

HEAVY = ["torch", "torchvision", "open_clip", "diffusers", "peft", "transformers", "accelerate"]

WEB = ["django", "rest_framework", "celery", "psycopg", "redis", "diffusers", "transformers", "accelerate", "scipy"]

START_THE_SITE = f"""
import sys
import hps_site.wsgi, hps_site.urls
from django.urls import get_resolver
get_resolver().url_patterns
print(sorted(set({HEAVY}) & set(sys.modules)))
"""

START_A_WORKER = """
import hps_site.celery
from hps_site.celery import app
app.loader.import_default_modules()
print("worker.sweep_runs" in app.tasks)
"""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_website_starts_without_the_machine_learning_packages() -> None:
    result = run(sys.executable, "-c", START_THE_SITE)

    assert (result.stdout, result.stderr) == ("[]\n", "")


def test_scoring_training_and_benchmarks_need_no_web_framework() -> None:
    code = f"""
import sys
sys.modules |= dict.fromkeys({WEB}, None)
import benchmarks.scoring, benchmarks.training, worker.classifier.loop, scoring.hps
"""
    result = run(sys.executable, "-c", code)

    assert (result.returncode, result.stderr) == (0, "")


def test_workers_know_the_jobs() -> None:
    result = run(sys.executable, "-c", START_A_WORKER)

    assert (result.stdout, result.stderr) == ("True\n", "")


def test_the_layers_hold() -> None:
    result = run(str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo")

    assert result.returncode == 0, result.stdout


def test_the_models_have_their_migrations() -> None:
    result = run(sys.executable, "manage.py", "makemigrations", "--check", "--dry-run")

    assert (result.returncode, result.stdout) == (0, "No changes detected\n")
