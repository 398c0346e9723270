"""The performer of leave-one-generator-out: many trainings of one classifier, each without somebody's images."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings

from annotations.services.snapshots import read_snapshot
from scoring import generalisation
from scoring.generalisation import LeftOut
from scoring.preferences import Choice
from worker.models import Run
from worker.services.execution import Reporter, RunStopped
from worker.services.training import base_folder_of, snapshot_of
from worker.snapshots import image_hashes, image_opener

if TYPE_CHECKING:
    from worker.classifier.config import ClassifierConfig
    from worker.classifier.reports import StepReport

Numbers = list[list[float]]
"""One score per image, for each choice in turn."""

# Settings of the comparison, beside those of the classifier: see `scoring.generalisation.leave_one_out`.
SETTINGS = ("fewest_test", "fewest_train", "most")

PERCENT = 100


class NothingToLeaveOut(ValueError):
    """No generator has choices enough; the message says what each of them lacks."""


def perform_leave_out(run: Run, reporter: Reporter, workdir: Path) -> dict[str, Any]:
    """Train the classifier on all choices and, for each generator, without its images; measure all on its choices.

    What each model says is kept in the run's folder, so that a run that was stopped trains no model twice. No version
    is registered: these models only answer a question.

    Returns:
        The figures pooled over the generators, see `scoring.generalisation.figures`; `generators` with those of each;
        `passed_over` with those that can't be left out, and why; `verdict` in plain words.

    Raises:
        NothingToLeaveOut, NotEnoughChoices, BaseModelMissing, ConfigRejected, UnableToTrain, UnableToReadImage,
        CheckpointRejected; RunStopped where it was cancelled.
    """
    from worker.classifier.config import ClassifierConfig, ConfigRejected  # slow import

    own = {name: run.config[name] for name in SETTINGS if name in run.config}
    others = {name: value for name, value in run.config.items() if name not in {"base", *SETTINGS}}
    config = ClassifierConfig.from_json({"preset": run.preset} | others)
    if config.weigh_by_reliability or config.processes > 1:
        raise ConfigRejected(
            "Training without each generator takes all people alike and one process: leave out weigh_by_reliability "
            "and processes."
        )
    choices = read_snapshot(snapshot_of(run, reporter, with_reliability=False))
    split = generalisation.leave_one_out(choices, **own)
    if not split.parts:
        reasons = " ".join(f"{one.generator}: {one.reason}" for one in split.passed_over)
        raise NothingToLeaveOut(f"No generator can be left out. {reasons or 'The choices name no generators.'}")
    models = _Models(run, reporter, workdir, config, choices, len(split.parts) + 1)
    whole = [choice for choice in choices if choice.split == "train"]
    shown = list(dict.fromkeys(choice for part in split.parts for choice in part.test))
    seen = dict(zip(shown, models.scores("on all generators", whole, shown), strict=True))
    base = dict(zip(shown, models.base_scores(shown), strict=True))
    scores: dict[str, dict[str, Numbers]] = {"unseen": {}, "seen": {}, "base": {}}
    for part in split.parts:
        scores["unseen"][part.generator] = models.scores(f"without {part.generator}", part.train, part.test)
        scores["seen"][part.generator] = [seen[choice] for choice in part.test]
        scores["base"][part.generator] = [base[choice] for choice in part.test]
    measured = generalisation.pooled(split.parts, scores)
    measured["generators"] = [_figures_of(part, scores) for part in split.parts]
    measured["passed_over"] = [{"generator": one.generator, "reason": one.reason} for one in split.passed_over]
    measured["verdict"] = generalisation.verdict(measured)
    reporter.say(measured["verdict"])
    return measured


def _figures_of(part: LeftOut, scores: dict[str, dict[str, Numbers]]) -> dict[str, Any]:
    return generalisation.measure(part, *(scores[model][part.generator] for model in ("unseen", "seen", "base")))


class _Models:
    """Trains the models of one run one after the other, and keeps what they say instead of what they are."""

    def __init__(
        self, run: Run, reporter: Reporter, workdir: Path, config: "ClassifierConfig", choices: Sequence[Choice],
        total: int,
    ) -> None:  # fmt: skip
        self._reporter, self._workdir, self._config, self._total = reporter, workdir, config, total
        self._is_synthetic = run.is_synthetic
        self._base_folder = base_folder_of(run)
        self._open_image, self._hashes = image_opener(choices), image_hashes(choices)
        self._device = None if settings.DEVICE == "auto" else settings.DEVICE
        self._done = 0

    def scores(self, what: str, train_on: Sequence[Choice], choices: Sequence[Choice]) -> Numbers:
        """What a model trained on some choices says of others, trained and asked only once in the life of the run."""
        kept = self._workdir / f"scores-{self._done}.json"
        if not kept.exists():
            self._reporter.stage(f"model {self._done + 1} of {self._total}, {what}")
            folder = self._workdir / f"model-{self._done}"
            scored = self._scores(self._trained(train_on, folder), choices)
            unfinished = kept.with_suffix(".unfinished")
            unfinished.write_text(json.dumps(scored), encoding="utf-8")
            unfinished.replace(kept)
            shutil.rmtree(folder)
        self._done += 1
        self._reporter.step(PERCENT * self._done, PERCENT * self._total)
        numbers: Numbers = json.loads(kept.read_text(encoding="utf-8"))
        return numbers

    def base_scores(self, choices: Sequence[Choice]) -> Numbers:
        """What the model says from which all trainings begin."""
        self._reporter.stage("measuring the base")
        return self._scores(self._base_folder, choices)

    def _trained(self, choices: Sequence[Choice], folder: Path) -> Path:
        from worker.classifier.loop import train  # slow imports
        from worker.classifier.reports import TrainingCancelled

        try:
            return train(
                self._config,
                choices,
                self._open_image,
                self._base_folder,
                folder,
                self._tell,
                self._reporter.should_stop,
                device=self._device,
                is_synthetic=self._is_synthetic,
                cache_folder=Path(settings.CACHE_DIR) / "trunk",
                hashes=self._hashes,
            ).folder
        except TrainingCancelled as error:
            raise RunStopped from error

    def _tell(self, report: "StepReport") -> None:
        if report.note:
            self._reporter.say(report.note)
        if report.stage == "training":
            percent = PERCENT * report.step // max(1, report.total)
            self._reporter.step(PERCENT * self._done + percent, PERCENT * self._total)

    def _scores(self, folder: Path, choices: Sequence[Choice]) -> Numbers:
        """By a model on disk, each picture looked at once for its prompt."""
        from scoring.hps import load_scorer  # slow import

        pictures = list(dict.fromkeys((choice.prompt, key) for choice in choices for key in choice.images))
        scorer = load_scorer(folder, self._device)
        values = scorer.score_pairs((self._open_image(key), prompt) for prompt, key in pictures)
        known = {}
        for picture, value in zip(pictures, values, strict=True):
            known[picture] = float(value)
            if self._reporter.should_stop():
                raise RunStopped
        return [[known[choice.prompt, key] for key in choice.images] for choice in choices]
