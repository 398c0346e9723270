"""What the toy models can do, measured against the hidden truth. Only reported, never trained on."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from hps_site.demo import truth
from hps_site.demo.scenes import (
    BACKGROUNDS,
    COLOURS,
    SIDE,
    Scene,
    draw,
    every_scene,
    is_held_out,
    random_defects,
)
from hps_site.demo.simulator import SimulatedAnnotator, panel

CLEAN_SHARES = (0.7, 0.55, 0.4, 0.25)
"""The four drawings of a judged set are clean this often."""
STRONGEST_HAZE = 190 / 255, 0.67
"""The grey of the haze and how much of it stands for all haze when a picture is looked at for it."""

Score = Callable[[list[Image.Image], str], np.ndarray]
"""One number per image of one caption, higher is better."""


@dataclass(frozen=True)
class JudgedSet:
    """Drawings of one caption, their true utilities, and what each careful simulated person chose."""

    caption: str
    images: list[np.ndarray]
    utilities: list[float]
    choices: list[int]


def judged_sets(count: int, seed: int, people: Sequence[SimulatedAnnotator] | None = None) -> list[JudgedSet]:
    """Four drawings each of held-out captions, every careful person of a panel choosing one."""
    rng = np.random.default_rng(seed)
    people = people or panel(12, seed)[:-1]
    scenes = [scene for scene in every_scene() if is_held_out(scene)]
    sets = []
    for number in range(count):
        scene = scenes[number % len(scenes)]
        images = [draw(scene, rng, random_defects(rng, clean_share)) for clean_share in CLEAN_SHARES]
        utilities = people[0].look(images, scene.caption)
        choices = [int(person.choose(utilities, can_tie=False, can_all_bad=False)) for person in people]
        sets.append(JudgedSet(scene.caption, images, utilities, choices))
    return sets


def choice_figures(sets: Sequence[JudgedSet], score: Score) -> dict[str, float]:
    """Top-1 of 4: how often a scorer, the truth and another person pick what a person chose; chance is .25."""
    choices = np.array([judged.choices for judged in sets])
    scored = np.array([score([Image.fromarray(image) for image in one.images], one.caption).argmax() for one in sets])
    best = np.array([np.argmax(judged.utilities) for judged in sets])
    people = range(choices.shape[1])
    pairs = [(choices[:, one] == choices[:, other]).mean() for one in people for other in range(one)]
    return {
        "top_1_of_4": round(float((choices == scored[:, None]).mean()), 4),
        "top_1_of_4_of_the_truth": round(float((choices == best[:, None]).mean()), 4),
        "top_1_of_4_of_another_person": round(float(np.mean(pairs)), 4),
        "sets": len(sets),
    }


def image_figures(images: Sequence[np.ndarray], captions: Sequence[str]) -> dict[str, float | dict[str, float]]:
    """How good generated images are: mean residual, share of good ones, and what the others look like."""
    residuals = [truth.residual(image, caption) for image, caption in zip(images, captions, strict=True)]
    kinds = Counter(looks_like(image, caption) for image, caption in zip(images, captions, strict=True))
    return {
        "images": len(residuals),
        "mean_residual": round(float(np.mean(residuals)), 4),
        "median_residual": round(float(np.median(residuals)), 4),
        "good_share": round(float(np.mean(np.array(residuals) < truth.GOOD_RESIDUAL)), 4),
        "looks_like": {kind: round(count / len(residuals), 4) for kind, count in sorted(kinds.items())},
    }


def true_utilities(images: Sequence[np.ndarray], captions: Sequence[str]) -> list[float]:
    """The hidden quality of each image for its caption, in visible steps: 0 is perfect."""
    return [truth.utility(image, caption) for image, caption in zip(images, captions, strict=True)]


def looks_like(image: np.ndarray, caption: str) -> str:
    """What an image most resembles: a good drawing of its caption, or one with a defect the model was shown.

    The answer is the nearest of: the clean drawing, the clean drawing through haze, in another colour, without its
    object; glitches are counted as blocks of a loud colour, and a glitched picture is called so before all else.
    """
    scene = Scene.parse(caption)
    if _loud_blocks(image, scene) >= 3:
        return "glitch"
    values = image.astype(np.float32) / 255
    background = np.array(BACKGROUNDS[scene.background], np.float32) / 255
    grey, amount = STRONGEST_HAZE
    # Not clipped, so that (1 - amount) times its residual is the distance to the nearest hazy drawing.
    cleared = (values - amount * grey) / (1 - amount) * 255
    others = [
        Scene(scene.size, colour, scene.shape, scene.place, scene.background).caption
        for colour in COLOURS
        if colour != scene.colour
    ]
    distances = {
        "good" if truth.is_good(image, caption) else "ill drawn": truth.residual(image, caption),
        "haze": (1 - amount) * truth.residual(cleared, caption),
        "wrong colour": min(truth.residual(image, other) for other in others),
        "missing": float(np.sqrt(((values - background) ** 2).mean())),
    }
    return min(distances, key=distances.__getitem__)


def _loud_blocks(image: np.ndarray, scene: Scene) -> int:
    """Blocks of 4 x 4 in one of the eight loudest colours that are neither the object's nor the background's."""
    blocks = image.reshape(SIDE // 4, 4, SIDE // 4, 4, 3).mean((1, 3)).reshape(-1, 3)
    corners = np.where(blocks > 127, 255, 0)
    is_loud = np.abs(blocks - corners).max(1) < 60
    expected = [COLOURS[scene.colour], BACKGROUNDS[scene.background]]
    is_expected = np.any([np.abs(blocks - np.array(colour)).max(1) < 70 for colour in expected], axis=0)
    return int((is_loud & ~is_expected).sum())


def contact_sheet(images: Sequence[np.ndarray], columns: int, path: Path) -> None:
    """Write the images as one picture, row by row, twice as large, for looking at them."""
    rows = [np.concatenate(list(images[start : start + columns]), axis=1) for start in range(0, len(images), columns)]
    sheet = Image.fromarray(np.concatenate(rows, axis=0))
    sheet.resize((2 * sheet.width, 2 * sheet.height), Image.Resampling.NEAREST).save(path)
