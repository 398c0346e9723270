"""The steps of the demo, each with its time and memory told when it ends."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

SAMPLE_SECONDS = 1.0
MEGABYTE = 1024 * 1024


def family_of(pid: int) -> set[int]:
    """The process and everything it started, directly or not, that still runs."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in brackets may hold spaces, so the fields are counted from its end.
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    family = {pid}
    while newcomers := {child for child, parent in parents.items() if parent in family} - family:
        family |= newcomers
    return family


def memory_of(pids: set[int]) -> int:
    """Bytes of memory that these processes hold together; pages they share are counted once (PSS)."""
    total = 0
    for pid in pids:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
    return total


class MemoryWatch:
    """Follows the memory of this process, its children and the servers beside it, while a step runs."""

    def __init__(self, beside: tuple[int, ...] = ()) -> None:
        self.beside = beside
        self.peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        while True:
            pids = set().union(*(family_of(pid) for pid in (os.getpid(), *self.beside)))
            self.peak = max(self.peak, memory_of(pids))
            if self._stop.wait(SAMPLE_SECONDS):
                return


@dataclass(frozen=True)
class StepCost:
    """What a step cost: wall seconds, and the highest memory of all processes together in bytes."""

    name: str
    seconds: float
    peak_bytes: int


@dataclass
class Ledger:
    """Tells each step as it begins and ends, and keeps what it cost."""

    beside: tuple[int, ...] = ()
    costs: list[StepCost] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        print(f"\n▶ {name}", file=sys.stderr, flush=True)
        started = time.monotonic()
        with MemoryWatch(self.beside) as watch:
            yield
        cost = StepCost(name, time.monotonic() - started, watch.peak)
        self.costs.append(cost)
        print(f"  {cost.seconds:.1f} s, at most {cost.peak_bytes / MEGABYTE:,.0f} MB", file=sys.stderr, flush=True)

    def table(self) -> str:
        """One line per step, and the sum."""
        lines = [f"{'step':<52} {'seconds':>8} {'peak MB':>8}"]
        lines += [f"{cost.name:<52} {cost.seconds:>8.1f} {cost.peak_bytes / MEGABYTE:>8,.0f}" for cost in self.costs]
        seconds = sum(cost.seconds for cost in self.costs)
        peak = max((cost.peak_bytes for cost in self.costs), default=0)
        lines.append(f"{'in all':<52} {seconds:>8.1f} {peak / MEGABYTE:>8,.0f}")
        return "\n".join(lines)
