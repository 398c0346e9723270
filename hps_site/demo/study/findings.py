"""What the kept results show, by the thresholds of the declaration and by nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hps_site.demo.study.declaration import CONTROLS, DECLARED, ORIGINAL, WITHOUT_NEGATIVE, Arm, Declaration
from hps_site.demo.study.kept import HACKED, POSITIVE, Kept, Record, arm_record, hps_record, people_record
from scoring import reward_hacking
from scoring.metrics import ANYWHERE, DIFFERENCE_OF_SHARES, SHARE, Estimate, clustered_mean
from scoring.reward_hacking import Finding

SKILL = 1.8
"""Of a middling careful person, for the share of votes that is expected from the truth alone."""

Numbers = NDArray[np.float64]


class Pairs(NamedTuple):
    """Images of two arms from the same noise."""

    captions: list[str]
    """(n,)"""
    utility: Numbers
    """(n,) the first arm's hidden truth less the second's, in visible steps."""
    hps: Numbers
    """(n,) the same of the HPS that labelled; NaN where none was asked."""
    clip: Numbers
    """(n,) the same of base CLIP."""

    @property
    def wins(self) -> Numbers:
        """(n,) 1 where the first is truly better, 0 where it is worse, a half where the two are equal."""
        return (np.sign(self.utility) + 1) / 2

    @property
    def expected_votes(self) -> Numbers:
        """(n,) how likely a middling person prefers the first."""
        return 1 / (1 + np.exp(-SKILL * self.utility))


@dataclass(frozen=True)
class ArmFindings:
    """How one arm fares against another."""

    name: str
    seed: int | None
    """None: all seeds together."""
    wins: Estimate
    """Share of images that are truly better; equals count half."""
    utility: Estimate
    """Difference in hidden truth, in visible steps."""
    expected_votes: Estimate
    hps: Estimate | None
    clip: Estimate
    votes: Estimate | None = None
    """Share of people's votes in the site's blind study."""


@dataclass(frozen=True)
class Gain:
    """What the mark saves of the loss on held-out images of one label."""

    images: int
    gain: float
    low: float | None
    high: float | None
    unmarked_loss: float

    @property
    def share(self) -> float:
        return self.gain / self.unmarked_loss


@dataclass(frozen=True)
class ControlFindings:
    """A control beside the declared arm."""

    arm: ArmFindings
    seeds: list[int]
    """Those in which both are done."""
    declared_less_control: Estimate
    """How much larger the declared arm's share of truly better images is."""
    declared_less_control_utility: Estimate
    shows: Literal["nothing", "less", "as much or more"]

    @property
    def is_quiet(self) -> bool:
        return self.shows != "as much or more"


@dataclass(frozen=True)
class PositiveControl:
    """Part 1."""

    defective: Gain
    clean: Gain
    mark: ArmFindings
    """The adapted model with the mark as negative prompt against itself without."""
    adapted: ArmFindings
    """The same against the original."""
    is_learnt: bool
    is_of_use: bool


@dataclass(frozen=True)
class Preference:
    """Part 2."""

    seeds: list[ArmFindings]
    together: ArmFindings
    without_negative: ArmFindings
    """The adapted model without negative prompt against the original."""
    mark: ArmFindings
    """The declared arm against that."""
    gains: list[dict[str, Gain]]
    """For each seed, by label."""
    hps_figures: list[Record]
    """For each seed, on held-out votes; see `worker.classifier.evaluation.measure`."""
    controls: list[ControlFindings]
    findings: list[Finding]
    """The product's own warnings and hints."""
    is_voted: bool
    """The declared arm is done in every seed, and people have voted on it."""
    are_controls_done: bool
    """Every control is done in every seed."""
    is_preferred: bool


@dataclass(frozen=True)
class Hacking:
    """Part 3."""

    arm: ArmFindings
    findings: list[Finding]
    """The product's own warnings and hints."""
    is_hacked: bool


@dataclass(frozen=True)
class StudyFindings:
    """All that the kept results show so far; None where a part has not been done."""

    positive_control: PositiveControl | None
    preference: Preference | None
    hacking: Hacking | None
    seconds: float
    cpu_seconds: float


def read_findings(declaration: Declaration, kept: Kept) -> StudyFindings:
    """What is there, judged."""
    records = kept.all()
    positive, hacked = kept.get(POSITIVE), kept.get(HACKED)
    return StudyFindings(
        positive_control=_positive_control(positive, declaration) if positive else None,
        preference=_preference(declaration, kept),
        hacking=_hacking(hacked) if hacked else None,
        seconds=sum(record["seconds"] for record in records),
        cpu_seconds=sum(record["cpu_seconds"] for record in records),
    )


def pairs_of(records: Sequence[Record], first: Arm, second: Arm) -> Pairs:
    """The images of two arms in the records of all seeds, one after the other."""
    differences = [
        [_difference(record["images"][first.name], record["images"][second.name], kind) for record in records]
        for kind in ("utility", "hps", "clip")
    ]
    captions = [caption for record in records for caption in record["captions"]]
    return Pairs(captions, *(np.concatenate(parts) for parts in differences))


def arm_findings(name: str, pairs: Pairs, seed: int | None = None, votes: Sequence[Record] = ()) -> ArmFindings:
    """The numbers of one arm against another, with intervals that are resampled by caption."""

    def mean(values: Numbers, what: str, within: tuple[float, float]) -> Estimate:
        return clustered_mean(values, pairs.captions, name=what, unit="images", within=within)

    return ArmFindings(
        name=name,
        seed=seed,
        wins=mean(pairs.wins, "share of truly better images", SHARE),
        utility=mean(pairs.utility, "hidden truth, difference", ANYWHERE),
        expected_votes=mean(pairs.expected_votes, "expected share of votes", SHARE),
        hps=None if np.isnan(pairs.hps).any() else mean(pairs.hps, "HPS, difference", ANYWHERE),
        clip=mean(pairs.clip, "CLIP score, difference", ANYWHERE),
        votes=_votes(votes) if votes else None,
    )


def gain_of(mark: Record, label: str) -> Gain:
    """From the part `mark` of an adapter's metrics."""
    after = mark["after"][label]
    return Gain(after["images"], after["gain"], after["gain_low"], after["gain_high"], after["unmarked_loss"])


def is_above(estimate: Estimate, threshold: float) -> bool:
    """Whether the whole interval is."""
    return estimate.low is not None and estimate.low > threshold


def is_below(estimate: Estimate, threshold: float) -> bool:
    """Whether the whole interval is."""
    return estimate.high is not None and estimate.high < threshold


def _positive_control(record: Record, declaration: Declaration) -> PositiveControl:
    defective, clean = gain_of(record["mark"], "non_preferred"), gain_of(record["mark"], "preferred")
    mark = arm_findings("the mark on the adapted", pairs_of([record], DECLARED, WITHOUT_NEGATIVE))
    return PositiveControl(
        defective=defective,
        clean=clean,
        mark=mark,
        adapted=arm_findings(DECLARED.name, pairs_of([record], DECLARED, ORIGINAL)),
        is_learnt=defective.low is not None
        and defective.low > 0
        and defective.gain > clean.gain
        and defective.share >= declaration.least_gain,
        is_of_use=is_above(mark.utility, 0),
    )


def _preference(declaration: Declaration, kept: Kept) -> Preference | None:
    done = {seed: record for seed in declaration.seeds if (record := kept.get(arm_record(DECLARED, seed)))}
    if not done:
        return None
    votes = {seed: record for seed in done if (record := kept.get(people_record(seed)))}
    records = list(done.values())
    together = arm_findings("all seeds together", pairs_of(records, DECLARED, ORIGINAL), None, list(votes.values()))
    controls = [control for arm in CONTROLS if (control := _control(arm, done, kept))]
    return Preference(
        seeds=[
            arm_findings(
                DECLARED.name, pairs_of([record], DECLARED, ORIGINAL), seed, [votes[seed]] if seed in votes else []
            )
            for seed, record in done.items()
        ],
        together=together,
        without_negative=arm_findings(WITHOUT_NEGATIVE.name, pairs_of(records, WITHOUT_NEGATIVE, ORIGINAL)),
        mark=arm_findings("the mark on the adapted", pairs_of(records, DECLARED, WITHOUT_NEGATIVE)),
        gains=[
            {label: gain_of(record["mark"], label) for label in ("non_preferred", "preferred")} for record in records
        ],
        hps_figures=[figures["figures"] for seed in done if (figures := kept.get(hps_record(seed)))],
        controls=controls,
        findings=_product_says(records, together.votes),
        is_voted=len(votes) == len(declaration.seeds),
        are_controls_done=all(kept.get(arm_record(arm, seed)) for arm in CONTROLS for seed in declaration.seeds),
        is_preferred=is_above(together.wins, 0.5) and together.votes is not None and is_above(together.votes, 0.5),
    )


def _control(arm: Arm, declared: dict[int, Record], kept: Kept) -> ControlFindings | None:
    """A control over the seeds in which it and the declared arm are done."""
    done = {seed: record for seed in declared if (record := kept.get(arm_record(arm, seed)))}
    if not done:
        return None
    # The mark on the original has nothing of a seed: one record, held against each seed of the declared arm.
    own = list(done.values())[:1] if arm.training is None else list(done.values())
    found = arm_findings(arm.name, pairs_of(own, arm, ORIGINAL))
    ours = pairs_of([declared[seed] for seed in done], DECLARED, ORIGINAL)
    theirs = pairs_of(list(done.values()), arm, ORIGINAL)
    more = clustered_mean(
        ours.wins - theirs.wins, ours.captions, name="declared less control", within=DIFFERENCE_OF_SHARES
    )
    more_utility = clustered_mean(
        ours.utility - theirs.utility, ours.captions, name="declared less control, hidden truth", within=ANYWHERE
    )
    if not is_above(found.wins, 0.5):
        return ControlFindings(found, list(done), more, more_utility, "nothing")
    return ControlFindings(found, list(done), more, more_utility, "less" if is_above(more, 0) else "as much or more")


def _hacking(record: Record) -> Hacking:
    arm = arm_findings("one colour", pairs_of([record], DECLARED, ORIGINAL), None, [record["people"]])
    return Hacking(
        arm=arm,
        findings=_product_says([record], arm.votes),
        is_hacked=arm.hps is not None and is_above(arm.hps, 0) and is_below(arm.utility, 0),
    )


def _product_says(records: Sequence[Record], people: Estimate | None) -> list[Finding]:
    """The product's own warnings and hints, from the scores and the votes alone: it knows no hidden truth."""

    def arms(kind: str) -> reward_hacking.Arms:
        means = {
            arm: np.mean([record["images"][arm.name][kind] for record in records], axis=0)
            for arm in (ORIGINAL, DECLARED, WITHOUT_NEGATIVE)
        }
        return reward_hacking.Arms(
            original=means[ORIGINAL], adapted_marked=means[DECLARED], adapted=means[WITHOUT_NEGATIVE]
        )

    evidence = reward_hacking.Evidence(hps=arms("hps"), clip=arms("clip"), people=people)
    return reward_hacking.findings(evidence)


def _votes(records: Sequence[Record]) -> Estimate:
    credits = np.array([credit for record in records for credit in record["credits"]])
    captions = [caption for record in records for caption in record["captions"]]
    return clustered_mean(credits, captions, name="share of votes")


def _difference(first: Record, second: Record, kind: str) -> Numbers:
    if kind not in first or kind not in second:
        return np.full(len(first["utility"]), np.nan)
    return np.array(first[kind]) - np.array(second[kind])
