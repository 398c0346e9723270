"""Drawings and what simulated people say of them, kept in memory: the study draws and asks anew for each seed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle

import numpy as np
from PIL import Image

from annotations.models import Split
from hps_site.demo import simulator, world
from hps_site.demo.scenes import Defect, Scene, draw, every_scene, random_defects
from hps_site.demo.study.declaration import Declaration
from scoring.preferences import Choice

PEOPLE = 12

PLAIN_DEFECTS = ("haze", "glitch", "wrong colour", "missing")
"""Of the positive control: what the base model can make, each at nearly its full strength."""


@dataclass(frozen=True)
class Drawing:
    """One picture of a caption."""

    key: str
    caption: str
    pixels: np.ndarray
    """(32, 32, 3) uint8."""
    liked: float = 0.0
    """What a crowd with a taste of its own adds to its true quality."""


def asked_scenes(declaration: Declaration) -> list[Scene]:
    """What people vote on."""
    return world.chosen_scenes(declaration.prompts)


def judged_captions(declaration: Declaration) -> list[str]:
    """On what the arms are compared: captions of the test side that nobody was asked about."""
    others = world.chosen_scenes(len(every_scene()))[declaration.prompts :]
    captions = [scene.caption for scene in others if Split.of(scene.caption) == Split.TEST]
    return captions[: declaration.judged_prompts]


def training_captions(declaration: Declaration) -> list[str]:
    """The captions that HPS and adapters may be trained on."""
    captions = [scene.caption for scene in asked_scenes(declaration)]
    return [caption for caption in captions if Split.of(caption) == Split.TRAIN]


def painters_drawings(declaration: Declaration, seed: int) -> list[Drawing]:
    """One drawing of each painter of the toy world for every caption that people vote on."""
    rng = np.random.default_rng([world.SEED, seed])
    return [
        Drawing(f"{painter}: {scene.caption}", scene.caption, draw(scene, rng, random_defects(rng, clean_share)))
        for scene in asked_scenes(declaration)
        for painter, clean_share in world.PAINTERS.items()
    ]


def coloured_drawings(declaration: Declaration, seed: int) -> list[Drawing]:
    """The same, but one painter of the four has only the liked colour, whatever the caption says."""
    rng = np.random.default_rng([world.SEED, seed, 1])
    drawings = []
    for scene in asked_scenes(declaration):
        one_colour = replace(scene, colour=declaration.liked_colour)
        drawings.append(
            Drawing(f"one colour: {scene.caption}", scene.caption, draw(one_colour, rng), declaration.liking)
        )
        for painter, clean_share in list(world.PAINTERS.items())[1:]:
            picture = draw(scene, rng, random_defects(rng, clean_share))
            liked = declaration.liking * (scene.colour == declaration.liked_colour)
            drawings.append(Drawing(f"{painter}: {scene.caption}", scene.caption, picture, liked))
    return drawings


def plain_pairs(declaration: Declaration, seed: int) -> Iterator[tuple[Drawing, Drawing]]:
    """A clean and a plainly defective drawing of every training caption."""
    rng = np.random.default_rng([world.SEED, seed, 2])
    for caption in training_captions(declaration):
        scene = Scene.parse(caption)
        defect = Defect(PLAIN_DEFECTS[rng.integers(len(PLAIN_DEFECTS))], float(rng.uniform(0.8, 1.0)))
        yield (
            Drawing(f"clean: {caption}", caption, draw(scene, rng)),
            Drawing(f"defective: {caption}", caption, draw(scene, rng, [defect])),
        )


def votes_on(drawings: Sequence[Drawing], declaration: Declaration, seed: int) -> list[Choice]:
    """What twelve simulated people, one of them careless, say in turn of each caption's drawings, in random order."""
    rng = np.random.default_rng([world.SEED, seed, 3])
    panel = simulator.panel(PEOPLE, world.SEED + seed)
    people = cycle(panel)
    by_caption: dict[str, list[Drawing]] = {}
    for drawing in drawings:
        by_caption.setdefault(drawing.caption, []).append(drawing)
    choices = []
    for caption, candidates in by_caption.items():
        # All see the same; they differ in skill and habits.
        seen = panel[0].look([drawing.pixels for drawing in candidates], caption)
        utilities = [utility + drawing.liked for utility, drawing in zip(seen, candidates, strict=True)]
        for _ in range(declaration.votes_per_prompt):
            person = next(people)
            order = rng.permutation(len(candidates))
            answer = person.choose([utilities[place] for place in order])
            choices.append(_choice(person.name, caption, [candidates[place].key for place in order], answer))
    return choices


def _choice(person: str, caption: str, keys: Sequence[str], answer: simulator.Choice) -> Choice:
    return Choice(
        prompt=caption,
        images=tuple(keys),
        outcome=answer if isinstance(answer, str) else "choice",
        chosen=None if isinstance(answer, str) else answer,
        annotator=person,
        split="train" if Split.of(caption) == Split.TRAIN else "test",
    )


def pictures_of(drawings: Sequence[Drawing]) -> Mapping[str, Image.Image]:
    """The drawings as pictures, by their keys."""
    return {drawing.key: Image.fromarray(drawing.pixels) for drawing in drawings}
