"""Results on disk, one file for each step of the study, so that a study that was killed goes on where it was."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hps_site.demo.study.declaration import CONTROLS, DECLARED, Arm
from scoring import checkpoints

Record = dict[str, Any]

POSITIVE, HACKED = "positive-control", "hacked"
"""The names of the results of parts 1 and 3."""


def arm_record(arm: Arm, seed: int) -> str:
    """The name of an arm's result in part 2; what isn't trained has no seed."""
    name = f"arm-{[DECLARED, *CONTROLS].index(arm)}"
    return name if arm.training is None else f"seed-{seed}-{name}"


def hps_record(seed: int) -> str:
    """The name of a seed's HPS, and of the result that holds its figures and scores."""
    return f"seed-{seed}-hps"


def people_record(seed: int) -> str:
    """The name of the result of a seed's blind study."""
    return f"seed-{seed}-people"


class Kept:
    """The results in one folder, each whole or absent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, name: str) -> Record | None:
        """A result, or None where that step has not been done."""
        path = self.folder / f"{name}.json"
        return checkpoints.read_json(path) if path.is_file() else None

    def all(self) -> list[Record]:
        """Every result that is there."""
        return [checkpoints.read_json(path) for path in sorted(self.folder.glob("*.json"))]

    def make(self, name: str, work: Callable[[], Record]) -> Record:
        """A result that is there already, or that of the work, with its seconds by the clock and of the processor."""
        if (record := self.get(name)) is not None:
            return record
        print(f"▶ {name}", file=sys.stderr, flush=True)
        clock, processor = time.monotonic(), time.process_time()
        record = work()
        record["seconds"] = round(time.monotonic() - clock, 1)
        record["cpu_seconds"] = round(time.process_time() - processor, 1)
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = self.folder / f"{name}.part"
        checkpoints.write_json(unfinished, record)
        unfinished.replace(self.folder / f"{name}.json")
        print(f"  {record['seconds']} s, {record['cpu_seconds']} s of CPU", file=sys.stderr, flush=True)
        return record
