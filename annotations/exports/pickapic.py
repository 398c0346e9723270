"""Pick-a-Pic: Parquet files with one row per pair, images as bytes inside; see imports/pickapic.py.

A choice among more than two images is told as the pairs it decides, and a tie among more as all its pairs; all of them
under one `ranking_id`.
"""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa
from django.core.files.storage import default_storage

from annotations.exports.card import write_card
from annotations.exports.files import ParquetFile
from annotations.exports.stream import Exported, Votes, pairs_in
from annotations.models import Outcome
from annotations.services.snapshots import FrozenVote

CARD = """One row per pair, with the columns of Pick-a-Pic. `label_0` and `label_1` are 1 and 0, 0 and 1, or, of a tie,
one half each; `best_image_uid` is then `none`. A choice among more than two images is told as the pairs it decides
(the chosen one against each other), a tie among more as all its pairs, under one `ranking_id`. 'All bad' has no form
there and is left out. `user_id` is made from the pseudonym. `jpg_0` and `jpg_1` hold the files as they are, which may
be PNG or WebP; they are null where the pixels are elsewhere. `synthetic`, `tags` and `shown_ms` are additions."""
SCHEMA = pa.schema(
    [
        pa.field("are_different", pa.bool_()),
        pa.field("best_image_uid", pa.string()),
        pa.field("caption", pa.string()),
        pa.field("created_at", pa.timestamp("us", tz="UTC")),
        pa.field("has_label", pa.bool_()),
        pa.field("image_0_uid", pa.string()),
        pa.field("image_0_url", pa.string()),
        pa.field("image_1_uid", pa.string()),
        pa.field("image_1_url", pa.string()),
        pa.field("jpg_0", pa.binary()),
        pa.field("jpg_1", pa.binary()),
        pa.field("label_0", pa.float64()),
        pa.field("label_1", pa.float64()),
        pa.field("model_0", pa.string()),
        pa.field("model_1", pa.string()),
        pa.field("ranking_id", pa.int64()),
        pa.field("user_id", pa.int64()),
        pa.field("num_example_per_prompt", pa.int64()),
        pa.field("synthetic", pa.bool_()),
        pa.field("tags", pa.list_(pa.string())),
        pa.field("shown_ms", pa.int64()),
    ]
)


def export_pickapic(votes: Votes, out: Path) -> Exported:
    """A file for each side of the split."""
    out.mkdir()
    examples = rows_per_prompt(Votes(votes.snapshot, lambda _done, _total: None))
    with ExitStack() as stack:
        files = {
            split: stack.enter_context(ParquetFile(out / f"{split}.parquet", SCHEMA, {"hps_site": CARD}))
            for split in ("train", "test")
        }
        for vote in votes.of(Outcome.CHOICE, Outcome.TIE):
            for row in rows_of(vote, examples[prompt_key(vote)]):
                size = sum(len(row[name] or b"") for name in ("jpg_0", "jpg_1"))
                files[vote.choice.split].add(row, size)
    exported = votes.exported()
    write_card(out / "README.md", votes, exported, form="pickapic", text=CARD)
    return exported


def rows_per_prompt(votes: Votes) -> dict[bytes, int]:
    """How many rows each prompt will have; by which examples are weighted in training."""
    counts: dict[bytes, int] = {}
    for vote in votes.of(Outcome.CHOICE, Outcome.TIE):
        key = prompt_key(vote)
        counts[key] = counts.get(key, 0) + sum(1 for _pair in labelled_pairs(vote))
    return counts


def prompt_key(vote: FrozenVote) -> bytes:
    return uuid.uuid5(uuid.NAMESPACE_OID, vote.choice.prompt).bytes


def labelled_pairs(vote: FrozenVote) -> Iterator[tuple[int, int, float]]:
    """Places of the two images in the order shown, and the label of the first."""
    if vote.choice.chosen is None:
        for first, second in combinations(range(len(vote.choice.images)), 2):
            yield first, second, 0.5
    else:
        for chosen, other in pairs_in(vote):
            yield min(chosen, other), max(chosen, other), float(chosen < other)


def rows_of(vote: FrozenVote, examples: int) -> Iterator[dict[str, Any]]:
    choice = vote.choice
    # A reference stands for itself; an image that is here is known by its public id.
    uids = [reference or image for image, reference in zip(choice.images, vote.references, strict=True)]
    for first, second, label in labelled_pairs(vote):
        best = "none" if label == 0.5 else uids[first if label else second]
        yield {
            "are_different": True,
            "best_image_uid": best,
            "caption": choice.prompt,
            "created_at": datetime.fromisoformat(vote.voted_at),
            "has_label": True,
            "image_0_uid": uids[first],
            "image_1_uid": uids[second],
            "jpg_0": content_of(vote.files[first]),
            "jpg_1": content_of(vote.files[second]),
            "label_0": label,
            "label_1": 1 - label,
            "model_0": choice.generators[first] or "",
            "model_1": choice.generators[second] or "",
            "ranking_id": vote.number,
            "user_id": uuid.UUID(choice.annotator).int >> 65,
            "num_example_per_prompt": examples,
            "synthetic": vote.is_synthetic,
            "tags": list(vote.tags),
            "shown_ms": vote.shown_ms,
        }


def content_of(file: str) -> bytes | None:
    if not file:
        return None
    with default_storage.open(file) as stored:
        return stored.read()
