"""Labellings for tests of pages, files and trainings, without any scorer at work."""

import io
from typing import Any

import numpy as np
import PIL.Image

from annotations.models import Generator, Image, Prompt, Split
from tests.annotations.factories import make_image, make_prompt, number
from tests.worker.generators import make_tiny_generator
from worker.models import Label, Labelling

SPREAD = {"edges": [-2.0, -1.0, 0.0, 1.0, 2.0], "preferred": [0, 0, 0, 2], "non_preferred": [2, 0, 0, 0]}


def png_bytes(pixels: np.ndarray) -> bytes:
    """pixels: (height, width, 3), 0 to 255."""
    file = io.BytesIO()
    PIL.Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def patterned(seed: int, side: int = 32) -> np.ndarray:
    """Large sharp blocks of random colours: (side, side, 3)."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3))
    return blocks.repeat(side // 4, axis=0).repeat(side // 4, axis=1)


def make_patterned(prompt: Prompt, generator: Generator | None, **fields: Any) -> Image:
    """A stored picture that is neither blurred nor blank, unlike any other one."""
    seed = number()
    return make_image(prompt=prompt, generator=generator, seed=seed, content=png_bytes(patterned(seed)), **fields)


def make_labelling(prompts: int = 2, **fields: Any) -> Labelling:
    """Of each prompt a preferred, a non-preferred and a rejected image; people said it of the first prompt."""
    generator = fields.pop("generator", None) or make_tiny_generator(f"tiny-{number()}")
    settings = {"labels_from": "both", "sources": [generator.name], "generator": generator.name, "alpha": 2.0}
    labelling = Labelling.objects.create(
        settings=settings | {"smallest_group": 4, "campaign": None},
        counts={"images": 4 * prompts, "unreadable": 0, "prompts": prompts, "small_prompts": 1, "answered_prompts": 1},
        spread=SPREAD | {"others": [0, 3, 1, 0]},
        sha256=f"{number():064x}",
        **{"is_synthetic": True} | fields,
    )
    for at in range(prompts):
        prompt = make_prompt(split=Split.TRAIN)
        for kind, confidence in (("preferred", 0.9), ("non_preferred", 0.6 + 0.1 * (at % 3)), ("rejected", 0.7)):
            labelling.labels.create(
                image=make_patterned(prompt, generator),
                kind=kind,
                source=Label.Source.HPS if at else Label.Source.PEOPLE,
                confidence=confidence,
                score=20.0 + at,
                group_size=4,
            )
    return labelling
