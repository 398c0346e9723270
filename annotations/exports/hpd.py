"""HPD v1: preference_train.json, preference_test.json and preference_images/; see imports/hpd.py."""

from pathlib import Path
from typing import Any

from annotations.exports.card import write_card
from annotations.exports.files import JsonArray
from annotations.exports.stream import Exported, ImageFolder, Votes
from annotations.models import Outcome
from annotations.services.snapshots import FrozenVote

IMAGE_FOLDER = "preference_images"
CONTAINS_NAME = "contains a name"
CARD = """`human_preference` is the place of the chosen image in `file_path`, from 0; images stand in the order shown.
`generators` and `synthetic` are additions to the published form.

Ties and 'all bad' have no form in HPD v1 and are left out."""


def export_hpd(votes: Votes, out: Path) -> Exported:
    """Only choices have a form there. Ids are those of our votes, so that a later export names the same vote alike."""
    images = ImageFolder(out / IMAGE_FOLDER)
    with JsonArray(out / "preference_train.json") as train, JsonArray(out / "preference_test.json") as test:
        files = {"train": train, "test": test}
        for vote in votes.of(Outcome.CHOICE):
            files[vote.choice.split].add(record_of(vote, images.paths_of(vote)))
    exported = votes.exported()
    write_card(out / "README.md", votes, exported, form="hpd", text=CARD)
    return exported


def record_of(vote: FrozenVote, paths: list[str]) -> dict[str, Any]:
    record: dict[str, Any] = {
        "human_preference": vote.choice.chosen,
        "prompt": vote.choice.prompt,
        "id": vote.number,
        "file_path": paths,
        "user_hash": person_of(vote),
        "contain_name": CONTAINS_NAME in vote.tags,
        "generators": list(vote.choice.generators),
    }
    return record | ({"synthetic": True} if vote.is_synthetic else {})


def person_of(vote: FrozenVote) -> str:
    """The pseudonym as 32 hexadecimal digits."""
    return vote.choice.annotator.replace("-", "")
