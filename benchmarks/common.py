"""What the benchmarks share: pictures, random models, clocks that wait for the GPU, and the card's own speed."""

import argparse
import io
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from scoring import checkpoints
from scoring.hps import build_clip
from scoring.preprocessing import Preprocessing

TINY: dict[str, Any] = {
    "embed_dim": 96,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 96, "layers": 4, "head_width": 24},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 96, "heads": 4, "layers": 3},
}


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--device", default="cpu", help="cpu or cuda")
    made.add_argument("--side", type=int, default=512, help="pixels of the square JPEG files")
    made.add_argument("--rounds", type=int, default=3, help="each way is timed so often, all in turn")
    # One thread: on a busy machine a second one mostly waits, and its waiting would be counted.
    made.add_argument("--threads", type=int, default=1, help="of torch, on a CPU")
    return made


@dataclass(frozen=True)
class Machine:
    """What the times are taken on."""

    device: torch.device

    matrix_rate: float | None
    """Floating-point operations per second of a bf16 matrix product, measured now; None on a CPU."""

    def share(self, operations_per_second: float) -> str:
        """Of the card's matrix rate, in words; empty on a CPU."""
        return f", {operations_per_second / self.matrix_rate:.1%} of the matrix rate" if self.matrix_rate else ""


def prepare(wanted: argparse.Namespace) -> Machine:
    """The machine that was asked for; prints what it is and, of a GPU, its measured speed."""
    device = torch.device(wanted.device)
    if device.type != "cuda":
        torch.set_num_threads(wanted.threads)
        # Two cores may be halves of one: what reads ahead on another then counts twice, as its own and as our waiting.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-wanted.threads :])
        print(f"CPU seconds of the whole process on {wanted.threads} core(s), torch {torch.__version__}")
        return Machine(device, None)
    rate = matrix_rate(device)
    print(f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}")
    print(f"bf16 matrix rate, 8192 x 8192 x 8192: {rate / 1e12:.0f} TFLOP/s", flush=True)
    return Machine(device, rate)


def random_checkpoint(folder: Path, name: str) -> Path:
    """A CLIP artefact with random weights; times do not depend on them. `tiny`, or a name that open_clip knows."""
    architecture = TINY if name == "tiny" else name
    torch.manual_seed(0)
    model = build_clip(architecture)
    preprocessing = Preprocessing(size=model.visual.image_size[0])
    checkpoints.write(
        folder,
        model.state_dict(),
        {
            "kind": "clip",
            "name": name,
            "model": {"architecture": architecture},
            "preprocessing": preprocessing.to_manifest(),
        },
    )
    return folder


def jpeg_files(count: int, side: int) -> list[bytes]:
    """Coloured clouds as JPEG files of quality 90."""
    rng = np.random.default_rng(0)
    files = []
    for _number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        file = io.BytesIO()
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


def opened(file: bytes) -> Image.Image:
    return Image.open(io.BytesIO(file))


class Clock:
    """CPU seconds of this process on a CPU, where other programs would disturb; seconds on a GPU, its work done."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            return time.perf_counter()
        return time.process_time()

    def seconds(self, work: Callable[[], object]) -> float:
        started = self.now()
        work()
        return self.now() - started


def least(clock: Clock, ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The least seconds of each way, all in turn so that a machine that slows down slows all; a first round warms up.

    What others do on the machine only ever adds: on a busy one medians of the same work differed by a third.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _round in range(rounds + 1):
        for name, way in ways.items():
            seconds[name].append(clock.seconds(way))
    return {name: min(times[1:]) for name, times in seconds.items()}


def matrix_rate(device: torch.device, side: int = 8192) -> float:
    """Floating-point operations per second of a square bf16 matrix product, the best of several."""
    one, two = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    clock = Clock(device)
    seconds = [clock.seconds(lambda: [one @ two for _ in range(10)]) / 10 for _ in range(6)]
    return 2 * side**3 / min(seconds)


def operations(work: Callable[[], object]) -> float:
    """Floating-point operations of the matrix products in some work, counted by torch."""
    torch.backends.mha.set_fastpath_enabled(value=False)  # its fused kernel isn't counted
    with FlopCounterMode(display=False) as counter:
        work()
    torch.backends.mha.set_fastpath_enabled(value=True)
    return float(counter.get_total_flops())
