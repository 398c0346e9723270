"""Parts of the choices on which a scorer may do better or worse than on all."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

from scoring.preferences import Choice

Kind = Literal["all", "images", "agreement", "generators", "tag"]

# A share of fewer choices says nothing; of many slices of a kind the largest are shown.
FEWEST_CHOICES = 10
MOST_SLICES = 20

# Whether people are of one mind can't be told from fewer.
FEWEST_PEOPLE = 3
DECIDED_SHARE = 2 / 3


@dataclass(frozen=True)
class Slice:
    """Some of the choices, by one property."""

    kind: Kind
    label: str
    """The value of the property: `4`, `decided`, `a / b`, a tag; empty for all."""
    choices: list[Choice]


@dataclass(frozen=True)
class Slices:
    """What the choices were cut into."""

    slices: list[Slice]
    left_out: int
    """Slices with fewer than ten decided choices, or beyond the twenty largest of their kind."""


def slices(choices: Sequence[Choice], tags: Mapping[str, Sequence[str]]) -> Slices:
    """Cut choices by number of images, by how far people agree, by pair of generators and by tag of the prompt.

    - `images`: how many stood in the set.
    - `agreement`: sets that at least three people judged are `decided` where at least two thirds gave the same answer,
      else `contested`. It is cut by the votes themselves, so every scorer that agrees with people does better on the
      decided ones: compare scorers within a slice, not slices with each other.
    - `generators`: choices reduced to two images; of a choice of one among n, the chosen image beside each other one.
    - `tag`: a prompt with several tags is in several slices.

    Args:
        choices: any; all-bad answers are in no slice but `all`, `images`, `agreement` and `tag`.
        tags: by prompt.

    Returns:
        Slices with at least ten decided choices, in this order of kinds, the largest first; `all` always.
    """
    made = [Slice("all", "", list(choices))]
    left_out = 0
    groups: list[tuple[Kind, dict[str, list[Choice]]]] = [
        ("images", _by_size(choices)),
        ("agreement", _by_agreement(choices)),
        ("generators", _by_generators(choices)),
        ("tag", _by_tag(choices, tags)),
    ]
    for kind, found in groups:
        large = [Slice(kind, label, of) for label, of in found.items() if _decided(of) >= FEWEST_CHOICES]
        large.sort(key=lambda one: (-_decided(one.choices), one.label))
        made += large[:MOST_SLICES]
        left_out += len(found) - len(large[:MOST_SLICES])
    return Slices(made, left_out)


def _decided(choices: Sequence[Choice]) -> int:
    return sum(choice.is_decided for choice in choices)


def _by_size(choices: Sequence[Choice]) -> dict[str, list[Choice]]:
    found: dict[str, list[Choice]] = defaultdict(list)
    for choice in choices:
        found[str(len(choice.images))].append(choice)
    return found


def _by_agreement(choices: Sequence[Choice]) -> dict[str, list[Choice]]:
    answers: dict[object, Counter[str]] = defaultdict(Counter)
    for choice in choices:
        answers[choice.task][choice.answer] += 1
    found: dict[str, list[Choice]] = defaultdict(list)
    for choice in choices:
        votes = answers[choice.task]
        if votes.total() >= FEWEST_PEOPLE:
            is_decided = max(votes.values()) >= DECIDED_SHARE * votes.total()
            found["decided" if is_decided else "contested"].append(choice)
    return found


def _by_generators(choices: Sequence[Choice]) -> dict[str, list[Choice]]:
    found: dict[str, list[Choice]] = defaultdict(list)
    for choice in choices:
        if choice.outcome == "all_bad" or not choice.generators:
            continue
        for first, second in combinations(range(len(choice.images)), 2):
            names = choice.generators[first], choice.generators[second]
            is_told = choice.chosen is None or choice.chosen in (first, second)
            if None not in names and names[0] != names[1] and is_told:
                found[" / ".join(sorted(map(str, names)))].append(_pair(choice, first, second))
    return found


def _pair(choice: Choice, first: int, second: int) -> Choice:
    return replace(
        choice,
        images=(choice.images[first], choice.images[second]),
        generators=(choice.generators[first], choice.generators[second]),
        chosen=None if choice.chosen is None else int(choice.chosen == second),
    )


def _by_tag(choices: Sequence[Choice], tags: Mapping[str, Sequence[str]]) -> dict[str, list[Choice]]:
    found: dict[str, list[Choice]] = defaultdict(list)
    for choice in choices:
        for tag in dict.fromkeys(tags.get(choice.prompt, ())):
            found[tag].append(choice)
    return found
