"""Labelled images as the authors of the paper released theirs: a folder with JSON lines beside the files."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from worker.adapter.labelling import Label, LabelledImage

LABELLED, REGULARISATION = "annotation.jsonl", "regularization_images.jsonl"
"""Names of the two files, as align_sd's `select_training_images.py` and `download_regularization_images.py` have it."""

LABELS = {"positive": Label.PREFERRED, "negative": Label.NON_PREFERRED}


class ReleasedDataRejected(ValueError):
    """A line of the two files is not in the released form; the message names file and line."""


def read(folder: Path) -> tuple[list[LabelledImage], list[tuple[str, str]]]:
    """The labelled images of a folder, and (key, caption) of its regularisation images, of which there may be none.

    Keys are the images' paths below the folder.

    Raises:
        ReleasedDataRejected: a file is missing, or a line lacks something.
    """
    labelled = [
        LabelledImage(
            image=_image(folder, where, line),
            prompt=_text(where, line, "prompt"),
            label=_label(where, line),
            confidence=float(line.get("confidence", 1.0)),
            group_size=int(line.get("batch_size", 1)),
        )
        for where, line in _lines(folder / LABELLED)
    ]
    others = []
    if (folder / REGULARISATION).exists():
        others = [
            (_image(folder, where, line), _text(where, line, "caption"))
            for where, line in _lines(folder / REGULARISATION)
        ]
    return labelled, others


def open_picture(folder: Path, name: str) -> Image.Image:
    """The image of a key, decoded.

    Raises:
        ReleasedDataRejected: the file is gone, or broken.
    """
    try:
        with Image.open(folder / name) as image:
            image.load()
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ReleasedDataRejected(f"{name}: can't be read as a picture ({error}).") from error
    return image


def is_inside(folder: Path, name: str) -> bool:
    """Whether a path, taken from the folder, stays in it, whatever links there are."""
    return (folder / name).resolve().is_relative_to(folder.resolve())


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where each line stands, for people, and what it says."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ReleasedDataRejected(f"{path}: can't be read ({error.strerror}).") from error
    for number, line in enumerate(lines, 1):
        where = f"{path.name}, line {number}"
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ReleasedDataRejected(f"{where}: not JSON ({error}).") from error
        if not isinstance(record, dict):
            raise ReleasedDataRejected(f"{where}: not a JSON object.")
        yield where, record


def _text(where: str, line: dict[str, Any], name: str) -> str:
    if not isinstance(line.get(name), str):
        raise ReleasedDataRejected(f"{where}: {name} must be a text, not {line.get(name)!r}.")
    return str(line[name])


def _image(folder: Path, where: str, line: dict[str, Any]) -> str:
    name = _text(where, line, "file_name")
    if "\0" in name or not is_inside(folder, name):
        raise ReleasedDataRejected(f"{where}: file_name leads out of the folder: {name!r}.")
    if not (folder / name).is_file():
        raise ReleasedDataRejected(f"{where}: there is no image {name!r} in {folder}.")
    return name


def _label(where: str, line: dict[str, Any]) -> Label:
    if line.get("type") not in LABELS:
        raise ReleasedDataRejected(f"{where}: type must be positive or negative, not {line.get('type')!r}.")
    return LABELS[line["type"]]
