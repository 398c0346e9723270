"""The performer of adapter trainings: generated images scored by HPS, labelled, learnt, and registered as a version."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL.Image
from django.conf import settings

from annotations.models import Campaign, Generator, Image, Prompt, Split
from scoring import checkpoints
from worker.models import Labelling, ModelVersion, Run
from worker.services.adapters import drawn_with
from worker.services.execution import Reporter, RunStopped
from worker.services.generation import Recipe, UnableToGenerate, pipeline_folder
from worker.services.label_review import UnknownLabelling, counted, figures_of, labelling_named, left_of
from worker.services.label_sources import training_images
from worker.services.labelling import (
    ImagesMeant,
    LabellingPlan,
    UnableToLabel,
    generator_named,
    make_labelling,
    parted,
    plan_of,
    trainable_generators,
)
from worker.services.samples import store_samples
from worker.services.scoring import UnknownScorer, open_picture
from worker.services.versions import register_version

if TYPE_CHECKING:
    from worker.adapter.config import AdapterConfig
    from worker.adapter.data import ExampleSet
    from worker.adapter.loop import Samples, SampleWish, StepReport, TrainingResult


class UnableToTrainAdapter(ValueError):
    """The training can't begin; the message says what is missing."""


@dataclass(frozen=True)
class TrainingImagesMeant(ImagesMeant):
    """Settings of a run that say which images are learnt from, and are none of `AdapterConfig`."""

    labelling: str | None = None
    """Public id of one that is there, or its first digits; None: one is made first."""
    regularisation: list[str] = field(default_factory=list)
    """Names of the generators whose images keep the model near to what it was; none: the sources."""


@dataclass(frozen=True)
class _Plan:
    """Which images and settings a run means."""

    generator: Generator
    """Whose model is adapted."""
    labels: LabellingPlan | Labelling
    """A labelling that is there, perhaps looked through by people, or the one to make first."""
    regularisation: list[Generator]
    config: "AdapterConfig"

    @property
    def is_synthetic(self) -> bool:
        return any(maker.is_synthetic for maker in (self.generator, self.labels, *self.regularisation))


def perform_adapter(run: Run, reporter: Reporter, workdir: Path) -> dict[str, Any]:
    """Train an adapter of a generator's model on images labelled by HPS and register it as a version of `adapter`.

    The run's config may hold settings of `AdapterConfig`, and

    - `labelling`: one that is there; trained on is exactly what is left of it. By default one is made first;
    - `generator`: name of the one whose model is adapted, which draws without an adapter; by default the labelling's,
      or the one that has most images. A labelling that came from a file names none, and then one is needed;
    - `sources`: names of the generators whose images are labelled, all images of a prompt together; by default the
      generator alone. The paper's images are from DiffusionDB: many people's, made with models like the one adapted;
    - `scorer`: by default the HPS in use;
    - `regularisation`: names of the generators whose images keep the model near to what it was; by default the
      sources, with those of their images that got no label.

    Only images of prompts on the training side of the split are looked at.

    Returns:
        `generator`: whose model was adapted; `labels`: see `worker.services.label_review.figures_of`; `examples`;
        `mark`, see `worker.adapter.evaluation.report`; `verdict`, in plain words.

    Raises:
        UnableToTrainAdapter, UnableToLabel, UnknownLabelling, UnableToGenerate, UnknownScorer,
        AdapterConfigRejected, NotEnoughImages, BaseModelRejected, OptimizerMissing, TrainingDiverged: with what to do.
        RunStopped: cancelled; the checkpoints are kept.
    """
    if version := ModelVersion.objects.filter(run=run).first():
        # An earlier attempt died between registering and reporting.
        return dict(version.metrics)
    plan = _plan(run)
    if plan.is_synthetic and not run.is_synthetic:
        reporter.record(is_synthetic=True)
    labelling = _labelled(plan, run, reporter)
    labels = figures_of(labelling)
    examples = _examples(plan, labelling)
    reporter.say(_told(labels, examples))
    result = _train(plan, examples, reporter, workdir)
    manifest = {
        **result.manifest,
        "labelling": {"id": labels["labelling"], "sha256": labels["sha256"]},
        "drawn": drawn_with(Recipe.of(plan.generator), result.manifest["mark"]),
    }
    metrics = {"generator": plan.generator.name, "labels": labels, **result.metrics}
    metrics["verdict"] = verdict(metrics)
    # The fence in the name keeps a worker that was taken for lost away from the artefact of its successor.
    folder = Path(settings.ARTEFACTS_DIR) / ModelVersion.Family.ADAPTER / str(run.public_id) / str(run.fence)
    with checkpoints.whole_or_absent(folder) as unfinished:
        shutil.copytree(result.folder, unfinished, dirs_exist_ok=True)
        checkpoints.write_json(unfinished / checkpoints.MANIFEST, manifest)
    with reporter.holding():
        version = register_version(
            family=ModelVersion.Family.ADAPTER,
            folder=folder,
            manifest=manifest,
            metrics=metrics,
            run=run,
            is_synthetic=bool(manifest["is_synthetic"]),
        )
    reporter.say(f"Registered as {version}. {metrics['verdict']}")
    return metrics


def check_adapter(*, config: Mapping[str, Any], preset: str, campaign: Campaign | None) -> None:
    """Let the settings of a training pass with which it could begin now; for whoever opens the run.

    Raises:
        UnableToTrainAdapter: a setting is no good, or names what is not there.
    """
    from worker.adapter.config import AdapterConfigRejected  # slow import

    try:
        _plan(Run(config=config, preset=preset, campaign=campaign))
    except (AdapterConfigRejected, UnableToGenerate, UnableToLabel, UnknownLabelling, UnknownScorer) as error:
        raise UnableToTrainAdapter(str(error)) from error


def verdict(metrics: dict[str, Any]) -> str:
    """What the figures say, in one sentence for people.

    Args:
        metrics: as from `worker.adapter.loop.train`.
    """
    mark = metrics["mark"]
    after = mark["after"].get("non_preferred")
    if after is None or after["gain_low"] is None:
        return "Too few images were held out to say whether the mark was learnt."
    figures = f"{after['gain']:+.4f} [{after['gain_low']:+.4f}, {after['gain_high']:+.4f}]"
    measured = (
        f"its gain on {after['images']} held-out non-preferred images is {figures} of {after['unmarked_loss']:.3f}"
    )
    if mark["was_learnt"]:
        return f"The mark was learnt: {measured}."
    if after["gain_low"] <= 0 < after["gain_high"]:
        return f"It is not shown that the mark was learnt: {measured}."
    return f"The mark was not learnt: {measured}."


def _plan(run: Run) -> _Plan:
    from worker.adapter.config import AdapterConfig  # slow import

    meant, training = parted(run.config, TrainingImagesMeant, UnableToTrainAdapter)
    labels: LabellingPlan | Labelling
    if meant.labelling:
        labels = labelling_named(meant.labelling)
        training |= _settled(labels, run.config)
        config = AdapterConfig.from_json(training, preset=run.preset or "tiny")
    else:
        config = AdapterConfig.from_json(training, preset=run.preset or "tiny")
        labels = plan_of(meant, run.campaign, config)
    name = meant.generator or labels.settings.get("generator")
    if isinstance(labels, Labelling) and not name:
        raise UnableToTrainAdapter(
            f"The {labels} came from a file that names no generator: say whose model is adapted, by `generator`."
        )
    generator = generator_named(name)
    check_trainable(generator)
    regularisation = meant.regularisation or labels.settings["sources"]
    return _Plan(generator, labels, [generator_named(name) for name in regularisation], config)


def check_trainable(generator: Generator) -> None:
    """Refuse a generator that draws with an adapter: the training would begin from the model below it.

    Raises:
        UnableToTrainAdapter: with those that draw without.
        UnableToGenerate: it has no recipe.
    """
    recipe = Recipe.of(generator)
    if recipe.adapter:
        plain = trainable_generators().filter(settings__pipeline=recipe.pipeline).order_by("name")
        names = ", ".join(plain.values_list("name", flat=True)) or f"one to be made of {recipe.pipeline}"
        raise UnableToTrainAdapter(
            f"{generator} draws with {recipe.adapter}, and a training begins without any adapter: choose a generator"
            f" that has none ({names})."
        )


def _settled(labelling: Labelling, wanted: dict[str, Any]) -> dict[str, Any]:
    """The settings that were settled when the images were labelled; the seed of the training is its own."""
    from worker.adapter.config import LABELLING  # slow import

    settled = {
        name: value
        for name, value in labelling.settings.items()
        if name in LABELLING and name != "seed" and value != "imported"
    }
    if others := sorted(wanted.keys() & {*LABELLING, "sources", "scorer"} - {"seed"}):
        raise UnableToTrainAdapter(f"{labelling} was made with its own {', '.join(others)}: label anew to change that.")
    return settled


def _labelled(plan: _Plan, run: Run, reporter: Reporter) -> Labelling:
    if isinstance(plan.labels, Labelling):
        return plan.labels
    return make_labelling(plan=plan.labels, run=run, reporter=reporter)


def _examples(plan: _Plan, labelling: Labelling) -> "ExampleSet":
    """What is left of the labelling, and images that it says nothing of for regularisation."""
    from worker.adapter.data import make_examples  # slow import

    others = training_images(plan.regularisation).exclude(labels__labelling=labelling).order_by("public_id")
    captioned = [(str(public_id), text) for public_id, text in others.values_list("public_id", "prompt__text")]
    left = left_of(labelling)
    if plan.config.labels_from == "people" and all(image.label != "non_preferred" for image in left):
        raise UnableToTrainAdapter(
            "People found no set all bad, so nothing gets the mark: label anew with rejected set to non_preferred, or"
            " with labels_from set to both."
        )
    # How many non-preferred images there are for each preferred one was settled when they were labelled.
    return make_examples(left, captioned, replace(plan.config, non_preferred_per_preferred=None))


def _told(labels: dict[str, Any], examples: "ExampleSet") -> str:
    counts = examples.counts()
    return (
        f"{counted(labels)} Trained on are {counts['preferred']}, {counts['non_preferred']}, and"
        f" {counts['regularisation']} for regularisation; {len(examples.evaluation)} are held out."
    )


def _train(plan: _Plan, examples: "ExampleSet", reporter: Reporter, workdir: Path) -> "TrainingResult":
    from worker.adapter.loop import TrainingCancelled, train  # slow import

    try:
        return train(
            plan.config,
            examples,
            _image_opener(examples),
            pipeline_folder(Recipe.of(plan.generator).pipeline),
            workdir,
            _teller(reporter),
            reporter.should_stop,
            device=None if settings.DEVICE == "auto" else settings.DEVICE,
            is_synthetic=plan.is_synthetic,
            samples=_sample_wish(plan),
            on_samples=_sample_keeper(reporter),
        )
    except TrainingCancelled as error:
        raise RunStopped from error


def _sample_wish(plan: _Plan) -> "SampleWish | None":
    """Prompts of the test side that have images, always the same ones, with the generator's own settings."""
    from worker.adapter.loop import SampleWish  # slow import

    if not plan.config.sample_every:
        return None
    prompts = Prompt.objects.filter(split=Split.TEST, images__generator__in=[plan.generator, *plan.regularisation])
    texts = prompts.distinct().order_by("text_hash").values_list("text", flat=True)[: plan.config.sample_prompts]
    recipe = Recipe.of(plan.generator)
    wish = SampleWish(
        tuple(texts),
        steps=recipe.steps,
        guidance=recipe.guidance,
        negative_prompt=recipe.negative_prompt,
        scheduler=recipe.scheduler,
        width=recipe.width,
        height=recipe.height,
    )
    return wish if texts else None


def _sample_keeper(reporter: Reporter) -> "Callable[[Samples], None]":
    """Stores each look for the run's page."""

    def keep(look: "Samples") -> None:
        store_samples(reporter=reporter, step=look.step, prompts=look.prompts, pictures=look.pictures)
        what = f"the adapter after {look.step} steps" if look.step else "the base model"
        reporter.say(f"{len(look.pictures)} samples by {what}.")

    return keep


def _image_opener(examples: "ExampleSet") -> Callable[[str], PIL.Image.Image]:
    """From an image's key to its picture, with the rows read at once."""
    keys = [example.image for example in (*examples.training, *examples.evaluation)]
    images = {str(image.public_id): image for image in Image.objects.filter(public_id__in=keys)}
    return lambda key: open_picture(images[key])


def _teller(reporter: Reporter) -> "Callable[[StepReport], None]":
    """Passes on what the training tells to the run."""
    stage = ""

    def tell(report: "StepReport") -> None:
        nonlocal stage
        if report.stage != stage:
            stage = report.stage
            reporter.stage(stage)
        figures = {"loss": report.loss, "gradient_norm": report.gradient_norm}
        reporter.step(
            report.step, report.total, **{name: value for name, value in figures.items() if value is not None}
        )

    return tell
