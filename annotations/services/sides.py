"""The two sides of the split, kept apart: near-duplicates on one, and nothing tested on that was learnt from."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import Exists, OuterRef

from annotations.models import Image, Prompt, Split
from scoring.near_duplicates import Neighbourhood, Sketch

# Any number, the same for all who add prompts.
LOCK = 0x5052_4F4D_5054

# A look into the index for each key. One array against another, thousands of keys long, would be compared row by row,
# and without OFFSET 0 the planner, which can't know how rare a key is, does as much.
WITH_A_KEY = """
    SELECT DISTINCT ON (found.id) found.id, found.text, found.split, found.is_near_test
    FROM unnest(%s::bigint[]) AS wanted (key)
    CROSS JOIN LATERAL (
        SELECT id, text, split, is_near_test FROM annotations_prompt WHERE sketch @> ARRAY[wanted.key] OFFSET 0
    ) AS found
    ORDER BY found.id
"""


@dataclass
class KeptApart:
    """Lets through what a training may see, and counts the training votes that it doesn't."""

    shared_images: frozenset[int]
    """Images of training prompts whose file is that of a test prompt's image as well, by primary key."""
    near_prompts: int = 0
    """Votes left out because their prompt is a near-duplicate of a test prompt."""
    same_images: int = 0
    """Votes left out because one of their images is on the test side as well."""

    def kept(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Those of these rows of votes, one after the other."""
        for row in rows:
            if row["task__prompt__is_near_test"]:
                self.near_prompts += 1
            elif not self.shared_images.isdisjoint(row["order"]):
                self.same_images += 1
            else:
                yield row

    def to_record(self) -> dict[str, int]:
        return {"near_prompts": self.near_prompts, "same_images": self.same_images}


def settle_sides(*, prompts: Sequence[Prompt]) -> None:
    """Give new prompts, not saved yet, their side and what near-duplicates find them by; to be called in a transaction.

    A prompt that has no side yet takes that of its near-duplicates, those before it in the sequence included; without
    any, its own hash decides; between some on both sides it belongs to training. A side never changes afterwards: where
    a near-duplicate comes in on the test side, because its data set says so, those on the training side are marked
    (`is_near_test`), and no training looks at them any more.

    Until the transaction ends, no other one gets past this line: two near-duplicates that came in at the same moment
    would not see each other.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    sketches = [Sketch.of(prompt.text) for prompt in prompts]
    known = _neighbourhood({key for sketch in sketches for key in sketch.keys})
    marked: set[int] = set()
    for prompt, sketch in zip(prompts, sketches, strict=True):
        # Another transaction may just have added the very text: that row then stands, and this one is not added.
        near = [other for other in known.near(sketch) if other.text != prompt.text]
        sides = {other.split for other in near}
        prompt.sketch = sketch.keys
        prompt.split = prompt.split or _side(sides) or Split.of(prompt.text)
        prompt.is_near_test = prompt.split == Split.TRAIN and Split.TEST in sides
        if prompt.split == Split.TEST:
            marked |= _mark(other for other in near if other.split == Split.TRAIN)
        known.add(sketch, prompt)
    Prompt.objects.filter(pk__in=marked).update(is_near_test=True)


def _neighbourhood(keys: set[int]) -> Neighbourhood[Prompt]:
    """The prompts that have one of these keys."""
    known: Neighbourhood[Prompt] = Neighbourhood()
    for prompt in Prompt.objects.raw(WITH_A_KEY, [sorted(keys)]):
        known.add(Sketch.of(prompt.text), prompt)
    return known


def _side(sides: set[str]) -> str:
    if not sides:
        return ""
    return Split.TEST if sides == {Split.TEST} else Split.TRAIN


def _mark(prompts: Iterable[Prompt]) -> set[int]:
    """Mark prompts as near to a test prompt; the keys of those that are in the database."""
    keys = set()
    for prompt in prompts:
        prompt.is_near_test = True
        if prompt.pk is not None:
            keys.add(prompt.pk)
    return keys


def kept_apart() -> KeptApart:
    """What lets through those votes that a training may see now."""
    tested = Image.objects.filter(prompt__split=Split.TEST, sha256=OuterRef("sha256"))
    shared = Image.objects.filter(Exists(tested), prompt__split=Split.TRAIN)
    return KeptApart(frozenset(shared.values_list("pk", flat=True)))
