"""The paper's test of set measures: do they tell what people chose from what they passed over?"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import PIL.Image

from annotations.models import Image
from hps_site.dashboard.queries.ballots import NothingToReport
from scoring.metrics import Estimate, UnableToMeasure
from scoring.preferences import Choice
from worker.services.scoring import open_picture

if TYPE_CHECKING:
    from scoring.image_sets import Described, Tower

READABLE = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass(frozen=True)
class SetReport:
    """Measures of the images that were chosen and of those that were passed over."""

    tower: str
    """What the measures stand on."""
    choices: int
    prompts: int
    left_out: int
    """Decided choices among images that can't all be read."""
    reference: int
    """Images of the reference, or 0."""
    estimates: list[Estimate]


def compare_sets(
    choices: Sequence[Choice],
    tower: "Tower",
    *,
    reference: Path | None = None,
    resamples: int = 200,
    on_resample: Callable[[], object] = lambda: None,
) -> SetReport:
    """Measures of both sides of every decided choice, see `scoring.image_sets.compare`.

    Args:
        choices: with the ids of images as texts.
        tower: what describes the images.
        reference: a folder of images that both sides are held against.
        resamples: bootstrap replicates over prompts.
        on_resample: called after each of them.

    Raises:
        NothingToReport: nobody chose among images that can be read, or the reference holds fewer than two images.
    """
    from scoring import image_sets  # slow import

    decided = [choice for choice in choices if choice.is_decided]
    described, place = _described(tower, {key for choice in decided for key in choice.images})
    whole = [choice for choice in decided if all(key in place for key in choice.images)]
    pairs = [
        image_sets.Pair(
            choice.prompt,
            place[choice.answer],
            tuple(place[key] for key in choice.images if key != choice.answer),
        )
        for choice in whole
    ]
    if described is None or len(pairs) < 2:
        raise NothingToReport("Fewer than two decided choices are there whose images can all be read.")
    target = _reference(tower, reference) if reference else None
    estimates = image_sets.compare(
        described, pairs, tower.name, reference=target, resamples=resamples, on_resample=on_resample
    )
    return SetReport(
        tower=tower.name,
        choices=len(pairs),
        prompts=len({pair.prompt for pair in pairs}),
        left_out=len(decided) - len(whole),
        reference=len(target.features) if target else 0,
        estimates=estimates,
    )


def _described(tower: "Tower", keys: Iterable[str]) -> "tuple[Described | None, dict[str, int]]":
    """What the tower says of the images that can be read, and the place of each."""
    place: dict[str, int] = {}

    def pictures() -> Iterator[PIL.Image.Image]:
        for image in Image.objects.filter(pk__in=list(map(int, keys))).exclude(file="").order_by("pk").iterator(512):
            try:
                picture = open_picture(image)
            except OSError:
                continue  # its choices are counted as left out
            place[str(image.pk)] = len(place)
            yield picture

    try:
        return tower.describe(pictures()), place
    except UnableToMeasure:
        return None, place


def _reference(tower: "Tower", folder: Path) -> "Described":
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in READABLE)
    if len(paths) < 2:
        raise NothingToReport(f"{folder}: holds {len(paths)} JPEG, PNG or WebP images; a reference needs two at least.")

    def pictures() -> Iterator[PIL.Image.Image]:
        for path in paths:
            try:
                with PIL.Image.open(path) as picture:
                    picture.load()
                    yield picture
            except OSError as error:
                raise NothingToReport(f"{path}: can't be read as an image; remove it from the reference.") from error

    return tower.describe(pictures())
