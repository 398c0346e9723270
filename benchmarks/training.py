"""Training with the frozen-trunk cache, side by side with plain loops that recompute, and that train all blocks.

make bench-training [BENCH="--device cuda --cases ViT-L-14-quickgelu:10:6 --choices 5 --steps 20"]

Ours is the public `worker.classifier.loop.train`; the plain loops are open_clip's model, its own encode_image and
encode_text, AdamW, and the same loss, batches, reading threads and arithmetic. Weights and pictures are random. A case
is an architecture, and how many image blocks and text blocks are trained.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from benchmarks.common import Clock, Machine, jpeg_files, opened, operations, parser, prepare, random_checkpoint
from scoring import backend, hps
from scoring.losses import preference_loss
from scoring.preferences import Choice
from worker.classifier import towers
from worker.classifier.config import PAPER, ClassifierConfig
from worker.classifier.data import ImageReader, batches
from worker.classifier.loop import train
from worker.classifier.reports import StepReport, TrainingCancelled

PER_CHOICE = 4
EPOCHS = (1, 2, 3, 5, 10, 30)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--cases", nargs="+", default=["ViT-L-14-quickgelu:10:6", "ViT-B-32-quickgelu:2:2"])
    options.add_argument("--choices", type=int, default=5, help=f"in a batch, {PER_CHOICE} images each")
    options.add_argument("--steps", type=int, default=4, help="timed in each round, after one that warms up")
    wanted = options.parse_args()
    machine = prepare(wanted)
    files = jpeg_files((wanted.steps + 1) * wanted.choices * PER_CHOICE, wanted.side)
    for case in wanted.cases:
        architecture, image_blocks, text_blocks = case.split(":")
        config = ClassifierConfig.from_json(
            PAPER.to_json()
            | {
                "architecture": None,
                "image_size": None,
                "image_blocks": int(image_blocks),
                "text_blocks": int(text_blocks),
                "choices_per_batch": wanted.choices,
                "checkpoint_every": 10**9,
                "readers": hps.READERS,
            }
        )
        with tempfile.TemporaryDirectory() as folder:
            base = random_checkpoint(Path(folder) / "base", architecture)
            Comparison(case, config, files, base, machine).run(wanted.rounds)


class Comparison:
    """All ways to take the same steps."""

    def __init__(self, case: str, config: ClassifierConfig, files: list[bytes], base: Path, machine: Machine) -> None:
        self.case, self.config, self.files, self.base, self.machine = case, config, files, base, machine
        self.device, self.clock = machine.device, Clock(machine.device)
        self.dtype = backend.pick_dtype(self.device)
        groups = [range(start, start + PER_CHOICE) for start in range(0, len(files), PER_CHOICE)]
        self.choices = [
            Choice(
                f"scene number {number}",
                tuple(str(place) for place in group),
                "choice",
                number % PER_CHOICE,
                "somebody",
                "train",
            )
            for number, group in enumerate(groups)
        ]
        self.steps = len(self.choices) // config.choices_per_batch
        self.fill_seconds = 0.0
        self.squares: dict[str, np.ndarray] = {}

    def run(self, rounds: int) -> None:
        ways = {
            "ours, from the cache": self.ours,
            "plain, recomputing the frozen blocks": lambda: self.plain(trains_all=False, decodes=True),
            "plain, training all blocks": lambda: self.plain(trains_all=True, decodes=True),
            "plain, recomputing, pixels in memory": lambda: self.plain(trains_all=False, decodes=False),
            "plain, training all, pixels in memory": lambda: self.plain(trains_all=True, decodes=False),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _round in range(rounds):
            for name, way in ways.items():
                ticks = list(way())
                seconds[name] += list(np.diff(ticks))
        per_step = {name: float(np.median(taken)) for name, taken in seconds.items()}
        images = self.config.choices_per_batch * PER_CHOICE
        print(f"\n{self.case}: {images} images a step in {self.config.choices_per_batch} choices, {self.dtype}")
        for name, taken in per_step.items():
            work = self.operations_of_step(name)
            print(
                f"  {name:<40} {1 / taken:>8.3f} steps/s {images / taken:>8.1f} images/s"
                f"{self.machine.share(work / taken)}"
            )
        self.print_ratios(per_step)

    def print_ratios(self, per_step: dict[str, float]) -> None:
        fill = self.fill_seconds / (len(self.files) / (self.config.choices_per_batch * PER_CHOICE))
        ours, recomputing, training_all = list(per_step.values())[:3]
        print(f"  filling the cache takes {fill:.3f} s for the images of a step, once")
        print("  times as many steps per second as a plain loop that recomputes / that trains all blocks, the filling")
        print("  counted once, after so many passes over the images:")
        for epochs in (*EPOCHS, None):
            cost = ours + (fill / epochs if epochs else 0)
            named = f"{epochs:>9}" if epochs else "the limit"
            print(f"    {named}: {recomputing / cost:.2f} / {training_all / cost:.2f}")

    def ours(self) -> Iterator[float]:
        """The end of every step of our own training, in a cache that the first round fills."""
        ticks: list[float] = []
        reading: list[float] = []

        def note(report: StepReport) -> None:
            if report.stage.startswith("reading"):
                reading.append(self.clock.now())
            elif report.stage == "training":
                ticks.append(self.clock.now())

        # What would follow the steps is the saving of the weights.
        with tempfile.TemporaryDirectory() as out, contextlib.suppress(TrainingCancelled):
            train(
                self.config,
                self.choices,
                lambda key: opened(self.files[int(key)]),
                self.base,
                Path(out),
                note,
                lambda: len(ticks) == self.steps,
                device=str(self.device),
                cache_folder=self.base.parent / "cache",
                hashes={key: key for choice in self.choices for key in choice.images},
            )
        self.fill_seconds = self.fill_seconds or reading[-1] - reading[0]
        yield from ticks

    def plain(self, *, trains_all: bool, decodes: bool) -> Iterator[float]:
        """The end of every step of a plain loop."""
        model, preprocessing, _ = hps.load_clip(self.base)
        self.tokenize = hps.tokenizer(model)
        if not trains_all:
            towers.unlock(model, image_blocks=self.config.image_blocks, text_blocks=self.config.text_blocks)
        model.to(self.device).train()
        optimizer = torch.optim.AdamW(
            [parameter for parameter in model.parameters() if parameter.requires_grad],
            lr=self.config.learning_rate,
            fused=self.device.type == "cuda",
        )
        order = list(batches(np.arange(len(self.choices)), size=self.config.choices_per_batch, epochs=1, seed=0))
        with ImageReader(lambda key: opened(self.files[int(key)]), preprocessing, self.config.readers) as reader:
            if not decodes and not self.squares:
                keys = [key for choice in self.choices for key in choice.images]
                self.squares = dict(zip(keys, reader.squares(keys), strict=True))
            for number, rows in enumerate(order):
                if decodes and number + 1 < len(order):
                    reader.ask(self._keys(order[number + 1]))
                keys = self._keys(rows)
                squares = reader.squares(keys) if decodes else np.stack([self.squares[key] for key in keys])
                pixels = torch.from_numpy(preprocessing.normalise(squares)).to(self.device)
                self._step(model, optimizer, pixels, [self.choices[row].prompt for row in rows])
                yield self.clock.now()

    def _keys(self, rows: np.ndarray) -> list[str]:
        return [key for row in rows for key in self.choices[row].images]

    def _step(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, pixels: torch.Tensor, prompts: list[str]
    ) -> None:
        ids = self.tokenize(prompts).to(self.device)
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            images = functional.normalize(model.encode_image(pixels).float(), dim=-1)
            texts = functional.normalize(model.encode_text(ids).float(), dim=-1)
        mask = torch.ones(len(prompts), PER_CHOICE, dtype=torch.bool, device=self.device)
        targets = functional.one_hot(torch.zeros(len(prompts), dtype=torch.long, device=self.device), PER_CHOICE)
        loss = preference_loss(
            images.unflatten(0, (len(prompts), PER_CHOICE)), texts, model.logit_scale, mask, targets.float()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    def operations_of_step(self, name: str) -> float:
        """Floating-point operations of one step of a way, counted on a small one."""
        if self.device.type == "cpu":
            return 0.0
        model = hps.load_clip(self.base)[0].to(self.device).train()
        if "all" not in name:
            towers.unlock(model, image_blocks=self.config.image_blocks, text_blocks=self.config.text_blocks)
        ids = self.tokenize(["scene number 1"]).to(self.device)
        pixels = torch.randn(PER_CHOICE, 3, *model.visual.image_size, device=self.device)
        with torch.no_grad():
            image_tokens = towers.image_trunk(model, pixels, self.config.image_blocks)
            text_tokens = towers.text_trunk(model, ids, self.config.text_blocks)

        def from_cache() -> None:
            images = towers.image_head(model, image_tokens, self.config.image_blocks)
            (images @ towers.text_head(model, text_tokens, ids, self.config.text_blocks).T).sum().backward()

        def from_pixels() -> None:
            (model.encode_image(pixels) @ model.encode_text(ids).T).sum().backward()

        return operations(from_cache if name.startswith("ours") else from_pixels) * self.config.choices_per_batch


if __name__ == "__main__":
    main()
