"""How votes go out: only those that count, whole, and readable by others and by us."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from annotations.exports.choices import UnableToExport, export_choices
from annotations.exports.stream import Exported
from annotations.exports.table import CSV_COLUMNS, safe_cell
from annotations.imports.choices import Import, import_choices
from annotations.models import Annotator, Campaign, Image, Outcome, Slot, Task, Vote
from tests.annotations.factories import (
    make_annotator,
    make_campaign,
    make_generator,
    make_image,
    make_prompt,
    make_task,
    number,
)
from tests.annotations.hpd_source import PATTERN, write_source

pytestmark = pytest.mark.django_db


def no_progress(_done: int, _total: int) -> None:
    pass


def export(campaign: Campaign, form: str, out: Path) -> Exported:
    return export_choices(campaign=campaign, form=form, out=out, progress=no_progress)


def counts_of(exported: Exported) -> tuple[int, int, dict[str, int]]:
    return exported.votes, exported.images, exported.left_out


def vote_on(task: Task, outcome: str = Outcome.CHOICE, *, by: Annotator | None = None, **fields: Any) -> Vote:
    """A vote on a new slot of the task, for the last image of those shown in reverse."""
    annotator = by or make_annotator()
    order = list(task.candidates.order_by("-position").values_list("image", flat=True))
    slot = Slot.objects.create(
        campaign=task.campaign,
        task=task,
        number=task.slots.count(),
        sort_key=0,
        state=Slot.State.DONE,
        annotator=annotator,
        order=order,
    )
    chosen = Image.objects.get(pk=order[-1]) if outcome == Outcome.CHOICE else None
    return Vote.objects.create(
        slot=slot,
        task=task,
        annotator=annotator,
        outcome=outcome,
        image=chosen,
        order=order,
        idempotency_key=f"00000000-0000-0000-0000-{number():012}",
        **fields,
    )


def meaning(slug: str) -> list[tuple[object, ...]]:
    """The counted choices of a campaign by what they mean; people only as far as they are the same or not."""
    people: dict[int, int] = {}
    images = {image.pk: (image.sha256, image.generator and image.generator.name) for image in Image.objects.all()}
    return [
        (
            people.setdefault(vote.annotator_id, len(people)),
            vote.task.prompt.text,
            vote.task.prompt.split,
            vote.task.prompt.tags,
            images[vote.image_id],
            [images[pk] for pk in vote.order],
        )
        for vote in Vote.objects.counted().filter(task__campaign__slug=slug).order_by("pk")
    ]


def test_export_choices_as_hpd_comes_in_again_as_the_same_votes(tmp_path: Path) -> None:
    import_choices(Import(write_source(tmp_path / "hpd"), "hpd", "first", generator_pattern=PATTERN))

    exported = export(Campaign.objects.get(slug="first"), "hpd", tmp_path / "out")
    report = import_choices(Import(tmp_path / "out", "hpd", "second"))

    assert counts_of(exported) == (7, 9, {})
    assert (report.choices, report.images, report.prompts, report.generators) == (7, 0, 0, 0)
    assert sorted(meaning("second"), key=str) == sorted(meaning("first"), key=str)
    assert len(meaning("second")) == 7


def test_export_choices_as_hpd_writes_the_fields_of_the_format(tmp_path: Path) -> None:
    prompt = make_prompt("a pier", split="test", tags=["contains a name"])
    images = [
        make_image(prompt=prompt, generator=make_generator("painter")),
        make_image(prompt=prompt),
    ]
    campaign = make_campaign(tasks=0)
    vote = vote_on(make_task(campaign=campaign, prompt=prompt, images=images, votes=0))

    export(campaign, "hpd", tmp_path / "out")

    names = [f"preference_images/{image.public_id.hex}.png" for image in reversed(images)]
    assert json.loads((tmp_path / "out" / "preference_test.json").read_text()) == [
        {
            "human_preference": 1,
            "prompt": "a pier",
            "id": vote.pk,
            "file_path": names,
            "user_hash": vote.annotator.public_id.hex,
            "contain_name": True,
            "generators": [None, "painter"],
        }
    ]
    assert json.loads((tmp_path / "out" / "preference_train.json").read_text()) == []
    for name, image in zip(names, reversed(images), strict=True):
        with image.file.open() as file:
            assert (tmp_path / "out" / name).read_bytes() == file.read()


@pytest.mark.parametrize("form", ["hpd", "csv"])
def test_export_choices_gives_out_only_what_counts(tmp_path: Path, form: str) -> None:
    campaign = make_campaign(tasks=0)
    task = make_task(campaign=campaign, votes=0, has_files=True)
    counted = vote_on(task)
    vote_on(task, withdrawn_at=timezone.now())
    vote_on(task, by=make_annotator(state=Annotator.State.EXCLUDED))
    vote_on(task, Outcome.SKIP)
    vote_on(task, Outcome.FLAG)
    vote_on(make_task(campaign=campaign, votes=0, purpose=Task.Purpose.GOLD))
    vote_on(make_task(campaign=make_campaign(tasks=0), votes=0))

    exported = export(campaign, form, tmp_path / "out")

    assert counts_of(exported) == (1, 2, {})
    text = "".join(
        path.read_text() for path in [tmp_path / "out", *(tmp_path / "out").glob("*.json")] if path.is_file()
    )
    assert str(counted.public_id) in text or f'"id": {counted.pk},' in text


def test_export_choices_as_hpd_counts_what_has_no_form_there(tmp_path: Path) -> None:
    campaign = make_campaign(tasks=0)
    task = make_task(campaign=campaign, votes=0, has_files=True)
    for outcome in (Outcome.CHOICE, Outcome.TIE, Outcome.TIE, Outcome.ALL_BAD):
        vote_on(task, outcome)

    assert counts_of(export(campaign, "hpd", tmp_path / "out")) == (1, 2, {"tie": 2, "all_bad": 1})


@pytest.mark.parametrize("form", ["hpd", "csv"])
def test_export_choices_names_nobody(tmp_path: Path, form: str) -> None:
    campaign = make_campaign(tasks=0)
    person = make_annotator("ada.lovelace", external_id="hpd:elsewhere:secret-hash")
    vote_on(make_task(campaign=campaign, votes=0, has_files=True), by=person)

    export(campaign, form, tmp_path / "out")

    files = [path for path in [tmp_path / "out", *(tmp_path / "out").rglob("*")] if path.is_file()]
    text = b"".join(path.read_bytes() for path in files)
    assert b"lovelace" not in text
    assert b"secret-hash" not in text
    assert person.public_id.hex.encode() in text.replace(b"-", b"")


@pytest.mark.parametrize("form", ["hpd", "csv"])
def test_export_choices_says_what_is_synthetic(tmp_path: Path, form: str) -> None:
    campaign = make_campaign(tasks=0, is_synthetic=True)
    vote_on(make_task(campaign=campaign, votes=0, prompt=make_prompt(split="train"), has_files=True))

    export(campaign, form, tmp_path / "out")

    if form == "hpd":
        assert json.loads((tmp_path / "out" / "preference_train.json").read_text())[0]["synthetic"] is True
        assert import_choices(Import(tmp_path / "out", "hpd", "again")).choices == 1
        assert Campaign.objects.get(slug="again").is_synthetic
    else:
        assert rows_of(tmp_path / "out")[0]["synthetic"] == "1"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_export_choices_as_csv_holds_every_judgement(tmp_path: Path) -> None:
    prompt = make_prompt("a pier", split="train", tags=["anatomy", "hands"])
    images = [make_image(prompt=prompt, generator=make_generator("painter")), make_image(prompt=prompt)]
    campaign = make_campaign(tasks=0, slug="piers")
    task = make_task(campaign=campaign, prompt=prompt, images=images, votes=0)
    choice = vote_on(task, shown_ms=1500, is_too_fast=True, instructions_version=3)
    tie = vote_on(task, Outcome.TIE)

    export(campaign, "csv", tmp_path / "out.csv")

    both = {
        "campaign": "piers",
        "prompt": "a pier",
        "split": "train",
        "tags": '["anatomy", "hands"]',
        "order": f"{images[1].public_id} {images[0].public_id}",
        "generators": '["", "painter"]',
        "ranking": "",
        "synthetic": "0",
    }
    assert rows_of(tmp_path / "out.csv") == [
        both
        | {
            "vote": str(choice.public_id),
            "outcome": "choice",
            "chosen": str(images[0].public_id),
            "chosen_generator": "painter",
            "annotator": str(choice.annotator.public_id),
            "shown_ms": "1500",
            "hidden_ms": "0",
            "is_too_fast": "1",
            "instructions_version": "3",
            "voted_at": Vote.objects.get(pk=choice.pk).created_at.isoformat(),
        },
        both
        | {
            "vote": str(tie.public_id),
            "outcome": "tie",
            "chosen": "",
            "chosen_generator": "",
            "annotator": str(tie.annotator.public_id),
            "shown_ms": "",
            "hidden_ms": "0",
            "is_too_fast": "0",
            "instructions_version": "1",
            "voted_at": Vote.objects.get(pk=tie.pk).created_at.isoformat(),
        },
    ]
    assert list(rows_of(tmp_path / "out.csv")[0]) == CSV_COLUMNS


FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    '"=1',
    " \"'=1",
    "＝1",
    "＋1",
    "－1",
    "＠a",
    "'=1",
    "'quoted'",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_export_choices_as_csv_lets_no_prompt_become_a_formula(tmp_path: Path, text: str) -> None:
    campaign = make_campaign(tasks=0)
    vote_on(make_task(campaign=campaign, votes=0, prompt=make_prompt(text)))

    export(campaign, "csv", tmp_path / "out.csv")

    [row] = rows_of(tmp_path / "out.csv")
    assert row["prompt"] == f"'{text}"


@pytest.mark.parametrize("text", ["a pier", "a = b", "x;=1,=2", 'say "hi"', "two\nlines", "1.5", ""])
def test_safe_cell_leaves_plain_text_alone(text: str) -> None:
    assert safe_cell(text) == text


@pytest.mark.parametrize("form", ["hpd", "csv"])
def test_export_choices_touches_nothing_that_is_there(tmp_path: Path, form: str) -> None:
    (tmp_path / "out").write_text("mine")

    with pytest.raises(UnableToExport, match="out is there already; name another path"):
        export(make_campaign(), form, tmp_path / "out")

    assert (tmp_path / "out").read_text() == "mine"


def test_export_choices_needs_a_folder_to_write_in(tmp_path: Path) -> None:
    with pytest.raises(UnableToExport, match="none is no folder; make it first"):
        export(make_campaign(), "csv", tmp_path / "none" / "out.csv")


@pytest.mark.parametrize("form", ["hpd", "csv"])
def test_export_choices_leaves_nothing_when_it_fails(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    campaign = make_campaign(tasks=0)
    vote_on(make_task(campaign=campaign, votes=0))

    def fail(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    name = "hpd.record_of" if form == "hpd" else "table.csv_row"
    monkeypatch.setattr(f"annotations.exports.{name}", fail)
    monkeypatch.setattr("annotations.exports.stream.ImageFolder.paths_of", lambda *_arguments: [])

    with pytest.raises(UnableToExport, match="cannot be written or read: No space left on device"):
        export(campaign, form, folder / "out")

    assert list(folder.iterdir()) == []


def test_export_choices_says_which_image_file_is_missing(tmp_path: Path) -> None:
    campaign = make_campaign(tasks=0)
    vote_on(make_task(campaign=campaign, votes=0, has_files=True))
    image = Image.objects.filter(tasks__campaign=campaign)[0]
    Path(image.file.path).unlink()

    with pytest.raises(UnableToExport, match=rf"{image.sha256}.* cannot be written or read: No such file"):
        export(campaign, "hpd", tmp_path / "out")


@pytest.mark.parametrize("form", ["hpd", "csv"])
def test_export_choices_asks_the_database_no_more_for_many(tmp_path: Path, form: str) -> None:
    counts = []
    for count in (1, 3):
        campaign = make_campaign(tasks=0)
        for _ in range(count):
            vote_on(make_task(campaign=campaign, votes=0, has_files=True))
        with CaptureQueriesContext(connection) as queries:
            export(campaign, form, tmp_path / f"out{count}")
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_export_choices_tells_its_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("annotations.exports.stream.STEP", 2)
    campaign = make_campaign(tasks=0)
    votes = [vote_on(make_task(campaign=campaign, votes=0)) for _ in range(5)]
    told: list[tuple[int, int]] = []

    export_choices(campaign=campaign, form="csv", out=tmp_path / "out", progress=lambda *step: told.append(step))

    assert [row["vote"] for row in rows_of(tmp_path / "out")] == [str(vote.public_id) for vote in votes]
    assert told == [(2, 5), (4, 5), (5, 5)]
