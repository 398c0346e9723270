"""A small made study: of the images of each prompt, people mostly choose the brightest."""

import numpy as np
from PIL import Image

from scoring.preferences import Choice
from tests.scoring.tiny import picture


def study(prompts: int = 30, *, n: int = 3, seed: int = 0) -> tuple[list[Choice], dict[str, Image.Image]]:
    """Choices, every third prompt held out, and the pictures by key."""
    rng = np.random.default_rng(seed)
    choices: list[Choice] = []
    pictures: dict[str, Image.Image] = {}
    for number in range(prompts):
        brightness = rng.permutation(np.linspace(40, 210, n)).astype(int)
        keys = tuple(f"{number}-{place}" for place in range(n))
        pictures |= {
            key: picture(int(value), seed=number * n + place)
            for place, (key, value) in enumerate(zip(keys, brightness, strict=True))
        }
        for person in range(2):
            chosen = int(np.argmax(brightness))
            split = "test" if number % 3 == 0 else "train"
            choices.append(Choice(f"scene {number}", keys, "choice", chosen, f"p{person}", split))
    choices.append(Choice("scene 1", choices[2].images, "tie", None, "p2", "train"))
    choices.append(Choice("scene 1", choices[2].images, "all_bad", None, "p3", "train"))
    return choices, pictures
