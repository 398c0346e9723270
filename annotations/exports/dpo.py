"""DPO triples: one JSON line per decided pair, the prompt with the chosen and a rejected image."""

from pathlib import Path
from typing import Any

from annotations.exports.card import write_card
from annotations.exports.files import JsonLines
from annotations.exports.hpd import person_of
from annotations.exports.stream import Exported, ImageFolder, Votes, pairs_in
from annotations.models import Outcome

CARD = """`train.jsonl` and `test.jsonl`: one line per decided pair, with `prompt`, `chosen` and `rejected` (paths below
this folder), `vote` and `user_hash`. A choice among n images gives n - 1 lines with one `vote`.

Ties and 'all bad' decide no pair and are left out."""


def export_dpo(votes: Votes, out: Path) -> Exported:
    """Only choices decide pairs."""
    images = ImageFolder(out / "images")
    with JsonLines(out / "train.jsonl") as train, JsonLines(out / "test.jsonl") as test:
        files = {"train": train, "test": test}
        for vote in votes.of(Outcome.CHOICE):
            paths = images.paths_of(vote)
            for chosen, other in pairs_in(vote):
                record: dict[str, Any] = {
                    "prompt": vote.choice.prompt,
                    "chosen": paths[chosen],
                    "rejected": paths[other],
                    "chosen_generator": vote.choice.generators[chosen],
                    "rejected_generator": vote.choice.generators[other],
                    "vote": vote.vote,
                    "user_hash": person_of(vote),
                }
                files[vote.choice.split].add(record | ({"synthetic": True} if vote.is_synthetic else {}))
    exported = votes.exported()
    write_card(out / "README.md", votes, exported, form="dpo", text=CARD)
    return exported
