"""Labels in the form in which the paper's were released, out and in: `annotation.jsonl` with its pictures.

One line is one image: `{"id", "file_name", "prompt", "type", "confidence", "batch_size"}`, `type` being `positive` or
`negative`, and `file_name` a JPEG file in the folder of that name. Images for regularisation come in likewise, from
lines of `{"file_name", "caption"}`.

Source: tgxs002/align_sd `select_training_images.py` and `download_regularization_images.py`.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.db import transaction

from annotations.exports.choices import UnableToExport, check_path, whole_or_absent
from annotations.imports.fields import object_of, prompt_of, value_of, whole_number
from annotations.imports.records import BadRecord, Place, Problem, UnableToImport, shown
from annotations.models import Generator, Image, Prompt, Split
from annotations.services.images import (
    ImageItem,
    ImageRejected,
    get_or_create_generator,
    get_or_create_prompts,
    read_image,
    store_images,
)
from worker.models import Label, Labelling
from worker.services.scoring import open_picture

FILE = "annotation.jsonl"
QUALITY = 95
TYPES = {"positive": Label.Kind.PREFERRED, "negative": Label.Kind.NON_PREFERRED}

BATCH = 200
MOST_PROBLEMS = 10

Progress = Callable[[int, int], None]
"""Takes how many images are done, and how many there are."""


@dataclass(frozen=True)
class Annotation:
    """One labelled image, as a line of the file says it."""

    id: int
    file_name: str
    """From the folder of the file."""
    prompt: str
    type: str
    """`positive` or `negative`."""
    confidence: float
    batch_size: int
    """Images of the prompt that it was labelled among."""


@dataclass(frozen=True)
class Captioned:
    """One image for regularisation, as a line of the file says it."""

    file_name: str
    caption: str


@dataclass(frozen=True)
class Brought:
    """What came in."""

    labelling: Labelling | None
    """None where the file holds captions alone."""
    images: int
    held_out: int
    """Of them of prompts that are kept for testing; nothing learns from these."""


def export_labels(*, labelling: Labelling, out: Path, progress: Progress) -> dict[str, int]:
    """Write what is left of a labelling into a new folder, whole or not at all.

    Prompts stand in the order of their text, and of each its positive images first; ids count from 1, files from 0.

    Returns:
        How many images there are of each type.

    Raises:
        UnableToExport: the path is taken or cannot be written, or an image cannot be read.
    """
    check_path(out)
    names = {kind: name for name, kind in TYPES.items()}
    rows = labelling.labels.left().select_related("image__prompt").order_by("image__prompt__text", "-kind", "pk")
    total, counts = rows.count(), dict.fromkeys(TYPES, 0)
    with whole_or_absent(out) as unfinished:
        for name in TYPES:
            (unfinished / name).mkdir(parents=True)
        with (unfinished / FILE).open("w", encoding="utf-8") as file:
            for number, label in enumerate(rows.iterator(chunk_size=BATCH), start=1):
                type_name = names[Label.Kind(label.kind)]
                file_name = f"{type_name}/{counts[type_name]}.jpg"
                counts[type_name] += 1
                _write_jpeg(label.image, unfinished / file_name)
                annotation = Annotation(
                    id=number,
                    file_name=file_name,
                    prompt=label.image.prompt.text,
                    type=type_name,
                    confidence=float(label.confidence or 0),
                    batch_size=label.group_size,
                )
                file.write(json.dumps(asdict(annotation), ensure_ascii=False) + "\n")
                progress(number, total)
    return counts


def read_lines(path: Path) -> list[Annotation | Captioned]:
    """The lines of such a file, checked, its pictures too.

    Raises:
        UnableToImport: the file can't be read, or lines are wrong; the message names the first ten and their fields.
    """
    problems: list[Problem] = []
    found: list[Annotation | Captioned] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UnableToImport(f"{path} can't be read: {error}.") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found.append(_checked(line, path.parent))
        except BadRecord as error:
            problems.append(Problem(Place(path.name, number), str(error)))
    if problems:
        told = "; ".join(map(str, problems[:MOST_PROBLEMS]))
        raise UnableToImport(f"{len(problems)} lines can't be taken, so nothing was imported: {told}.")
    if not found:
        raise UnableToImport(f"{path} holds no line.")
    return found


def import_labels(*, path: Path, generator_name: str, is_synthetic: bool = False, progress: Progress) -> Brought:
    """Take in a file of labelled images as a labelling, or one of captions as images for regularisation.

    The images become those of a generator of this name, by which a training finds them. New prompts are put on the
    training side of the split; one that is held out already stays so, and its images are learnt from by nobody.

    Raises:
        UnableToImport: see `read_lines`; or the file mixes labels with captions.
    """
    lines = read_lines(path)
    if len({type(line) for line in lines}) > 1:
        raise UnableToImport(f"{path.name} mixes lines with a type and lines with a caption; split it into two files.")
    generator = get_or_create_generator(
        name=generator_name, description=f"Images of {path.name}, made elsewhere.", is_synthetic=is_synthetic
    )
    texts = [line.prompt if isinstance(line, Annotation) else line.caption for line in lines]
    prompts = get_or_create_prompts(texts=texts, source=path.name, split=Split.TRAIN)
    images: list[Image] = []
    for start in range(0, len(lines), BATCH):
        chunk = zip(lines[start : start + BATCH], texts[start : start + BATCH], strict=True)
        items = [ImageItem(path.parent / line.file_name, prompts[text], generator) for line, text in chunk]
        images += store_images(items=items)
        progress(len(images), len(lines))
    held_out = sum(prompts[text].split == Split.TEST for text in texts)
    annotations = [line for line in lines if isinstance(line, Annotation)]
    labelling = _labelling_of(path, generator, annotations, images, prompts) if annotations else None
    return Brought(labelling, len(images), held_out)


def _labelling_of(
    path: Path,
    generator: Generator,
    annotations: Sequence[Annotation],
    images: Sequence[Image],
    prompts: Mapping[str, Prompt],
) -> Labelling:
    """The labelling of images that were just stored; of held-out prompts it holds none, of equal files the first."""
    labels: dict[int, Label] = {}
    for annotation, image in zip(annotations, images, strict=True):
        if prompts[annotation.prompt].split == Split.TRAIN and not image.is_hidden:
            labels.setdefault(
                image.pk,
                Label(
                    image=image,
                    kind=TYPES[annotation.type],
                    source=Label.Source.IMPORTED,
                    confidence=annotation.confidence,
                    group_size=annotation.batch_size,
                ),
            )
    counts = Counter(annotation.prompt for annotation in annotations)
    with transaction.atomic():
        labelling = Labelling.objects.create(
            settings={"sources": [generator.name], "labels_from": "imported", "file": path.name},
            counts={"images": len(images), "unreadable": 0, "prompts": len(counts)},
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            is_synthetic=generator.is_synthetic,
        )
        for label in labels.values():
            label.labelling = labelling
        Label.objects.bulk_create(labels.values(), batch_size=1000)
    labelling.refresh_from_db()
    return labelling


def _checked(line: str, folder: Path) -> Annotation | Captioned:
    try:
        record = object_of(json.loads(line))
    except ValueError as error:
        raise BadRecord(f"it is no JSON ({error})") from error
    file_name = _file_in(folder, record)
    if "caption" in record:
        return Captioned(file_name, prompt_of(record, "caption"))
    type_name, confidence = value_of(record, "type"), value_of(record, "confidence")
    if type_name not in TYPES:
        raise BadRecord(f"type is neither {' nor '.join(TYPES)} but {shown(type_name)}")
    if not isinstance(confidence, int | float) or not 0 < confidence <= 1:
        raise BadRecord(f"confidence is no number above 0 and up to 1 but {shown(confidence)}")
    batch_size = whole_number(record, "batch_size")
    if batch_size < 1:
        raise BadRecord(f"batch_size is below 1: {batch_size}")
    return Annotation(
        whole_number(record, "id"), file_name, prompt_of(record), type_name, float(confidence), batch_size
    )


def _file_in(folder: Path, record: dict[str, Any]) -> str:
    """The name of a picture that is there and inside the folder."""
    from worker.adapter.released import is_inside  # as its other modules: only where it is used

    name = value_of(record, "file_name")
    if not isinstance(name, str) or not name or "\0" in name:
        raise BadRecord(f"file_name is no file's name but {shown(name)}")
    if not is_inside(folder, name):
        raise BadRecord(f"file_name leads out of the folder: {shown(name)}")
    try:
        read_image(folder / name)
    except ImageRejected as error:
        raise BadRecord(f"{name}: {error}") from error
    return name


def _write_jpeg(image: Image, path: Path) -> None:
    try:
        open_picture(image).convert("RGB").save(path, "JPEG", quality=QUALITY)
    except OSError as error:
        raise UnableToExport(f"The image {image.public_id} can't be written as {path.name}: {error}.") from error
