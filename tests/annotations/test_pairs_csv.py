"""CSV pairs under the headings of other people, and what is wrong with bad ones."""

from pathlib import Path
from typing import Any

import pytest

from annotations.imports.choices import Import, Report, import_choices
from annotations.imports.records import UnableToImport
from annotations.models import Image, Vote

pytestmark = pytest.mark.django_db

GOOD = "prompt,left,right,chosen,user\na pier,a.jpg,b.jpg,a.jpg,ada\na pier,a.jpg,b.jpg,right,ben\n"


def read(tmp_path: Path, text: str, **options: Any) -> Report:
    path = tmp_path / "pairs.csv"
    path.write_bytes(text.encode())
    return import_choices(Import(path, "csv", "pairs", takes_pixels=False, **options))


def votes() -> list[tuple[object, ...]]:
    images = dict(Image.objects.values_list("pk", "reference"))
    return [
        (vote.annotator.external_id, vote.outcome, images.get(vote.image_id), [images[pk] for pk in vote.order])
        for vote in Vote.objects.select_related("annotator").order_by("pk")
    ]


def test_pairs_come_in_whatever_says_who_won(tmp_path: Path) -> None:
    text = GOOD + (
        "a pier,b.jpg,a.jpg,leftvote,cleo\na pier,a.jpg,b.jpg,Tie,dan\n"
        "a pier,a.jpg,b.jpg,tievote,eve\na pier,a.jpg,b.jpg,bothbad_vote,flo\n"
    )

    report = read(tmp_path, text)

    pair = ["a.jpg", "b.jpg"]
    assert (report.choices, report.decided_pairs) == (6, 3)
    assert votes() == [
        ("csv:pairs:ada", "choice", "a.jpg", pair),
        ("csv:pairs:ben", "choice", "b.jpg", pair),
        ("csv:pairs:cleo", "choice", "b.jpg", pair[::-1]),
        ("csv:pairs:dan", "tie", None, pair),
        ("csv:pairs:eve", "tie", None, pair),
        ("csv:pairs:flo", "all_bad", None, pair),
    ]


def test_a_second_time_adds_nothing_though_rows_have_no_ids(tmp_path: Path) -> None:
    read(tmp_path, GOOD)

    report = read(tmp_path, GOOD + "a barn,c.jpg,d.jpg,left,ada\n")

    assert (report.choices, report.already_there) == (1, 2)


def test_other_headings_are_understood_or_named(tmp_path: Path) -> None:
    known = "Caption,Image 0,Image 1,Winner,model_0,model_1,time_s,timestamp\n"
    read(tmp_path, known + "a pier,a.jpg,b.jpg,b.jpg,flux,sdxl,1.5,2026-01-02T03:04:05Z\n")

    vote = Vote.objects.get()
    assert (vote.shown_ms, vote.created_at.isoformat(), vote.image.generator.name) == (
        1500,
        "2026-01-02T03:04:05+00:00",
        "sdxl",
    )
    columns = {"prompt": "P", "left": "L", "right": "R", "chosen": "C"}
    assert read(tmp_path, "P,L,R,C\na barn,a,b,a\n", columns=columns).choices == 1


def test_versions_of_a_scene_are_generators_and_sessions_are_people(tmp_path: Path) -> None:
    report = read(tmp_path, "observer,session,scene,left,right,chosen\no1,s1,0801,A,B,A\no1,s2,0801,A,B,B\n")

    assert (report.choices, report.annotators, report.generators, report.images) == (2, 2, 2, 2)
    assert set(Image.objects.values_list("reference", "generator__name")) == {("0801/A", "A"), ("0801/B", "B")}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a pier,a.jpg,b.jpg,c.jpg,ada", "chosen is 'c.jpg'; it is one of its two images, left, right, tie or all_bad"),
        ("a pier,a.jpg,a.jpg,left,ada", "left and right name no two images but 'a.jpg'"),
        ("a pier,,b.jpg,left,ada", "left and right name no two images but ''"),
        (",a.jpg,b.jpg,left,ada", "the prompt is blank"),
        ("a pier,a.jpg,b.jpg", "it has fewer cells than there are headings"),
        ("a pier,a.jpg,b.jpg,left,ada,more", "it has more cells than there are headings"),
        ("a pier,b.jpg,a.jpg,left,ada", "its id is that of pairs.csv, record 1 already"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_taken(tmp_path: Path, row: str, reason: str) -> None:
    with pytest.raises(UnableToImport) as caught:
        read(tmp_path, GOOD + row + "\n")

    assert f"1 record is bad, nothing was imported: pairs.csv, record 3: {reason}" in str(caught.value)
    assert Vote.objects.count() == 0


@pytest.mark.parametrize(
    ("text", "options", "reason"),
    [
        ("a,b\n1,2\n", {}, "pairs.csv has no column for prompt (prompt, caption, text, scene); say which it is"),
        (GOOD, {"columns": {"winner": "chosen"}}, "--columns knows no 'winner'; it takes prompt, left, right, chosen"),
        (GOOD, {"columns": {"chosen": "best"}}, "pairs.csv has no column 'best'; it has prompt, left, right, chosen"),
        ('prompt,left,right,chosen\n"open', {}, "pairs.csv is not CSV that can be taken"),
        ("", {}, "pairs.csv has no column for prompt"),
        ("prompt,left,right,chosen\n", {}, "holds no choices"),
    ],
)
def test_a_file_that_is_no_table_of_pairs_is_refused(
    tmp_path: Path, text: str, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UnableToImport) as caught:
        read(tmp_path, text, **options)

    assert reason in str(caught.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_bytes(b"prompt,left\n\xff\n")

    with pytest.raises(UnableToImport, match=r"pairs.csv is not UTF-8 text"):
        import_choices(Import(tmp_path / "pairs.csv", "csv", "pairs", takes_pixels=False))
