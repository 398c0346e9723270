"""A folder that Hugging Face `datasets` loads: votes and images as two tables, and a data card.

An image stands in its table once, however many votes are about it; a vote names images by their ids.
"""

import json
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
from django.core.files.storage import default_storage

from annotations.exports.card import write_card
from annotations.exports.files import ParquetFile
from annotations.exports.stream import Exported, Votes
from annotations.exports.table import SCHEMA, row_of
from annotations.models import Outcome
from annotations.services.snapshots import FrozenVote

CARD = """```python
from datasets import load_dataset

votes = load_dataset("PATH OF THIS FOLDER")            # splits train and test, one row per judgement
images = load_dataset("PATH OF THIS FOLDER", "images")  # one row per image, decoded
```

A vote's `order` holds the ids of the images in the order in which they were shown; they are the column `id` of
`images`. `outcome` is `choice`, `tie` (no clear winner) or `all_bad`; `chosen` is null for the last two. A tie stays a
tie and a choice among n stays one choice: no pairs are derived. `image` is null where the pixels are elsewhere, and
`reference` is then the image's name there."""
FRONT = """---
pretty_name: {name}
task_categories:
- text-to-image
tags:
- human-preferences{synthetic}
configs:
- config_name: votes
  default: true
  data_files:
  - split: train
    path: votes/train.parquet
  - split: test
    path: votes/test.parquet
- config_name: images
  data_files:
  - split: train
    path: images/train.parquet
  - split: test
    path: images/test.parquet
---
"""
PIXELS = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
IMAGES = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("image", PIXELS),
        pa.field("prompt", pa.string()),
        pa.field("generator", pa.string()),
        pa.field("sha256", pa.string()),
        pa.field("reference", pa.string()),
    ]
)
# By this the column of pixels is known as one of images.
FEATURES = {
    name: {"_type": "Image"} if name == "image" else {"dtype": "string", "_type": "Value"} for name in IMAGES.names
}


def export_datasets(votes: Votes, out: Path) -> Exported:
    """Every judgement, with all there is to say of it, and every image."""
    for folder in ("votes", "images"):
        (out / folder).mkdir(parents=True)
    written: set[str] = set()
    with ExitStack() as stack:
        tables = {
            split: (
                stack.enter_context(ParquetFile(out / "votes" / f"{split}.parquet", SCHEMA)),
                stack.enter_context(ParquetFile(out / "images" / f"{split}.parquet", IMAGES, features())),
            )
            for split in ("train", "test")
        }
        for vote in votes.of(*Outcome.judgements()):
            rows, pictures = tables[vote.choice.split]
            rows.add(row_of(vote))
            for place, image in enumerate(vote.choice.images):
                if image not in written:
                    written.add(image)
                    row = image_row(vote, place)
                    pictures.add(row, len(row["image"]["bytes"]) if row["image"] else 0)
    exported = votes.exported()
    write_card(out / "README.md", votes, exported, form="datasets", text=CARD, front=front_of(votes))
    return exported


def features() -> dict[str, str]:
    return {"huggingface": json.dumps({"info": {"features": FEATURES}})}


def image_row(vote: FrozenVote, place: int) -> dict[str, Any]:
    choice, file = vote.choice, vote.files[place]
    return {
        "id": choice.images[place],
        "image": pixels_of(file) if file else None,
        "prompt": choice.prompt,
        "generator": choice.generators[place],
        "sha256": PurePosixPath(file).stem if file else None,
        "reference": vote.references[place] or None,
    }


def pixels_of(file: str) -> dict[str, Any]:
    with default_storage.open(file) as stored:
        return {"bytes": stored.read(), "path": PurePosixPath(file).name}


def front_of(votes: Votes) -> str:
    name = json.dumps(f"Choices between images: {votes.snapshot.filters.get('campaign', '')}")
    return FRONT.format(name=name, synthetic="\n- synthetic" if votes.snapshot.is_synthetic else "")
