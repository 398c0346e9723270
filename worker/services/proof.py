"""The automatic proof of an adapter: four arms on held-out prompts and the same noise, measured; people come later."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from annotations.models import Campaign, Generator, Image, Prompt, Split
from annotations.services.images import get_or_create_prompts
from scoring import metrics
from scoring.reward_hacking import Arm, Arms, Evidence, difference, findings, win_rate
from worker.models import ImageScore, ModelVersion, Run
from worker.queries import mark_gains_of, version_by_name
from worker.services.adapters import arms_of, original_of
from worker.services.execution import Reporter
from worker.services.generation import Recipe, generate_for_prompts, images_by_seed
from worker.services.left_out import Reasons, fault_of, reasons_by_arm, told
from worker.services.proof_features import FeatureReport, describe_arms
from worker.services.proof_sweep import Cell, sweep
from worker.services.run_configs import read_config
from worker.services.scoring import UnknownScorer, score_images, versions_in_use
from worker.services.studies import prompts_for_study

ARMS: tuple[Arm, ...] = ("original", "original_marked", "adapted", "adapted_marked")

EXAMPLES = 6


class UnableToProve(ValueError):
    """The proof can't be made as asked; the message says what would be right."""


@dataclass(frozen=True)
class ProofConfig:
    """What a proof is made on; kept in `Run.config`."""

    version: str
    """Name of the adapter's version, such as `adapter-3`."""
    generator: str = ""
    """Name of the original; by default the one that the adapter was trained on."""
    prompts: list[str] = field(default_factory=list)
    """Texts; by default held-out prompts of the campaign, or those of the original's images."""
    count: int = 64
    """Prompts at most."""
    per_prompt: int = 2
    """Images of each prompt and arm, from different seeds; variety needs two at least."""
    reference: str = ""
    """What FID and KID are measured to: a generator's name, such as one of photographs, or a folder of images on the
    worker; by default the original's own images of these prompts."""
    inception: str = ""
    """File of Inception's weights on the worker; without it FID and KID stand on the features of the CLIP in use."""
    guidances: list[float] | None = None
    """Of the sweep; by default `guidances_about` the original's. Empty: no sweep."""
    scales: list[float] = field(default_factory=lambda: [0.5, 1.0, 1.5])
    """Of the adapter, in the sweep. Empty: no sweep."""
    sweep_prompts: int = 24
    """Prompts of the sweep at most, one image each."""

    def __post_init__(self) -> None:
        if not self.version:
            raise UnableToProve("Say which adapter is meant, such as adapter-3.")
        smallest = {"count": 2, "per_prompt": 2, "sweep_prompts": 2}
        for name, least in smallest.items():
            if getattr(self, name) < least:
                raise UnableToProve(f"{name} is {getattr(self, name)}; a proof needs {least} at least.")
        if any(guidance <= 1 for guidance in self.guidances or []):
            raise UnableToProve("A guidance of 1 or less makes no use of a negative prompt; sweep above 1.")
        if any(scale <= 0 for scale in self.scales):
            raise UnableToProve("An adapter's scale lies above 0 in the sweep; 0 is the original.")

    @classmethod
    def from_json(cls, wanted: Mapping[str, Any]) -> Self:
        """The settings of a run.

        Raises:
            UnableToProve: one is unknown, missing, of another type or out of range.
        """
        return read_config(cls, wanted, UnableToProve)


@dataclass(frozen=True)
class _Plan:
    """What a proof means, looked up."""

    config: ProofConfig
    version: ModelVersion
    arms: dict[Arm, Generator]
    prompts: list[Prompt]
    seen: int
    """Prompts that were named and are left out, since trainings may have seen them."""
    scorers: list[ModelVersion]


@dataclass(frozen=True)
class ArmImages:
    """The prompts of which every arm has all its images, and these images."""

    prompts: list[Prompt]
    images: dict[Arm, list[list[Image]]]
    """By arm, for each prompt in turn, its images in the order of their seeds."""
    left_out: int
    """Prompts of which an image is missing or hidden."""
    reasons: dict[str, Reasons]
    """By arm, why its images can't be shown."""
    faulty: Arms
    """Share of each prompt's images that can't be shown, of all prompts asked for; (prompts,) by arm."""

    @property
    def ids(self) -> list[int]:
        return [image.pk for arm in self.images.values() for of_prompt in arm for image in of_prompt]


def perform_proof(run: Run, reporter: Reporter, workdir: Path) -> dict[str, Any]:
    """Do the work of a proof run; its config is a `ProofConfig`, its campaign, if any, gives the prompts.

    Images and scores are kept as they are made, so a run that was ended goes on where it stood.

    Returns:
        `arms`: names of their generators; `scores`: for each scorer the means of the arms and their differences to
        the original; `sets`: FID, KID, variety and closeness to training images; `sweep`; `findings`; `examples`;
        `verdict`, in plain words.

    Raises:
        UnableToProve, UnableToGenerate, ReferenceRejected, UnknownScorer: with what to do.
        RunStopped: cancelled.
    """
    plan = _plan(run)
    if any(maker.is_synthetic for maker in plan.arms.values()) and not run.is_synthetic:
        reporter.record(is_synthetic=True)
    if plan.seen:
        reporter.say(f"{plan.seen} of the prompts named are left out: trainings may have seen them.")
    shown = _generated(plan, reporter)
    scores = {scorer: _scored(scorer, shown, reporter) for scorer in plan.scorers}
    reporter.stage("Looking at variety, distances and training images")
    described = describe_arms(
        shown.images,
        version=plan.version,
        original=plan.arms["original"],
        reference=plan.config.reference,
        inception=plan.config.inception,
    )
    cells = _swept(plan, shown, scores, reporter, workdir)
    record = _record(plan, shown, scores, described, cells)
    reporter.say(str(record["verdict"]))
    return record


def _record(
    plan: _Plan,
    shown: ArmImages,
    scores: Mapping[ModelVersion, Arms],
    described: FeatureReport,
    cells: Sequence[Cell],
) -> dict[str, Any]:
    evidence = _evidence(plan.version, shown, scores, described)
    found = findings(evidence)
    return {
        "version": str(plan.version),
        "original": plan.arms["original"].name,
        "mark": plan.version.manifest["mark"],
        "arms": {arm: generator.name for arm, generator in plan.arms.items()},
        "prompts": len(shown.prompts),
        "left_out": shown.left_out,
        "left_out_images": shown.reasons,
        "per_prompt": plan.config.per_prompt,
        "scores": [_score_record(scorer, arms) for scorer, arms in scores.items()],
        "sets": described.to_record(),
        "sweep": [cell.to_record() for cell in cells],
        "findings": [finding.to_record() for finding in found],
        "examples": _examples(shown),
        "verdict": verdict(evidence, len([finding for finding in found if not finding.is_hint])),
    }


def guidances_about(own: float) -> list[float]:
    """The guidances of a sweep by default: those whose part above 1 is a quarter, half, once and one and a half times
    that of a generator's own. What lies above 1 is what a negative prompt steers by, and a mark often does best at
    little of it.
    """
    return [guidance for part in (0.25, 0.5, 1, 1.5) if (guidance := round(1 + (own - 1) * part, 2)) > 1]


def verdict(evidence: Evidence, warnings: int) -> str:
    """What the figures say, in plain words; warnings are counted."""
    won = win_rate(evidence.hps) if evidence.hps is not None else None
    if won is None or won.value is None or won.low is None or won.high is None:
        return _counted("HPS was not measured.", warnings)
    share = f"{100 * won.value:.0f} % ({100 * won.low:.0f} to {100 * won.high:.0f} %)"
    shown = {
        "preferred": "more than half",
        "not preferred": "less than half",
        "no difference shown": "no difference shown",
    }[metrics.verdict(won)]
    return _counted(f"By HPS, adapted with the mark as negative prompt wins {share} of the prompts: {shown}.", warnings)


def _counted(said: str, warnings: int) -> str:
    return said if not warnings else f"{said} {warnings} warning{'s' if warnings > 1 else ''}."


def _plan(run: Run) -> _Plan:
    config = ProofConfig.from_json(run.config)
    version = version_by_name(config.version)
    if version is None or version.family != ModelVersion.Family.ADAPTER:
        raise UnableToProve(f"There is no adapter {config.version!r}.")
    original = Generator.objects.filter(name=config.generator).first() if config.generator else original_of(version)
    if original is None:
        raise UnableToProve(
            f"There is no generator {config.generator!r}."
            if config.generator
            else f"The generator that {version} was trained on is not here; name one with --generator."
        )
    scorers = versions_in_use()
    if not scorers:
        raise UnknownScorer("No scorer is in use yet; register the base models first.")
    prompts, seen = _prompts(config, run.campaign, original)
    return _Plan(config, version, arms_of(version=version, original=original), prompts, seen, scorers)


def _prompts(config: ProofConfig, campaign: Campaign | None, original: Generator) -> tuple[list[Prompt], int]:
    """Held-out prompts: those named, those of the campaign, or any, those that the original has drawn first.

    Returns:
        They, and how many of those named are left out, since trainings may have seen them.
    """
    if config.prompts:
        there = get_or_create_prompts(texts=config.prompts)
        named = [there[text] for text in dict.fromkeys(config.prompts)]
        wanted = [prompt for prompt in named if prompt.split == Split.TEST]
        seen = len(named) - len(wanted)
    else:
        wanted, seen = list(prompts_for_study(original=original, campaign=campaign)[: config.count]), 0
    if len(wanted) < 2:
        raise UnableToProve(
            "A proof needs two held-out prompts at least; name a campaign that has some, or a file of prompts."
            + (f" Of those named, trainings may have seen {seen}." if seen else "")
        )
    return wanted[: config.count], seen


def _generated(plan: _Plan, reporter: Reporter) -> ArmImages:
    """The images of all arms, made where they are missing."""
    per_prompt = plan.config.per_prompt
    for generator in plan.arms.values():
        reporter.stage(f"Making {per_prompt} images for each of {len(plan.prompts)} prompts with {generator}")
        generate_for_prompts(generator=generator, prompts=plan.prompts, per_prompt=per_prompt, reporter=reporter)
    there = {
        arm: [images_by_seed(generator, plan.prompts, index) for index in range(per_prompt)]
        for arm, generator in plan.arms.items()
    }
    wished = {
        arm: [[by_prompt.get(prompt.pk) for by_prompt in of_arm] for prompt in plan.prompts]
        for arm, of_arm in there.items()
    }
    reasons = reasons_by_arm({arm: [image for row in rows for image in row] for arm, rows in wished.items()})
    shares = {
        arm: np.array([[bool(fault_of(image)) for image in row] for row in rows]).mean(axis=1)
        for arm, rows in wished.items()
    }
    worst = np.max(list(shares.values()), axis=0)
    whole = [prompt for prompt, share in zip(plan.prompts, worst, strict=True) if share == 0]
    if len(whole) < 2:
        raise UnableToProve(
            f"Of {len(plan.prompts)} prompts {len(whole)} have an image in every arm that isn't blank or hidden; "
            f"look at the images of the four generators first ({told(reasons)})."
        )
    images = {
        arm: [[by_prompt[prompt.pk] for by_prompt in of_arm] for prompt in whole] for arm, of_arm in there.items()
    }
    return ArmImages(whole, images, len(plan.prompts) - len(whole), reasons, Arms(**shares))


def _scored(scorer: ModelVersion, shown: ArmImages, reporter: Reporter) -> Arms:
    """Mean score of each prompt's images, by arm; (prompts,) each."""
    reporter.stage(f"Scoring with {scorer}")
    score_images(version=scorer, images=Image.objects.filter(pk__in=shown.ids), reporter=reporter)
    values = dict(ImageScore.objects.filter(version=scorer, image__in=shown.ids).values_list("image_id", "value"))
    if missing := set(shown.ids) - values.keys():
        raise UnableToProve(f"{len(missing)} images of the arms can't be read, so {scorer} has no score for them.")
    return Arms(
        **{
            arm: np.array([[values[image.pk] for image in of_prompt] for of_prompt in images]).mean(axis=1)
            for arm, images in shown.images.items()
        }
    )


def _swept(
    plan: _Plan, shown: ArmImages, scores: Mapping[ModelVersion, Arms], reporter: Reporter, workdir: Path
) -> list[Cell]:
    config = plan.config
    original = plan.arms["original"]
    guidances = config.guidances
    if guidances is None:
        guidances = guidances_about(Recipe.of(original).guidance)
    if not guidances or not config.scales:
        return []
    prompts = shown.prompts[: config.sweep_prompts]
    return sweep(
        version=plan.version,
        original=original,
        prompts=[prompt.text for prompt in prompts],
        originals=[images[0] for images in shown.images["original"][: len(prompts)]],
        scorers=[scorer for scorer in scores if scorer.family != ModelVersion.Family.AESTHETIC],
        grid=[(guidance, scale) for guidance in guidances for scale in config.scales],
        reporter=reporter,
        workdir=workdir,
    )


def _evidence(
    version: ModelVersion, shown: ArmImages, scores: Mapping[ModelVersion, Arms], described: FeatureReport
) -> Evidence:
    by_family = {scorer.family: arms for scorer, arms in scores.items()}
    gain, on_preferred = mark_gains_of(version)
    return Evidence(
        hps=by_family.get(ModelVersion.Family.HPS),
        clip=by_family.get(ModelVersion.Family.CLIP),
        aesthetic=by_family.get(ModelVersion.Family.AESTHETIC),
        diversity=described.diversity,
        copies=described.copies,
        faulty=shown.faulty,
        mark_gain=gain,
        mark_gain_on_preferred=on_preferred,
    )


def _score_record(scorer: ModelVersion, arms: Arms) -> dict[str, Any]:
    compared = [arm for arm in ARMS if arm != "original"]
    differences = {arm: difference(arms, of=arm) for arm in compared}
    wins = {arm: win_rate(arms, of=arm) for arm in compared}
    return {
        "scorer": str(scorer),
        "family": scorer.family,
        "means": {arm: float(np.mean(values)) for arm in ARMS if (values := arms.of(arm)) is not None},
        "differences": {arm: estimate.to_record() for arm, estimate in differences.items() if estimate},
        "wins": {arm: estimate.to_record() for arm, estimate in wins.items() if estimate},
    }


def _examples(shown: ArmImages) -> list[dict[str, Any]]:
    """Some prompts, by their hashes and so at random, with the first image of every arm."""
    order: Sequence[int] = sorted(range(len(shown.prompts)), key=lambda place: shown.prompts[place].text_hash)
    return [
        {
            "prompt": shown.prompts[place].text,
            "images": {arm: str(images[place][0].public_id) for arm, images in shown.images.items()},
        }
        for place in order[:EXAMPLES]
    ]
