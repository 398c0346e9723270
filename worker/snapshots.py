"""The votes that a training sees, and the pictures they are about."""

import io
import shutil
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import PIL.Image
from django.core.files.storage import Storage

from annotations.models import Campaign, Image, Snapshot
from annotations.services.snapshots import Needs, take_snapshot
from scoring.preferences import Choice

# Copies from object storage mostly wait.
COPIES_AT_ONCE = 16

# Fewer decided choices than these give figures that mean nothing.
TRAINING = Needs(pixels=True, apart=True, decided_train=10, decided_test=5)


def take_training_snapshot(*, campaign: Campaign | None = None, with_reliability: bool = False) -> Snapshot:
    """Freeze the votes on images whose pixels are here, both sides kept apart; see `take_snapshot`.

    Args:
        campaign: whose votes; None means those of all campaigns.
        with_reliability: whether each vote shall say how far its person can be relied on.

    Raises:
        NotEnoughChoices: fewer than 10 decided choices to train on or 5 to test on.
    """
    return take_snapshot(campaign=campaign, needs=replace(TRAINING, reliability=with_reliability))


def open_image(key: str) -> PIL.Image.Image:
    """The picture whose public id is `key`, decoded.

    Raises:
        Image.DoesNotExist, OSError: there is none, or its file is missing or damaged.
    """
    image = Image.objects.only("file").get(public_id=uuid.UUID(key))
    return _decoded(image.file.storage, str(image.file.name))


def image_opener(choices: Iterable[Choice]) -> Callable[[str], PIL.Image.Image]:
    """`open_image` for the images of these choices, without the database: usable from many threads."""
    storage, names = _names_of(choices)
    return lambda key: _decoded(storage, names[key])


def image_paths(choices: Iterable[Choice], folder: Path) -> dict[str, Path]:
    """The file of every image of these choices, by public id, for programs that know no storage.

    Args:
        choices: whose images are meant.
        folder: into which those are copied that are not on this disk, but in object storage.

    Raises:
        OSError: one of them is missing there.
    """
    storage, names = _names_of(choices)
    try:
        return {key: Path(storage.path(name)) for key, name in names.items()}
    except NotImplementedError:
        folder.mkdir(parents=True, exist_ok=True)
        paths = {key: folder / Path(name).name for key, name in names.items()}
        with ThreadPoolExecutor(COPIES_AT_ONCE) as threads:
            list(threads.map(lambda key: _copy(storage, names[key], paths[key]), paths))
        return paths


def image_hashes(choices: Iterable[Choice]) -> dict[str, str]:
    """SHA-256 of the file of every image of these choices, by public id."""
    keys = {key for choice in choices for key in choice.images}
    rows = Image.objects.values_list("public_id", "sha256")
    return {str(public_id): sha256 for public_id, sha256 in rows.iterator() if str(public_id) in keys}


def _names_of(choices: Iterable[Choice]) -> tuple[Storage, dict[str, str]]:
    """Where images are stored, and under which names those of these choices, by public id."""
    keys = {key for choice in choices for key in choice.images}
    rows = Image.objects.values_list("public_id", "file")
    names = {str(public_id): name for public_id, name in rows.iterator() if str(public_id) in keys}
    return Image._meta.get_field("file").storage, names


def _copy(storage: Storage, name: str, path: Path) -> None:
    """Copy a file from the storage, whole or not at all; one that is there is left."""
    if path.exists():
        return
    unfinished = path.with_name(f".{path.name}")
    with storage.open(name) as source, unfinished.open("wb") as copy:
        shutil.copyfileobj(source, copy)
    unfinished.rename(path)


def _decoded(storage: Storage, name: str) -> PIL.Image.Image:
    with storage.open(name) as file:
        picture = PIL.Image.open(io.BytesIO(file.read()))
        picture.load()
        return picture
