"""Leave one generator out: is what was learnt from choices true of images by somebody who was never seen?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scoring import agreement, metrics
from scoring.metrics import Scores
from scoring.preferences import MIN_IMAGES, Choice

# A share of fewer choices says nothing; each generator costs a training, so the most shown ones are taken.
FEWEST_TEST, FEWEST_TRAIN = 30, 10
MOST_GENERATORS = 12


@dataclass(frozen=True)
class LeftOut:
    """One generator, and the choices with and without it."""

    generator: str
    train: list[Choice]
    """The training side without any of its images."""
    test: list[Choice]
    """Decided choices of the test side that show an image of it."""


@dataclass(frozen=True)
class PassedOver:
    """A generator that can't be left out."""

    generator: str
    reason: str


@dataclass(frozen=True)
class Split:
    """What choices can tell of generators that were never seen."""

    parts: list[LeftOut]
    """Those shown most in the test first."""
    passed_over: list[PassedOver]


def leave_one_out(
    choices: Sequence[Choice],
    *,
    fewest_test: int = FEWEST_TEST,
    fewest_train: int = FEWEST_TRAIN,
    most: int = MOST_GENERATORS,
) -> Split:
    """For each generator the choices to train on without it, and those on which to measure it.

    Of a training choice that shows the generator, its images are taken out. Where one of the others was chosen, the
    choice among them stays what it was, as Luce's axiom has it; where its own image was chosen, or fewer than two are
    left, nothing stays.

    Args:
        choices: both sides of the split; those that don't name all generators are in no test.
        fewest_test: decided choices that must show a generator on the test side.
        fewest_train: decided choices that must be left to train on.
        most: generators to leave out, those with the most choices to test on.
    """
    tests: dict[str, list[Choice]] = {}
    for choice in choices:
        if choice.is_decided and choice.split == "test" and None not in choice.generators:
            for generator in dict.fromkeys(choice.generators):
                tests.setdefault(str(generator), []).append(choice)
    parts: list[LeftOut] = []
    passed_over: list[PassedOver] = []
    for generator, test in sorted(tests.items(), key=lambda item: (-len(item[1]), item[0])):
        reason = f"{len(test)} choices to test on; at least {fewest_test} are needed."
        if len(test) >= fewest_test:
            train = [kept for choice in choices if choice.split == "train" and (kept := without(choice, generator))]
            decided = sum(choice.is_decided for choice in train)
            if decided >= fewest_train and len(parts) < most:
                parts.append(LeftOut(generator, train, test))
                continue
            reason = f"{decided} choices to train on are left without it; at least {fewest_train} are needed."
            if decided >= fewest_train:
                reason = f"Only the {most} generators that were shown most are left out."
        passed_over.append(PassedOver(generator, reason))
    return Split(parts, passed_over)


def without(choice: Choice, generator: str) -> Choice | None:
    """A choice as it is without a generator's images; None where nothing is left of it, or its makers aren't known."""
    if not choice.generators or None in choice.generators:
        return None
    kept = [place for place, name in enumerate(choice.generators) if name != generator]
    if len(kept) < MIN_IMAGES or (choice.chosen is not None and choice.chosen not in kept):
        return None
    return replace(
        choice,
        images=tuple(choice.images[place] for place in kept),
        generators=tuple(choice.generators[place] for place in kept),
        chosen=None if choice.chosen is None else kept.index(choice.chosen),
    )


def measure(part: LeftOut, unseen: Scores, seen: Scores, base: Scores) -> dict[str, Any]:
    """How a model that never saw a generator does on it, beside one that did and the one both began as.

    Args:
        part: the generator.
        unseen: of the model trained without it, per choice and image of `part.test`.
        seen: of the model trained on all.
        base: of base CLIP.

    Returns:
        The generator, counts, and estimates as records for JSON, see `figures`.
    """
    return {
        "generator": part.generator,
        "train_choices": sum(choice.is_decided for choice in part.train),
        "test_choices": len(part.test),
        "prompts": len({choice.prompt for choice in part.test}),
        **figures(part.test, unseen, seen, base),
    }


def figures(choices: Sequence[Choice], unseen: Scores, seen: Scores, base: Scores) -> dict[str, Any]:
    """Top-1 of n of the three, the differences of the first to the others, chance and both ceilings, as records.

    A choice may be given several times; people's agreement with each other is looked at once.
    """
    once = list(dict.fromkeys(choices))
    estimates = {
        "unseen_top_one": metrics.top_one_accuracy(choices, unseen, name="top-1 of n, generator never seen"),
        "seen_top_one": metrics.top_one_accuracy(choices, seen, name="top-1 of n, trained on all"),
        "base_top_one": metrics.top_one_accuracy(choices, base, name="top-1 of n, base"),
        "chance": metrics.chance_level(choices),
        "human_ceiling": agreement.human_ceiling(once),
        "highest_attainable": agreement.highest_attainable(once),
        "unseen_difference": metrics.top_one_difference(
            choices, unseen, base, name="top-1 of n, never seen - base"
        ),
        "seen_difference": metrics.top_one_difference(
            choices, unseen, seen, name="top-1 of n, never seen - trained on all"
        ),
    }  # fmt: skip
    return {name: estimate.to_record() for name, estimate in estimates.items()}


def pooled(parts: Sequence[LeftOut], scores: Mapping[str, Mapping[str, Scores]]) -> dict[str, Any]:
    """The figures over all generators, a choice that shows several of them counting with each.

    Args:
        parts: the generators.
        scores: by name of the model (`unseen`, `seen`, `base`) and generator, as for `measure`.
    """
    choices = [choice for part in parts for choice in part.test]
    of_model = {name: [row for part in parts for row in by_part[part.generator]] for name, by_part in scores.items()}
    return figures(choices, of_model["unseen"], of_model["seen"], of_model["base"])


def verdict(record: Mapping[str, Any]) -> str:
    """What the pooled figures say, in plain sentences."""
    beside_base, beside_seen = record["unseen_difference"], record["seen_difference"]
    if beside_base["low"] is None:
        return "Too few choices for an interval; collect more votes."
    if beside_base["low"] > 0:
        said = "On generators that it never saw it is better than base CLIP."
    elif beside_base["high"] < 0:
        said = "On generators that it never saw it is worse than base CLIP."
    else:
        said = "On generators that it never saw no difference from base CLIP is shown."
    if beside_seen["high"] < 0:
        return f"{said} Having seen them is worth something."
    return f"{said} Nothing shows that it would do better if it had seen them."
