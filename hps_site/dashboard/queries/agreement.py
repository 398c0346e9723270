"""Metrics against people in detail: by slice, by convention, by correlation, and what looks wrong."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from annotations.models import Annotator, Campaign, Prompt, Snapshot, Split
from hps_site.dashboard.queries.lineage import votes_by_person
from hps_site.dashboard.queries.looks import Looks, file_looks
from hps_site.dashboard.queries.scorers import (
    base_version,
    count_prompts,
    images_without_pixels,
    numbers,
    read_scores,
    scored_by,
)
from scoring import agreement, metrics, signatures
from scoring.calibration import Calibration, calibration
from scoring.comparisons import PairedTest, holm_adjusted, paired_test
from scoring.correlations import Correlations, RatedSet, correlations, generator_agreement, vote_shares
from scoring.metrics import Estimate
from scoring.pairwise import pairwise_accuracies
from scoring.preferences import Choice
from scoring.slices import Slice, slices
from worker.models import ModelVersion


@dataclass(frozen=True)
class SliceResult:
    """One scorer on one slice."""

    version: ModelVersion
    accuracy: Estimate
    """Top-1 of n."""
    pairwise: list[Estimate]
    """By each convention."""
    test: PairedTest | None
    """Beside base CLIP on the choices that both have scored; None for base CLIP itself, and everywhere if it has scored
    no whole held-out choice."""


@dataclass(frozen=True)
class SliceReport:
    """All scorers on one slice."""

    slice: Slice
    choices: int
    """That name an image."""
    prompts: int
    chance: Estimate
    ceiling: Estimate
    """Leave-one-out."""
    attainable: Estimate
    """Of a scorer that knows the votes."""
    results: list[SliceResult]


@dataclass(frozen=True)
class ScorerPair:
    """Two scorers on the held-out choices that both have scored."""

    version: ModelVersion
    other: ModelVersion
    test: PairedTest
    """Of `version` less `other`."""
    adjusted_p: float | None
    """Its p-value by Holm's method for all pairs of the report."""


@dataclass(frozen=True)
class ScorerDetail:
    """What one scorer says beyond which image is best."""

    version: ModelVersion
    correlations: Correlations
    """With the shares of the votes, within sets."""
    calibration: Calibration
    generators: Estimate
    """Its ranking of the generators against the ranking by people."""

    @property
    def coefficients(self) -> list[Estimate]:
        return [self.correlations.tau_b, self.correlations.spearman, self.correlations.pearson]


@dataclass(frozen=True)
class Finding:
    """Something about one scorer that should be looked at before its figures are believed."""

    version: ModelVersion
    signature: str
    """`below chance`, `not above chance`, `not above base`, `above ceiling`, `drift`, `follows`, `excluded people`."""
    measured: Estimate
    beside: Estimate | None = None
    """What it was held against."""
    look: str = ""
    """The property that the scores follow."""


@dataclass(frozen=True)
class AgreementReport:
    """Every scorer on the same held-out judgements."""

    slices: list[SliceReport]
    """The first is of all."""
    left_out: int
    """Slices too small to say anything, or too many."""
    pairs: list[ScorerPair]
    """Each two scorers once, on the slice of all."""
    details: list[ScorerDetail]
    findings: list[Finding]

    @property
    def whole(self) -> SliceReport:
        return self.slices[0]


def agreement_report(
    campaigns: Sequence[Campaign],
    choices: Sequence[Choice],
    versions: Sequence[ModelVersion],
    *,
    seed: int = 0,
) -> AgreementReport:
    """Scorers that have scored held-out candidates, slice by slice.

    Args:
        campaigns: whose candidates were scored.
        choices: counted votes of these campaigns, from `ballots.read_choices`.
        versions: the scorers to look at, from `scorer_versions` or `versions_in_use`; one of CLIP is the base.
        seed: of all resampling.

    Returns:
        Scorers in the order of `versions`. Five SQL statements, and one more where people are excluded.
    """
    elsewhere = images_without_pixels(campaigns)
    seen = [choice for choice in choices if elsewhere.isdisjoint(choice.images)]
    held_out = [choice for choice in seen if choice.split == "test"]
    scores = read_scores(campaigns, versions, [Split.TRAIN, Split.TEST])
    judged = [one for one in versions if any(c.is_decided for c in scored_by(held_out, scores.get(one.pk, {})))]
    base = base_version(versions)
    if base not in judged:
        base = None  # scores of a part of a set, or of train prompts alone, say nothing here
    cut = slices(held_out, _tags(held_out))
    reports = [_slice_report(one, judged, base, scores, seed) for one in cut.slices]
    looks = file_looks(campaigns)
    return AgreementReport(
        slices=reports,
        left_out=cut.left_out,
        pairs=_scorer_pairs(judged, held_out, scores, seed),
        details=[_detail(version, held_out, scores[version.pk], seed) for version in judged],
        findings=[
            *(finding for result in reports[0].results for finding in _figures_findings(result, reports[0])),
            *(finding for one in judged for finding in _drift_findings(one, seen, scores[one.pk], seed)),
            *(finding for one in judged for finding in _look_findings(one, held_out, scores[one.pk], looks, seed)),
            *_excluded_findings(judged),
        ],
    )


def _tags(choices: Sequence[Choice]) -> dict[str, list[str]]:
    prompts = Prompt.objects.filter(pk__in={int(choice.prompt) for choice in choices}).exclude(tags=[])
    return {str(pk): tags for pk, tags in prompts.values_list("pk", "tags")}


def _slice_report(
    part: Slice,
    versions: Sequence[ModelVersion],
    base: ModelVersion | None,
    scores: Mapping[int, Mapping[str, float]],
    seed: int,
) -> SliceReport:
    decided = [choice for choice in part.choices if choice.is_decided]
    return SliceReport(
        slice=part,
        choices=len(decided),
        prompts=count_prompts(decided),
        chance=metrics.chance_level(decided),
        ceiling=agreement.human_ceiling(decided, seed=seed),
        attainable=agreement.highest_attainable(decided, seed=seed),
        results=[_slice_result(part.choices, version, base, scores, seed) for version in versions],
    )


def _slice_result(
    choices: Sequence[Choice],
    version: ModelVersion,
    base: ModelVersion | None,
    scores: Mapping[int, Mapping[str, float]],
    seed: int,
) -> SliceResult:
    mine = scores[version.pk]
    scored = scored_by(choices, mine)
    test = None
    if base is not None and version != base:
        test = _paired(choices, mine, scores[base.pk], seed)
    return SliceResult(
        version=version,
        accuracy=metrics.top_one_accuracy(scored, numbers(scored, mine), seed=seed),
        pairwise=pairwise_accuracies(scored, _logits(version, scored, mine), seed=seed),
        test=test,
    )


def _scorer_pairs(
    judged: Sequence[ModelVersion],
    choices: Sequence[Choice],
    scores: Mapping[int, Mapping[str, float]],
    seed: int,
) -> list[ScorerPair]:
    """The later of two in the order of the report less the earlier one, as each is beside base CLIP."""
    pairs = list(combinations(judged, 2))
    tests = [_paired(choices, scores[later.pk], scores[earlier.pk], seed) for earlier, later in pairs]
    adjusted = holm_adjusted([test.p_value for test in tests])
    return [
        ScorerPair(later, earlier, test, p) for (earlier, later), test, p in zip(pairs, tests, adjusted, strict=True)
    ]


def _paired(choices: Sequence[Choice], mine: Mapping[str, float], theirs: Mapping[str, float], seed: int) -> PairedTest:
    """On the choices that both have scored."""
    shared = scored_by(scored_by(choices, mine), theirs)
    return paired_test(shared, numbers(shared, mine), numbers(shared, theirs), seed=seed)


def _detail(version: ModelVersion, held_out: Sequence[Choice], scores: Mapping[str, float], seed: int) -> ScorerDetail:
    scored = scored_by(held_out, scores)
    return ScorerDetail(
        version=version,
        correlations=correlations(vote_shares(scored, scores), seed=seed),
        calibration=calibration(scored, _logits(version, scored, scores), seed=seed),
        generators=generator_agreement(scored, scores, seed=seed),
    )


def _logits(version: ModelVersion, choices: Sequence[Choice], scores: Mapping[str, float]) -> list[list[float]]:
    """The scores as they went into the softmax of the version's training.

    A score of CLIP or HPS is 100 * cosine. Their versions tell by what the training multiplied the cosine; what has no
    cosine is taken as it is.
    """
    factor = version.manifest.get("scale", 100) / 100
    return [[factor * number for number in of_choice] for of_choice in numbers(choices, scores)]


def _figures_findings(result: SliceResult, report: SliceReport) -> list[Finding]:
    """What the accuracy alone says, beside chance, the human ceiling and base CLIP."""
    version, accuracy, found = result.version, result.accuracy, []
    beside = signatures.beside_chance(accuracy, report.chance)
    if beside in ("below", "not told apart"):
        signature = "below chance" if beside == "below" else "not above chance"
        found.append(Finding(version, signature, accuracy, report.chance))
    if signatures.is_above_ceiling(accuracy, report.ceiling):
        found.append(Finding(version, "above ceiling", accuracy, report.ceiling))
    if result.test is not None:
        base = next(one.accuracy for one in report.results if one.test is None)
        if signatures.is_no_better_than_base(accuracy, base):
            found.append(Finding(version, "not above base", accuracy, base))
    return found


def _drift_findings(
    version: ModelVersion, seen: Sequence[Choice], scores: Mapping[str, float], seed: int
) -> list[Finding]:
    train, test = (
        metrics.top_one_accuracy(of_split, numbers(of_split, scores), seed=seed)
        for of_split in (
            scored_by([choice for choice in seen if choice.split == split], scores) for split in ("train", "test")
        )
    )
    return [Finding(version, "drift", test, train)] if signatures.has_drifted(train, test) else []


def _look_findings(
    version: ModelVersion, held_out: Sequence[Choice], scores: Mapping[str, float], looks: Looks, seed: int
) -> list[Finding]:
    found = []
    judged = [choice for choice in scored_by(held_out, scores) if choice.outcome != "all_bad"]
    for look, values in looks.items():
        known = scored_by(judged, values)
        followed = correlations(
            [
                RatedSet(prompt, [scores[image] for image in images], [values[image] for image in images])
                for prompt, images in dict.fromkeys(choice.task for choice in known)
            ],
            seed=seed,
        ).spearman
        people = correlations(vote_shares(known, values), seed=seed).spearman
        if signatures.follows(followed, people):
            found.append(Finding(version, "follows", followed, people, look))
    return found


def _excluded_findings(judged: Sequence[ModelVersion]) -> list[Finding]:
    """Versions that learnt from people who are excluded by now; two SQL statements."""
    excluded = set(
        map(str, Annotator.objects.filter(state=Annotator.State.EXCLUDED).values_list("public_id", flat=True))
    )
    snapshots = Snapshot.objects.in_bulk({one.snapshot_id for one in judged if one.snapshot_id} if excluded else set())
    shares = {pk: _share_of(excluded, votes_by_person(snapshot)) for pk, snapshot in snapshots.items()}
    return [
        Finding(version, "excluded people", shares[version.snapshot_id])
        for version in judged
        if version.snapshot_id in shares and shares[version.snapshot_id].value
    ]


def _share_of(people: set[str], votes: Counter[str]) -> Estimate:
    theirs, total = sum(votes[person] for person in people), votes.total()
    return Estimate("votes of excluded people", theirs / total if total else None, None, None, total, "votes")
