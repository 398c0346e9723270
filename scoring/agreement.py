"""How often people agree with each other: what bounds every scorer that learns from them."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scoring.metrics import Estimate, clustered_mean
from scoring.preferences import Choice

Task = tuple[str, tuple[str, ...]]


def human_ceiling(choices: Sequence[Choice], *, seed: int = 0) -> Estimate:
    """How often the others' favourite is what a person chose: leave-one-out plurality.

    For every choice of an image, the image most often chosen by the *other* people on the same task; where k images
    share that place and the chosen one is among them it counts 1/k. Choices that no other person's choice stands
    beside are left out.

    Returns:
        0..1, on the same scale as `metrics.top_one_accuracy`; a good scorer may beat it, since it has learnt from more
        people than sat at one task. Undefined where no two people chose on the same task. Interval resampled by prompt.
    """
    decided = [choice for choice in choices if choice.is_decided]
    votes = _answers_by_task(decided)
    judged = [choice for choice in decided if votes[choice.task].total() > 1]
    if not judged:
        return _too_few("human ceiling")
    credits = np.array([_plurality_credit(choice.answer, votes[choice.task]) for choice in judged])
    return clustered_mean(credits, [choice.prompt for choice in judged], name="human ceiling", seed=seed)


def _plurality_credit(answer: str, votes: Counter[str]) -> float:
    others = votes.copy()
    others[answer] -= 1
    most = max(others.values())
    return float(others[answer] == most) / sum(count == most for count in others.values())


def highest_attainable(choices: Sequence[Choice], *, seed: int = 0) -> Estimate:
    """The accuracy of a scorer that knows all votes and puts each task's most chosen image first.

    No scorer with one number per image can do better on these choices. With few people per task it is far too
    hopeful (with one it is 1), which is why `human_ceiling` stands beside it.

    Returns:
        0..1, on the scale of `metrics.top_one_accuracy`; interval resampled by prompt.
    """
    votes = _answers_by_task([choice for choice in choices if choice.is_decided])
    best = np.array([max(of_task.values()) for of_task in votes.values()], dtype=float)
    people = np.array([of_task.total() for of_task in votes.values()], dtype=np.int64)
    prompts = [prompt for prompt, _ in votes]
    return clustered_mean(best, prompts, name="highest attainable", weights=people, seed=seed)


def percent_agreement(choices: Sequence[Choice], *, seed: int = 0) -> Estimate:
    """How often two people on the same task gave the same answer, ties and all-bad being answers too.

    Returns:
        0..1, n counts pairs of people; not corrected for chance. Undefined where no two people did the same task.
        Interval resampled by prompt.
    """
    votes = _answers_by_task(choices)
    same = np.array([sum(c * (c - 1) for c in of_task.values()) / 2 for of_task in votes.values()], dtype=float)
    pairs = np.array([of_task.total() * (of_task.total() - 1) // 2 for of_task in votes.values()], dtype=np.int64)
    if not pairs.sum():
        return _too_few("percent agreement", "pairs of people")
    prompts = [prompt for prompt, _ in votes]
    return clustered_mean(same, prompts, name="percent agreement", weights=pairs, seed=seed, unit="pairs of people")


def answer_counts(choices: Sequence[Choice], by: Literal["generator", "image"] = "image") -> NDArray[np.int64]:
    """How often each answer was given on each task.

    Args:
        choices: any.
        by: what an image stands for. `generator`: who made it; every choice must name them. `image`: its place among
            the task's images in the order of their keys, which says nothing but lets chance be the same for all.

    Returns:
        (tasks, answers) counts; ties and all-bad answers have columns of their own where they occur.

    Raises:
        ValueError: `generator` was asked for and a choice doesn't name them.
    """
    columns: dict[object, int] = {}
    votes: dict[Task, Counter[int]] = defaultdict(Counter)
    for choice in choices:
        column = columns.setdefault(_column(choice, by), len(columns))
        votes[choice.task][column] += 1
    counts = np.zeros((len(votes), len(columns)), dtype=np.int64)
    for row, of_task in enumerate(votes.values()):
        for column, count in of_task.items():
            counts[row, column] = count
    return counts


def _column(choice: Choice, by: Literal["generator", "image"]) -> object:
    if choice.chosen is None:
        return choice.outcome, None
    if by == "image":
        return "place", sorted(choice.images).index(choice.answer)
    if not choice.generators:
        raise ValueError("A choice doesn't name its generators; count by image instead.")
    return "generator", choice.generators[choice.chosen]


def krippendorff_alpha(counts: NDArray[np.int64]) -> Estimate:
    """Krippendorff's alpha for unordered answers: agreement beyond chance, with any number of people per task.

    Args:
        counts: (tasks, answers), see `answer_counts`; tasks with fewer than two answers are left out.

    Returns:
        1 where all agree, 0 at chance, negative below it; above .8 is usually called reliable, above .667 tentative.
        For choices between pictures .1 to .4 is common. n counts the answers used. Without interval.

    Source: Krippendorff, Content Analysis (2004), section 11.3; checked against evalica's `alpha`.
    """
    name, unit = "Krippendorff's alpha", "answers"
    used = counts[counts.sum(axis=1) > 1]
    people = used.sum(axis=1)
    n = int(people.sum())
    if n == 0:
        return _too_few(name, unit)
    totals = used.sum(axis=0)
    expected = (n * n - (totals * totals).sum()) / (n - 1)
    if expected == 0:
        return Estimate(name, None, None, None, n, unit, "All people gave one and the same answer to everything.")
    observed = ((people * people - (used * used).sum(axis=1)) / (people - 1)).sum()
    return Estimate(name, float(1 - observed / expected), None, None, n, unit)


def fleiss_kappa(counts: NDArray[np.int64]) -> Estimate:
    """Fleiss' kappa: agreement beyond chance, for the same number of people on every task.

    Args:
        counts: (tasks, answers), see `answer_counts`.

    Returns:
        1 where all agree, 0 at chance, negative below it. n counts tasks. Without interval.

    Source: Fleiss, Measuring nominal scale agreement among many raters (1971).
    """
    name, unit = "Fleiss' kappa", "tasks"
    people = counts.sum(axis=1)
    if not len(people) or people.max() < 2:
        return _too_few(name, unit)
    if people.min() != people.max():
        reason = f"It needs equally many people on every task, here {people.min()} to {people.max()}; read alpha."
        return Estimate(name, None, None, None, len(people), unit, reason)
    m = int(people[0])
    shares = counts.sum(axis=0) / counts.sum()
    expected = float((shares * shares).sum())
    if expected == 1:
        return Estimate(name, None, None, None, len(people), unit, "All people gave one and the same answer.")
    observed = float((((counts * counts).sum(axis=1) - m) / (m * (m - 1))).mean())
    return Estimate(name, (observed - expected) / (1 - expected), None, None, len(people), unit)


def _answers_by_task(choices: Sequence[Choice]) -> dict[Task, Counter[str]]:
    votes: dict[Task, Counter[str]] = defaultdict(Counter)
    for choice in choices:
        votes[choice.task][choice.answer] += 1
    return votes


def _too_few(name: str, unit: str = "choices") -> Estimate:
    return Estimate(name, None, None, None, 0, unit, "No two people have done the same task yet.")
