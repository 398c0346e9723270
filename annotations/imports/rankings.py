"""Turns a ranking into votes: each pair of its images is one vote, a tie where the ranks are equal.

A chain of best-of-the-rest choices could not say that two images share a rank; pairs say all that a ranking says and
nothing more, and give it back: the ranks stand with each vote.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from annotations.imports.records import BadRecord, Judgement, shown
from annotations.models import Outcome

MAX_RANKED = 100
"""Images in one ranking; they make 4,950 pairs."""


def ranks_of(value: object, count: int, key: str) -> tuple[int, ...]:
    """Ranks from 1, the best; equal ones are ties, and some may be left out.

    Raises:
        BadRecord: not one whole number from 1 per image.
    """
    if not isinstance(value, list) or not all(isinstance(rank, int) and not isinstance(rank, bool) for rank in value):
        raise BadRecord(f"{key} is no list of whole numbers but {shown(value)}")
    if len(value) != count:
        raise BadRecord(f"{key} has {len(value)} ranks for {count} images")
    if min(value) < 1 or max(value) > 2**31 - 1:
        raise BadRecord(f"{key} holds {shown(min(value))}; ranks count from 1, the best")
    return tuple(value)


def pairs_of(ranking: Judgement, ranks: Sequence[int]) -> Iterator[Judgement]:
    """The votes of one person's ranking, image by image in the order of the record.

    Args:
        ranking: what all pairs share; its key names the ranking.
        ranks: of the images, 1 being the best.
    """
    for first, second in combinations(range(len(ranks)), 2):
        generators = ranking.generators and (ranking.generators[first], ranking.generators[second])
        details: dict[str, Any] = {"ranking": {"id": ranking.key, "ranks": [ranks[first], ranks[second]]}}
        is_tie = ranks[first] == ranks[second]
        yield replace(
            ranking,
            key=f"{ranking.key}:{ranking.annotator}:{first}-{second}",
            images=(ranking.images[first], ranking.images[second]),
            generators=generators,
            outcome=Outcome.TIE if is_tie else Outcome.CHOICE,
            chosen=None if is_tie else int(ranks[second] < ranks[first]),
            details=ranking.details | details,
        )
