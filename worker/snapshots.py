"""The votes that a training sees, and the pictures they are about."""

import io
import uuid
from collections.abc import Callable, Iterable

import PIL.Image
from django.core.files.storage import Storage

from annotations.models import Campaign, Image, Snapshot
from annotations.services.snapshots import Needs, take_snapshot
from scoring.preferences import Choice

# Fewer decided choices than these give figures that mean nothing.
TRAINING = Needs(pixels=True, decided_train=10, decided_test=5)


def take_training_snapshot(*, campaign: Campaign | None = None) -> Snapshot:
    """Freeze the votes on images whose pixels are here; see `take_snapshot`.

    Raises:
        NotEnoughChoices: fewer than 10 decided choices to train on or 5 to test on.
    """
    return take_snapshot(campaign=campaign, needs=TRAINING)


def open_image(key: str) -> PIL.Image.Image:
    """The picture whose public id is `key`, decoded.

    Raises:
        Image.DoesNotExist, OSError: there is none, or its file is missing or damaged.
    """
    image = Image.objects.only("file").get(public_id=uuid.UUID(key))
    return _decoded(image.file.storage, str(image.file.name))


def image_opener(choices: Iterable[Choice]) -> Callable[[str], PIL.Image.Image]:
    """`open_image` for the images of these choices, without the database: usable from many threads."""
    keys = {key for choice in choices for key in choice.images}
    storage = Image._meta.get_field("file").storage
    names = {
        str(public_id): name
        for public_id, name in Image.objects.values_list("public_id", "file").iterator()
        if str(public_id) in keys
    }
    return lambda key: _decoded(storage, names[key])


def image_hashes(choices: Iterable[Choice]) -> dict[str, str]:
    """SHA-256 of the file of every image of these choices, by public id."""
    keys = {key for choice in choices for key in choice.images}
    rows = Image.objects.values_list("public_id", "sha256")
    return {str(public_id): sha256 for public_id, sha256 in rows.iterator() if str(public_id) in keys}


def _decoded(storage: Storage, name: str) -> PIL.Image.Image:
    with storage.open(name) as file:
        picture = PIL.Image.open(io.BytesIO(file.read()))
        picture.load()
        return picture
