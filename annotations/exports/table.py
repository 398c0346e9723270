"""One row per judgement, with all there is to say of it: as CSV and as Parquet."""

import csv
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from annotations.exports.files import ParquetFile
from annotations.exports.stream import Exported, Votes
from annotations.models import Outcome
from annotations.services.snapshots import FrozenVote

CSV_COLUMNS = [
    "vote",
    "campaign",
    "prompt",
    "split",
    "tags",
    "outcome",
    "chosen",
    "chosen_generator",
    "order",
    "generators",
    "annotator",
    "shown_ms",
    "hidden_ms",
    "is_too_fast",
    "instructions_version",
    "voted_at",
    "ranking",
    "synthetic",
]
# What a spreadsheet may take for a formula, also behind blanks and quotes, and in full width; and our own mark.
FORMULA = re.compile(r"""[\s"]*[=+\-@\t\r\n'＝＋－＠]""")
TIE_RULE = "outcome is choice, tie (no clear winner) or all_bad; chosen is empty for the last two. Nothing is derived."
SCHEMA = pa.schema(
    [
        pa.field("vote", pa.string()),
        pa.field("campaign", pa.string()),
        pa.field("prompt", pa.string()),
        pa.field("split", pa.string()),
        pa.field("tags", pa.list_(pa.string())),
        pa.field("outcome", pa.string()),
        pa.field("chosen", pa.string()),
        pa.field("chosen_generator", pa.string()),
        pa.field("order", pa.list_(pa.string())),
        pa.field("generators", pa.list_(pa.string())),
        pa.field("annotator", pa.string()),
        pa.field("shown_ms", pa.int64()),
        pa.field("hidden_ms", pa.int64()),
        pa.field("is_too_fast", pa.bool_()),
        pa.field("instructions_version", pa.int64()),
        pa.field("voted_at", pa.timestamp("us", tz="UTC")),
        pa.field("ranking", pa.string()),
        pa.field("synthetic", pa.bool_()),
    ]
)


def export_csv(votes: Votes, out: Path) -> Exported:
    """Ties and 'all bad' included; images by their public ids, in the order shown."""
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, CSV_COLUMNS, quoting=csv.QUOTE_ALL)
        writer.writeheader()
        for vote in votes.of(*Outcome.judgements()):
            writer.writerow({name: safe_cell(value) for name, value in csv_row(vote).items()})
    return votes.exported()


def csv_row(vote: FrozenVote) -> dict[str, object]:
    row = row_of(vote)
    return row | {
        "tags": json.dumps(row["tags"], ensure_ascii=False) if row["tags"] else "",
        "chosen": row["chosen"] or "",
        "chosen_generator": row["chosen_generator"] or "",
        "order": " ".join(row["order"]),
        "generators": json.dumps([name or "" for name in row["generators"]], ensure_ascii=False),
        "shown_ms": "" if vote.shown_ms is None else vote.shown_ms,
        "is_too_fast": int(vote.is_too_fast),
        "voted_at": vote.voted_at,
        "ranking": row["ranking"] or "",
        "synthetic": int(vote.is_synthetic),
    }


def row_of(vote: FrozenVote) -> dict[str, Any]:
    """One vote as the values of its columns."""
    choice = vote.choice
    chosen = choice.chosen
    return {
        "vote": vote.vote,
        "campaign": vote.campaign,
        "prompt": choice.prompt,
        "split": choice.split,
        "tags": list(vote.tags),
        "outcome": choice.outcome,
        "chosen": None if chosen is None else choice.images[chosen],
        "chosen_generator": None if chosen is None else choice.generators[chosen],
        "order": list(choice.images),
        "generators": list(choice.generators),
        "annotator": choice.annotator,
        "shown_ms": vote.shown_ms,
        "hidden_ms": vote.hidden_ms,
        "is_too_fast": vote.is_too_fast,
        "instructions_version": vote.instructions_version,
        "voted_at": datetime.fromisoformat(vote.voted_at),
        "ranking": json.dumps(vote.ranking, sort_keys=True) if vote.ranking else None,
        "synthetic": vote.is_synthetic,
    }


def safe_cell(value: object) -> str:
    """A cell that no spreadsheet takes for a formula; taking away one leading apostrophe gives the text back."""
    text = str(value)
    return f"'{text}" if FORMULA.match(text) else text


def export_parquet(votes: Votes, out: Path) -> Exported:
    """The columns of the CSV with their types."""
    about = {"hps_site.snapshot": votes.snapshot.sha256, "hps_site.tie_rule": TIE_RULE}
    with ParquetFile(out, SCHEMA, about) as file:
        for vote in votes.of(*Outcome.judgements()):
            file.add(row_of(vote))
    return votes.exported()
