"""How much faster batches with cached texts score than one image at a time, on this machine, side by side.

Run: make bench [BENCH="--architecture ViT-B-32 --images 64"]
The weights are random: the time does not depend on them.
"""

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from scoring import checkpoints
from scoring.hps import build_clip, load_clip_scorer

ARCHITECTURES = {
    "tiny": {
        "embed_dim": 96,
        "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 96, "layers": 4, "head_width": 24},
        "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 96, "heads": 4, "layers": 3},
    }
}
PROMPTS = 8


def main() -> None:
    """Time both ways in turn, so that a machine that slows down slows both; print medians and their ratio."""
    wanted = arguments()
    # One thread: on a busy machine a second one mostly waits, and its waiting would be counted.
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        scorer = load_clip_scorer(random_checkpoint(Path(folder) / "clip", wanted.architecture), "cpu")
        files = jpeg_files(wanted.images, wanted.side)

        def one_at_a_time() -> list[float]:
            scores = []
            for number, file in enumerate(files):
                # A fresh prompt each time, as in a package that encodes the text with every image.
                scores += list(scorer.score([opened(file)], f"{prompt_of(number)} {number}"))
            return scores

        def in_batches() -> list[float]:
            return list(scorer.score_pairs((opened(file), prompt_of(number)) for number, file in enumerate(files)))

        compare({"one at a time": one_at_a_time, "in batches": in_batches}, wanted.images, wanted.rounds)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architecture", default="tiny", help="tiny, or a name that open_clip knows")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--side", type=int, default=512, help="pixels of the square JPEG files")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def random_checkpoint(folder: Path, name: str) -> Path:
    """A CLIP checkpoint with random weights."""
    architecture = ARCHITECTURES.get(name, name)
    model = build_clip(architecture)
    side = model.visual.image_size
    size = side[0] if isinstance(side, tuple) else side
    preprocessing = {"size": size, "mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28], "resize": "longest"}
    checkpoints.write(
        folder,
        model.state_dict(),
        {"kind": "clip", "model": {"architecture": architecture}, "preprocessing": preprocessing},
    )
    return folder


def jpeg_files(count: int, side: int) -> list[bytes]:
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


def prompt_of(number: int) -> str:
    return f"scene number {number % PROMPTS}"


def compare(ways: dict[str, Callable[[], list[float]]], images: int, rounds: int) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _round in range(rounds + 1):
        for name, way in ways.items():
            started = time.process_time()
            way()
            seconds[name].append(time.process_time() - started)
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    for name, median in medians.items():
        print(f"{name:<16} {images / median:>9.1f} images per CPU second (median of {rounds})")
    slow, fast = medians.values()
    print(f"ratio            {slow / fast:>9.2f}")


if __name__ == "__main__":
    main()
