"""What the demo's steps cost."""

import os
import subprocess
import sys
import time

import pytest

from hps_site.demo.steps import Ledger, MemoryWatch, StepCost, family_of, memory_of

EATS_MEMORY = "import time; block = bytearray(60_000_000); print('ready', flush=True); time.sleep(60)"


def test_family_of_holds_children_of_children():
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    parent.stdout.readline()

    family = family_of(parent.pid)

    parent.communicate(b"\n")
    assert len(family) == 2
    assert parent.pid in family
    assert os.getpid() not in family


def test_memory_watch_sees_what_a_child_takes():
    with MemoryWatch() as watch:
        alone = memory_of({os.getpid()})
        child = subprocess.Popen([sys.executable, "-c", EATS_MEMORY], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        deadline = time.monotonic() + 30
        while watch.peak <= alone + 50_000_000:
            assert time.monotonic() < deadline, "what the child takes was not seen"
            time.sleep(0.05)
        child.kill()
        child.communicate()


def test_memory_of_counts_a_process_that_is_gone_as_nothing():
    assert memory_of({2**22 + 1}) == 0


def test_ledger_keeps_what_steps_cost(capsys):
    ledger = Ledger()
    with ledger.step("first"):
        pass
    with pytest.raises(ZeroDivisionError), ledger.step("broken"):
        raise ZeroDivisionError

    assert [cost.name for cost in ledger.costs] == ["first"]
    assert "▶ first" in capsys.readouterr().err


def test_ledger_table_sums_seconds_and_takes_the_highest_memory():
    ledger = Ledger(costs=[StepCost("draw", 1.25, 10 * 2**20), StepCost("vote", 2.5, 30 * 2**20)])

    assert [line.split() for line in ledger.table().splitlines()] == [
        ["step", "seconds", "peak", "MB"],
        ["draw", "1.2", "10"],
        ["vote", "2.5", "30"],
        ["in", "all", "3.8", "30"],
    ]
