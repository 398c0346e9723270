"""Promoting, rolling back and cancelling without the web."""

import json
from io import StringIO
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from tests.worker.test_runs import make_run
from tests.worker.test_versions import register, write_artefact
from worker.models import ModelVersion, Promotion, Run
from worker.queries import version_by_name

pytestmark = pytest.mark.django_db


@pytest.fixture
def versions(tmp_path: Path) -> list[ModelVersion]:
    return [register(write_artefact(tmp_path / name)) for name in ("one", "two")]


def said(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue().strip()


@pytest.mark.usefixtures("versions")
def test_promote_version_puts_it_into_use_with_its_reason() -> None:
    assert said("promote_version", "hps-2", "--reason", "better on the new votes") == "hps-2 is in use."

    assert [str(version) for version in ModelVersion.objects.current()] == ["hps-2"]
    assert Promotion.objects.get().reason == "better on the new votes"


@pytest.mark.usefixtures("versions")
def test_promote_version_rolls_back_to_the_one_before() -> None:
    said("promote_version", "hps-1")
    said("promote_version", "hps-2")

    record = json.loads(said("promote_version", "--roll-back", "hps", "--json"))

    assert record == {"version": "hps-1", "family": "hps", "is_synthetic": False}
    assert [str(version) for version in ModelVersion.objects.current()] == ["hps-1"]


@pytest.mark.usefixtures("versions")
def test_promote_version_of_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(CommandError, match="no version 'hps-3'; there are: hps-1, hps-2"):
        said("promote_version", "hps-3")


def test_roll_back_without_an_earlier_version_says_so() -> None:
    with pytest.raises(CommandError):
        said("promote_version", "--roll-back", "hps")


def test_promote_version_refuses_an_artefact_that_was_changed(versions: list[ModelVersion], tmp_path: Path) -> None:
    (tmp_path / "one" / "weights.safetensors").write_bytes(b"other")

    with pytest.raises(CommandError):
        said("promote_version", "hps-1")
    assert not ModelVersion.objects.current().exists()


def test_cancel_run_ends_a_waiting_run() -> None:
    run = make_run()

    assert said("cancel_run", str(run.public_id)) == f"Run {run.public_id} is cancelled."
    run.refresh_from_db()
    assert run.state == Run.State.CANCELLED
    with pytest.raises(CommandError, match="has ended already"):
        said("cancel_run", str(run.public_id))


def test_cancel_run_of_an_unknown_run_says_so() -> None:
    with pytest.raises(CommandError, match="There is no run"):
        said("cancel_run", str(uuid4()))


@pytest.mark.usefixtures("versions")
@pytest.mark.parametrize(("name", "found"), [("hps-2", "hps-2"), ("hps-9", None), ("hps", None), ("clip-2", None)])
def test_version_by_name_finds_family_and_number(name: str, found: str | None) -> None:
    version = version_by_name(name)

    assert (str(version) if version else None) == found
