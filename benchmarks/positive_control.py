"""Does the mark work as negative prompt, where it was surely learnt? The study's positive control, at other guidances.

Run: make bench-control [CONTROL="--seed 1 --guidance 1.2"]

Everything here is synthetic. As in part 1 of `make study`, an adapter learns from a clean and a plainly defective
drawing of each training caption, the defective ones with the mark. Its images are made with the mark as negative prompt
and without, from the same noise, and held against each other and the original by the hidden truth, in visible steps.

Guidance w moves the prediction to w times the way from the negative prompt to the caption. The study samples at 2. With
the mark in place of nothing that way is longer, so that part of what the mark does is what more guidance does: where
guidance is too strong already, that harms. Hence the question at guidances next to 1 too.
"""

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import django
import numpy as np
import torch

from scoring.metrics import ANYWHERE, clustered_mean

EXPLORED = 80
"""Captions on which guidances were looked for; the others are for confirming."""


def main() -> None:
    """Print what the mark adds at each guidance, with intervals resampled by caption."""
    wanted = arguments()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hps_site.settings")
    django.setup()
    torch.set_num_threads(1)
    cpu = time.process_time()
    with TemporaryDirectory() as folder:
        control = Control(Path(folder), wanted.seed, explores=wanted.explores, noise=wanted.noise)
        print(f"synthetic; seed {wanted.seed}, {len(control.captions)} captions, noise {wanted.noise}")
        for guidance in wanted.guidance:
            original, without, marked = (control.truth(guidance, kind) for kind in ("original", "without", "marked"))
            added, gained, both = (
                difference(one, other, control.captions)
                for one, other in ((marked, without), (without, original), (marked, original))
            )
            print(f"guidance {guidance}: the mark as negative prompt - without {added}")
            print(f"  truly better with it: {np.mean((marked > without) + (marked == without) / 2):.3f}")
            print(f"  without - original {gained}; marked - original {both}", flush=True)
    print(f"{time.process_time() - cpu:.0f} s of CPU")


class Control:
    """The adapter of the positive control, and what the truth says of its images."""

    def __init__(self, folder: Path, seed: int, *, explores: bool, noise: int) -> None:
        from hps_site.demo import base_models  # needs Django, as all below
        from hps_site.demo.study import material, training
        from hps_site.demo.study.conductor import labels_of
        from hps_site.demo.study.declaration import STUDY
        from worker.adapter.loop import train
        from worker.generation.pipeline import load_pipeline

        self.noise, self.steps = noise, STUDY.generation_steps
        captions = material.judged_captions(STUDY)
        self.captions = captions[:EXPLORED] if explores else captions[EXPLORED:]
        self.config = replace(training.adapter_config(STUDY, seed), sample_every=0)
        pairs = list(material.plain_pairs(STUDY, seed))
        pictures = material.pictures_of([drawing for pair in pairs for drawing in pair])
        base = base_models.unpack(folder / "base").diffusion
        examples = training.examples_from(labels_of(pairs), self.config)
        result = train(self.config, examples, pictures.__getitem__, base, folder / "adapter", is_synthetic=True)
        self.adapter, self.pipeline = result.folder, load_pipeline(base)

    def truth(self, guidance: float, kind: str) -> np.ndarray:
        """The hidden quality of one image of each caption, by the original or the adapted model."""
        from hps_site.demo.evaluation import true_utilities
        from worker.generation.pipeline import generate, seed_for

        pictures = generate(
            self.pipeline,
            self.captions,
            [seed_for(caption, self.noise) for caption in self.captions],
            steps=self.steps,
            guidance=guidance,
            negative_prompt=self.config.mark if kind == "marked" else None,
            adapter_folder=None if kind == "original" else self.adapter,
        )
        return np.array(true_utilities([np.asarray(picture) for picture in pictures], self.captions))


def difference(one: np.ndarray, other: np.ndarray, captions: list[str]) -> str:
    """The mean difference with its 95 % interval, in words."""
    mean = clustered_mean(one - other, captions, name="hidden truth, difference", unit="images", within=ANYWHERE)
    return f"{mean.value:+.3f} [{mean.low:+.3f}, {mean.high:+.3f}]"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="of the drawings and of the training")
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.2, 2.0])
    parser.add_argument("--noise", type=int, default=4, help="number of the images made of each caption")
    parser.add_argument("--explores", action="store_true", help="on the captions on which guidances were looked for")
    return parser.parse_args()


if __name__ == "__main__":
    main()
