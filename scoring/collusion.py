"""People whose answers agree with each other more than people who look for themselves can."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from scoring.reliability import TIE, Answers

# Pairs that share fewer tasks than these say nothing.
LEAST_SHARED = 10

# Of the pairs that are found, at most this share may be found by chance (Benjamini and Hochberg).
FALSE_DISCOVERIES = 0.01

# What one pair in ten exceeds is what like-minded people reach.
LIKE_MINDED_QUANTILE = 0.9

# Repeats from which people's agreement with themselves is known well enough to be a bound.
LEAST_REPEATS = 30


@dataclass(frozen=True)
class Pairs:
    """Every two people with at least `LEAST_SHARED` tasks in common; arrays of one length."""

    first: NDArray[np.int64]
    """Indices of people, the smaller one."""
    second: NDArray[np.int64]
    shared: NDArray[np.int64]
    """Tasks on which both chose an image."""
    agreed: NDArray[np.int64]
    """Of these, the ones on which it was the same image."""


@dataclass(frozen=True)
class Ring:
    """People who are tied together by pairs that agree too well."""

    people: tuple[str, ...]
    shared: int
    """Tasks in common, summed over the pairs that were found."""
    agreed: int
    bound: float
    """The agreement that like-minded people reach."""
    p_value: float
    """The largest of its pairs': how often a pair at the bound agrees so well."""


def pairs_of(answers: Answers) -> Pairs:
    """How often each two people chose the same image; people are compared only where both chose one."""
    chose = np.flatnonzero(answers.answer < TIE)
    chose = chose[np.lexsort((answers.person[chose], answers.task[chose]))]
    starts = np.flatnonzero(np.diff(answers.task[chose], prepend=-1))
    people = len(answers.people)
    cells, same = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=bool)]
    for of_task in np.split(chose, starts[1:]):
        one, other = np.triu_indices(len(of_task), 1)
        cells.append(answers.person[of_task[one]] * people + answers.person[of_task[other]])
        same.append(answers.answer[of_task[one]] == answers.answer[of_task[other]])
    cell, place = np.unique(np.concatenate(cells), return_inverse=True)
    shared = np.bincount(place, minlength=len(cell))
    agreed = np.bincount(place, np.concatenate(same), len(cell)).astype(np.int64)
    enough = shared >= LEAST_SHARED
    return Pairs(cell[enough] // people, cell[enough] % people, shared[enough], agreed[enough])


def rings(answers: Answers, *, same_twice: int = 0, repeats: int = 0) -> list[Ring]:
    """Groups of people whose choices agree beyond what like-minded people reach.

    Two people who look for themselves agree at most as often as one person agrees with themselves when the same images
    come again, however alike their tastes are. That is the bound for a pair, or, where it is higher, the agreement that
    one pair in ten exceeds. So a minority with a taste of its own is no ring: its members are as noisy as all others.

    Args:
        answers: of regular tasks.
        same_twice, repeats: how often people gave the same answer to a repeat probe, over how many.

    Returns:
        Rings, the largest first; at most `FALSE_DISCOVERIES` of their pairs are there by chance.

    Source: Benjamini & Hochberg, Controlling the false discovery rate (1995); binomial tests of each pair.
    """
    pairs = pairs_of(answers)
    if not len(pairs.shared):
        return []
    bound = like_minded(pairs)
    if repeats >= LEAST_REPEATS:
        bound = max(bound, same_twice / repeats)
    p_values = stats.binom.sf(pairs.agreed - 1, pairs.shared, bound)
    found = np.flatnonzero(stats.false_discovery_control(p_values) <= FALSE_DISCOVERIES)
    return [
        Ring(
            people=tuple(answers.people[person] for person in people),
            shared=int(pairs.shared[tied].sum()),
            agreed=int(pairs.agreed[tied].sum()),
            bound=bound,
            p_value=float(p_values[tied].max()),
        )
        for people, tied in _tied_together(pairs, found)
    ]


def like_minded(pairs: Pairs) -> float:
    """The agreement that one pair in ten exceeds, freed of the noise of few tasks.

    Each pair's share is first drawn towards the mean by what chance alone adds to the spread (James and Stein).
    """
    shares = pairs.agreed / pairs.shared
    mean = float(pairs.agreed.sum() / pairs.shared.sum())
    noise = mean * (1 - mean) / pairs.shared
    spread = max(0.0, float(shares.var() - noise.mean()))
    drawn = mean + (shares - mean) * (spread / (spread + noise) if spread + noise.min() > 0 else 1.0)
    return float(np.quantile(drawn, LIKE_MINDED_QUANTILE))


def _tied_together(pairs: Pairs, found: NDArray[np.int64]) -> list[tuple[list[int], NDArray[np.int64]]]:
    """The connected groups of the pairs found, with their pairs."""
    group: dict[int, int] = {}
    for pair in found:
        one, other = int(pairs.first[pair]), int(pairs.second[pair])
        into, gone = group.setdefault(one, one), group.setdefault(other, other)
        group = {person: into if of == gone else of for person, of in group.items()}
    tied = []
    for name in dict.fromkeys(group.values()):
        people = sorted(person for person, of in group.items() if of == name)
        tied.append((people, np.array([pair for pair in found if int(pairs.first[pair]) in people], dtype=np.int64)))
    return sorted(tied, key=lambda of: -len(of[0]))
