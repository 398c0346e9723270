"""Rows of manifests: read one at a time, told by row and field where they are bad."""

import io

import pytest

from annotations.imports import manifests
from annotations.imports.manifests import Row, manifest_among, raw_rows, row_of
from annotations.imports.records import BadRecord, UnableToImport
from tests.annotations.packages import manifest_csv, manifest_jsonl

FULL = {"file": "a.png", "prompt": "a fox", "generator": "alder", "seed": 7, "tags": ["animal", "red"], "set": "s1"}


def rows(name: str, content: bytes) -> list[Row | str]:
    """Every row, or what is wrong with it."""
    read: list[Row | str] = []
    for raw in raw_rows(name, io.BytesIO(content)):
        try:
            read.append(row_of(raw))
        except BadRecord as error:
            read.append(f"row {raw.number}, {error}")
    return read


def test_csv_and_json_lines_tell_the_same() -> None:
    expected = [Row(1, "a.png", "a fox", "alder", 7, ("animal", "red"), "s1"), Row(2, "b.png", "é", "", None, (), "")]
    bare = {"file": "b.png", "prompt": "é"}

    assert rows("manifest.csv", manifest_csv([FULL | {"tags": "animal; red;"}, bare])) == expected
    assert rows("manifest.jsonl", manifest_jsonl([FULL, bare])) == expected


def test_other_columns_and_empty_lines_are_let_be() -> None:
    content = '\ufefffile_name,extra,prompt\r\n\r\na.png,9,"two\nlines"\r\n'.encode()

    assert rows("metadata.csv", content) == [Row(1, "a.png", "two\nlines", "", None, (), "")]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"file": ""}, "row 1, file: it is empty"),
        ({"file": ["a.png"]}, "row 1, file: it names no file but ['a.png']"),
        ({"prompt": " "}, "row 1, prompt: the prompt is blank"),
        ({"prompt": None}, "row 1, prompt: it is empty"),
        ({"prompt": 7}, "row 1, prompt: it is no text but 7"),
        (
            {"prompt": "a\0b"},
            "row 1, prompt: the prompt holds characters that are no text (NUL or half a surrogate pair)",
        ),
        ({"generator": "x" * 121}, "row 1, generator: it has 121 characters; at most 120 are taken"),
        ({"generator": {}}, "row 1, generator: it is no text but {}"),
        ({"seed": "seven"}, "row 1, seed: it is no whole number of 64 bits but 'seven'"),
        ({"seed": 2**63}, "row 1, seed: it is no whole number of 64 bits but 9223372036854775808"),
        ({"seed": True}, "row 1, seed: it is no whole number of 64 bits but True"),
        ({"tags": [1]}, "row 1, tags: it is no list of texts but [1]"),
        ({"tags": ["x" * 65]}, "row 1, tags: at most 50 of at most 64 characters are taken"),
        ({"set": "x" * 201}, "row 1, set: it has 201 characters; at most 200 are taken"),
    ],
)
def test_a_bad_field_is_named(changes: dict[str, object], words: str) -> None:
    assert rows("manifest.jsonl", manifest_jsonl([FULL | changes])) == [words]


def test_a_row_that_is_none_is_told_by_its_number() -> None:
    assert rows("manifest.csv", b"file,prompt\na.png,x,y\n") == ["row 1, it has 3 columns; the heading has 2"]
    assert rows("manifest.jsonl", b'[1]\n{"file"\n\xff\n') == [
        "row 1, it is no object but [1]",
        "row 2, it is not JSON: Expecting ':' delimiter: line 2 column 1 (char 8)",
        "row 3, it is not UTF-8 text",
    ]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("manifest.csv", b"", "has no column file and no column prompt"),
        ("manifest.csv", b"prompt\nx\n", "has no column file; its first line names the columns"),
        ("manifest.csv", b"file,prompt,prompt\n", "names a column twice"),
        ("manifest.csv", b"file,prompt\na.png,\xff\n", "is not UTF-8 text, from row 1 on"),
        ("manifest.csv", b'file,prompt\na.png,"x" y\n', "row 1 is no CSV"),
        ("manifest.jsonl", b"x" * 1_048_577, "row 1 is longer than 1,048,576 bytes"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_refused(name: str, content: bytes, words: str) -> None:
    with pytest.raises(UnableToImport, match=words):
        rows(name, content)


def test_a_manifest_may_have_so_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "MAX_ROWS", 2)

    with pytest.raises(UnableToImport, match="more than 2 rows"):
        rows("manifest.jsonl", manifest_jsonl([FULL] * 3))


def test_manifest_among_finds_the_one_at_the_top() -> None:
    assert manifest_among({"a.png": 1, "manifest.csv": 1, "deep/manifest.csv": 1}) == "manifest.csv"
    assert manifest_among({"set/a.png": 1, "set/metadata.jsonl": 1}) == "set/metadata.jsonl"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a.png", "a/b/manifest.csv"], "There is no manifest"),
        (["manifest.csv", "manifest.jsonl"], r"several manifests: manifest\.csv, manifest\.jsonl"),
    ],
)
def test_manifest_among_refuses(names: list[str], words: str) -> None:
    with pytest.raises(UnableToImport, match=words):
        manifest_among(dict.fromkeys(names, 1))
