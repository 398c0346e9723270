"""What an adapter's figures look like where it went wrong: lost variety, copies, reward hacking, an unlearnt mark.

A generator that is tuned by a score can raise the score and get no better. So the score that it was tuned by is held
against what it was not tuned by: the fit to the text, the variety, the training images, and people. Warnings say that
something is wrong; hints say where it may come from. Both rest on intervals resampled by prompt: what the prompts
can't show is not said. That nothing is there has to be shown too, by a whole interval near nothing.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scoring.intervals import interval_about
from scoring.metrics import ANYWHERE, Estimate, UnableToMeasure, clustered_mean, resampled_sums

Array = NDArray[np.floating]

Arm = Literal["original", "original_marked", "adapted", "adapted_marked"]
"""Original or adapted generator, without the mark or with it as negative prompt; the last is the one to be used."""

WarningName = Literal["images lost", "diversity lost", "training images copied", "alignment lost", "people unmoved"]
HintName = Literal[
    "nothing changed",
    "mark not learnt",
    "mark too aggressive",
    "adapter not needed",
    "wrong aspects",
    "people of many minds",
]

KEPT_DIVERSITY = 0.8
"""A generator that keeps less than this part of its variety between seeds has collapsed."""

MORE_COPIES = 0.1
"""A rise of the share of copies beyond this is no play of chance in what lies near."""

SMALL_CHANGE = 0.2
"""Of HPS; by its own scale people would choose an image that lies so much higher 55 times of 100."""

SMALL_GAIN = 0.01
"""Of the mark, as a share of the loss; in trainings that learnt it, it was 4 times as much."""

SLIGHT_AGREEMENT = 0.6
"""Of people with each other: one more in ten than by chance."""

FEWEST = 20
"""Prompts, images or pairs of people without which nothing is said to be small: the interval of a few is too narrow."""


@dataclass(frozen=True)
class Arms:
    """One figure of every prompt for two to four arms, all from the same noise."""

    original: Array
    """(prompts,)"""
    adapted_marked: Array
    """(prompts,)"""
    original_marked: Array | None = None
    adapted: Array | None = None

    def __post_init__(self) -> None:
        sizes = {len(values) for values in vars(self).values() if values is not None}
        if len(sizes) > 1:
            raise UnableToMeasure(f"The arms have figures of different numbers of prompts: {sorted(sizes)}.")

    def of(self, arm: Arm) -> Array | None:
        """The figures of one arm, (prompts,); None where it was not measured."""
        values: Array | None = getattr(self, arm)
        return values


@dataclass(frozen=True)
class Evidence:
    """What was measured of an adapter; what is None was not."""

    hps: Arms | None = None
    """The score by which it was tuned, mean over the images of a prompt."""
    clip: Arms | None = None
    """Fit to the text: 100 * cos of a CLIP that was not tuned on people's choices."""
    aesthetic: Arms | None = None
    diversity: Arms | None = None
    """See `variety.diversity`."""
    copies: Arms | None = None
    """Share of a prompt's images that are copies, see `variety.copies`."""
    faulty: Arms | None = None
    """Share of a prompt's images that are blank, broken, blocked, hidden or missing; of all prompts, those too that the
    other figures leave out for it.
    """
    mark_gain: Estimate | None = None
    """By which share of it the mark before the caption lowers the loss of non-preferred images that training didn't
    see.
    """
    mark_gain_on_preferred: Estimate | None = None
    people: Estimate | None = None
    """Share of people's votes for the adapted arm, as of `metrics.vote_share`."""
    hps_agreement: Estimate | None = None
    """Of the tuned score with people on the pairs they voted on; chance is one half."""
    human_agreement: Estimate | None = None
    """Of people with each other on these pairs; chance is one half."""


@dataclass(frozen=True)
class Finding:
    """Something that looks wrong, or a reason for it."""

    name: WarningName | HintName
    text: str
    """Plain sentences with the numbers that they follow from."""
    is_hint: bool = False

    def to_record(self) -> dict[str, object]:
        """The finding as plain values for JSON."""
        return {"name": self.name, "text": self.text, "is_hint": self.is_hint}


def findings(evidence: Evidence, *, seed: int = 0) -> list[Finding]:
    """All warnings, then all hints, that follow from what was measured.

    Args:
        evidence: any part may be missing; what rests on it is then not said.
        seed: of the intervals' resampling.
    """
    return [*_warnings(evidence, seed), *_hints(evidence, seed)]


def difference(
    arms: Arms, *, of: Arm = "adapted_marked", to: Arm = "original", name: str = "difference", seed: int = 0
) -> Estimate | None:
    """By how much one arm lies above another, prompt by prompt; None where one of them was not measured.

    Returns:
        Mean difference with an interval resampled by prompt.
    """
    upper, lower = arms.of(of), arms.of(to)
    if upper is None or lower is None:
        return None
    gaps = np.asarray(upper, dtype=np.float64) - np.asarray(lower, dtype=np.float64)
    return clustered_mean(gaps, _prompts(len(gaps)), name=name, seed=seed, unit="prompts", within=ANYWHERE)


def win_rate(
    arms: Arms, *, of: Arm = "adapted_marked", to: Arm = "original", name: str = "prompts won", seed: int = 0
) -> Estimate | None:
    """On how many prompts one arm has the higher figure than another; equal figures count half.

    Returns:
        0..1 with an interval resampled by prompt; None where one of the arms was not measured.
    """
    upper, lower = arms.of(of), arms.of(to)
    if upper is None or lower is None:
        return None
    won = (upper > lower) + 0.5 * (upper == lower)
    return clustered_mean(won, _prompts(len(won)), name=name, seed=seed, unit="prompts")


def kept(arms: Arms, *, name: str = "part kept", seed: int = 0) -> Estimate:
    """What the adapted arm has of the original's figure, all prompts together: 1 where it has kept all of it.

    Returns:
        Ratio of the sums with an interval resampled by prompt; undefined where the original has nothing.
    """
    sums = np.stack([arms.adapted_marked, arms.original], axis=1).astype(np.float64)
    n = len(sums)
    if n == 0 or sums[:, 1].sum() <= 0:
        return Estimate(name, None, None, None, n, "prompts", "The original has none of it.")
    value = float(sums[:, 0].sum() / sums[:, 1].sum())
    if n == 1:
        return Estimate(name, value, None, None, n, "prompts", "All are of one prompt: no interval.")
    totals = np.concatenate(list(resampled_sums(sums, seed)))
    totals = totals[totals[:, 1] > 0]
    low, high = interval_about(value, totals[:, 0] / totals[:, 1], n)
    return Estimate(name, value, max(0.0, low), high, n, "prompts")


def _warnings(evidence: Evidence, seed: int) -> Iterator[Finding]:
    if (arms := evidence.faulty) is not None:
        more = difference(arms, seed=seed)
        if more is not None and _rises(more):
            yield Finding(
                "images lost",
                f"Faulty images: {_share(float(np.mean(arms.adapted_marked)))} of the adapted images are blank, broken,"
                f" blocked or hidden, {_share(float(np.mean(arms.original)))} of the original's. Their prompts are left"
                " out of what is compared, so the figures are better than the adapter is. Lower the guidance or the"
                " adapter's scale, or train for fewer steps.",
            )
    if (arms := evidence.diversity) is not None:
        part = kept(arms, seed=seed)
        if part.high is not None and part.high < KEPT_DIVERSITY:
            yield Finding(
                "diversity lost",
                f"Collapse: images of one prompt and different seeds differ by {_percent(part)} of what they do with"
                " the original. Train for fewer steps, or with more regularisation images.",
            )
    if (arms := evidence.copies) is not None:
        more = difference(arms, seed=seed)
        if more is not None and more.low is not None and more.low > MORE_COPIES:
            yield Finding(
                "training images copied",
                f"Memorisation: {_share(float(np.mean(arms.adapted_marked)))} of the images lie nearer to a training"
                f" image than any other training image does, {_share(float(np.mean(arms.original)))} with the"
                " original. Train on more images, or for fewer steps.",
            )
    rise = _difference(evidence.hps, seed)
    if rise is None or not _rises(rise):
        return
    fall = _difference(evidence.clip, seed)
    if fall is not None and _falls(fall):
        yield Finding(
            "alignment lost",
            f"Reward hacking: HPS rises by {_number(rise)} while the CLIP score, the fit to the text, falls by"
            f" {_number(_turned(fall))}. The images please the score and show less of what was asked for.",
        )
    won = win_rate(evidence.hps, seed=seed) if evidence.hps is not None else None
    people = evidence.people
    if won is not None and people is not None and _are_unmoved(won, people):
        yield Finding(
            "people unmoved",
            f"Reward hacking: by HPS the adapted generator wins {_percent(won)} of the prompts, people give it"
            f" {_percent(people)} of their votes. What rises is the score, not what people see.",
        )


def _are_unmoved(won: Estimate, people: Estimate) -> bool:
    """Whether people don't prefer what the score says is better, and it isn't for want of votes."""
    if people.low is None or people.high is None or won.low is None:
        return False
    return people.low <= 0.5 and people.high < won.low


def _hints(evidence: Evidence, seed: int) -> Iterator[Finding]:
    rise = _difference(evidence.hps, seed)
    if rise is not None and _is_within(rise, -SMALL_CHANGE, SMALL_CHANGE) and not _rises(rise) and not _falls(rise):
        yield _hint(
            "nothing changed",
            f"HPS did not change: {_number(rise)}. Too little capacity or training: raise the rank, the learning rate"
            " or the steps, or take more labelled images.",
        )
    if evidence.mark_gain is not None and _is_unlearnt(evidence.mark_gain, evidence.mark_gain_on_preferred):
        other = evidence.mark_gain_on_preferred
        beside = "" if other is None else f", on preferred ones by {_number(other)}"
        yield _hint(
            "mark not learnt",
            "The mark was not learnt: before the caption it lowers the loss of held-out non-preferred images by the"
            f" part {_number(evidence.mark_gain)}{beside}. Too little capacity, too few images, or labels that the"
            " model can't see: raise the rank or the steps, or label more images.",
        )
    yield from _hints_on_the_mark(evidence, seed)
    yield from _hints_of_people(evidence)


def _hints_on_the_mark(evidence: Evidence, seed: int) -> Iterator[Finding]:
    named = {"HPS": evidence.hps, "CLIP score": evidence.clip, "aesthetic score": evidence.aesthetic}
    falls = {
        name: fall
        for name, arms in named.items()
        if arms is not None
        and (fall := difference(arms, of="adapted_marked", to="adapted", seed=seed)) is not None
        and _falls(fall)
    }
    if falls:
        words = ", ".join(f"the {name} by {_number(_turned(fall))}" for name, fall in falls.items())
        yield _hint(
            "mark too aggressive",
            f"Too aggressive: the mark as negative prompt lowers {words}, compared with the adapter alone. Lower the"
            " guidance or the adapter's scale, or use fewer non-preferred images.",
        )
    if evidence.hps is None:
        return
    original = difference(evidence.hps, of="original_marked", to="original", seed=seed)
    beyond = difference(evidence.hps, of="adapted_marked", to="original_marked", seed=seed)
    if original is None or beyond is None or not _rises(original) or _rises(beyond):
        return
    if _is_within(beyond, -math.inf, SMALL_CHANGE):
        yield _hint(
            "adapter not needed",
            f"The mark as negative prompt raises the HPS of the original too, by {_number(original)}; the adapter adds"
            f" {_number(beyond)}. The words do it, not what was trained.",
        )


def _hints_of_people(evidence: Evidence) -> Iterator[Finding]:
    human, hps = evidence.human_agreement, evidence.hps_agreement
    if human is None or human.low is None:
        return
    if human.low <= 0.5 and _is_within(human, 0, SLIGHT_AGREEMENT):
        yield _hint(
            "people of many minds",
            f"People don't agree with each other on these pairs beyond chance: {_percent(human)}. The difference is"
            " too small to see, or it is a matter of taste.",
        )
    elif human.low > 0.5 and hps is not None and _is_blind(hps, human.low):
        yield _hint(
            "wrong aspects",
            f"Wrong aspects: people agree with each other on these pairs, {_percent(human)}; HPS is not told apart from"
            f" chance, {_percent(hps)}. It was tuned on something that doesn't decide here: collect votes on such"
            " images and train HPS on them.",
        )


def _is_unlearnt(gain: Estimate, on_preferred: Estimate | None) -> bool:
    """Whether the mark does next to nothing to non-preferred images, or no more than to preferred ones."""
    if gain.low is None or gain.high is None or gain.n < FEWEST:
        return False
    is_below_other = on_preferred is not None and on_preferred.low is not None and gain.high < on_preferred.low
    return is_below_other or (gain.low <= 0 and gain.high < SMALL_GAIN)


def _is_blind(hps: Estimate, human_low: float) -> bool:
    """Whether HPS is no better than chance on pairs on which people agree, and it isn't for want of votes."""
    return hps.low is not None and hps.high is not None and hps.low <= 0.5 and hps.high < human_low


def _difference(arms: Arms | None, seed: int) -> Estimate | None:
    return None if arms is None else difference(arms, seed=seed)


def _is_within(estimate: Estimate, least: float, most: float) -> bool:
    """Whether the whole interval of enough figures lies between two numbers."""
    if estimate.low is None or estimate.high is None or estimate.n < FEWEST:
        return False
    return least < estimate.low and estimate.high < most


def _rises(estimate: Estimate) -> bool:
    return estimate.low is not None and estimate.low > 0


def _falls(estimate: Estimate) -> bool:
    return estimate.high is not None and estimate.high < 0


def _hint(name: HintName, text: str) -> Finding:
    return Finding(name, text, is_hint=True)


def _percent(estimate: Estimate) -> str:
    """Such as `62 % (55 to 69 %)`."""
    if estimate.value is None:
        return "an unknown part"
    if estimate.low is None or estimate.high is None:
        return _share(estimate.value)
    return f"{_share(estimate.value)} ({100 * estimate.low:.0f} to {_share(estimate.high)})"


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"


def _number(estimate: Estimate) -> str:
    """Such as `0.21 (0.12 to 0.3)`, to three digits."""
    if estimate.value is None:
        return "an unknown amount"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3g}"
    return f"{estimate.value:.3g} ({estimate.low:.3g} to {estimate.high:.3g})"


def _turned(fall: Estimate) -> Estimate:
    """The amount of a fall, above 0."""
    if fall.value is None or fall.low is None or fall.high is None:
        return fall
    return replace(fall, value=-fall.value, low=-fall.high, high=-fall.low)


def _prompts(count: int) -> list[str]:
    return [str(number) for number in range(count)]
