"""HPD v2: train.json with a mark per image, test.json with the rankings of several raters; see imports/hpd2.py.

The votes of a task stand together in a snapshot, and so do the pairs of an imported ranking, so that one record of
test.json is made from votes that follow each other.
"""

from collections.abc import Iterator
from itertools import combinations, groupby
from pathlib import Path
from typing import Any

from annotations.exports.card import write_card
from annotations.exports.files import JsonArray
from annotations.exports.hpd import person_of
from annotations.exports.stream import Exported, ImageFolder, Votes
from annotations.models import Outcome
from annotations.services.snapshots import FrozenVote

CARD = """`train.json`: `human_preference` is 1 for the preferred image and 0 for the others. A tie is 1 for all,
'all bad' is 0 for all. `test.json`: each of `raw_annotations` is one person's ranking of `image_path`, 1 being the
best; `rank` orders the images by the mean of these. Images that share a rank are tied. Where `outcome` stands in a raw
annotation, the person judged all the images at once, in the order `order`: the chosen one has rank 1 and the others
share rank 2; of a tie, and of 'all bad', all share rank 1. `user_hash`, `id`, `generators` and `synthetic` in
`train.json`, and `outcome` and `order`, are additions to the published form."""

Key = tuple[Any, ...]


def export_hpd2(votes: Votes, out: Path) -> Exported:
    """Every judgement has a form there."""
    images = ImageFolder(out / "images")
    with JsonArray(out / "train.json") as train, JsonArray(out / "test.json") as test:
        for key, group in groupby(votes.of(*Outcome.judgements()), key=record_key):
            if key[0] == "train":
                for vote in group:
                    train.add(train_record(vote, images.paths_of(vote)))
            else:
                for record in test_records(list(group), images):
                    test.add(record)
    exported = votes.exported()
    write_card(out / "README.md", votes, exported, form="hpd2", text=CARD)
    return exported


def record_key(vote: FrozenVote) -> Key:
    """Equal for the votes that make one record: those on one set of images, or the pairs of one ranking."""
    if vote.choice.split == "test" and vote.ranking:
        return "test", vote.choice.prompt, vote.ranking["id"]
    return vote.choice.split, vote.choice.prompt, *sorted(vote.choice.images)


def train_record(vote: FrozenVote, paths: list[str]) -> dict[str, Any]:
    choice = vote.choice
    marks = {
        Outcome.CHOICE: [int(place == choice.chosen) for place in range(len(paths))],
        Outcome.TIE: [1] * len(paths),
        Outcome.ALL_BAD: [0] * len(paths),
    }
    record = {
        "human_preference": marks[Outcome(choice.outcome)],
        "prompt": choice.prompt,
        "file_path": paths,
        "user_hash": person_of(vote),
        "id": vote.number,
        "generators": list(choice.generators),
    }
    return record | ({"synthetic": True} if vote.is_synthetic else {})


def test_records(votes: list[FrozenVote], images: ImageFolder) -> Iterator[dict[str, Any]]:
    """One record of a ranking that is whole; otherwise one for each set of images."""
    paths = {
        image: path for vote in votes for image, path in zip(vote.choice.images, images.paths_of(vote), strict=True)
    }
    if votes[0].ranking and (ranks := whole_rankings(votes, list(paths))):
        raw = [{"rank": ranks[person], "user_hash": person} for person in ranks]
        yield test_record(votes[0], paths, raw)
        return
    for _set, group in groupby(votes, key=lambda vote: sorted(vote.choice.images)):
        alike = list(group)
        order = sorted(alike[0].choice.images)
        raw = [raw_annotation(vote, order) for vote in alike]
        yield test_record(alike[0], {image: paths[image] for image in order}, raw)


def whole_rankings(votes: list[FrozenVote], images: list[str]) -> dict[str, list[int]]:
    """Each person's ranks of the images; empty unless every pair of every person is there and says the same."""
    ranks: dict[str, dict[str, int]] = {}
    pairs: dict[str, set[frozenset[str]]] = {}
    for vote in votes:
        person, ranking = person_of(vote), vote.ranking or {}
        for image, rank in zip(vote.choice.images, ranking["ranks"], strict=True):
            if ranks.setdefault(person, {}).setdefault(image, rank) != rank:
                return {}
        pairs.setdefault(person, set()).add(frozenset(vote.choice.images))
    every_pair = {frozenset(pair) for pair in combinations(images, 2)}
    if any(mine != every_pair for mine in pairs.values()):
        return {}
    return {person: [mine[image] for image in images] for person, mine in ranks.items()}


def raw_annotation(vote: FrozenVote, order: list[str]) -> dict[str, Any]:
    choice = vote.choice
    chosen = None if choice.chosen is None else choice.images[choice.chosen]
    return {
        "rank": [2 if chosen is not None and image != chosen else 1 for image in order],
        "user_hash": person_of(vote),
        "outcome": choice.outcome,
        "order": [order.index(image) for image in choice.images],
    }


def test_record(vote: FrozenVote, paths: dict[str, str], raw: list[dict[str, Any]]) -> dict[str, Any]:
    generators = dict(zip(vote.choice.images, vote.choice.generators, strict=True))
    record: dict[str, Any] = {
        "prompt": vote.choice.prompt,
        "image_path": list(paths.values()),
        "rank": ranked(sum_of_ranks(raw)),
        "raw_annotations": raw,
        "id": vote.number,
    }
    if generators.keys() >= paths.keys():
        record["generators"] = [generators[image] for image in paths]
    return record | ({"synthetic": True} if vote.is_synthetic else {})


def sum_of_ranks(raw: list[dict[str, Any]]) -> list[int]:
    return [sum(ranks) for ranks in zip(*(one["rank"] for one in raw), strict=True)]


def ranked(sums: list[int]) -> list[int]:
    """Ranks from 1, the smallest sum being the best; equal sums share one."""
    order = sorted(set(sums))
    return [order.index(value) + 1 for value in sums]
