"""Manifests scored from the terminal."""

import json
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from scoring import scorers
from tests.scoring import tiny

pytestmark = pytest.mark.django_db


@pytest.fixture
def manifest(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(scorers, "SCORERS", {})
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "scorers_of_mine.py").write_text(
        "from scoring.scorers import scorer\n"
        "@scorer('width')\n"
        "def width(images, prompt):\n"
        "    return [image.width for image in images]\n"
    )
    monkeypatch.delitem(sys.modules, "scorers_of_mine", raising=False)
    settings.SCORER_MODULES = ["scorers_of_mine"]
    (tmp_path / "images").mkdir()
    tiny.picture(100, size=(30, 20)).save(tmp_path / "images" / "a.png")
    images = ["a.png", *(f"none-{number}.png" for number in range(25))]
    pq.write_table(pa.table({"image": images, "prompt": ["one"] * 26}), tmp_path / "in.parquet")
    return tmp_path / "in.parquet"


def said(*arguments: Any) -> tuple[str, str]:
    out, errors = StringIO(), StringIO()
    call_command("score_images", *map(str, arguments), stdout=out, stderr=errors)
    return out.getvalue().strip(), errors.getvalue()


def test_score_images_writes_the_scores_and_names_the_first_bad_rows(manifest: Path) -> None:
    out = manifest.parent / "out.parquet"

    text, errors = said("--scorer", "width", "--manifest", manifest, "--out", out, "--root", manifest.parent / "images")

    assert text == f"{out}: 1 of 26 rows scored; 25 without a score (column error)."
    assert pq.read_table(out)["score"].to_pylist() == [30.0] + [None] * 25
    assert errors.count("no such file") == 20
    assert "Row 1: none-0.png: no such file" in errors
    assert "More rows without a score: see the column error." in errors


def test_score_images_of_a_manifest_as_json(manifest: Path) -> None:
    out = manifest.parent / "out.parquet"

    text, _ = said("--scorer", "width", "--manifest", manifest, "--out", out, "--json")

    assert json.loads(text) == {"rows": 26, "scored": 0, "resumed": 0}


def test_score_images_in_another_precision_is_another_job(manifest: Path) -> None:
    clip, out = tiny.write_clip(manifest.parent / "clip"), manifest.parent / "out.parquet"
    arguments = ["--scorer", clip, "--manifest", manifest, "--out", out, "--root", manifest.parent / "images"]

    said(*arguments, "--precision", "bfloat16")
    halved = pq.read_table(out)["score"].to_pylist()[0]
    with pytest.raises(CommandError, match="scores of another manifest, root or scorer"):
        said(*arguments)
    out.unlink()
    said(*arguments)
    whole = pq.read_table(out)["score"].to_pylist()[0]

    assert 0 < abs(halved - whole) < 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "Say with --out"),
        (["--out", "out.parquet", "--strict"], r"Row 0: a.png can't be scored \(no such file\)"),
        (["--out", "out.parquet", "--scorer", "height"], "There is no scorer 'height'"),
    ],
)
def test_score_images_of_a_manifest_says_in_one_line_what_is_wrong(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], reason: str
) -> None:
    monkeypatch.chdir(manifest.parent)

    with pytest.raises(CommandError, match=reason):
        said("--scorer", "width", "--manifest", manifest, *arguments)
