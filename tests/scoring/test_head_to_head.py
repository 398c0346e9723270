"""Two generators against each other: counted by hand."""

import pytest

from scoring.head_to_head import human_agreement, majorities, scorer_agreement
from scoring.preferences import Choice


def votes(prompt: str, mine: int = 0, other: int = 0, ties: int = 0, all_bad: int = 0) -> list[Choice]:
    """Votes on one pair; the images stand now on one side, now on the other."""
    said = [*["mine"] * mine, *["other"] * other, *["tie"] * ties, *["all_bad"] * all_bad]
    made = []
    for number, answer in enumerate(said):
        generators = ("mine", "other") if number % 2 else ("other", "mine")
        made.append(
            Choice(
                prompt=prompt,
                images=tuple(f"{prompt} {generator}" for generator in generators),
                outcome=answer if answer in {"tie", "all_bad"} else "choice",
                chosen=generators.index(answer) if answer in generators else None,
                annotator=f"person {number}",
                split="test",
                generators=generators,
            )
        )
    return made


def test_majorities_are_strict_and_ties_are_votes_for_neither():
    choices = [
        *votes("clear", mine=11, other=9),
        *votes("even", mine=10, other=10),
        *votes("lost", mine=8, other=12),
        *votes("most of the decided", mine=3, other=1, ties=2),
        *votes("bad", mine=1, all_bad=5),
    ]

    found = majorities(choices, "mine")

    assert (found.won, found.lost, found.neither, found.prompts) == (2, 1, 2, 5)
    assert (found.won_share.value, found.lost_share.value, found.neither_share) == (0.4, 0.2, 0.4)
    assert (found.won_share.n, found.won_share.unit) == (5, "prompts")


def test_majorities_of_the_other_side_are_the_mirror():
    choices = [*votes("a", mine=3), *votes("b", mine=1, other=2), *votes("c", mine=2, other=1)]

    mine, other = majorities(choices, "mine"), majorities(choices, "other")

    assert (mine.won, mine.lost) == (other.lost, other.won) == (2, 1)


def test_majorities_without_votes_have_no_share():
    found = majorities([], "mine")

    assert (found.prompts, found.won_share.value, found.neither_share) == (0, None, None)


def test_human_agreement_counts_pairs_of_people_who_chose():
    # 4 people on one pair: 3 of one mind, so 3 of 6 pairs of people agree; the tie is not asked.
    choices = [*votes("a", mine=3, other=1, ties=4), *votes("b", mine=2)]

    assert human_agreement(choices).value == pytest.approx((3 + 1) / (6 + 1))


def test_scorer_agreement_is_on_the_pairs_people_decided():
    choices = [*votes("a", mine=3, other=1), *votes("b", ties=5)]
    scores = [[2.0 if "mine" in image else 1.0 for image in choice.images] for choice in choices]

    found = scorer_agreement(choices, scores)

    assert (found.value, found.n) == (0.75, 4)
