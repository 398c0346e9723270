"""Properties of image files that tell nothing of how good a picture is, and that a model may follow all the same."""

from collections.abc import Mapping, Sequence

import numpy as np
from django.db.models import QuerySet
from PIL import Image as Picture

from annotations.models import Campaign, Image, Split

Looks = Mapping[str, Mapping[str, float]]
"""By name of the property, by the image's id as text."""

# Opening a file takes milliseconds: these are enough to tell whether a score follows brightness.
MOST_OPENED = 2000
_SIDE = 64


def file_looks(campaigns: Sequence[Campaign]) -> dict[str, dict[str, float]]:
    """Size in pixels and format of the held-out candidates; one SQL statement."""
    rows = list(_held_out(campaigns).values_list("pk", "width", "height", "format"))
    return {
        "size": {str(pk): float(width * height) for pk, width, height, _ in rows},
        # Kept without loss or not: what a person hardly sees and a model may.
        "format": {str(pk): float(kind == Image.Format.PNG) for pk, _, _, kind in rows},
    }


def all_looks(campaigns: Sequence[Campaign]) -> dict[str, dict[str, float]]:
    """Those of `file_looks` and the brightness (0..1) of at most 2,000 held-out candidates, whose files are opened.

    Raises:
        OSError: a file is missing or cannot be read.
    """
    images = _held_out(campaigns).only("file").order_by("prompt", "pk")[:MOST_OPENED]
    return file_looks(campaigns) | {"brightness": {str(image.pk): brightness(image) for image in images}}


def brightness(image: Image) -> float:
    """Mean luma of a picture, 0 (black) to 1 (white), from a copy of at most 64 by 64 pixels."""
    with image.file.open("rb") as file, Picture.open(file) as picture:
        picture.draft("L", (_SIDE, _SIDE))
        small = picture.convert("L").resize((_SIDE, _SIDE), Picture.Resampling.BOX)
    return float(np.asarray(small).mean() / 255)


def _held_out(campaigns: Sequence[Campaign]) -> QuerySet[Image]:
    images = Image.objects.filter(candidacies__task__campaign__in=campaigns, prompt__split=Split.TEST)
    return images.exclude(file="").order_by().distinct()
