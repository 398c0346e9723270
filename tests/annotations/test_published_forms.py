"""Published forms: what a sound record becomes, and how a bad one is told."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from annotations.imports.choices import Import, Report, import_choices
from annotations.imports.records import UnableToImport
from annotations.models import Image, Vote
from tests.annotations.factories import picture_bytes
from tests.annotations.hostile_files import hostile_files
from tests.annotations.test_formats import write_json

pytestmark = pytest.mark.django_db

HPD2_TRAIN = {"human_preference": [0, 1], "prompt": "a pier", "file_path": ["a.jpg", "b.jpg"]}
HPD2_TEST = {
    "prompt": "a barn",
    "image_path": ["a.jpg", "b.jpg", "c.jpg"],
    "rank": [1, 2, 3],
    "raw_annotations": [{"rank": [1, 2, 2], "user_hash": "ada"}, {"rank": [3, 1, 2], "user_hash": "ben"}],
}
HPD3 = {
    "prompt": "a pier",
    "choice_dist": [12, 7],
    "confidence": 0.99,
    "path1": "1.jpg",
    "path2": "2.jpg",
    "model1": "flux",
    "model2": "infinity",
}
IMAGEREWARD = {
    "id": "005658-0040",
    "prompt": "a pier",
    "generations": ["a.webp", "b.webp", "c.webp"],
    "ranking": [1, 5, 1],
}
PICKAPIC = {"caption": "a pier", "image_0_uid": "u0", "image_1_uid": "u1", "label_0": 1.0, "label_1": 0.0}


def read(path: Path, form: str, **options: Any) -> Report:
    return import_choices(Import(path, form, "past", **{"takes_pixels": False, **options}))


def answers() -> list[tuple[object, ...]]:
    names = dict(Image.objects.values_list("pk", "reference"))
    return [
        (names.get(vote.image_id, vote.outcome), [names[pk] for pk in vote.order])
        for vote in Vote.objects.order_by("pk")
    ]


def test_hpd2_reads_choices_ties_and_all_bad_for_training(tmp_path: Path) -> None:
    marks = [[0, 1], [1, 1], [0, 0]]
    path = write_json(tmp_path / "train.json", [HPD2_TRAIN | {"human_preference": mark} for mark in marks])

    report = read(path, "hpd2")

    pair = ["a.jpg", "b.jpg"]
    assert answers() == [("b.jpg", pair), ("tie", pair), ("all_bad", pair)]
    assert (report.decided_pairs, report.annotators) == (1, 3)


def test_hpd2_reads_the_common_ranking_where_there_are_no_raw_ones(tmp_path: Path) -> None:
    common = {key: value for key, value in HPD2_TEST.items() if key != "raw_annotations"}

    with_raters = read(write_json(tmp_path / "raw" / "test.json", [HPD2_TEST]), "hpd2")
    without = import_choices(
        Import(write_json(tmp_path / "common" / "test.json", [common]), "hpd2", "common", takes_pixels=False)
    )

    assert (with_raters.choices, with_raters.decided_pairs, with_raters.annotators) == (6, 5, 2)
    assert (without.choices, without.decided_pairs, without.annotators) == (3, 3, 1)


def test_hpd3_reads_a_verdict_as_one_vote_and_keeps_how_the_crowd_was_divided(tmp_path: Path) -> None:
    path = write_json(tmp_path / "train.json", [HPD3, HPD3 | {"choice_dist": None, "confidence": None}])

    report = read(path, "hpd3")

    assert (report.choices, report.generators) == (2, 2)
    assert answers()[0] == ("1.jpg", ["1.jpg", "2.jpg"])
    assert [vote.client for vote in Vote.objects.order_by("pk")] == [
        {"crowd": {"choice_dist": [12, 7], "confidence": 0.99}},
        {},
    ]


def test_imagereward_reads_equal_ranks_as_ties(tmp_path: Path) -> None:
    report = read(write_json(tmp_path / "test.json", [IMAGEREWARD]), "imagereward")

    assert (report.choices, report.decided_pairs) == (3, 2)
    assert answers() == [
        ("a.webp", ["a.webp", "b.webp"]),
        ("tie", ["a.webp", "c.webp"]),
        ("c.webp", ["b.webp", "c.webp"]),
    ]


def write_parquet(path: Path, *rows: dict[str, Any]) -> Path:
    parquet.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def test_pickapic_takes_the_pixels_that_stand_in_the_rows(tmp_path: Path) -> None:
    first, second = picture_bytes(), picture_bytes()
    rows = [
        PICKAPIC | {"jpg_0": first, "jpg_1": second, "user_id": 7, "ranking_id": 1, "has_label": True},
        PICKAPIC
        | {"jpg_0": first, "jpg_1": second, "user_id": 8, "ranking_id": 2, "has_label": True}
        | {"label_0": 0.5, "label_1": 0.5},
        PICKAPIC | {"jpg_0": first, "jpg_1": second, "user_id": 9, "ranking_id": 3, "has_label": False},
    ]

    report = read(write_parquet(tmp_path / "train-00000-of-00001.parquet", *rows), "pickapic", takes_pixels=True)

    assert (report.choices, report.images, report.left_out) == (2, 2, {"a pair without a label": 1})
    with Image.objects.order_by("pk")[0].file.open() as file:
        assert file.read() == first
    assert [vote.task.prompt.split for vote in Vote.objects.all()] == ["train", "train"]
    assert [vote.outcome for vote in Vote.objects.order_by("pk")] == ["choice", "tie"]


def test_pickapic_refuses_hostile_pixels_and_names_that_lead_elsewhere(tmp_path: Path) -> None:
    bomb = hostile_files()["png bomb header"][0]
    row = PICKAPIC | {"image_0_uid": "../../escape", "jpg_0": bomb, "jpg_1": picture_bytes()}

    with pytest.raises(UnableToImport, match=r"record 1: the image '../../escape' is refused: it has far too many pix"):
        read(write_parquet(tmp_path / "rows.parquet", row), "pickapic", takes_pixels=True)

    assert [path.name for path in tmp_path.parent.rglob("escape*")] == []


BAD: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("hpd2", HPD2_TRAIN, {"human_preference": [0.5, 0.5]}, "human_preference is no list of a 0 or 1 for each of 2"),
    ("hpd2", HPD2_TRAIN, {"human_preference": [1]}, "human_preference is no list of a 0 or 1 for each of 2 images"),
    (
        "hpd2",
        HPD2_TRAIN,
        {"human_preference": [1, 1, 0], "file_path": ["a", "b", "c"]},
        "human_preference marks 2 of 3 images; one, all (a tie) or none (all bad) can be",
    ),
    ("hpd2", HPD2_TEST, {"image_path": ["a.jpg"]}, "it has 1 images; a choice is between 2 and 100"),
    ("hpd2", HPD2_TEST, {"raw_annotations": []}, "raw_annotations is no list of a ranking per person but []"),
    ("hpd2", HPD2_TEST, {"raw_annotations": [{"rank": [1, 2], "user_hash": "ada"}]}, "rank has 2 ranks for 3 images"),
    ("hpd2", HPD2_TEST, {"raw_annotations": [{"rank": [1, 2, 0], "user_hash": "ada"}]}, "rank holds 0; ranks count"),
    ("hpd2", HPD2_TEST, {"raw_annotations": [{"rank": [1, 2, 3], "user_hash": "ada"}] * 2}, "holds the person 'ada' t"),
    (
        "hpd2",
        HPD2_TEST,
        {"raw_annotations": [{"rank": [1, 2, 2], "user_hash": "a", "outcome": "choice", "order": ["0", "1", "2"]}]},
        "order is no list of the 3 images' places from 0 but ['0', '1', '2']",
    ),
    (
        "hpd2",
        HPD2_TEST,
        {"raw_annotations": [{"rank": [1, 1, 2], "user_hash": "a", "outcome": "choice"}]},
        "rank gives 2 images the rank 1, and the outcome is a choice of one",
    ),
    ("hpd3", HPD3, {"path2": "1.jpg"}, "path1 and path2 name the same image"),
    ("hpd3", HPD3, {"path1": 5}, "path1 is no file name but 5"),
    ("hpd3", HPD3, {"model1": 5}, "model1 is no generator's name but 5"),
    ("hpd3", HPD3, {"choice_dist": [1, -1]}, "choice_dist is no list of two counts but [1, -1]"),
    ("hpd3", HPD3, {"confidence": 7}, "confidence is no number from 0 to 1 but 7"),
    ("imagereward", IMAGEREWARD, {"id": 5}, "id is no text of at most 80 characters but 5"),
    ("imagereward", IMAGEREWARD, {"ranking": [1, 2]}, "ranking has 2 ranks for 3 images"),
    ("imagereward", IMAGEREWARD, {"ranking": [1, 2, "3"]}, "ranking is no list of whole numbers but [1, 2, '3']"),
    ("imagereward", IMAGEREWARD, {"generations": ["a"] * 3}, "generations names an image twice"),
    (
        "imagereward",
        IMAGEREWARD,
        {"id": "2", "generations": ["a", "b", "c" * 501]},
        "an image's name has 501 characters; at most",
    ),
]


@pytest.mark.parametrize(("form", "good", "change", "reason"), BAD)
def test_a_bad_record_is_named_and_nothing_is_taken(
    tmp_path: Path, form: str, good: dict[str, Any], change: dict[str, Any], reason: str
) -> None:
    path = write_json(tmp_path / "mine.json", [good | {"prompt": "another"}, good | change])

    with pytest.raises(UnableToImport) as caught:
        read(path, form)

    assert str(caught.value).startswith("1 record is bad, nothing was imported: mine.json, record 2: ")
    assert reason in str(caught.value)
    assert Vote.objects.count() == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"label_0": 0.7}, "label_0 and label_1 are (0.7, 0.0); they are 1 and 0, 0 and 1, or 0.5 and 0.5"),
        ({"label_0": None}, "label_0 and label_1 are (None, 0.0)"),
        ({"image_1_uid": "u0"}, "image_0_uid and image_1_uid are the same"),
        ({"caption": ""}, "the prompt is blank"),
        ({"tags": ["x" * 65]}, "tags is no list of texts of at most 64 characters"),
        ({"shown_ms": -1}, "shown_ms is no whole number of milliseconds but -1"),
    ],
)
def test_a_bad_row_of_pickapic_is_named(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnableToImport) as caught:
        read(write_parquet(tmp_path / "rows.parquet", PICKAPIC | change), "pickapic")

    assert f"rows.parquet, record 1: {reason}" in str(caught.value)


def test_a_file_that_is_no_parquet_or_lacks_a_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"no parquet")
    with pytest.raises(UnableToImport, match=r"rows.parquet cannot be read as Parquet: "):
        read(tmp_path / "rows.parquet", "pickapic")
    with pytest.raises(UnableToImport, match=r"rows.parquet has no column caption; Pick-a-Pic has caption, image_0"):
        read(write_parquet(tmp_path / "rows.parquet", {"a": 1}), "pickapic")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnableToImport, match=r"empty holds no file that ends in \.parquet"):
        read(tmp_path / "empty", "pickapic")
