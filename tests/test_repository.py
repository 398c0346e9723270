"""What the files of the repository say of each other is true."""

import re
import subprocess
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml
from django.core.management import get_commands
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hps_site import servers
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
MAKEFILE = (ROOT / "Makefile").read_text()
README = (ROOT / "README.md").read_text()
READS = re.compile(r'(?:text|whole_number|truth|words|origin|environ\.get)\(\s*"([A-Z_]+)"')


def variables_read() -> set[str]:
    rooms = ("hps_site", "annotations", "worker", "scoring")
    return {name for room in rooms for path in (ROOT / room).rglob("*.py") for name in READS.findall(path.read_text())}


def variables_of_compose() -> set[str]:
    return set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))


def make_targets() -> list[str]:
    line = next(line for line in MAKEFILE.splitlines() if line.startswith(".PHONY:"))
    return line.removeprefix(".PHONY:").split()


def test_env_example_explains_every_variable_that_is_read_and_no_other() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    explained = [name for name, before in zip(lines[1:], lines, strict=False) if "=" in name and before]

    listed = [line.split("=")[0] for line in explained if not line.startswith("#")]

    assert sorted(listed) == sorted(variables_read() | variables_of_compose())


def test_make_help_has_a_line_for_every_target() -> None:
    result = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert [line.split()[1] for line in result.stdout.splitlines()] == make_targets()
    assert all(len(line.split()) > 2 for line in result.stdout.splitlines())


def test_make_has_the_targets_that_people_expect() -> None:
    everyday = ["help", "setup", "demo", "serve", "worker", "test", "test-fast", "lint", "fix", "messages"]
    measuring = ["bench", "bench-scoring", "bench-training", "bench-adapter", "bench-policies", "bench-claims"]

    made = ["bench-rankings", "bench-toy-hps", "bench-control", "toy-weights", "study"]
    assert make_targets() == [*everyday, *measuring, *made]


def test_what_make_runs_exists() -> None:
    commands = set(re.findall(r"manage\.py ([a-z_]+)", MAKEFILE))
    modules = set(re.findall(r"\$\(RUN\) -m ([a-z_.]+)", MAKEFILE)) - {"pytest"}
    scripts = set(re.findall(r"deploy/[a-z-]+", MAKEFILE))

    assert commands <= set(get_commands())
    assert all((ROOT / f"{module.replace('.', '/')}.py").exists() for module in modules)
    assert all((ROOT / script).exists() for script in scripts)
    assert list((ROOT / "benchmarks").glob("*.py"))


def test_the_lock_has_a_fitting_version_of_every_dependency() -> None:
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    locked = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    wanted = [Requirement(text) for text in chain(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())]

    unfit = [str(each) for each in wanted if not each.specifier.contains(locked.get(canonicalize_name(each.name), "0"))]

    assert unfit == []
    assert not [version for version in locked.values() if "+" in version]


def test_compose_runs_the_parts_and_versions_that_are_tested() -> None:
    images = {name: service.get("image") for name, service in COMPOSE["services"].items()}
    parts = {"nginx", "web", "migrate", "worker", "gpu-worker", "beat", "postgres", "redis"}

    assert set(images) == parts
    assert images["postgres"].removeprefix("postgres:") == servers.POSTGRES_VERSION


def test_every_queue_has_one_worker_in_compose() -> None:
    commands = [service.get("command", "") for service in COMPOSE["services"].values()]
    queues = [command[command.index("--queues") + 1] for command in commands if "--queues" in command]

    assert sorted(queues) == ["default", "gpu"]


@pytest.mark.parametrize("target", ["web", "ml"])
def test_compose_builds_targets_that_the_dockerfile_has(target: str) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()

    assert re.search(rf"^FROM .* AS {target}$", dockerfile, re.MULTILINE)
    assert target in {service["build"]["target"] for service in COMPOSE["services"].values() if "build" in service}


def test_the_commands_of_the_readme_exist() -> None:
    made = set(re.findall(r"(?:^ {4}|`)make ([a-z-]+)", README, re.MULTILINE))
    managed = set(re.findall(r"manage\.py ([a-z_]+)", README))

    assert made <= set(make_targets())
    assert managed <= set(get_commands())
    assert {"demo", "test"} <= made


def test_the_files_that_the_documents_link_to_exist() -> None:
    documents = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    links = [
        (path, link) for path in documents for link in re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text())
    ]

    assert [(str(path), link) for path, link in links if not (path.parent / link).exists()] == []


def test_the_decisions_are_numbered_and_complete() -> None:
    decisions = sorted((ROOT / "docs" / "adr").glob("*.md"))

    assert [int(path.name[:4]) for path in decisions] == list(range(1, len(decisions) + 1))
    headings = ["## Context", "## Decision", "## Consequences"]
    assert [path.name for path in decisions if not all(heading in path.read_text() for heading in headings)] == []


def test_continuous_integration_runs_what_developers_run() -> None:
    assert re.findall(r"^make .*", (ROOT / ".ci" / "run").read_text(), re.MULTILINE) == ["make setup", "make test"]


def test_programs_of_the_repository_can_be_executed() -> None:
    programs = [Path("manage.py"), Path(".ci/run"), Path("deploy/make-environment"), Path("deploy/ensure-chromium")]

    assert [str(path) for path in programs if not (ROOT / path).stat().st_mode & 0o100] == []
