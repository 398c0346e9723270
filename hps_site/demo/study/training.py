"""The machine's half of the study: HPS from votes, labels from HPS, adapters from labels. It never sees the truth."""

import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from PIL import Image
from tqdm import tqdm

from hps_site.demo.study.declaration import Declaration, Training
from scoring import checkpoints
from scoring.hps import Scorer, load_scorer
from scoring.preferences import Choice
from worker.adapter.config import AdapterConfig
from worker.adapter.data import ExampleSet, Kind, make_examples
from worker.adapter.labelling import LabelledImage, ScoredImage, label_images
from worker.adapter.loop import StepReport as AdapterReport
from worker.adapter.loop import train as train_adapter
from worker.classifier.config import ClassifierConfig
from worker.classifier.loop import train as train_classifier
from worker.classifier.reports import StepReport as ClassifierReport
from worker.models import ModelVersion
from worker.services.base_models import base_model_folder
from worker.services.generation import pipeline_folder
from worker.services.versions import register_version

Report = AdapterReport | ClassifierReport
"""What the two kinds of training tell."""

CLIP, DIFFUSION = "tiny-clip", "tiny-diffusion"
LEFTOVERS = ("encoded", "steps")
"""What a finished training of an adapter needs no more."""


def artefact_folder(declaration: Declaration, name: str) -> Path:
    """Where a training of the study works, its result standing in `model`."""
    return Path(settings.ARTEFACTS_DIR) / "study" / declaration.key / name


def clip_folder() -> Path:
    """The base CLIP, which knows content and little of quality."""
    return base_model_folder(CLIP, checkpoints.MANIFEST)


def train_hps(
    declaration: Declaration, name: str, seed: int, choices: Sequence[Choice], pictures: Mapping[str, Image.Image]
) -> dict[str, Any]:
    """HPS from these votes; gives its figures on the votes held out."""
    config = ClassifierConfig.from_json({"preset": "tiny", "seed": seed, **declaration.hps})
    out = artefact_folder(declaration, name)
    with _Progress() as on_step:
        result = train_classifier(config, choices, pictures.__getitem__, clip_folder(), out, on_step, is_synthetic=True)
    return result.metrics


def hps_folder(declaration: Declaration, name: str) -> Path:
    """The artefact of an HPS of the study."""
    return artefact_folder(declaration, name) / "model"


@lru_cache(maxsize=2)
def scorer_in(folder: Path) -> Scorer:
    """The scorer of an artefact of the study or of the base CLIP; the last two asked for stay loaded."""
    return load_scorer(folder)


def scored(folder: Path, pictures: Iterable[tuple[str, str, Image.Image]]) -> list[ScoredImage]:
    """The scores of pictures, given as (key, caption, picture), by the scorer in a folder."""
    pictures = list(pictures)
    values = scorer_in(folder).score_pairs((picture, caption) for _, caption, picture in pictures)
    return [ScoredImage(key, caption, value) for (key, caption, _), value in zip(pictures, values, strict=True)]


def adapter_config(declaration: Declaration, seed: int) -> AdapterConfig:
    """The settings of every adapter of a seed: those of the preset `tiny`."""
    return AdapterConfig.from_json({"seed": seed, **declaration.adapter}, preset="tiny")


def examples_of(training: Training, images: Sequence[ScoredImage], config: AdapterConfig) -> ExampleSet:
    """What an adapter of the study is trained on, from scored images; see `Training`."""
    if training == Training.SHUFFLED:
        images = shuffled(images, config.seed)
    labelled = label_images(
        images, alpha=config.alpha, temperature=config.temperature, smallest_group=config.smallest_group
    )
    examples = examples_from(labelled, config)
    if training == Training.UNMARKED:
        unmarked = (replace(example, kind=_without_mark(example.kind)) for example in examples.training)
        return replace(examples, training=tuple(unmarked))
    if training == Training.PREFERRED:
        preferred = (example for example in examples.training if example.kind == Kind.PREFERRED)
        return replace(examples, training=tuple(preferred))
    return examples


def examples_from(labelled: Sequence[LabelledImage], config: AdapterConfig) -> ExampleSet:
    """The examples of labelled images, without regularisation images as the preset `tiny` has none."""
    return make_examples(labelled, (), config)


def shuffled(images: Sequence[ScoredImage], seed: int) -> list[ScoredImage]:
    """The same images, the scores of each caption's images having changed places."""
    rng = np.random.default_rng([seed, 4])
    by_caption: dict[str, list[ScoredImage]] = {}
    for image in images:
        by_caption.setdefault(image.prompt, []).append(image)
    return [
        replace(image, score=group[place].score)
        for group in by_caption.values()
        for image, place in zip(group, rng.permutation(len(group)), strict=True)
    ]


def train(
    declaration: Declaration,
    name: str,
    config: AdapterConfig,
    examples: ExampleSet,
    pictures: Mapping[str, Image.Image],
) -> tuple[ModelVersion, dict[str, Any]]:
    """An adapter as a version of the site, and what its training measured: `examples` and `mark`."""
    out = artefact_folder(declaration, name)
    with _Progress() as on_step:
        result = train_adapter(
            config, examples, pictures.__getitem__, pipeline_folder(DIFFUSION), out, on_step, is_synthetic=True
        )
    for leftover in LEFTOVERS:
        shutil.rmtree(out / leftover, ignore_errors=True)
    return _version_of(result.folder, result.metrics), result.metrics


def _version_of(folder: Path, metrics: Mapping[str, Any]) -> ModelVersion:
    """The version of an artefact, registered unless an attempt that was killed has done so."""
    sha256 = checkpoints.file_sha256(folder / checkpoints.MANIFEST)
    known = ModelVersion.objects.filter(family=ModelVersion.Family.ADAPTER, sha256=sha256).first()
    return known or register_version(
        family=ModelVersion.Family.ADAPTER,
        folder=folder,
        manifest=checkpoints.read_manifest(folder),
        metrics=metrics,
        is_synthetic=True,
    )


def _without_mark(kind: Kind) -> Kind:
    return Kind.REGULARISATION if kind == Kind.NON_PREFERRED else kind


class _Progress:
    """A bar on standard error that follows the stages of a training."""

    def __init__(self) -> None:
        self._bar: tqdm[None] | None = None
        self._stage = ""

    def __enter__(self) -> Callable[[Report], None]:
        return self._tell

    def __exit__(self, *_error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def _tell(self, report: Report) -> None:
        if self._bar is None or report.stage != self._stage:
            self.__exit__()
            self._stage = report.stage
            self._bar = tqdm(desc=f"  {report.stage}", total=report.total, file=sys.stderr, leave=False, mininterval=5)
        self._bar.n = report.step
        self._bar.update(0)
