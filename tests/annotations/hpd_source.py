"""A small data set in the form of HPD v1, and ways to spoil it."""

import json
from pathlib import Path
from typing import Any

from tests.annotations.factories import picture_bytes

GENERATORS = ["Alpha", "Beta", "Gamma"]
PATTERN = r"_([A-Za-z]+)\.png$"
PEOPLE = ["ada", "ben", "cleo"]


def record(number: int, scene: str, person: str, chosen: int, **changes: Any) -> dict[str, Any]:
    """Each person sees the images of a scene in an order of their own."""
    turn = PEOPLE.index(person)
    order = GENERATORS[turn:] + GENERATORS[:turn]
    return {
        "human_preference": chosen,
        "prompt": f"a drawing of {scene}",
        "id": number,
        "file_path": [f"preference_images/{scene}_{name}.png" for name in order],
        "user_hash": person,
        "contain_name": scene == "barn",
        **changes,
    }


def good_train() -> list[dict[str, Any]]:
    return [
        record(0, "anchor", "ada", 0),
        record(1, "anchor", "ben", 2),
        record(2, "barn", "ada", 1),
        record(3, "barn", "cleo", 1),
        record(
            4,
            "anchor",
            "cleo",
            1,
            file_path=["preference_images/anchor_Alpha.png", "preference_images/anchor_Beta.png"],
        ),
    ]


def good_test() -> list[dict[str, Any]]:
    return [record(0, "cliff", "ada", 2), record(1, "cliff", "ben", 0)]


def write_source(folder: Path, train: object = None, test: object = None) -> Path:
    """A data set's folder: nine images, five choices to train on and two to test."""
    images = folder / "preference_images"
    images.mkdir(parents=True)
    for scene_number, scene in enumerate(["anchor", "barn", "cliff"]):
        for number, name in enumerate(GENERATORS):
            colour = (60 * scene_number, 80 * number, 90)
            (images / f"{scene}_{name}.png").write_bytes(picture_bytes(colour=colour))
    (folder / "preference_train.json").write_text(json.dumps(good_train() if train is None else train))
    (folder / "preference_test.json").write_text(json.dumps(good_test() if test is None else test))
    return folder
