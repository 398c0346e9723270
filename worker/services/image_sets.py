"""The paper's test of set measures: do they tell what people chose from what they passed over?"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL.Image
from django.conf import settings

from annotations.services.snapshots import Needs, read_snapshot, take_snapshot
from scoring.comparisons import ExchangeTest
from scoring.metrics import Estimate, UnableToMeasure
from scoring.preferences import Choice
from worker.models import Run
from worker.services.execution import Reporter, RunStopped
from worker.services.reference_images import generator_pictures
from worker.services.run_configs import read_config
from worker.services.scoring import UnknownScorer, scorer_named
from worker.snapshots import image_opener

if TYPE_CHECKING:
    from scoring.image_sets import Described, Tower

RESAMPLES = 200


class UnableToCompareSets(ValueError):
    """There is nothing to compare; the message says what is missing."""


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
    exchanges: list[ExchangeTest]
    """Of the distances between both sides; none in what older runs stored."""

    def to_record(self) -> dict[str, Any]:
        """The report as plain values for JSON."""
        return {
            "features": self.tower,
            "choices": self.choices,
            "prompts": self.prompts,
            "left_out": self.left_out,
            "reference": self.reference,
            "measures": [estimate.to_record() for estimate in self.estimates],
            "exchange_tests": [test.to_record() for test in self.exchanges],
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "SetReport":
        """The report that `to_record` made plain."""
        return cls(
            tower=record["features"],
            choices=record["choices"],
            prompts=record["prompts"],
            left_out=record["left_out"],
            reference=record["reference"],
            estimates=[Estimate(**measure) for measure in record["measures"]],
            exchanges=[ExchangeTest(**test) for test in record.get("exchange_tests", [])],
        )


def compare_sets(
    choices: Sequence[Choice],
    open_image: Callable[[str], PIL.Image.Image],
    tower: "Tower",
    *,
    reference: Iterable[PIL.Image.Image] | None = None,
    resamples: int = RESAMPLES,
    on_resample: Callable[[], object] = lambda: None,
) -> SetReport:
    """Measures of both sides of every decided choice, see `compare` and `exchange_tests` of `scoring.image_sets`.

    Args:
        choices: others than decided ones are passed over.
        open_image: from an image's key to the picture; an OSError leaves its choices out.
        tower: what describes the images.
        reference: images that both sides are held against, such as `reference_images.folder_pictures` gives.
        resamples: bootstrap replicates over prompts, and as many exchanges of the sides.
        on_resample: called after each of both, `2 * resamples` times.

    Raises:
        UnableToCompareSets: fewer than two choices among images that can be read.
    """
    from scoring import image_sets  # slow import

    decided = [choice for choice in choices if choice.is_decided]
    described, place = _described(tower, decided, open_image)
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
        raise UnableToCompareSets("Fewer than two decided choices are there whose images can all be read.")
    target = None if reference is None else tower.describe(reference)
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
        exchanges=image_sets.exchange_tests(described, pairs, tower.name, exchanges=resamples, on_exchange=on_resample),
    )


def clip_tower(name: str) -> "Tower":
    """What describes images by a CLIP: `clip` for the one in use, `clip-2`, a folder.

    Raises:
        UnknownScorer, CheckpointRejected: it is not there, or is something else.
    """
    from scoring.hps import ClipScorer  # slow imports
    from scoring.image_sets import ClipTower

    scorer = scorer_named(name)
    if not isinstance(scorer, ClipScorer):
        raise UnknownScorer(f"{name} is no CLIP; name one, such as clip-1.")
    return ClipTower(scorer)


def inception_tower(weights: Path) -> "Tower":
    """What describes images by Inception, as FID is defined.

    Raises:
        CheckpointRejected: the file isn't Inception's weights.
    """
    from scoring.image_sets import InceptionTower  # slow import

    return InceptionTower(weights, None if settings.DEVICE == "auto" else settings.DEVICE)


@dataclass(frozen=True)
class SetsConfig:
    """The settings of a run that compares sets."""

    clip: str = ""
    """Which CLIP describes the images; "" for Inception where the worker has it, else the CLIP in use."""

    reference: str = ""
    """Name of a generator whose images both sides are held against; "" for none."""

    resamples: int = RESAMPLES


def perform_sets(run: Run, reporter: Reporter, _workdir: Path) -> dict[str, Any]:
    """Compare what was chosen in the run's campaign with what was passed over, and both with a reference if asked.

    `config` holds a `SetsConfig`. The features are Inception's where `INCEPTION_WEIGHTS` names them.

    Returns:
        `SetReport.to_record`.

    Raises:
        UnableToCompareSets, ReferenceRejected, UnknownScorer, CheckpointRejected; RunStopped where it was cancelled.
    """
    config = read_config(SetsConfig, run.config, UnableToCompareSets)
    weights = settings.INCEPTION_WEIGHTS
    tower = inception_tower(Path(weights)) if weights and not config.clip else clip_tower(config.clip or "clip")
    reporter.stage("freezing the votes")
    snapshot = run.snapshot or take_snapshot(campaign=run.campaign, needs=Needs(pixels=True))
    reporter.record(snapshot=snapshot, is_synthetic=run.is_synthetic or snapshot.is_synthetic)
    choices = read_snapshot(snapshot)
    reference = None
    if config.reference:
        shown = {key for choice in choices for key in choice.images}
        reference = generator_pictures(config.reference, besides=shown)
    opened = image_opener(choices)
    done = 0

    def open_image(key: str) -> PIL.Image.Image:
        _go_on(reporter)
        return opened(key)

    def resampled() -> None:
        nonlocal done
        done += 1
        reporter.step(done, 2 * config.resamples)
        _go_on(reporter)

    def unless_stopped(pictures: Iterator[PIL.Image.Image]) -> Iterator[PIL.Image.Image]:
        for picture in pictures:
            _go_on(reporter)
            yield picture

    reporter.stage(f"describing the images by {tower.name}, then resampling")
    report = compare_sets(
        choices,
        open_image,
        tower,
        reference=None if reference is None else unless_stopped(reference),
        resamples=config.resamples,
        on_resample=resampled,
    )
    return report.to_record()


def _go_on(reporter: Reporter) -> None:
    if reporter.should_stop():
        raise RunStopped


def _described(
    tower: "Tower", choices: Sequence[Choice], open_image: Callable[[str], PIL.Image.Image]
) -> "tuple[Described | None, dict[str, int]]":
    """What the tower says of the images that can be read, and the place of each."""
    place: dict[str, int] = {}

    def pictures() -> Iterator[PIL.Image.Image]:
        for key in sorted({key for choice in choices for key in choice.images}):
            try:
                picture = open_image(key)
            except OSError:
                continue  # its choices are counted as left out
            place[key] = len(place)
            yield picture

    try:
        return tower.describe(pictures()), place
    except UnableToMeasure:
        return None, place
