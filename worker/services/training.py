"""The performers of classifier and aesthetic trainings: from a snapshot of votes to a version with its figures."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings

from annotations.models import Snapshot
from annotations.services.snapshots import read_reliability, read_snapshot
from scoring import checkpoints
from scoring.preferences import Choice
from worker.models import ModelVersion, Run
from worker.queries import current_version
from worker.services.base_models import base_model_folder
from worker.services.execution import Reporter, RunStopped
from worker.services.versions import register_base_models, register_version, scorer_for
from worker.snapshots import image_hashes, image_opener, image_paths, take_training_snapshot

if TYPE_CHECKING:
    from worker.classifier.reports import StepReport, TrainingResult

# Which base model a preset starts from, by its name in settings.BASE_MODELS; a run's config may name another.
BASES = {"tiny": "tiny-clip", "paper": "clip-vit-l-14", "hps2": "clip-vit-h-14"}


@dataclass(frozen=True)
class _Training:
    """What one training is of."""

    config: Any
    choices: Sequence[Choice]
    base_folder: Path
    workdir: Path
    snapshot: Snapshot


def perform_classifier(run: Run, reporter: Reporter, workdir: Path) -> dict[str, Any]:
    """Train the preference classifier on the votes of the run's campaign and register it as a version of `hps`.

    Returns:
        The figures of the version, see `worker.classifier.evaluation.measure`, with `verdict` in plain words, and
        `in_use` beside, where a version was in use when the training began.

    Raises:
        NotEnoughChoices, BaseModelMissing, ConfigRejected, UnableToTrain, UnableToReadImage, CheckpointRejected.
    """
    from worker.classifier.config import ClassifierConfig  # slow import

    config = ClassifierConfig.from_json(_settings_of(run))
    family, weighed = ModelVersion.Family.HPS, config.weigh_by_reliability
    return _train(run, reporter, workdir, family, config, _train_classifier, with_reliability=weighed)


def _train_classifier(training: _Training, *told: Any, **options: Any) -> "TrainingResult":
    from worker.classifier.launch import train_together  # slow import
    from worker.classifier.loop import train  # slow import

    config, choices = training.config, training.choices
    options |= {"cache_folder": Path(settings.CACHE_DIR) / "trunk", "hashes": image_hashes(choices)}
    if config.weigh_by_reliability:
        options["reliability"] = read_reliability(training.snapshot)
    folders = training.base_folder, training.workdir
    if config.processes > 1:
        paths = image_paths(choices, training.workdir / "images")
        return train_together(config, choices, paths, *folders, *told, **options)
    return train(config, choices, image_opener(choices), *folders, *told, **options)


def perform_aesthetic(run: Run, reporter: Reporter, workdir: Path) -> dict[str, Any]:
    """Train an aesthetic head on the same votes, as a version of `aesthetic`; see `perform_classifier`."""
    from worker.classifier.aesthetic_loop import train_aesthetic  # slow import
    from worker.classifier.config import AestheticConfig  # slow import

    def train(training: _Training, *told: Any, **options: Any) -> "TrainingResult":
        choices, folders = training.choices, (training.base_folder, training.workdir)
        options["hashes"] = image_hashes(choices)
        return train_aesthetic(training.config, choices, image_opener(choices), *folders, *told, **options)

    config = AestheticConfig.from_json(_settings_of(run))
    return _train(run, reporter, workdir, ModelVersion.Family.AESTHETIC, config, train)


def _settings_of(run: Run) -> dict[str, Any]:
    """The training's own settings: the base model is the run's affair."""
    return {"preset": run.preset} | {key: value for key, value in run.config.items() if key != "base"}


def _train(
    run: Run, reporter: Reporter, workdir: Path, family: str, config: Any, train: Any, *, with_reliability: bool = False
) -> dict[str, Any]:
    if version := ModelVersion.objects.filter(run=run).first():
        # An earlier attempt died between registering and reporting.
        return dict(version.metrics)
    base_folder = base_folder_of(run)
    snapshot = snapshot_of(run, reporter, with_reliability=with_reliability)
    if checkpoints.read_manifest(base_folder).get("kind") == ModelVersion.Family.CLIP:
        # People want to see the score that the new one is compared with.
        register_base_models(folders=[base_folder])
    choices = read_snapshot(snapshot)
    training = _Training(config, choices, base_folder, workdir, snapshot)
    folder = _publish(
        _result(run, reporter, training, train).folder,
        # The fence in the name keeps a worker that was taken for lost away from the artefact of its successor.
        Path(settings.ARTEFACTS_DIR) / family / str(run.public_id) / str(run.fence),
    )
    manifest = checkpoints.read_manifest(folder)
    metrics = dict(manifest["metrics"])
    if in_use := _figures_of_version_in_use(family, folder, choices, reporter):
        metrics["in_use"] = in_use
    metrics["verdict"] = verdict(metrics)
    with reporter.holding():
        version = register_version(
            family=family,
            folder=folder,
            manifest=manifest,
            metrics=metrics,
            run=run,
            snapshot=snapshot,
            is_synthetic=bool(manifest.get("is_synthetic")),
        )
    _remove_unregistered(folder)
    reporter.say(f"Registered as {version}. {metrics['verdict']}")
    return metrics


def base_folder_of(run: Run) -> Path:
    """The artefact that a training starts from.

    Raises:
        BaseModelMissing: it is not known to the settings, or not on this machine.
    """
    return base_model_folder(run.config.get("base") or BASES.get(run.preset, run.preset), checkpoints.MANIFEST)


def verdict(metrics: Mapping[str, Any]) -> str:
    """What the figures of a training say, in one or two plain sentences.

    Args:
        metrics: as from `worker.classifier.evaluation.measure`.
    """
    top_one, chance = metrics["top_one"], metrics["chance"]
    if top_one["value"] is None:
        return f"Nothing could be measured: {top_one['reason']}"
    if top_one["low"] is None or chance["value"] is None:
        return "Too few test choices for an interval; collect more votes."
    if top_one["low"] <= chance["value"] <= top_one["high"]:
        said = "Next to nothing was learnt: chance lies within the interval."
    elif top_one["high"] < chance["value"]:
        said = "Worse than chance."
    else:
        said = _beside("base CLIP", metrics.get("top_one_difference"))
        if not said.startswith("Better") and _leaves_no_room(metrics):
            said += " There is next to nothing to learn: people agree with each other hardly more than CLIP with them."
    if in_use := metrics.get("in_use"):
        said += " " + _beside(f"the version in use ({in_use['version']})", in_use["difference"])
    return f"{said} {_beside_people(top_one, metrics['human_ceiling'])}".strip()


def _leaves_no_room(metrics: Mapping[str, Any]) -> bool:
    """Whether base CLIP stands within the interval of the human ceiling before anything is learnt."""
    base, ceiling = metrics.get("base_top_one"), metrics["human_ceiling"]
    if base is None or base["value"] is None or ceiling["low"] is None:
        return False
    return float(base["value"]) >= float(ceiling["low"])


def _beside(name: str, difference: Mapping[str, Any] | None) -> str:
    if difference is None or difference["low"] is None:
        return f"Better than chance; not compared with {name}."
    if difference["low"] > 0:
        return f"Better than {name}."
    if difference["high"] < 0:
        return f"Worse than {name}."
    return f"No difference from {name} shown."


def _beside_people(top_one: Mapping[str, Any], ceiling: Mapping[str, Any]) -> str:
    if ceiling["value"] is None:
        return ""
    if top_one["high"] < ceiling["value"]:
        return "Below the human ceiling: people agree with each other oftener."
    if top_one["low"] > ceiling["value"]:
        return "Above the human ceiling."
    return "As near to people as people are to each other: the human ceiling lies within the interval."


def snapshot_of(run: Run, reporter: Reporter, *, with_reliability: bool) -> Snapshot:
    """The votes of the run, frozen at its first attempt: later ones see the same."""
    if run.snapshot is None:
        reporter.stage("freezing the votes")
        snapshot = take_training_snapshot(campaign=run.campaign, with_reliability=with_reliability)
        reporter.record(snapshot=snapshot, is_synthetic=run.is_synthetic or snapshot.is_synthetic)
        reporter.say(
            f"{snapshot.train_choices} choices to train on, {snapshot.test_choices} to test on,"
            f" {snapshot.prompts} prompts, {snapshot.annotators} people."
        )
        left_out = snapshot.filters.get("left_out_of_training", {})
        if any(left_out.values()):
            reporter.say(
                f"Left out of training: {left_out['near_prompts']} votes on near-duplicates of test prompts,"
                f" {left_out['same_images']} votes on images that are on the test side too."
            )
        return snapshot
    return run.snapshot


def _result(run: Run, reporter: Reporter, training: _Training, train: Any) -> "TrainingResult":
    from worker.classifier.reports import TrainingCancelled  # slow import

    try:
        result: TrainingResult = train(
            training,
            _Teller(reporter).tell,
            reporter.should_stop,
            device=None if settings.DEVICE == "auto" else settings.DEVICE,
            is_synthetic=run.is_synthetic or training.snapshot.is_synthetic,
        )
    except TrainingCancelled as error:
        raise RunStopped from error
    return result


class _Teller:
    """Passes on what a training loop tells to the run."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._stage = ""
        self._has_trained = False

    def tell(self, report: "StepReport") -> None:
        if report.stage != self._stage:
            self._stage = report.stage
            self._reporter.stage(report.stage)
        if report.note:
            self._reporter.say(report.note)
        if self._has_trained and report.stage != "training":
            return  # the run keeps showing how many steps its training had
        self._has_trained = report.stage == "training"
        figures = {
            "loss": report.loss,
            "learning_rate": report.learning_rate,
            "validation_loss": report.validation_loss,
        }
        known = {name: value for name, value in figures.items() if value is not None}
        self._reporter.step(report.step, report.total, **known)


def _publish(result: Path, folder: Path) -> Path:
    """Copy an artefact from the run's own folder to where versions are kept: whole or not at all."""
    with checkpoints.whole_or_absent(folder) as unfinished:
        shutil.copytree(result, unfinished, dirs_exist_ok=True)
    return folder


def _remove_unregistered(folder: Path) -> None:
    """Drop what earlier attempts of this run published and didn't live to register."""
    for other in folder.parent.iterdir():
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def _figures_of_version_in_use(
    family: str, folder: Path, choices: Sequence[Choice], reporter: Reporter
) -> dict[str, Any] | None:
    """How the new scorer does beside the one in use, on the same test choices; None where none is in use."""
    from scoring import metrics  # slow import
    from scoring.hps import load_scorer  # slow import

    current = current_version(family)
    test = [choice for choice in choices if choice.split == "test" and choice.outcome != "all_bad"]
    if current is None or not test:
        return None
    reporter.stage(f"comparing with {current}")
    open_image = image_opener(test)
    theirs = _scores(scorer_for(current), test, open_image)
    ours = _scores(load_scorer(folder), test, open_image)
    return {
        "version": str(current),
        "top_one": metrics.top_one_accuracy(test, theirs, name=f"top-1 of n, {current}").to_record(),
        "difference": metrics.top_one_difference(
            test, ours, theirs, name=f"top-1 of n, difference to {current}"
        ).to_record(),
    }


def _scores(scorer: Any, choices: Sequence[Choice], open_image: Any) -> list[list[float]]:
    pairs = ((open_image(key), choice.prompt) for choice in choices for key in choice.images)
    scores = iter(scorer.score_pairs(pairs))
    return [[next(scores) for _ in choice.images] for choice in choices]
