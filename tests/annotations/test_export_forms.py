"""What each form of an export holds, and how much memory the writing takes."""

import json
import threading
import uuid
from pathlib import Path
from typing import Any, Self

import pytest
from django.db import connection
from django.utils import timezone
from pyarrow import parquet

from annotations.exports.choices import FORMS, UnableToExport, export_snapshot
from annotations.models import Annotator, Campaign, Image, Outcome, Slot, Snapshot, Task, Vote
from annotations.services.snapshots import take_snapshot
from tests.annotations.factories import (
    make_annotator,
    make_campaign,
    make_generator,
    make_image,
    make_prompt,
    make_task,
    number,
)
from tests.annotations.test_exports import counts_of, export, vote_on

pytestmark = pytest.mark.django_db


def campaign_of(*outcomes: str, images: int = 3, **fields: Any) -> Campaign:
    """One vote of each outcome on one task of a prompt to train on; the last image of those shown is chosen."""
    campaign = make_campaign(tasks=0, slug="piers", candidates=images, **fields)
    prompt = make_prompt("a pier", split="train", tags=["anatomy"])
    painter = make_generator("painter")
    shown = [make_image(prompt=prompt, generator=painter if place else None) for place in range(images)]
    task = make_task(campaign=campaign, prompt=prompt, images=shown, votes=0)
    for outcome in outcomes:
        vote_on(task, outcome, shown_ms=1500)
    return campaign


def files_of(out: Path) -> bytes:
    return b"".join(path.read_bytes() for path in [out, *out.rglob("*")] if path.is_file())


def test_dpo_has_a_line_for_each_decided_pair(tmp_path: Path) -> None:
    campaign = campaign_of(*Outcome.judgements())

    exported = export(campaign, "dpo", tmp_path / "out")

    vote = Vote.objects.get(outcome="choice")
    images = Image.objects.in_bulk(vote.order)
    paths = [f"images/{images[pk].public_id.hex}.png" for pk in vote.order]
    assert counts_of(exported) == (1, 3, {"tie": 1, "all_bad": 1})
    lines = [json.loads(line) for line in (tmp_path / "out" / "train.jsonl").read_text().splitlines()]
    assert lines == [
        {
            "prompt": "a pier",
            "chosen": paths[2],
            "rejected": path,
            "chosen_generator": None,
            "rejected_generator": "painter",
            "vote": str(vote.public_id),
            "user_hash": vote.annotator.public_id.hex,
        }
        for path in paths[:2]
    ]
    assert (tmp_path / "out" / "test.jsonl").read_text() == ""
    assert all((tmp_path / "out" / path).is_file() for path in paths)


def test_pickapic_has_the_columns_of_the_published_data_and_halves_for_ties(tmp_path: Path) -> None:
    campaign = campaign_of(*Outcome.judgements(), images=2)

    exported = export(campaign, "pickapic", tmp_path / "out")

    assert exported.left_out == {"all_bad": 1}
    choice, tie = parquet.read_table(tmp_path / "out" / "train.parquet").to_pylist()
    vote = Vote.objects.get(outcome="choice")
    images = [Image.objects.get(pk=pk) for pk in vote.order]
    with images[0].file.open() as first:
        assert choice["jpg_0"] == first.read()
    assert {name: value for name, value in choice.items() if name not in {"jpg_0", "jpg_1"}} == {
        "are_different": True,
        "best_image_uid": str(images[1].public_id),
        "caption": "a pier",
        "created_at": Vote.objects.get(pk=vote.pk).created_at,
        "has_label": True,
        "image_0_uid": str(images[0].public_id),
        "image_0_url": None,
        "image_1_uid": str(images[1].public_id),
        "image_1_url": None,
        "label_0": 0.0,
        "label_1": 1.0,
        "model_0": "painter",
        "model_1": "",
        "ranking_id": vote.pk,
        "user_id": vote.annotator.public_id.int >> 65,
        "num_example_per_prompt": 2,
        "synthetic": False,
        "tags": ["anatomy"],
        "shown_ms": 1500,
    }
    assert (tie["label_0"], tie["label_1"], tie["best_image_uid"]) == (0.5, 0.5, "none")


def test_pickapic_tells_a_choice_among_three_as_the_two_pairs_it_decides(tmp_path: Path) -> None:
    export(campaign_of("choice", "tie"), "pickapic", tmp_path / "out")

    rows = parquet.read_table(tmp_path / "out" / "train.parquet").to_pylist()
    assert [(row["label_0"], row["num_example_per_prompt"]) for row in rows] == [(0.0, 5), (0.0, 5), *[(0.5, 5)] * 3]
    assert len({row["ranking_id"] for row in rows}) == 2


def test_parquet_has_the_columns_of_the_csv_and_names_its_snapshot(tmp_path: Path) -> None:
    exported = export(campaign_of(*Outcome.judgements()), "parquet", tmp_path / "out.parquet")

    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.column("outcome").to_pylist() == ["choice", "tie", "all_bad"]
    assert table.column("chosen").to_pylist()[0] == table.column("order").to_pylist()[0][2]
    assert table.column("chosen").to_pylist()[1:] == [None, None]
    assert table.schema.metadata[b"hps_site.snapshot"].decode() == exported.snapshot == Snapshot.objects.get().sha256


def test_datasets_folder_loads_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets import load_dataset

    campaign = campaign_of(*Outcome.judgements(), is_synthetic=True)
    held_out = make_task(
        campaign=campaign, prompt=make_prompt("a barn", split="test"), images=2, votes=0, has_files=True
    )
    vote_on(held_out)

    export(campaign, "datasets", tmp_path / "out")
    votes = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    images = load_dataset(str(tmp_path / "out"), "images", cache_dir=str(tmp_path / "cache"))

    assert {split: len(rows) for split, rows in votes.items()} == {"train": 3, "test": 1}
    assert {split: len(rows) for split, rows in images.items()} == {"train": 3, "test": 2}
    assert set(votes["train"][0]["order"]) == set(images["train"]["id"])
    assert images["train"][0]["image"].size == (24, 16)
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("---\npretty_name: ")
    assert "- synthetic" in card
    assert "**Synthetic**" in card
    assert Snapshot.objects.get().sha256 in card


@pytest.mark.parametrize("form", FORMS)
def test_every_form_leaves_out_what_does_not_count_and_names_nobody(tmp_path: Path, form: str) -> None:
    campaign = make_campaign(tasks=0)
    task = make_task(campaign=campaign, votes=0, has_files=True)
    person = make_annotator("ada.lovelace", external_id="hpd:elsewhere:secret-hash")
    vote_on(task, by=person)
    vote_on(task, withdrawn_at=timezone.now())
    vote_on(task, by=make_annotator(state=Annotator.State.EXCLUDED))
    vote_on(task, Outcome.SKIP)
    for purpose in (Task.Purpose.GOLD, Task.Purpose.PRACTICE, Task.Purpose.PROBE):
        vote_on(make_task(campaign=campaign, votes=0, purpose=purpose, has_files=True))

    exported = export(campaign, form, tmp_path / "out")

    written = files_of(tmp_path / "out")
    assert (exported.votes, exported.images) == (1, 2)
    assert b"lovelace" not in written
    assert b"secret-hash" not in written


@pytest.mark.parametrize("form", sorted(FORMS.keys() - {"csv", "parquet"}))
def test_every_folder_has_a_card_that_states_the_rule_for_ties(tmp_path: Path, form: str) -> None:
    exported = export(campaign_of(*Outcome.judgements()), form, tmp_path / "out")

    card = (tmp_path / "out" / "README.md").read_text()
    assert "tie" in card.lower()
    assert exported.snapshot in card
    assert "| campaign | piers |" in card


def test_an_export_of_a_snapshot_stays_what_it_was(tmp_path: Path) -> None:
    campaign = campaign_of("choice")
    snapshot = take_snapshot(campaign=campaign)
    export_snapshot(snapshot=snapshot, form="csv", out=tmp_path / "before.csv", progress=lambda *_: None)
    vote_on(Task.objects.get())
    Annotator.objects.update(state=Annotator.State.EXCLUDED)

    export_snapshot(snapshot=snapshot, form="csv", out=tmp_path / "after.csv", progress=lambda *_: None)

    assert (tmp_path / "after.csv").read_bytes() == (tmp_path / "before.csv").read_bytes()


def test_an_export_of_a_damaged_snapshot_writes_nothing(tmp_path: Path) -> None:
    snapshot = take_snapshot(campaign=campaign_of("choice"))
    path = Path(snapshot.file.path)
    path.write_bytes(path.read_bytes().replace(b"a pier", b"a quay"))

    with pytest.raises(UnableToExport, match="was changed since it was taken"):
        export_snapshot(snapshot=snapshot, form="csv", out=tmp_path / "out.csv", progress=lambda *_: None)

    assert not (tmp_path / "out.csv").exists()


def many_votes(count: int) -> Campaign:
    """Votes on many tasks of four images, in a few statements."""
    campaign = make_campaign(tasks=0, candidates=4)
    prompt = make_prompt(f"{number():04}" * 750)
    images = [make_image(prompt=prompt, has_file=False) for _ in range(4)]
    order = [image.pk for image in images]
    annotator = make_annotator()
    tasks = Task.objects.bulk_create(
        (Task(campaign=campaign, prompt=prompt, candidates_hash=f"{place:064}") for place in range(count)),
        batch_size=5000,
    )
    slots = Slot.objects.bulk_create(
        (
            Slot(campaign=campaign, task=task, number=0, sort_key=0, state="done", annotator=annotator, order=order)
            for task in tasks
        ),
        batch_size=5000,
    )
    for position, image in enumerate(images):
        tasks[0].candidates.create(image=image, position=position)
    Vote.objects.bulk_create(
        (
            Vote(
                slot=slot,
                task_id=slot.task_id,
                annotator=annotator,
                outcome="choice",
                image_id=order[number % 4],
                order=order,
                idempotency_key=uuid.UUID(int=number),
            )
            for number, slot in enumerate(slots)
        ),
        batch_size=5000,
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # as the autovacuum does where rows are committed
    return campaign


class Peak:
    """How far the memory of this process rises while something is done, looked at every few milliseconds."""

    def __enter__(self) -> Self:
        self.before = self.highest = resident_bytes()
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self) -> None:
        while not self.is_over.wait(0.005):
            self.highest = max(self.highest, resident_bytes())

    def __exit__(self, *_raised: object) -> None:
        self.is_over.set()
        self.thread.join()

    @property
    def rise(self) -> int:
        return self.highest - self.before


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_memory_does_not_grow_with_the_votes(tmp_path: Path, form: str) -> None:
    campaign = many_votes(20_000)
    export(many_votes(100), form, tmp_path / "few")  # what is loaded once is loaded now

    with Peak() as peak:
        export(campaign, form, tmp_path / "many")

    snapshot = Snapshot.objects.latest("pk")
    assert snapshot.votes == 20_000
    assert Path(snapshot.file.path).stat().st_size > 70e6
    assert peak.rise < 40e6
