"""The performer of adapter trainings: generated images scored by HPS, labelled, learnt, and registered as a version."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL.Image
from django.conf import settings
from django.db.models import Count, QuerySet

from annotations.models import Generator, Image, Prompt, Split
from scoring import checkpoints
from worker.models import ImageScore, ModelVersion, Run
from worker.services.execution import Reporter, RunStopped
from worker.services.generation import Recipe, pipeline_folder
from worker.services.samples import store_samples
from worker.services.scoring import open_picture, score_images, version_named
from worker.services.versions import register_version

if TYPE_CHECKING:
    from worker.adapter.config import AdapterConfig
    from worker.adapter.data import ExampleSet
    from worker.adapter.labelling import LabelledImage
    from worker.adapter.loop import Samples, SampleWish, StepReport, TrainingResult

NOT_OF_TRAINING = ("generator", "sources", "scorer", "regularisation")
"""Settings of a run that say which images are meant, and are none of `AdapterConfig`."""


class UnableToTrainAdapter(ValueError):
    """The training can't begin; the message says what is missing."""


@dataclass(frozen=True)
class _Plan:
    """Which images, scorer and settings a run means."""

    generator: Generator
    """Whose model is adapted."""
    sources: list[Generator]
    """Whose images are labelled."""
    scorer: ModelVersion
    regularisation: list[Generator]
    config: "AdapterConfig"

    @property
    def is_synthetic(self) -> bool:
        makers = [self.generator, *self.sources, *self.regularisation]
        return self.scorer.is_synthetic or any(maker.is_synthetic for maker in makers)


def perform_adapter(run: Run, reporter: Reporter, workdir: Path) -> dict[str, Any]:
    """Train an adapter of a generator's model on images labelled by HPS and register it as a version of `adapter`.

    The run's config may hold settings of `AdapterConfig`, and

    - `generator`: name of the one whose model is adapted; by default the one without an adapter that has most images;
    - `sources`: names of the generators whose images are labelled, all images of a prompt together; by default the
      generator alone. The paper's images are from DiffusionDB: many people's, made with models like the one adapted;
    - `scorer`: by default the HPS in use;
    - `regularisation`: names of the generators whose images keep the model near to what it was; by default the
      sources, with those of their images that got no label.

    Only images of prompts on the training side of the split are looked at.

    Returns:
        `labels`: how many images were scored and labelled, by which scorer; `examples`; `mark`, see
        `worker.adapter.evaluation.report`; `verdict`, in plain words.

    Raises:
        UnableToTrainAdapter, UnableToGenerate, UnknownScorer, AdapterConfigRejected, NotEnoughImages,
        BaseModelRejected, OptimizerMissing: with what to do.
        RunStopped: cancelled; the checkpoints are kept.
    """
    if version := ModelVersion.objects.filter(run=run).first():
        # An earlier attempt died between registering and reporting.
        return dict(version.metrics)
    plan = _plan(run)
    if plan.is_synthetic and not run.is_synthetic:
        reporter.record(is_synthetic=True)
    labelled, labels = _label(plan, reporter)
    examples = _examples(plan, labelled)
    reporter.say(_counted(labels, examples))
    result = _train(plan, examples, reporter, workdir)
    metrics = {"labels": labels, **result.metrics}
    metrics["verdict"] = verdict(metrics)
    # The fence in the name keeps a worker that was taken for lost away from the artefact of its successor.
    folder = Path(settings.ARTEFACTS_DIR) / ModelVersion.Family.ADAPTER / str(run.public_id) / str(run.fence)
    with checkpoints.whole_or_absent(folder) as unfinished:
        shutil.copytree(result.folder, unfinished, dirs_exist_ok=True)
    with reporter.holding():
        version = register_version(
            family=ModelVersion.Family.ADAPTER,
            folder=folder,
            manifest=result.manifest,
            metrics=metrics,
            run=run,
            is_synthetic=bool(result.manifest["is_synthetic"]),
        )
    reporter.say(f"Registered as {version}. {metrics['verdict']}")
    return metrics


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
    return f"The mark was learnt: {measured}." if mark["was_learnt"] else f"The mark was not learnt: {measured}."


def _plan(run: Run) -> _Plan:
    from worker.adapter.config import AdapterConfig  # slow import

    wanted = run.config
    config = AdapterConfig.from_json(
        {name: value for name, value in wanted.items() if name not in NOT_OF_TRAINING}, preset=run.preset or "tiny"
    )
    generator = _generator(wanted.get("generator"))
    sources = [_generator(name) for name in wanted.get("sources") or []] or [generator]
    regularisation = [_generator(name) for name in wanted.get("regularisation") or []] or sources
    return _Plan(generator, sources, version_named(wanted.get("scorer") or "hps"), regularisation, config)


def _generator(name: str | None) -> Generator:
    """The generator of this name, or the one that has most images and both a recipe and no adapter."""
    if name:
        found = Generator.objects.filter(name=name).first()
    else:
        with_recipe = Generator.objects.filter(settings__has_key="pipeline").exclude(settings__adapter__startswith="a")
        found = with_recipe.annotate(images_made=Count("images")).order_by("-images_made", "pk").first()
    if found is None:
        raise UnableToTrainAdapter(
            f"There is no generator {name!r}."
            if name
            else "No generator has made images yet; run generate_images first."
        )
    return found


def _training_images(generators: Sequence[Generator]) -> QuerySet[Image]:
    return Image.objects.filter(generator__in=generators, prompt__split=Split.TRAIN, is_hidden=False)


def _label(plan: _Plan, reporter: Reporter) -> "tuple[list[LabelledImage], dict[str, Any]]":
    """Score the sources' images and find those that stand out; with the figures of that."""
    from worker.adapter.labelling import Label, ScoredImage, label_images  # slow import

    images = _training_images(plan.sources)
    if not images.exists():
        names = ", ".join(map(str, plan.sources))
        raise UnableToTrainAdapter(f"No images of prompts on the training side by {names}; run generate_images first.")
    reporter.stage(f"Scoring with {plan.scorer}")
    score_images(version=plan.scorer, images=images, reporter=reporter)
    reporter.stage("Labelling")
    scores = ImageScore.objects.filter(version=plan.scorer, image__in=images)
    scored = [
        ScoredImage(str(public_id), prompt, value)
        for public_id, prompt, value in scores.values_list("image__public_id", "image__prompt__text", "value")
    ]
    config = plan.config
    labelled = label_images(
        scored, alpha=config.alpha, temperature=config.temperature, smallest_group=config.smallest_group
    )
    counts = {label.value: sum(image.label == label for image in labelled) for label in Label}
    return labelled, {"scorer": str(plan.scorer), "images": len(scored), **counts}


def _examples(plan: _Plan, labelled: "Sequence[LabelledImage]") -> "ExampleSet":
    from worker.adapter.data import make_examples  # slow import

    others = _training_images(plan.regularisation).order_by("public_id").values_list("public_id", "prompt__text")
    return make_examples(labelled, [(str(public_id), text) for public_id, text in others], plan.config)


def _counted(labels: dict[str, Any], examples: "ExampleSet") -> str:
    counts = examples.counts()
    return (
        f"Of {labels['images']} images, {labels['preferred']} are preferred and {labels['non_preferred']} non-preferred"
        f" by {labels['scorer']}. Trained on are {counts['preferred']}, {counts['non_preferred']}, and"
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
    return SampleWish(tuple(texts), recipe.steps, recipe.guidance) if texts else None


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
