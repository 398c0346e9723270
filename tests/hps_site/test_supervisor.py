"""Several programs that run as one, and of which none is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hps_site import supervisor

# A program that starts another one, writes its number down, and does not end when asked politely.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open(sys.argv[1], "w").write(str(child.pid))
time.sleep(60)
"""
# Where the tests run in the background, a shell has told them to ignore Ctrl-C, and children inherit that.
SUPERVISOR = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["DJANGO_SETTINGS_MODULE"] = "hps_site.settings"
from hps_site import supervisor
supervisor.SECONDS_TO_STOP = 0.5
supervisor.run_together({"stubborn": [sys.executable, "-c", sys.argv[2], sys.argv[1]]})
"""


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # Whoever is dead and not yet buried by init does not run.
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def wait_for(path: Path) -> int:
    deadline = time.monotonic() + 30
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return int(path.read_text())


def test_run_together_stops_the_others_when_one_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "SECONDS_TO_STOP", 0.5)
    note = tmp_path / "pid"
    ends = (
        f"import pathlib, time\nwhile not pathlib.Path({str(note)!r}).exists(): time.sleep(0.05)\nraise SystemExit(3)"
    )
    commands = {
        "stubborn": [sys.executable, "-c", STUBBORN, str(note)],
        "short": [sys.executable, "-c", ends],
    }

    with pytest.raises(supervisor.ChildEnded, match=r"The short ended with status 3; everything else was stopped\."):
        supervisor.run_together(commands)

    time.sleep(0.2)
    assert not is_running(wait_for(note))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    note = tmp_path / "pid"
    program = f"import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n{SUPERVISOR}"
    process = subprocess.Popen([sys.executable, "-c", program, str(note), STUBBORN], stderr=subprocess.DEVNULL)
    grandchild = wait_for(note)

    process.send_signal(number)
    process.send_signal(number)

    assert process.wait(20) != 0
    time.sleep(0.2)
    assert not is_running(grandchild)


def test_worker_commands_serve_each_queue_once() -> None:
    commands = supervisor.worker_commands()

    queues = {name: command[command.index("--queues") + 1] for name, command in commands.items()}
    assert queues == {"worker": "default", "gpu-worker": "gpu"}
    assert [name for name, command in commands.items() if "--beat" in command] == ["worker"]
    assert "--max-tasks-per-child" in commands["gpu-worker"]
