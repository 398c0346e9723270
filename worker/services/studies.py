"""The blind study: one generator against another on the same prompts, where it can be on the same noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from annotations.models import Campaign, Generator, Image, Prompt, Split, Task
from annotations.services.campaigns import start_campaign
from annotations.services.gold import UnableToMakeGold, make_gold
from annotations.services.tasks import CandidateSet, create_tasks
from scoring.reward_hacking import Arms, Evidence, Finding, findings
from worker.models import ModelVersion, Run, Study
from worker.queries import version_by_name
from worker.services.adapters import adapted_generator
from worker.services.execution import Reporter
from worker.services.generation import Recipe, generate_for_prompts, images_by_seed
from worker.services.left_out import ALIKE, Reasons, fault_of, reasons_by_arm, told
from worker.services.run_configs import read_config
from worker.services.scoring import images_of, score_images, versions_in_use

GOLD_SHARE = 0.1
MOST_GOLD, MOST_GOLD_SHARE = 20, 0.5


class UnableToCreateStudy(ValueError):
    """The study can't be made as asked; the message says why. No campaign was made."""


def create_study(
    *,
    original: Generator,
    prompts: Sequence[Prompt],
    slug: str,
    version: ModelVersion | None = None,
    adapted: Generator | None = None,
    name: str = "",
    votes_per_task: int = 20,
    allows_tie: bool = False,
    gold_share: float = GOLD_SHARE,
    access: str = Campaign.Access.OPEN,
    by: User | None = None,
    reporter: Reporter | None = None,
) -> Study:
    """Ask people which image of each pair they prefer: of the original or of another generator.

    With a version, the other one is the original with that adapter and the adapter's mark as negative prompt. (The
    paper's demo gives the mark to the original too; for that, hand over an original whose recipe has it.) Generators
    with a recipe draw what is missing, both from the same noise; of others the images that are here are taken. Nothing
    that annotators get tells the arms apart.

    A call that was ended is made again with the same arguments: images that are there are not made twice.

    Args:
        original: any generator; with a version, one with a recipe and without an adapter.
        prompts: where an adapter takes part, on the test side of the split, which no training saw.
        slug: of the new campaign.
        version: an adapter; or else
        adapted: any other generator.
        votes_per_task: people per pair. Paper: 20 people on 100 prompts.
        allows_tie: whether "no clear winner" may be said. Paper: no.
        gold_share: of tasks with an obvious answer among the others; 0 where none can be made.
        access: who may vote.

    Returns:
        The study; its campaign is running.

    Raises:
        UnableToCreateStudy: a prompt was open to training, the version is no adapter, the slug is taken, or no pair
            of images can be shown.
        UnableToGenerate: a pipeline is not there.
        RunStopped: the reporter was told to stop.
    """
    adapted = _other(original, version, adapted)
    _check(original, adapted, prompts, slug)
    for generator in (original, adapted):
        if has_recipe(generator):
            if reporter:
                reporter.stage(f"Making {len(prompts)} images with {generator}")
            generate_for_prompts(generator=generator, prompts=prompts, per_prompt=1, reporter=reporter)
    sets = _pairs(original, adapted, prompts)
    if not sets:
        raise UnableToCreateStudy("No prompt has two different images that can be shown.")
    with transaction.atomic():
        campaign = Campaign.objects.create(
            slug=slug,
            name=name or f"Study {slug}",
            candidates=2,
            allows_tie=allows_tie,
            allows_all_bad=False,
            votes_per_task=votes_per_task,
            gold_share=gold_share,
            access=access,
            is_synthetic=original.is_synthetic or adapted.is_synthetic,
            created_by=by,
        )
        create_tasks(campaign=campaign, sets=sets)
        _mix_in_gold(campaign, len(sets), reporter)
        study = Study.objects.create(campaign=campaign, version=version, original=original, adapted=adapted)
        start_campaign(campaign=campaign, by=by)
    campaign.refresh_from_db()
    return study


@dataclass(frozen=True)
class LeftOut:
    """The pairs that a study could not show."""

    reasons: dict[str, Reasons]
    """Of `original` and `adapted`: why its images can't be shown; of `both`: the pairs of equal images."""
    findings: list[Finding]
    """A warning where an adapter loses clearly more images than the original."""

    def to_record(self) -> dict[str, Any]:
        """What was left out as plain values for JSON."""
        return {"left_out": self.reasons, "findings": [finding.to_record() for finding in self.findings]}


def left_out_of(study: Study, prompts: Sequence[Prompt]) -> LeftOut:
    """Which images of the prompts that a study was made of it does not show, and why."""
    there = {"original": _images(study.original, prompts), "adapted": _images(study.adapted, prompts)}
    images = {arm: [of_arm.get(prompt.pk) for prompt in prompts] for arm, of_arm in there.items()}
    reasons = reasons_by_arm(images)
    pairs = [pair for pair in zip(*images.values(), strict=True) if not any(map(fault_of, pair))]
    if alike := sum(one.sha256 == other.sha256 for one, other in pairs if one and other):
        reasons["both"] = {ALIKE: alike}
    original, adapted = (np.array([bool(fault_of(image)) for image in of_arm], float) for of_arm in images.values())
    found = findings(Evidence(faulty=Arms(original, adapted))) if study.version else []
    return LeftOut(reasons, found)


def has_recipe(generator: Generator) -> bool:
    """Whether this site can draw with a generator, or only show images made elsewhere."""
    return "pipeline" in generator.settings


def is_adapted(generator: Generator) -> bool:
    """Whether a generator draws with an adapter, whose training may have seen prompts of its side of the split."""
    return bool(generator.settings.get("adapter"))


def prompts_for_study(
    *, original: Generator, adapted: Generator | None = None, campaign: Campaign | None = None
) -> QuerySet[Prompt]:
    """Prompts on which two generators can meet, in an order that is as good as random.

    Those of a generator without a recipe are prompts that it has visible images of. Where an adapter takes part
    (without `adapted`, one does), they are held out. Prompts that the original has drawn already come first.

    Args:
        original: one of the two.
        adapted: the other one; None for the original with an adapter.
        campaign: whose prompts are meant; by default any.
    """
    found = Prompt.objects.all()
    if campaign is not None:
        found = found.filter(Exists(Task.objects.filter(campaign=campaign, prompt=OuterRef("pk"))))
    if adapted is None or is_adapted(adapted) or is_adapted(original):
        found = found.filter(split=Split.TEST)
    for generator in (original, adapted):
        if generator is not None and not has_recipe(generator):
            found = found.filter(Exists(_visible(generator)))
    return found.annotate(is_drawn=Exists(_visible(original))).order_by("-is_drawn", "text_hash")


@dataclass(frozen=True)
class StudyConfig:
    """What a study run makes; kept in `Run.config`."""

    slug: str
    """Of the new campaign."""
    original: str
    """Name of a generator."""
    version: str = ""
    """Name of an adapter's version; or else"""
    adapted: str = ""
    """name of another generator."""
    prompts: int = 100
    """At most."""
    votes_per_task: int = 20
    prompts_of: str = ""
    """Slug of the campaign whose prompts are meant; by default any."""
    name: str = ""
    allows_tie: bool = False
    gold_share: float = GOLD_SHARE
    access: str = Campaign.Access.OPEN

    def __post_init__(self) -> None:
        if not self.slug or not self.original:
            raise UnableToCreateStudy("A study needs a slug and an original.")
        if self.prompts < 1 or self.votes_per_task < 1:
            raise UnableToCreateStudy("A study needs a prompt and a vote on it at least.")
        if not 0 <= self.gold_share <= MOST_GOLD_SHARE:
            raise UnableToCreateStudy(f"gold_share lies between 0 and {MOST_GOLD_SHARE}, not at {self.gold_share}.")
        if self.access not in Campaign.Access:
            raise UnableToCreateStudy(f"access is one of: {', '.join(Campaign.Access)}; not {self.access!r}.")

    @classmethod
    def from_json(cls, wanted: Mapping[str, Any]) -> Self:
        """The settings of a run.

        Raises:
            UnableToCreateStudy: one is unknown, missing, of another type or out of range.
        """
        return read_config(cls, wanted, UnableToCreateStudy)


def perform_study(run: Run, reporter: Reporter, _workdir: Path) -> dict[str, Any]:
    """Do the work of a study run; its config is a `StudyConfig`. The images are scored by the scorers in use.

    Returns:
        `campaign`, its slug; `original`; `adapted`; `version`; `pairs`; `votes`, as many as are wanted in all;
        `left_out` and `findings`, see `LeftOut`.

    Raises:
        UnableToCreateStudy, UnableToGenerate: with what to do.
        RunStopped: cancelled.
    """
    config = StudyConfig.from_json(run.config)
    study = Study.objects.filter(campaign__slug=config.slug, campaign__created_at__gt=run.created_at).first()
    if study is None:  # else an earlier attempt died between making the campaign and saying so
        study = _study_of(config, run, reporter)
    for scorer in versions_in_use():
        reporter.stage(f"Scoring with {scorer}")
        score_images(version=scorer, images=images_of(study.campaign), reporter=reporter)
    tasks = study.campaign.tasks.filter(purpose=Task.Purpose.REGULAR).count()
    reporter.say(f"{study} runs at {study.campaign.get_absolute_url()}: {tasks} pairs.")
    return {
        "campaign": study.campaign.slug,
        "original": study.original.name,
        "adapted": study.adapted.name,
        "version": str(study.version or ""),
        "pairs": tasks,
        "votes": tasks * study.campaign.votes_per_task,
        "left_out": run.metrics.get("left_out", {}),
        "findings": run.metrics.get("findings", []),
    }


def _study_of(config: StudyConfig, run: Run, reporter: Reporter) -> Study:
    original = _generator(config.original)
    adapted = _generator(config.adapted) if config.adapted else None
    version = version_by_name(config.version) if config.version else None
    if config.version and version is None:
        raise UnableToCreateStudy(f"There is no version {config.version!r}.")
    source = Campaign.objects.filter(slug=config.prompts_of).first()
    if config.prompts_of and source is None:
        raise UnableToCreateStudy(f"There is no campaign {config.prompts_of!r}.")
    prompts = list(prompts_for_study(original=original, adapted=adapted, campaign=source)[: config.prompts])
    if any(each.is_synthetic for each in (original, adapted, version) if each) and not run.is_synthetic:
        reporter.record(is_synthetic=True)
    study = create_study(
        original=original,
        adapted=adapted,
        version=version,
        prompts=prompts,
        slug=config.slug,
        name=config.name,
        votes_per_task=config.votes_per_task,
        allows_tie=config.allows_tie,
        gold_share=config.gold_share,
        access=config.access,
        by=run.requested_by,
        reporter=reporter,
    )
    left_out = left_out_of(study, prompts)
    if left_out.reasons:
        reporter.say(f"Not shown to people: {told(left_out.reasons)}.")
    # At once, because an attempt that takes over would look at other prompts.
    reporter.record(metrics=left_out.to_record())
    return study


def _generator(name: str) -> Generator:
    generator = Generator.objects.filter(name=name).first()
    if generator is None:
        raise UnableToCreateStudy(f"There is no generator {name!r}.")
    return generator


def _other(original: Generator, version: ModelVersion | None, adapted: Generator | None) -> Generator:
    if (version is None) == (adapted is None):
        raise UnableToCreateStudy("A study compares the original with an adapter's version, or with another generator.")
    if version is None or adapted is not None:
        assert adapted is not None  # by the line above
        return adapted
    if version.family != ModelVersion.Family.ADAPTER:
        raise UnableToCreateStudy(f"{version} is no adapter.")
    if Recipe.of(original).adapter:
        raise UnableToCreateStudy(f"{original} has an adapter already; name the generator that it was trained on.")
    return adapted_generator(version=version, original=original)


def _check(original: Generator, adapted: Generator, prompts: Sequence[Prompt], slug: str) -> None:
    if original == adapted:
        raise UnableToCreateStudy(f"{original} can't be held against itself; choose two generators.")
    seen = next((prompt for prompt in prompts if prompt.split != Split.TEST), None)
    if seen and (is_adapted(original) or is_adapted(adapted)):
        raise UnableToCreateStudy(f"Trainings may have seen '{seen}'; a study takes prompts of the test side only.")
    if Campaign.objects.filter(slug=slug).exists():
        raise UnableToCreateStudy(f"There is a campaign '{slug}' already; choose another slug.")


def _pairs(original: Generator, adapted: Generator, prompts: Sequence[Prompt]) -> list[CandidateSet]:
    """Both images of each prompt, where both can be shown and differ."""
    arms = [_images(generator, prompts) for generator in (original, adapted)]
    pairs = [(prompt, [arm[prompt.pk] for arm in arms if prompt.pk in arm]) for prompt in prompts]
    return [CandidateSet(prompt, images) for prompt, images in pairs if _can_be_compared(images)]


def _images(generator: Generator, prompts: Sequence[Prompt]) -> dict[int, Image]:
    """An image of each prompt: the first by its seed, or the first there is of those made elsewhere."""
    if has_recipe(generator):
        return images_by_seed(generator, prompts, 0)
    found = Image.objects.filter(generator=generator, prompt__in=prompts, is_hidden=False, corrupted_from=None)
    images = found.exclude(file="").order_by("-pk")
    return {image.prompt_id: image for image in images}


def _visible(generator: Generator) -> QuerySet[Image]:
    """The images of a generator of the prompt looked at, which annotators can be shown."""
    images = Image.objects.filter(prompt=OuterRef("pk"), generator=generator, is_hidden=False, corrupted_from=None)
    return images.exclude(file="")


def _can_be_compared(images: Sequence[Image]) -> bool:
    return len(images) == 2 and not any(image.is_hidden for image in images) and images[0].sha256 != images[1].sha256


def _mix_in_gold(campaign: Campaign, pairs: int, reporter: Reporter | None) -> None:
    """Tasks with an obvious answer, of other pairs each; where none can be made, the run says so."""
    if not campaign.gold_share:
        return
    try:
        make_gold(campaign=campaign, count=min(MOST_GOLD, pairs))
    except UnableToMakeGold as error:
        if reporter:
            reporter.say(f"Nobody's attention is checked in this study: no tasks with an obvious answer. {error}")
        campaign.gold_share = 0
        campaign.save(update_fields=["gold_share"])
