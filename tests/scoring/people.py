"""Choices for tests: made ones, and those of a real study where its data is there."""

import csv
import json
from pathlib import Path

import numpy as np

from scoring.preferences import Choice


def choice(chosen, n=2, *, prompt="p", annotator="ada", images=None, generators=(), split="test") -> Choice:
    """A choice of the image at `chosen`; or "tie", or "all_bad"."""
    keys = tuple(images or (f"{prompt}-{number}" for number in range(n)))
    decided = isinstance(chosen, int)
    return Choice(
        prompt, keys, "choice" if decided else chosen, chosen if decided else None, annotator, split, tuple(generators)
    )


def votes(answers, n=2, *, prompt="p") -> list[Choice]:
    """What several people said of one and the same task."""
    return [choice(answer, n, prompt=prompt, annotator=f"a{number}") for number, answer in enumerate(answers)]


def random_votes(seed: int, *, tasks: int, people: int, n: int, answers=None) -> list[Choice]:
    """People who choose at random, or more often what stands first."""
    rng = np.random.default_rng(seed)
    return [
        vote
        for task in range(tasks)
        for vote in votes([int(rng.choice(answers or n)) for _ in range(people)], n, prompt=f"p{task}")
    ]


def sr_4way(data: Path, *splits: str) -> list[Choice]:
    """Experiment 1 of the super-resolution study: 54 people, the best of four versions of 30 scenes."""
    return [
        Choice(
            prompt=record["prompt"],
            images=tuple(record["file_path"]),
            outcome="choice",
            chosen=record["human_preference"],
            annotator=record["user_hash"],
            split=split,
            generators=tuple(Path(path).stem.split("_")[1] for path in record["file_path"]),
        )
        for split in splits
        for record in json.loads((data / "sr_4way" / f"preference_{split}.json").read_text())
    ]


def sr_pairs(data: Path) -> list[Choice]:
    """Experiment 2 of the same study: the better of two."""
    with (data / "sr_4way" / "exp2_pairwise.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        Choice(
            prompt=f"high resolution photo, scene {row['scene']}",
            images=(row["left"], row["right"]),
            outcome="choice",
            chosen=[row["left"], row["right"]].index(row["chosen"]),
            annotator=row["observer"],
            split="test",
            generators=(row["left"], row["right"]),
        )
        for row in rows
    ]


def sr_metric(data: Path, name: str) -> dict[tuple[str, str], float]:
    """A metric of each version of each photo, by (generator, scene)."""
    with (data / "sr_4way" / "per_image_metrics.csv").open(newline="") as file:
        return {(row["Model"], Path(row["Image_Name"]).stem): float(row[name]) for row in csv.DictReader(file)}
