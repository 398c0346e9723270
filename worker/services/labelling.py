"""Which images an adapter learns from: scored by HPS or judged by people, labelled, and kept to be looked through."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from django.db.models import Count, QuerySet

from annotations.models import Campaign, Generator
from worker.models import Label, Labelling, ModelVersion, Run
from worker.services.execution import Reporter
from worker.services.label_review import counted, figures_of
from worker.services.label_sources import (
    Known,
    Pixels,
    judged_sets,
    known_images,
    look_at,
    scores_of,
    training_images,
    votes_on,
)
from worker.services.run_configs import read_config
from worker.services.scoring import UnknownScorer, version_named

if TYPE_CHECKING:
    from worker.adapter.config import AdapterConfig
    from worker.adapter.labelling import JudgedImage, LabelledImage

SPREAD_BINS = 24


class UnableToLabel(ValueError):
    """The images can't be labelled as asked; the message says what is missing."""


@dataclass(frozen=True)
class ImagesMeant:
    """Settings of a run that say which images are labelled and by whom; the others are of `AdapterConfig`."""

    generator: str | None = None
    """Name of the one whose model will be adapted; None: see `generator_named`."""
    sources: list[str] = field(default_factory=list)
    """Names of the generators whose images are labelled; none: the generator alone."""
    scorer: str | None = None
    """Name of a version, or of a family for the one in use; None: the HPS in use, where one is needed."""


Meant = TypeVar("Meant", bound=ImagesMeant)


@dataclass(frozen=True)
class LabellingPlan:
    """Which images are labelled, by whom, and how."""

    generator: Generator
    """Whose model will be adapted."""
    sources: list[Generator]
    """Whose images are labelled, all images of a prompt together."""
    scorer: ModelVersion | None
    """None where people alone say it."""
    campaign: Campaign | None
    """Whose votes are meant; None means those of all campaigns."""
    config: "AdapterConfig"

    @property
    def settings(self) -> dict[str, Any]:
        """What the labels follow from, beside the images and the votes."""
        from worker.adapter.config import LABELLING  # slow import

        known = self.config.to_json()
        return {
            "generator": self.generator.name,
            "sources": [source.name for source in self.sources],
            "scorer": str(self.scorer) if self.scorer else None,
            "campaign": self.campaign.slug if self.campaign else None,
            **{name: known[name] for name in LABELLING},
        }

    @property
    def is_synthetic(self) -> bool:
        makers = [self.scorer, self.campaign, *self.sources]
        return any(maker is not None and maker.is_synthetic for maker in makers)


def perform_labelling(run: Run, reporter: Reporter, _workdir: Path) -> dict[str, Any]:
    """Do the work of a labelling run: label images for a later adapter training, which waits until people have looked.

    Its config may hold `generator`, `sources` and `scorer` (see `worker.services.adapting.perform_adapter`) and the
    settings of `AdapterConfig` that are about labels; its campaign says whose votes count.

    Returns:
        See `worker.services.label_review.figures_of`.

    Raises:
        UnableToLabel, UnknownScorer, AdapterConfigRejected: with what to do.
        RunStopped: cancelled.
    """
    labelling = make_labelling(plan=plan_labelling(run), run=run, reporter=reporter)
    figures = figures_of(labelling)
    reporter.say(counted(figures))
    return figures


def plan_labelling(run: Run) -> LabellingPlan:
    """What a labelling run means.

    Raises:
        UnableToLabel, UnknownScorer, AdapterConfigRejected: the config names what is not there.
    """
    from worker.adapter.config import LABELLING, AdapterConfig  # slow import

    meant, wanted = parted(run.config, ImagesMeant, UnableToLabel)
    if others := sorted(wanted.keys() - set(LABELLING)):
        raise UnableToLabel(f"No settings of a labelling: {', '.join(others)}. There are {', '.join(LABELLING)}.")
    return plan_of(meant, run.campaign, AdapterConfig.from_json(wanted, preset=run.preset or "tiny"))


def check_labelling(*, config: Mapping[str, Any], preset: str, campaign: Campaign | None) -> None:
    """Let the settings of a labelling pass with which it could begin now; for whoever opens the run.

    Raises:
        UnableToLabel: a setting is no good, or names what is not there.
    """
    from worker.adapter.config import AdapterConfigRejected  # slow import

    try:
        plan_labelling(Run(config=config, preset=preset, campaign=campaign))
    except (AdapterConfigRejected, UnknownScorer) as error:
        raise UnableToLabel(str(error)) from error


def parted(config: Mapping[str, Any], kind: type[Meant], rejected: type[Exception]) -> tuple[Meant, dict[str, Any]]:
    """What a run's config says of images, and its other settings, as they stand.

    Raises:
        rejected: a setting about images is of another type.
    """
    names = {each.name for each in fields(kind)}
    meant = read_config(kind, {name: value for name, value in config.items() if name in names}, rejected)
    return meant, {name: value for name, value in config.items() if name not in names}


def plan_of(meant: ImagesMeant, campaign: Campaign | None, config: "AdapterConfig") -> LabellingPlan:
    """What a run that labels means, its settings read already; see `plan_labelling`."""
    generator = generator_named(meant.generator)
    sources = [generator_named(name) for name in meant.sources] or [generator]
    is_scored = config.labels_from != "people" or bool(meant.scorer)
    scorer = version_named(meant.scorer or "hps") if is_scored else None
    return LabellingPlan(generator, sources, scorer, campaign, config)


def trainable_generators() -> QuerySet[Generator]:
    """Those that have a recipe and draw without an adapter: whose model a training can begin from."""
    return Generator.objects.filter(settings__has_key="pipeline").exclude(settings__adapter__startswith="a")


def generator_named(name: str | None) -> Generator:
    """The generator of this name, or the one that has most images and both a recipe and no adapter.

    Raises:
        UnableToLabel: there is none.
    """
    if name:
        found = Generator.objects.filter(name=name).first()
    else:
        found = trainable_generators().annotate(made=Count("images")).order_by("-made", "pk").first()
    if found is None:
        raise UnableToLabel(
            f"There is no generator {name!r}."
            if name
            else "No generator has made images yet; run generate_images first."
        )
    return found


def make_labelling(*, plan: LabellingPlan, run: Run, reporter: Reporter) -> Labelling:
    """Score the images where that is wanted, look at their pixels and at people's votes, and keep what follows.

    Called again for the same run it gives the labelling that is there.

    Raises:
        UnableToLabel: no images, or no votes to go by.
        RunStopped: the reporter was told to stop.
    """
    if made := Labelling.objects.filter(run=run).select_related("scorer").first():
        return made
    if plan.is_synthetic and not run.is_synthetic:
        reporter.record(is_synthetic=True)
    images = training_images(plan.sources)
    known = known_images(images)
    if not known:
        names = ", ".join(map(str, plan.sources))
        raise UnableToLabel(f"No images of prompts on the training side by {names}; run generate_images first.")
    scores = scores_of(plan.scorer, images, reporter) if plan.scorer else {}
    pixels = look_at(images, reporter) if plan.config.drops_blurred else Pixels({})
    reporter.stage("Labelling")
    votes = votes_on(images, plan.campaign)
    usable = {pk: image for pk, image in known.items() if pk not in pixels.faults and pk not in pixels.unreadable}
    judged = _judged(plan, judged_sets(votes), usable)
    labels = [*_labels(plan, usable, scores, judged), *_unusable(known, scores, pixels)]
    labelling = Labelling(
        run=run,
        scorer=plan.scorer,
        settings=plan.settings,
        counts=_counts(plan, known, usable, pixels, judged),
        spread=_spread(usable, scores, labels),
        sha256=_sha256(plan, known, labels),
        is_synthetic=plan.is_synthetic or (bool(judged) and votes.filter(annotator__is_synthetic=True).exists()),
    )
    with reporter.holding():
        labelling.save()
        for label in labels:
            label.labelling = labelling
        Label.objects.bulk_create(labels, batch_size=1000)
    labelling.refresh_from_db()
    return labelling


def _judged(plan: LabellingPlan, sets: Any, usable: Mapping[int, Known]) -> "list[JudgedImage]":
    """People's answers about the images that may be labelled, where they are asked for."""
    from worker.adapter.labelling import judge_images  # slow import

    if plan.config.labels_from == "hps":
        return []
    keys = {image.key for image in usable.values()}
    judged = [one for one in judge_images(sets, fewest_votes=plan.config.fewest_votes) if one.image in keys]
    if plan.config.labels_from == "people" and not judged:
        raise UnableToLabel(
            f"People have no answer on any image of {', '.join(map(str, plan.sources))}: collect votes on them, at"
            f" least {plan.config.fewest_votes} on a set, or label by HPS (labels_from)."
        )
    return judged


def _labels(
    plan: LabellingPlan, usable: Mapping[int, Known], scores: Mapping[int, float], judged: "Sequence[JudgedImage]"
) -> list[Label]:
    """The labels that HPS and people give, with those that the share of non-preferred images leaves over."""
    from worker.adapter import labelling as selection  # slow import

    config = plan.config
    scored = [
        selection.ScoredImage(image.key, image.prompt, scores[pk]) for pk, image in usable.items() if pk in scores
    ]
    picked = selection.pick_images(
        scored,
        judged,
        labels_from=config.labels_from,
        rejected=config.rejected,
        alpha=config.alpha,
        temperature=config.temperature,
        smallest_group=config.smallest_group,
    )
    kept, spare = selection.balance(picked, config.non_preferred_per_preferred, np.random.default_rng(config.seed))
    pks = {image.key: pk for pk, image in usable.items()}

    def label(one: "LabelledImage | JudgedImage", kind: str, source: str) -> Label:
        return Label(
            image_id=pks[one.image],
            kind=kind,
            source=source,
            confidence=one.confidence,
            score=scores.get(pks[one.image]),
            group_size=one.group_size,
        )

    labelled = {one.image for one in picked}
    rejected = [one for one in judged if one.answer == selection.Answer.REJECTED and one.image not in labelled]
    return [
        *(label(one, one.label, one.source) for one in kept),
        *(label(one, Label.Kind.SPARE, one.source) for one in spare),
        *(label(one, Label.Kind.REJECTED, Label.Source.PEOPLE) for one in rejected),
    ]


def _unusable(known: Mapping[int, Known], scores: Mapping[int, float], pixels: Pixels) -> list[Label]:
    return [
        Label(image_id=pk, kind=pixels.faults[pk], source=Label.Source.PIXELS, score=scores.get(pk))
        for pk in known
        if pk in pixels.faults
    ]


def _counts(
    plan: LabellingPlan,
    known: Mapping[int, Known],
    usable: Mapping[int, Known],
    pixels: Pixels,
    judged: "Sequence[JudgedImage]",
) -> dict[str, int]:
    """What was looked at: images, unreadable ones, prompts, those with too few images, those that people answered."""
    per_prompt = Counter(image.prompt for image in usable.values())
    return {
        "images": len(known),
        "unreadable": len(pixels.unreadable),
        "prompts": len(per_prompt),
        "small_prompts": sum(count < plan.config.smallest_group for count in per_prompt.values()),
        "answered_prompts": len({one.prompt for one in judged}),
    }


def _spread(usable: Mapping[int, Known], scores: Mapping[int, float], labels: Iterable[Label]) -> dict[str, Any]:
    """How far scores lie from the mean of their prompt, as counts in bins: scores compare within one prompt alone.

    Returns:
        `edges`, one more than there are bins, and a list of counts for `preferred`, `non_preferred` and `others`;
        nothing where nothing was scored.
    """
    kinds = {label.image_id: label.kind for label in labels if label.kind in Label.LEARNT}
    groups: dict[str, list[int]] = defaultdict(list)
    for pk, image in usable.items():
        if pk in scores:
            groups[image.prompt].append(pk)
    distances: dict[str, list[float]] = {"preferred": [], "non_preferred": [], "others": []}
    for pks in groups.values():
        mean = sum(scores[pk] for pk in pks) / len(pks)
        for pk in pks:
            distances[kinds.get(pk, "others")].append(scores[pk] - mean)
    everything = [distance for of_kind in distances.values() for distance in of_kind]
    if not everything:
        return {}
    edges = np.histogram_bin_edges(everything, bins=SPREAD_BINS)
    counts = {name: np.histogram(of_kind, bins=edges)[0].tolist() for name, of_kind in distances.items()}
    return {"edges": [round(float(edge), 4) for edge in edges], **counts}


def _sha256(plan: LabellingPlan, known: Mapping[int, Known], labels: Sequence[Label]) -> str:
    """Names the labels: equal settings and equal labels of equal files give equal names."""
    scorer = plan.scorer.sha256 if plan.scorer else None
    rows = sorted(
        [known[label.image_id].prompt, known[label.image_id].sha256, str(label.kind), label.confidence]
        for label in labels
    )
    settings = {**plan.settings, "scorer_sha256": scorer}
    lines = [json.dumps(settings, sort_keys=True), *map(json.dumps, rows)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
