"""Whether HPS, taught on 10,000 choices in the toy world, beats base CLIP, and how near it comes to what is attainable.

Run: make bench-toy-hps [TOY="--seed 1 --epochs 4"]

Everything here is synthetic. A panel of twelve simulated people, one of them careless, looks at sets of four drawings
and has to choose one, as in the demo; in training each set is judged once, as in the paper's data. The test captions
are those kept from both base models, and no choice on them is ever trained on; each of their sets is judged by the
twelve and by nineteen more panels like theirs. Two ceilings are printed: the highest accuracy attainable given the
votes, of a scorer that knows all answers to a set and so what people chose by chance as well (with twelve answers it
stands five points above the truth, with sixty one to two, with all 240 less than half a point), and that of the hidden
truth by which the simulated people choose, which no scorer can be expected to exceed. The world, that is drawings and
people, follows from the seed: settings are looked for on some seeds and confirmed on another.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from hps_site.demo import base_models
from hps_site.demo.evaluation import CLEAN_SHARES
from hps_site.demo.scenes import draw, every_scene, is_held_out, random_defects
from hps_site.demo.simulator import SimulatedAnnotator, panel
from hps_site.demo.truth import utility
from scoring import metrics
from scoring.comparisons import paired_test
from scoring.hps import load_scorer
from scoring.preferences import Choice, Split
from worker.classifier.config import ClassifierConfig
from worker.classifier.evaluation import measure
from worker.classifier.loop import train
from worker.classifier.reports import StepReport

PEOPLE = 12
TEST_SETS_PER_CAPTION = 2
TEST_PANELS = 20
AIM_P, AIM_GAP = 0.001, 0.08


class World:
    """Drawings, and what people chose among them."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.people = panel(PEOPLE, seed)
        more = (panel(PEOPLE, seed + 1000 * number) for number in range(1, TEST_PANELS))
        self.judges = self.people + [
            replace(person, name=f"{person.name} of panel {number}")
            for number, people in enumerate(more, start=2)
            for person in people
        ]
        self.images: dict[str, np.ndarray] = {}
        self.qualities: dict[str, float] = {}
        self.choices: list[Choice] = []

    def judge(self, caption_number: int, split: Split, people: list[SimulatedAnnotator]) -> None:
        """Draw a set of four and let some people choose."""
        scene = every_scene()[caption_number]
        drawings = [draw(scene, self.rng, random_defects(self.rng, share)) for share in CLEAN_SHARES]
        keys = [str(len(self.images) + place) for place in range(len(drawings))]
        self.images |= zip(keys, drawings, strict=True)
        seen = people[0].look(drawings, scene.caption)
        for person in people:
            order = self.rng.permutation(len(keys))
            answer = person.choose([seen[place] for place in order], can_tie=False, can_all_bad=False)
            shown = tuple(keys[place] for place in order)
            self.choices.append(Choice(scene.caption, shown, "choice", int(answer), person.name, split))

    def first_panels(self) -> list[Choice]:
        """The choices to train on, and of those to test by what the first panel alone said."""
        names = {person.name for person in self.people}
        return [choice for choice in self.choices if choice.annotator in names]

    def truth(self, choice: Choice) -> list[float]:
        """The hidden quality of each image of a choice."""
        for key in choice.images:
            if key not in self.qualities:
                self.qualities[key] = utility(self.images[key], choice.prompt)
        return [self.qualities[key] for key in choice.images]

    def open(self, key: str) -> Image.Image:
        return Image.fromarray(self.images[key])


def main() -> None:
    """Print what was learnt, beside base CLIP, chance and both ceilings, and whether the aims are met."""
    wanted = arguments()
    torch.set_num_threads(1)
    started, cpu = time.time(), time.process_time()
    world = made(wanted.seed, wanted.choices)
    settings = {"learning_rate": wanted.rate, "epochs": wanted.epochs, "choices_per_batch": wanted.batch}
    settings["evaluate_every"] = wanted.looks
    blocks = {"image_blocks": wanted.blocks[0], "text_blocks": wanted.blocks[1]}
    config = ClassifierConfig.from_json({"preset": "tiny", "readers": 1, "seed": wanted.seed} | settings | blocks)
    with tempfile.TemporaryDirectory() as folder:
        base = base_models.unpack(Path(folder) / "base").clip
        result = train(config, world.first_panels(), world.open, base, Path(folder) / "out", said, is_synthetic=True)
        test = [choice for choice in world.choices if choice.split == "test"]
        ours, theirs = (scores(folder, world, test) for folder in (result.folder, base))
    proof = paired_test(test, ours, theirs)
    truth = metrics.top_one_accuracy(
        test, [world.truth(choice) for choice in test], name="top-1 of n, the hidden truth"
    )
    figures = measure(test, ours, theirs)
    gap = figures["highest_attainable"]["value"] - figures["top_one"]["value"]
    gap_to_truth = (truth.value or 0.0) - figures["top_one"]["value"]
    report = {
        "settings": vars(wanted),
        "metrics": figures,
        "paired_test": proof.to_record(),
        "gap_to_highest_attainable": gap,
        "truth": truth.to_record(),
        "gap_to_truth": gap_to_truth,
        "cpu_seconds": round(time.process_time() - cpu),
    }
    if wanted.is_json:
        print(json.dumps(report, indent=2))
        return
    print(f"synthetic; seed {wanted.seed}, {wanted.choices} choices, {wanted.blocks} blocks, {wanted.epochs} epochs")
    for name, estimate in figures.items():
        print(f"{name:<20} {in_words(estimate)}")
    print(f"{'truth':<20} {in_words(truth.to_record())}")
    print(f"{proof.name}: p = {proof.p_value}; {'below' if proof.p_value < AIM_P else 'NOT below'} {AIM_P}")
    for ceiling, below in (("highest attainable", gap), ("hidden truth", gap_to_truth)):
        print(f"below the {ceiling} by {below:.4f}; {'within' if below <= AIM_GAP else 'NOT within'} {AIM_GAP}")
    print(f"{time.time() - started:.0f} s, {report['cpu_seconds']} s of CPU")


def made(seed: int, count: int) -> World:
    """So many choices on the captions that the base models know, one a set, and the test's on those they don't."""
    world = World(seed)
    held_out = [number for number, scene in enumerate(every_scene()) if is_held_out(scene)]
    known = [number for number, scene in enumerate(every_scene()) if not is_held_out(scene)]
    for number in range(count):
        if number % len(known) == 0:
            known = world.rng.permutation(known).tolist()
        world.judge(known[number % len(known)], "train", [world.people[number % PEOPLE]])
    for number in held_out * TEST_SETS_PER_CAPTION:
        world.judge(number, "test", world.judges)
    return world


def scores(folder: Path, world: World, choices: list[Choice]) -> list[list[float]]:
    """One number per image of each choice."""
    scorer = load_scorer(folder)
    pictures = {key: choice.prompt for choice in choices for key in choice.images}
    values = scorer.score_pairs((world.open(key), prompt) for key, prompt in pictures.items())
    known = dict(zip(pictures, values, strict=True))
    return [[known[key] for key in choice.images] for choice in choices]


def said(report: StepReport) -> None:
    if report.step % 100 == 0 or report.step == report.total:
        loss = "" if report.loss is None else f", loss {report.loss:.3f}"
        print(f"{report.stage} {report.step}/{report.total}{loss}", file=sys.stderr, flush=True)


def in_words(estimate: dict[str, Any]) -> str:
    if estimate["low"] is None:
        return f"{estimate['value']:.4f}"
    return (
        f"{estimate['value']:.4f} [{estimate['low']:.4f}, {estimate['high']:.4f}], {estimate['n']} {estimate['unit']}"
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the world and of the training")
    parser.add_argument("--choices", type=int, default=10_000, help="to train on")
    parser.add_argument("--blocks", type=int, nargs=2, default=[4, 3], help="last image and text blocks to train")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rate", type=float, default=3e-4, help="learning rate at the top of the cosine")
    parser.add_argument("--batch", type=int, default=32, help="choices a step")
    parser.add_argument("--looks", type=int, default=0, help="steps between looks at prompts held back; 0: none")
    parser.add_argument("--json", action="store_true", dest="is_json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
