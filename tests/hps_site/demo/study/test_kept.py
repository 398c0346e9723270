"""Results are whole or absent."""

import pytest

from hps_site.demo.study.declaration import CONTROLS, DECLARED, STUDY, Declaration
from hps_site.demo.study.kept import Kept, arm_record
from scoring.checkpoints import UnableToWriteCheckpoint


def test_a_result_is_made_once(tmp_path):
    kept = Kept(tmp_path / "folder")
    calls = []

    first = kept.make("step", lambda: calls.append(1) or {"value": 1})

    assert kept.make("step", lambda: calls.append(2) or {"value": 2}) == first == kept.get("step")
    assert first.keys() == {"value", "seconds", "cpu_seconds"}
    assert calls == [1]
    assert kept.all() == [first]


@pytest.mark.parametrize("broken", [lambda: 1 / 0, lambda: {"value": float("nan")}])
def test_a_step_that_fails_leaves_no_result(tmp_path, broken):
    kept = Kept(tmp_path)

    with pytest.raises((ZeroDivisionError, UnableToWriteCheckpoint)):
        kept.make("step", broken)

    assert kept.get("step") is None
    assert kept.all() == []


def test_whoever_changes_a_number_of_the_declaration_begins_another_study():
    assert STUDY.key == Declaration().key
    assert STUDY.key != Declaration(least_gain=0.02).key
    assert STUDY.key != Declaration(adapter={"steps": 100}).key


def test_every_arm_has_a_result_of_its_own():
    names = [arm_record(arm, seed) for arm in (DECLARED, *CONTROLS) for seed in (0, 1)]

    assert len(set(names)) == 2 * len([arm for arm in (DECLARED, *CONTROLS) if arm.training]) + 1
