"""How far one person's answers can be relied on: gold, repeats, places, and the crowd where it is decided."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from scoring.agreement import Task
from scoring.intervals import CONFIDENCE, wilson_interval
from scoring.metrics import Estimate
from scoring.preferences import Choice

# The crowd is decided where so large a share of at least so many others chose one image. Below it, tastes differ.
DECIDED_SHARE, DECIDED_OTHERS = 0.8, 3

# Answers that name no image, after the places 0 to 8 of those that do.
TIE, ALL_BAD = 9, 10

_TAIL = (1 - CONFIDENCE) / 2
# Keeps a skill off 0 and 1, where one answer would outweigh all others; the value of crowd-kit.
_EPSILON = 1e-10


@dataclass(frozen=True)
class Answers:
    """Who said what of which task: three arrays of one length, one entry per choice."""

    people: list[str]
    tasks: list[Task]
    person: NDArray[np.int64]
    """(m,) index into `people`."""
    task: NDArray[np.int64]
    """(m,) index into `tasks`."""
    answer: NDArray[np.int64]
    """(m,) place of the chosen image among the task's images in the order of their keys, or TIE, or ALL_BAD."""
    images: NDArray[np.int64]
    """(tasks,) how many images each task shows."""


@dataclass(frozen=True)
class OneCoin:
    """What the one-coin model makes of a crowd."""

    skills: NDArray[np.float64]
    """(people,) 0..1: how often each gives the answer that the model takes for the right one."""
    posteriors: NDArray[np.float64]
    """(tasks, answers that occur) how likely each is the right one."""


@dataclass(frozen=True)
class CrowdFit:
    """How each person's choices stand to what the others chose, where the others are decided; arrays (people,)."""

    hits: NDArray[np.int64]
    """Choices that are those of the others."""
    tasks: NDArray[np.int64]
    """Tasks on which the others are decided and this person chose an image."""
    weighted_hits: NDArray[np.float64]
    """Hits, each weighed by how decided the others are: 2 * share - 1."""
    weights: NDArray[np.float64]
    """Sum of the weights of all these tasks."""
    chance: NDArray[np.float64]
    """Expected hits of somebody who guesses."""


@dataclass(frozen=True)
class Places:
    """How often the image at each place was chosen, among sets of one size."""

    chosen: tuple[int, ...]
    """Counts, from the first place in reading order."""
    p_value: float
    """How often places that don't matter give counts at least as uneven: exact for two, Pearson's chi-square beyond."""

    @property
    def choices(self) -> int:
        return sum(self.chosen)

    @property
    def even_share(self) -> float:
        return 1 / len(self.chosen)

    @property
    def favourite(self) -> int:
        """Index of the place chosen most often."""
        return self.chosen.index(max(self.chosen))

    def share(self, place: int) -> Estimate:
        """The share of one place, with Wilson's interval."""
        return share(f"share of place {place + 1}", self.chosen[place], self.choices)


def share(name: str, hits: float, n: int, unit: str = "choices") -> Estimate:
    """A share with Wilson's score interval."""
    if n == 0:
        return Estimate(name, None, None, None, 0, unit, "There is nothing to measure yet.")
    value = hits / n
    low, high = wilson_interval(value, n)
    return Estimate(name, float(value), low, high, n, unit)


def reliability(gold_right: int, gold: int, crowd_hits: float = 0, crowd_weight: float = 0) -> Estimate:
    """How likely a person gives the answer that is clear: mean and central 95 % of a Beta posterior.

    The prior is Beta(1, 1). Each gold answer counts as one, each answer where the crowd is decided as its weight, at
    most one (`CrowdFit`). Where tastes differ the crowd is not decided and nothing counts.

    Args:
        gold_right: gold tasks answered as expected.
        gold: gold tasks answered.
        crowd_hits, crowd_weight: `CrowdFit.weighted_hits` and `CrowdFit.weights`.

    Returns:
        0..1; n counts answers, weighed ones rounded. Without any answer the prior speaks: 0.5, from 0.025 to 0.975.
    """
    right = 1 + gold_right + crowd_hits
    wrong = 1 + gold - gold_right + max(crowd_weight - crowd_hits, 0)
    low, high = special.betaincinv(right, wrong, [_TAIL, 1 - _TAIL])
    n = round(gold + crowd_weight)
    return Estimate("reliability", float(right / (right + wrong)), float(low), float(high), n, "clear answers")


def doubt(right: int, n: int, *, required: float) -> float:
    """How likely a person who gave `right` of `n` gold answers as expected gives fewer than `required` in the long run.

    Returns:
        0..1 under a Beta(1, 1) prior: `required` itself for a new person.
    """
    return float(special.betainc(1 + right, 1 + n - right, required))


def answers_of(choices: Sequence[Choice]) -> Answers:
    """Choices as arrays, people and tasks numbered in the order in which they appear."""
    people: dict[str, int] = {}
    tasks: dict[Task, int] = {}
    places: dict[tuple[str, ...], dict[str, int]] = {}
    rows = []
    for choice in choices:
        place_of = places.setdefault(choice.images, {key: at for at, key in enumerate(sorted(choice.images))})
        answer = place_of[choice.answer] if choice.is_decided else TIE if choice.outcome == "tie" else ALL_BAD
        rows.append(
            (people.setdefault(choice.annotator, len(people)), tasks.setdefault(choice.task, len(tasks)), answer)
        )
    person, task, answer_codes = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    images = np.array([len(keys) for _, keys in tasks], dtype=np.int64)
    return Answers(list(people), list(tasks), person, task, answer_codes, images)


def one_coin(answers: Answers, *, tolerance: float = 1e-9, rounds: int = 2000) -> OneCoin:
    """The Dawid-Skene model with one number per person, fitted by expectation and maximisation.

    Each task is taken to have one right answer; a person gives it with their skill, and else any other answer alike.
    For questions of taste that is a lens, not the truth: read a skill beside the person's gold.

    Args:
        answers: at least one.
        tolerance: of the skills, where the rounds end.
        rounds: at most so many.

    Source: Zhang et al., Spectral methods meet EM (2016); checked against crowd-kit's `OneCoinDawidSkene`.
    """
    codes, answer = np.unique(answers.answer, return_inverse=True)
    if len(codes) == 1:
        return OneCoin(np.ones(len(answers.people)), np.ones((len(answers.tasks), 1)))
    shape = (len(answers.tasks), len(codes))
    cell = answers.task * len(codes) + answer
    counts = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape).astype(float)
    posteriors = counts / counts.sum(axis=1, keepdims=True)
    given = np.bincount(answers.person, minlength=len(answers.people))
    skills = np.zeros(len(answers.people))
    for _ in range(rounds):
        before, priors = skills, np.maximum(posteriors.mean(axis=0), _EPSILON)
        skills = np.bincount(answers.person, posteriors[answers.task, answer], len(answers.people)) / given
        right = np.log(np.clip(skills, _EPSILON, 1 - _EPSILON))
        wrong = np.log(np.clip((1 - skills) / (len(codes) - 1), _EPSILON, 1 - _EPSILON))
        gain = np.bincount(cell, (right - wrong)[answers.person], shape[0] * shape[1]).reshape(shape)
        posteriors = special.softmax(np.log(priors) + gain, axis=1)
        if np.abs(skills - before).max() < tolerance:
            break
    return OneCoin(skills, posteriors)


def crowd_fit(answers: Answers) -> CrowdFit:
    """Each person against the others, task by task, where the others are decided (`DECIDED_SHARE`).

    Only choices of an image count, on both sides: ties and all-bad answers are habits of their own.
    """
    chose = answers.answer < TIE
    person, task, place = answers.person[chose], answers.task[chose], answers.answer[chose]
    counts = np.zeros((len(answers.tasks), TIE), dtype=np.int64)
    np.add.at(counts, (task, place), 1)
    others = counts[task]
    others[np.arange(len(task)), place] -= 1
    number = others.sum(axis=1)
    top = others.max(axis=1)
    is_decided = (number >= DECIDED_OTHERS) & (top >= DECIDED_SHARE * number)
    is_hit = is_decided & (others[np.arange(len(task)), place] == top)
    weight = np.where(is_decided, 2 * top / np.maximum(number, 1) - 1, 0.0)
    guess = np.where(is_decided, 1 / answers.images[task], 0.0)
    people = len(answers.people)
    return CrowdFit(
        hits=np.bincount(person, is_hit, people).astype(np.int64),
        tasks=np.bincount(person, is_decided, people).astype(np.int64),
        weighted_hits=np.bincount(person, weight * is_hit, people).astype(np.float64),
        weights=np.bincount(person, weight, people).astype(np.float64),
        chance=np.bincount(person, guess, people).astype(np.float64),
    )


def places(choices: Sequence[Choice]) -> Places | None:
    """How often each place was chosen, among the sets of the commonest size; None where no image was chosen.

    Args:
        choices: with their images in the order shown.
    """
    chosen: dict[int, NDArray[np.int64]] = {}
    for choice in choices:
        if choice.chosen is not None:
            chosen.setdefault(len(choice.images), np.zeros(len(choice.images), dtype=np.int64))[choice.chosen] += 1
    if not chosen:
        return None
    counts = max(chosen.values(), key=lambda of_size: (of_size.sum(), len(of_size)))
    if len(counts) == 2:
        p_value = stats.binomtest(int(counts[0]), int(counts.sum())).pvalue
    else:
        p_value = stats.chisquare(counts).pvalue
    return Places(tuple(int(count) for count in counts), float(p_value))


def preference_p_value(choices: Sequence[Choice]) -> float | None:
    """How often somebody who chooses blindly favours some generators as much as these choices do.

    The score test of a Plackett-Luce model at equal worths: a person with a taste of their own, whatever it is, gets
    a small value, a person who guesses any value alike.

    Args:
        choices: of one person, naming the generators.

    Returns:
        0..1; None where fewer than two generators were chosen between.
    """
    judged = [choice for choice in choices if choice.is_decided and choice.generators and None not in choice.generators]
    names = sorted({name for choice in judged for name in choice.generators if name is not None})
    place = {name: at for at, name in enumerate(names)}
    gained, variance = np.zeros(len(names)), np.zeros((len(names), len(names)))
    for choice in judged:
        shown = np.bincount([place[name] for name in choice.generators if name], minlength=len(names))
        expected = shown / shown.sum()
        gained -= expected
        gained[place[choice.generators[choice.chosen] or ""]] += 1  # type: ignore[index]
        variance += np.diag(expected) - np.outer(expected, expected)
    freedom = int(np.linalg.matrix_rank(variance)) if names else 0
    if freedom == 0:
        return None
    return float(stats.chi2.sf(gained @ np.linalg.pinv(variance) @ gained, freedom))
