"""Scoring, side by side in one run: our public call, the call pattern of the `hpsv2` package, a plain open_clip loop.

make bench-scoring [BENCH="--device cuda --architectures ViT-L-14-quickgelu ViT-H-14"]

The pattern of hpsv2 1.2.0 (hpsv2/img_score.py): each call reads the weights, then takes one image at a time and encodes
the prompt with each. Both get the same random weights, the same pixels and eight images per prompt. Random weights put
all images close together, so that the share of rankings that bfloat16 changes is an upper bound.
"""

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from benchmarks.common import Clock, Machine, jpeg_files, least, opened, operations, parser, prepare
from benchmarks.common import random_checkpoint as make_checkpoint
from scoring import checkpoints, hps
from scoring.hps import ClipScorer, load_clip_scorer

PER_PROMPT = 8


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--architectures", nargs="+", default=["ViT-B-32-quickgelu", "ViT-L-14-quickgelu"])
    options.add_argument("--images", type=int, default=64, help=f"a multiple of {PER_PROMPT}")
    wanted = options.parse_args()
    machine = prepare(wanted)
    files = jpeg_files(wanted.images, wanted.side)
    for architecture in wanted.architectures:
        with tempfile.TemporaryDirectory() as folder:
            Comparison(make_checkpoint(Path(folder) / "clip", architecture), files, machine).run(wanted.rounds)


class Comparison:
    """All ways to score the same images with the same weights."""

    def __init__(self, folder: Path, files: list[bytes], machine: Machine) -> None:
        self.folder, self.files, self.machine = folder, files, machine
        self.device, self.clock = machine.device, Clock(machine.device)
        device = machine.device
        self.ours = load_clip_scorer(folder, str(device))
        self.ours_bf16 = load_clip_scorer(folder, str(device), "bfloat16")
        self.plain = hps.load_clip(folder)[0].to(device).eval()
        self.plain_bf16 = copy.deepcopy(self.plain).to(torch.bfloat16)
        self.tokenize = hps.tokenizer(self.plain)
        squares = np.stack([self.ours.preprocessing.square(opened(file)) for file in files])
        self.pixels = torch.from_numpy(self.ours.preprocessing.normalise(squares)).to(device)
        self.pictures = [opened(file) for file in files]
        for picture in self.pictures:
            picture.load()
        self.groups = [range(start, start + PER_PROMPT) for start in range(0, len(files), PER_PROMPT)]

    def run(self, rounds: int) -> None:
        name = checkpoints.read_manifest(self.folder)["name"]
        reload_seconds = min(self.clock.seconds(self.read_weights) for _ in range(2))
        seconds = least(self.clock, self.ways(), rounds)
        rates = {way: len(self.files) / taken for way, taken in seconds.items()}
        with torch.no_grad():
            per_image = operations(lambda: self.plain.encode_image(self.pixels[:1]))
        print(f"\n{name}: {len(self.files)} JPEG files, {PER_PROMPT} per prompt, {per_image / 1e9:.0f} GFLOP an image;")
        print(f"  reading the weights takes {reload_seconds:.2f} s")
        for way, rate in rates.items():
            share = self.machine.share(rate * per_image) if "bf16" in way else ""
            print(f"  {way:<46} {rate:>9.2f} images/s{share}")
        pattern, calls = seconds["hpsv2's pattern, its reload not counted"], len(self.groups)
        for way in ("ours, score() per prompt, float32", "ours, score() per prompt, bf16"):
            with_reload = (pattern + calls * reload_seconds) / seconds[way]
            print(f"  {way}: {pattern / seconds[way]:.2f}x hpsv2's pattern, {with_reload:.1f}x with its reload counted")
        self.print_limits(rates)
        self.print_differences()

    def ways(self) -> dict[str, Callable[[], object]]:
        return {
            "hpsv2's pattern, its reload not counted": self.hpsv2_pattern,
            "ours, score() per prompt, float32": lambda: self.by_prompt(self.ours),
            "ours, score() per prompt, bf16": lambda: self.by_prompt(self.ours_bf16),
            "ours, score_pairs(), float32": lambda: self.in_bulk(self.ours),
            "ours, score_pairs(), bf16": lambda: self.in_bulk(self.ours_bf16),
            "ours, score_pairs(), pictures in memory, float32": lambda: self.from_pictures(self.ours),
            "ours, score_pairs(), pictures in memory, bf16": lambda: self.from_pictures(self.ours_bf16),
            "bare encode_image, pixels in memory, float32": lambda: self.bare(self.plain),
            "bare encode_image, pixels in memory, bf16": lambda: self.bare(self.plain_bf16),
            "plain open_clip loop, autocast to bf16": self.plain_loop,
            "decoding and resizing alone": self.decode_alone,
        }

    def read_weights(self) -> None:
        tensors, _ = checkpoints.read(self.folder)
        self.plain.load_state_dict(tensors)

    @torch.no_grad()
    def hpsv2_pattern(self) -> list[float]:
        """As hpsv2/img_score.py: `model(image, text)` for each image; under autocast on a GPU."""
        scores = []
        for group in self.groups:
            for place in group:
                pixels = self.ours.preprocessing.normalise(self.ours.preprocessing.square(opened(self.files[place])))
                image = torch.from_numpy(pixels)[None].to(self.device)
                text = self.tokenize([prompt_of(group)]).to(self.device)
                with torch.autocast("cuda", enabled=self.device.type == "cuda"):
                    image_features, text_features, _ = self.plain(image, text)
                scores.append(100 * (image_features @ text_features.T).item())
        return scores

    def by_prompt(self, scorer: ClipScorer) -> list[float]:
        scorer._texts.clear()
        return [
            score
            for group in self.groups
            for score in scorer.score([opened(self.files[place]) for place in group], prompt_of(group)).tolist()
        ]

    def in_bulk(self, scorer: ClipScorer) -> list[float]:
        scorer._texts.clear()
        pairs = ((opened(self.files[place]), prompt_of(group)) for group in self.groups for place in group)
        return list(scorer.score_pairs(pairs))

    def from_pictures(self, scorer: ClipScorer) -> list[float]:
        scorer._texts.clear()
        prompts = [prompt_of(group) for group in self.groups for _ in group]
        return list(scorer.score_pairs(zip(self.pictures, prompts, strict=True)))

    @torch.inference_mode()
    def bare(self, model: hps.CLIP) -> None:
        batch = hps.batch_for(self.device)
        for start in range(0, len(self.pixels), batch):
            model.encode_image(self.pixels[start : start + batch].to(model.logit_scale.dtype))

    @torch.no_grad()
    def plain_loop(self) -> list[float]:
        """Batches of images and texts, decoded between them: what people write with open_clip."""
        scores: list[float] = []
        batch = hps.batch_for(self.device)
        for start in range(0, len(self.files), batch):
            places = range(start, min(start + batch, len(self.files)))
            squares = np.stack([self.ours.preprocessing.square(opened(self.files[place])) for place in places])
            images = torch.from_numpy(self.ours.preprocessing.normalise(squares)).to(self.device)
            texts = self.tokenize([prompt_of(self.groups[place // PER_PROMPT]) for place in places]).to(self.device)
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
                image_features, text_features, _ = self.plain(images, texts)
            scores += (100 * functional.cosine_similarity(image_features.float(), text_features.float())).tolist()
        return scores

    def decode_alone(self) -> None:
        with hps.ThreadPoolExecutor(hps.READERS) as threads:
            list(threads.map(lambda file: self.ours.preprocessing.square(opened(file)), self.files))

    def print_limits(self, rates: dict[str, float]) -> None:
        for precision in ("float32", "bf16"):
            ours = rates[f"ours, score_pairs(), {precision}"]
            bare = rates[f"bare encode_image, pixels in memory, {precision}"]
            decoding = rates["decoding and resizing alone"]
            limit = "the image encoder" if bare < decoding else "decoding"
            if self.device.type == "cpu":  # both take turns on the same cores
                limit = f"decoding takes {ours / decoding:.0%} of the time"
            else:
                limit = f"{limit} limits"
            print(f"  {precision}: {ours / bare:.0%} of a bare encode_image, decoding included; {limit}")
            in_memory = rates[f"ours, score_pairs(), pictures in memory, {precision}"]
            print(
                f"  {precision}: {in_memory / bare:.0%} with decoded pictures in memory, resizing and prompts included"
            )

    def print_differences(self) -> None:
        pattern, whole, half = (
            np.array(scores).reshape(-1, PER_PROMPT)
            for scores in (self.hpsv2_pattern(), self.by_prompt(self.ours), self.by_prompt(self.ours_bf16))
        )
        changed = (np.argsort(half, axis=1) != np.argsort(whole, axis=1)).any(axis=1).mean()
        first = (half.argmax(axis=1) != whole.argmax(axis=1)).mean()
        print(f"  largest difference of float32 to hpsv2's pattern: {np.abs(whole - pattern).max():.1e} in 100 cos")
        print(
            f"  bf16: largest difference to float32 {np.abs(half - whole).max():.3f} in 100 cos, which spread by"
            f" {whole.std(axis=1).mean():.3f} within a prompt; another order in {changed:.0%} of the prompts, another"
            f" first in {first:.0%}"
        )


def prompt_of(group: range) -> str:
    return f"scene number {group.start // PER_PROMPT}"


if __name__ == "__main__":
    main()
