"""A training shared by several processes on one machine, started by `accelerate launch`, each with a GPU of its own.

    folder/order.json, choices.jsonl              what is wanted
    accelerate launch ... -m worker.classifier.launch folder
                                                  every process reads it and calls `loop.train`
    folder/reports.jsonl, error.json, log.txt     what the first of them tells, and what went wrong in any

`train_together` writes the order, launches and listens; from outside it looks like `loop.train`. The processes know
neither database nor broker: images are paths here.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from scoring import checkpoints, distributed
from scoring.checkpoints import CheckpointRejected
from scoring.pictures import open_picture
from scoring.preferences import Choice, read_lines, write_lines
from worker.classifier.config import ClassifierConfig
from worker.classifier.data import UnableToReadImage
from worker.classifier.loop import train
from worker.classifier.reports import (
    OnStep,
    ShouldStop,
    StepReport,
    TrainingCancelled,
    TrainingResult,
    UnableToTrain,
    never,
    tell_nobody,
)
from worker.classifier.towers import UnableToUnlock

ROOT = Path(__file__).parents[2]

ORDER, CHOICES, REPORTS, RESULT = "order.json", "choices.jsonl", "reports.jsonl", "result.json"
ERROR, LOG, LOG_LINES = "error.json", "log.txt", 5

LOOK_SECONDS = 0.2
"""Between two looks at what the processes tell."""

STOP_SECONDS = 30
"""Which the processes have to end when they are told to."""

SAID_IN_WORDS: dict[str, type[ValueError]] = {
    error.__name__: error for error in (UnableToTrain, UnableToUnlock, UnableToReadImage, CheckpointRejected)
}
"""Errors of a process that are its message's own; any other is told with the end of the log."""


def train_together(
    config: ClassifierConfig,
    choices: Sequence[Choice],
    image_paths: Mapping[str, Path],
    base_folder: Path,
    out_folder: Path,
    on_step: OnStep = tell_nobody,
    should_stop: ShouldStop = never,
    *,
    device: str | None = None,
    is_synthetic: bool = False,
    cache_folder: Path | None = None,
    hashes: Mapping[str, str] | None = None,
    reliability: Mapping[str, float] | None = None,
) -> TrainingResult:
    """`loop.train` by `config.processes` processes at once: the same steps, sums of gradients being the same.

    Args:
        config: as there, and so all others but
        image_paths: file of each image by key.
        device: `cpu` lets all of them compute on the processor.

    Raises:
        UnableToTrain: as there, or the machine has fewer GPUs than processes are asked for, or a process died.
        UnableToUnlock, UnableToReadImage, TrainingCancelled, CheckpointRejected: as there.
    """
    on_cpu = device == "cpu" or not torch.cuda.is_available()
    if not on_cpu and torch.cuda.device_count() < config.processes:
        raise UnableToTrain(f"{config.processes} processes want a GPU each; here are {torch.cuda.device_count()}.")
    folder = out_folder / "together"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / CHOICES).write_text(write_lines(choices), encoding="utf-8")
    order = {
        "config": config.to_json(),
        "images": {key: str(path.absolute()) for key, path in image_paths.items()},
        "base_folder": str(base_folder.absolute()),
        "out_folder": str(out_folder.absolute()),
        "on_cpu": on_cpu,
        "is_synthetic": is_synthetic,
        "cache_folder": None if cache_folder is None else str(cache_folder.absolute()),
        "hashes": hashes and dict(hashes),
        "reliability": reliability and dict(reliability),
    }
    checkpoints.write_json(folder / ORDER, order)
    with _launched(folder, config.processes) as launched:
        _follow(launched, folder / REPORTS, on_step, should_stop)
    if launched.returncode:
        raise _error_of(folder)
    result = json.loads((folder / RESULT).read_text())
    shutil.rmtree(folder)
    manifest = checkpoints.read_manifest(out_folder / "model")
    return TrainingResult(out_folder / "model", manifest, manifest["metrics"], **result)


def main(folder: Path) -> None:
    """The part of one process: to be called in each of those that `accelerate launch` starts."""
    order = json.loads((folder / ORDER).read_text())
    _end_with_parent()
    with (folder / CHOICES).open(encoding="utf-8", newline="\n") as lines:
        choices = list(read_lines(lines))
    processes = distributed.join("cpu" if order["on_cpu"] else None)
    try:
        result = train(
            ClassifierConfig.from_json(order["config"]),
            choices,
            lambda key: open_picture(order["images"][key]),
            Path(order["base_folder"]),
            Path(order["out_folder"]),
            _teller(folder / REPORTS) if processes.is_first else tell_nobody,
            device="cpu" if order["on_cpu"] else None,
            is_synthetic=order["is_synthetic"],
            cache_folder=None if order["cache_folder"] is None else Path(order["cache_folder"]),
            hashes=order["hashes"],
            reliability=order["reliability"],
            processes=processes,
        )
    except tuple(SAID_IN_WORDS.values()) as error:
        checkpoints.write_json(folder / ERROR, {"error": type(error).__name__, "text": str(error)})
        raise
    if processes.is_first:
        checkpoints.write_json(folder / RESULT, {"steps": result.steps, "resumed_from": result.resumed_from})
    processes.leave()


@contextlib.contextmanager
def _launched(folder: Path, processes: int) -> Iterator[subprocess.Popen[bytes]]:
    """The launcher at work, for the time of the block; whatever still runs then is stopped."""
    with (folder / LOG).open("wb") as log:
        launched = subprocess.Popen(
            command(folder, processes), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            yield launched
        finally:
            # The launcher passes it on to its processes.
            launched.send_signal(signal.SIGTERM)
            try:
                launched.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                launched.kill()  # its processes see that their parent is gone
                launched.wait()


def command(folder: Path, processes: int) -> list[str]:
    """The command line that starts the processes of an order."""
    return [
        *(sys.executable, "-m", "accelerate.commands.launch", "--num_processes", str(processes), "--num_machines", "1"),
        # Means a process for each device, be it the processor: only so are they started without MPI.
        "--multi_gpu",
        *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
        *("--module", "worker.classifier.launch", str(folder.absolute())),
    ]


def _follow(launched: "subprocess.Popen[bytes]", path: Path, on_step: OnStep, should_stop: ShouldStop) -> None:
    """Pass on what the first process tells until the launcher ends."""
    path.touch()
    last, unread, has_ended = StepReport("starting the processes", 0, 1), "", False
    on_step(last)
    with path.open(encoding="utf-8") as reports:
        while not has_ended:
            has_ended = launched.poll() is not None  # what was told before the end is read after it
            *lines, unread = (unread + reports.read()).split("\n")
            for line in lines:
                last = StepReport(**json.loads(line))
                on_step(last)
            if should_stop():
                raise TrainingCancelled(f"Cancelled while {last.stage}, at {last.step} of {last.total}.")
            if not has_ended:
                time.sleep(LOOK_SECONDS)


def _teller(path: Path) -> OnStep:
    """Writes reports as JSON lines, each at once and whole."""
    file = path.open("ab", buffering=0)

    def tell(report: StepReport) -> None:
        file.write(json.dumps(asdict(report)).encode() + b"\n")

    return tell


def _error_of(folder: Path) -> UnableToTrain | ValueError:
    """What one of the processes died of."""
    if (folder / ERROR).exists():
        found = json.loads((folder / ERROR).read_text())
        return SAID_IN_WORDS[found["error"]](found["text"])
    end = (folder / LOG).read_text(errors="replace").strip().splitlines()[-LOG_LINES:]
    return UnableToTrain("One of the processes died. The end of its log: " + " / ".join(end))


def _end_with_parent() -> None:
    """End this process when the one that started it is gone: nobody would hear of what it does."""
    parent = os.getppid()

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
