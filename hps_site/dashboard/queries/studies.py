"""Blind studies: does one of two generators get more votes than the other, and on which prompts?"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from django.utils.translation import gettext as _

from annotations.models import Campaign, Image, Prompt, Split, Task
from annotations.queries.demographic_shares import Credit, GroupShare, shares_by_group
from hps_site.dashboard.queries.scorers import numbers, read_scores, scored_by, versions_in_use
from scoring import head_to_head, metrics, power, slices
from scoring.head_to_head import Majorities
from scoring.metrics import Estimate, Verdict
from scoring.preferences import Choice
from scoring.reward_hacking import Arms, Evidence, Finding, findings
from worker.models import ModelVersion, Run, Study
from worker.proof_tables import left_out_lines
from worker.queries import latest_proof, mark_gains_of, run_of_study

EXAMPLES = 6

FAILURE_MODES = frozenset({"text rendering", "anatomy"})
"""Tags of prompts that are hard in a known way; the other tags are of style and subject."""

Scores = dict[int, dict[str, float]]
"""By version, the score of each image by its id as text."""


@dataclass(frozen=True)
class Example:
    """One prompt with both images and what people said of them."""

    prompt: str
    original: Image
    adapted: Image
    original_votes: int
    adapted_votes: int
    undecided_votes: int


@dataclass(frozen=True)
class TagShare:
    """The share of votes on the prompts with one tag."""

    tag: str
    share: Estimate
    is_failure_mode: bool


@dataclass(frozen=True)
class ScorerAgreement:
    """How often a scorer's higher image of a pair is the one that people chose."""

    version: ModelVersion
    agreement: Estimate


@dataclass(frozen=True)
class StudyReport:
    """What a study has shown so far."""

    study: Study
    share: Estimate
    """Votes for the adapted generator; a tie counts half, 'all bad' is left out."""
    prompts_won: Estimate
    """Prompts with more than half of the votes for the adapted one; a prompt split evenly counts half."""
    majorities: Majorities
    """Prompts on which either side has strictly more than half of the votes, as the paper counts."""
    verdict: Verdict
    smallest_share: float | None
    """The share that so many votes find four times of five."""
    votes: int
    prompts: int
    tags: list[TagShare]
    """Failure modes first, then the largest."""
    tags_left_out: int
    """Tags with fewer than ten decided votes."""
    groups: list[GroupShare]
    """The share of votes by demographic group, coarse on purpose; empty until the campaign is closed."""
    is_closed: bool
    human_agreement: Estimate
    """Of two people on the same pair."""
    scorer_agreements: list[ScorerAgreement]
    """Of the scorers in use with people, on those of the same pairs that they have scored."""
    findings: list[Finding]
    """Warnings, then hints, from these pairs, those that could not be shown, and the adapter's latest proof."""
    left_out: tuple[str, ...]
    """For each arm, how many of its images could not be shown and why."""
    examples: list[Example]
    """Drawn at random, not picked: the first by the tasks' random ids."""


def study_report(campaign: Campaign, choices: Sequence[Choice], *, seed: int = 0) -> StudyReport | None:
    """How the two generators of a study campaign fare; None for any other campaign.

    Args:
        campaign: whose study is looked at.
        choices: counted votes of the campaign, from `ballots.read_choices`.
        seed: of the intervals' resampling.

    Returns:
        Shares with intervals resampled by prompt; the verdict is on the share of votes. At most nine SQL statements.
    """
    study = Study.objects.filter(campaign=campaign).select_related("campaign", "original", "adapted", "version").first()
    if study is None:
        return None
    adapted = study.adapted.name
    judged = [choice for choice in choices if adapted in choice.generators and choice.outcome != "all_bad"]
    share = metrics.vote_share(judged, adapted, seed=seed)
    versions = versions_in_use()
    scores = read_scores([campaign], versions, list(Split))
    human = head_to_head.human_agreement(judged, seed=seed)
    agreements = [_agreement(version, judged, scores.get(version.pk, {}), seed) for version in versions]
    agreements = [one for one in agreements if one.agreement.n]
    tags, tags_left_out = _by_tag(judged, adapted, seed)
    made_by = run_of_study(study)
    found = findings(_evidence(study, judged, scores, agreements, share, human), seed=seed)
    return StudyReport(
        study=study,
        share=share,
        prompts_won=metrics.prompts_won(judged, adapted, seed=seed),
        majorities=head_to_head.majorities(judged, adapted, seed=seed),
        verdict=metrics.verdict(share),
        smallest_share=_smallest_share(share),
        votes=len(judged),
        prompts=len({choice.prompt for choice in judged}),
        tags=tags,
        tags_left_out=tags_left_out,
        groups=_by_group(campaign, judged, adapted),
        is_closed=campaign.state == Campaign.State.CLOSED,
        human_agreement=human,
        scorer_agreements=agreements,
        findings=_with_those_of(found, made_by, latest_proof(study.version) if study.version else None),
        left_out=_left_out(study, made_by),
        examples=_examples(study, choices),
    )


def _smallest_share(share: Estimate) -> float | None:
    """What could have been found, by the interval that was: votes on one prompt count for less than one each."""
    if share.value is None or share.low is None or share.high is None:
        return None
    effect = power.design_effect(share.high - share.low, votes=share.n, share=share.value)
    return power.smallest_share(share.n, design_effect=effect)


def _by_tag(judged: Sequence[Choice], adapted: str, seed: int) -> tuple[list[TagShare], int]:
    prompts = {int(choice.prompt) for choice in judged}
    tags = {str(pk): tags for pk, tags in Prompt.objects.filter(pk__in=prompts).values_list("pk", "tags") if tags}
    used = {tag for of_prompt in tags.values() for tag in of_prompt}
    cut = [part for part in slices.slices(judged, tags).slices if part.kind == "tag"]
    shares = [
        TagShare(part.label, metrics.vote_share(part.choices, adapted, seed=seed), part.label in FAILURE_MODES)
        for part in cut
    ]
    return sorted(shares, key=lambda one: not one.is_failure_mode), len(used) - len(shares)


def _by_group(campaign: Campaign, judged: Sequence[Choice], adapted: str) -> list[GroupShare]:
    """The mean over people of their share of votes for the adapted generator, ties as half."""
    credits = (
        Credit(int(choice.annotator), 0.5 if choice.chosen is None else choice.generators[choice.chosen] == adapted)
        for choice in judged
    )
    return shares_by_group(campaign, credits, name="share of votes, mean over people", key="study")


def _agreement(
    version: ModelVersion, judged: Sequence[Choice], scores: Mapping[str, float], seed: int
) -> ScorerAgreement:
    scored = scored_by([choice for choice in judged if choice.is_decided], scores)
    return ScorerAgreement(version, head_to_head.scorer_agreement(scored, numbers(scored, scores), seed=seed))


def _evidence(
    study: Study,
    judged: Sequence[Choice],
    scores: Scores,
    agreements: Sequence[ScorerAgreement],
    share: Estimate,
    human: Estimate,
) -> Evidence:
    """What warnings and hints follow from: the scores of both images of each pair, and what people said.

    Between two generators that are nobody's adapter it is only what people said: nothing was tuned there.
    """
    of_family = {one.version.family: one for one in agreements}
    hps = of_family.get(ModelVersion.Family.HPS)
    of_people = Evidence(people=share, hps_agreement=hps.agreement if hps else None, human_agreement=human)
    if study.version is None:
        return of_people
    arms = {family: _arms(judged, study.adapted.name, scores[one.version.pk]) for family, one in of_family.items()}
    gain, on_preferred = mark_gains_of(study.version)
    return replace(
        of_people,
        hps=arms.get(ModelVersion.Family.HPS),
        clip=arms.get(ModelVersion.Family.CLIP),
        aesthetic=arms.get(ModelVersion.Family.AESTHETIC),
        mark_gain=gain,
        mark_gain_on_preferred=on_preferred,
    )


def _with_those_of(found: list[Finding], *runs: Run | None) -> list[Finding]:
    """What runs have found too: the one that made the study, and the adapter's latest proof, which looked at four arms
    and the training's images.
    """
    by_name = {finding.name: finding for finding in found}
    for run in runs:
        for record in run.metrics.get("findings", []) if run else []:
            by_name.setdefault(record["name"], Finding(**record))
    return sorted(by_name.values(), key=lambda finding: finding.is_hint)


def _left_out(study: Study, made_by: Run | None) -> tuple[str, ...]:
    names = {"original": study.original, "adapted": study.adapted, "both": _("Pairs")}
    return left_out_lines(made_by.metrics.get("left_out", {}), names) if made_by else ()


def _arms(judged: Sequence[Choice], adapted: str, scores: Mapping[str, float]) -> Arms:
    """The scores of both images of each pair that people judged and the scorer has scored."""
    pairs = {}
    for choice in scored_by(judged, scores):
        mine = choice.generators.index(adapted)
        pairs[choice.task] = (scores[choice.images[1 - mine]], scores[choice.images[mine]])
    original, other = np.array(list(pairs.values()), dtype=np.float64).reshape(-1, 2).T
    return Arms(original=original, adapted_marked=other)


def _examples(study: Study, choices: Sequence[Choice]) -> list[Example]:
    tasks = (
        Task.objects.filter(campaign=study.campaign_id, purpose=Task.Purpose.REGULAR)
        .select_related("prompt")
        .prefetch_related("images")
        .order_by("public_id")
    )
    said = Counter((frozenset(choice.images), choice.answer) for choice in choices)
    examples = (_example(study, task, said) for task in tasks[:EXAMPLES])
    return [example for example in examples if example is not None]


def _example(study: Study, task: Task, said: Counter[tuple[frozenset[str], str]]) -> Example | None:
    images = {image.generator_id: image for image in task.images.all()}
    original, adapted = images.get(study.original_id), images.get(study.adapted_id)
    if original is None or adapted is None:
        return None
    shown = frozenset(str(image.pk) for image in task.images.all())
    return Example(
        prompt=task.prompt.text,
        original=original,
        adapted=adapted,
        original_votes=said[shown, str(original.pk)],
        adapted_votes=said[shown, str(adapted.pk)],
        undecided_votes=said[shown, "tie"] + said[shown, "all_bad"],
    )
