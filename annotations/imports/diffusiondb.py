"""Reads DiffusionDB: folders of images, each with a part-000001.json, and metadata.parquet beside them.

A part's JSON is one object, `{"<uuid>.png": {"p": prompt, "se": seed, "c": guidance, "st": steps, "sa": sampler}}`. The
metadata has columns image_name, prompt, part_id, seed, step, cfg, sampler (a code), width, height, and image_nsfw: 0 to
1, or 2.0 where the picture was found unsafe when it was made and was published blurred. Source: poloclub/diffusiondb.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from annotations.imports import fields
from annotations.imports.containers import Container, open_manifest
from annotations.imports.library import FoundImage, Read, Reason, Source
from annotations.imports.manifests import LARGEST_SEED, SMALLEST_SEED
from annotations.imports.records import BadRecord, Place, Problem, UnableToImport, shown

GENERATOR = "DiffusionDB"
METADATA_NAMES = ("metadata.parquet", "metadata-large.parquet")
PART_JSON = re.compile(r"(?:.*/)?part-(\d{6})\.json")
PART_FOLDER = re.compile(r"(?:.*/)?part-(\d{6})/[^/]+\.(?:png|webp)")

SAMPLERS = {
    1: "ddim",
    2: "plms",
    3: "k_euler",
    4: "k_euler_ancestral",
    5: "k_heun",
    6: "k_dpm_2",
    7: "k_dpm_2_ancestral",
    8: "k_lms",
    9: "others",
}
BLURRED = 2.0

COLUMNS = ("image_name", "prompt", "part_id", "seed", "step", "cfg", "sampler", "width", "height", "image_nsfw")


class Metadata:
    """The rows of metadata.parquet for some parts."""

    def __init__(self, path: Path, parts: list[int]) -> None:
        try:
            missing = set(COLUMNS) - set(pq.read_schema(path).names)
            if missing:
                raise UnableToImport(f"{path.name} has no column {' and no column '.join(sorted(missing))}.")
            table = pq.read_table(path, columns=list(COLUMNS), filters=[("part_id", "in", parts)])
        except (OSError, pa.ArrowException) as error:
            raise UnableToImport(f"{path} is no Parquet file that can be read: {error}.") from error
        self._table = table.sort_by("part_id")
        self._parts = self._table["part_id"].to_numpy()

    def of_part(self, part: int) -> dict[str, dict[str, Any]]:
        """The rows of a part, by the image's name."""
        start, end = np.searchsorted(self._parts, [part, part + 1])
        return {row["image_name"]: row for row in self._table.slice(start, end - start).to_pylist()}


def diffusiondb_source(
    container: Container, *, metadata: Path | None, generator: str = GENERATOR, unsafe_above: float | None = None
) -> Source:
    """The images of the parts in a container.

    Args:
        container: holds the parts' folders, or one of them.
        metadata: metadata.parquet; without it nothing tells which images are blurred, and every part needs its JSON.
        generator: under whose name they are kept.
        unsafe_above: hides images with a larger `image_nsfw`; None: only those that were published blurred.

    Raises:
        UnableToImport: there is no part, or the metadata is not what it should be.
    """
    parts = _parts(container, has_metadata=metadata is not None)
    rows = Metadata(metadata, sorted(parts)) if metadata is not None else None

    def read() -> Iterator[Read]:
        for part, name in parts.items():
            about = rows.of_part(part) if rows is not None else {}
            entries = _entries(container, name) if name.endswith(".json") else _entries_of(about)
            for number, (file, entry) in enumerate(entries.items(), 1):
                try:
                    yield _found(
                        container, Place(name, number), file, entry, about.get(file, {}), generator, unsafe_above
                    )
                except BadRecord as error:
                    yield Problem(Place(name, number), str(error))

    return read


def _parts(container: Container, *, has_metadata: bool) -> dict[int, str]:
    """By a part's number its JSON, or, where only the metadata tells of it, its folder with a slash at the end."""
    parts: dict[int, str] = {}
    for name in container.sizes:
        if has_metadata and (in_folder := PART_FOLDER.fullmatch(name)):
            parts.setdefault(int(in_folder[1]), f"{PurePosixPath(name).parent}/")
    parts |= {int(found[1]): name for name in container.sizes if (found := PART_JSON.fullmatch(name))}
    if not parts:
        raise UnableToImport(
            f"{container.label} holds no part of DiffusionDB: a folder part-000001 with part-000001.json and images."
        )
    return dict(sorted(parts.items()))


def _entries(container: Container, name: str) -> dict[str, Any]:
    with open_manifest(container, name) as file:
        try:
            entries = json.load(file)
        except (ValueError, RecursionError) as error:
            raise UnableToImport(f"{name} is not JSON: {error}.") from error
    if not isinstance(entries, dict):
        raise UnableToImport(f"{name} is no object of images by their names but {shown(entries)}.")
    return entries


def _entries_of(about: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The metadata's rows as a part's JSON would have them."""
    return {
        name: {
            "p": row["prompt"],
            "se": row["seed"],
            "c": row["cfg"],
            "st": row["step"],
            "sa": SAMPLERS.get(row["sampler"], SAMPLERS[9]),
        }
        for name, row in about.items()
    }


def _found(
    container: Container,
    place: Place,
    file: str,
    entry: object,
    about: Mapping[str, Any],
    generator: str,
    unsafe_above: float | None,
) -> FoundImage:
    record = fields.object_of(entry)
    name = str(PurePosixPath(place.file if place.file.endswith("/") else PurePosixPath(place.file).parent) / file)
    if name not in container.sizes:
        raise BadRecord(f"{shown(file)} is not in {container.label}")
    seed = fields.whole_number(record, "se")
    if not SMALLEST_SEED <= seed <= LARGEST_SEED:
        raise BadRecord(f"se is no whole number of 64 bits but {shown(seed)}")
    sampler = fields.value_of(record, "sa")
    if sampler not in SAMPLERS.values():
        raise BadRecord(f"sa is none of DiffusionDB's samplers but {shown(sampler)}")
    settings = {"guidance": _number(record, "c"), "steps": fields.whole_number(record, "st"), "sampler": sampler}
    return FoundImage(
        place=place,
        file=name,
        prompt=fields.prompt_of(record, "p"),
        generator=generator,
        seed=seed,
        settings=settings,
        size=(about["width"], about["height"]) if about else None,
        hidden_reason=_hidden_reason(about.get("image_nsfw"), unsafe_above),
    )


def _number(record: dict[str, Any], key: str) -> float:
    value = fields.value_of(record, key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise BadRecord(f"{key} is no number but {shown(value)}")
    return float(value)


def _hidden_reason(image_nsfw: float | None, unsafe_above: float | None) -> str:
    if image_nsfw is None:
        return ""
    if image_nsfw >= BLURRED:
        return Reason.BLURRED
    return Reason.UNSAFE if unsafe_above is not None and image_nsfw > unsafe_above else ""
