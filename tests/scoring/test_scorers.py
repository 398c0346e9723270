import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageStat

from scoring import scorers
from scoring.scorers import ScorerRejected, find, scorer
from tests.scoring import tiny

PICTURES = [tiny.picture(brightness) for brightness in (40, 120, 200)]


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    monkeypatch.setattr(scorers, "SCORERS", {})


def test_three_lines_make_a_scorer():
    @scorer("brightness")
    def brightness(images, prompt):
        return [ImageStat.Stat(image.convert("L")).mean[0] for image in images]

    found = find("brightness", [])

    assert found.score(PICTURES, "any").tolist() == brightness(PICTURES, "any")
    assert found.score(PICTURES, "any").dtype == np.float64
    assert found.kind == "brightness"
    assert list(found.score_pairs(zip(PICTURES, "aab", strict=True))) == brightness(PICTURES, "any")


def test_score_pairs_gives_a_function_one_prompt_at_a_time_in_batches():
    calls = []

    @scorer("counts")
    def counts(images, prompt):
        calls.append((len(images), prompt))
        return np.zeros(len(images))

    scores = list(find("counts", []).score_pairs(((PICTURES[0], prompt) for prompt in "aaabba"), batch_size=2))

    assert calls == [(2, "a"), (1, "a"), (2, "b"), (1, "a")]
    assert scores == [0] * 6


def test_the_scorer_in_the_docs_works():
    page = (Path(__file__).parents[2] / "docs" / "hps.md").read_text()
    example = page.split("## A scorer of your own", 1)[1].split("```python", 1)[1].split("```", 1)[0]

    exec(example, {"__name__": "my_scorers"})

    expected = [ImageStat.Stat(picture.convert("L")).mean[0] for picture in PICTURES]
    assert find("brightness", []).score(PICTURES, "any").tolist() == expected


@pytest.mark.parametrize("given", [[1.0], 1.0, [[1.0], [2.0], [3.0]], [1.0, float("nan"), 2.0]])
def test_score_refuses_what_is_not_one_finite_number_per_picture(given):
    scorer("odd")(lambda images, prompt: given)

    with pytest.raises(ScorerRejected, match="odd must give one finite number for each of 3 images"):
        find("odd", []).score(PICTURES, "any")


def test_find_imports_the_modules_that_are_named(tmp_path, monkeypatch):
    (tmp_path / "my_scorers.py").write_text(
        "from scoring.scorers import scorer\n"
        "@scorer('width')\n"
        "def width(images, prompt):\n"
        "    return [image.width for image in images]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_scorers", raising=False)

    assert find("width", ["my_scorers"]).score(PICTURES, "").tolist() == [16, 16, 16]
    assert find("height", ["my_scorers"]) is None
    with pytest.raises(ScorerRejected, match="'not_there', which can't be imported"):
        find("width", ["not_there"])


def test_a_scorer_knows_the_file_that_it_was_read_from(tmp_path, monkeypatch):
    file = tmp_path / "scorers_in_a_file.py"
    file.write_text("from scoring.scorers import scorer\nscorer('named')(lambda images, prompt: [0.0])\n")
    before = file.read_bytes()
    monkeypatch.syspath_prepend(tmp_path)
    found = find("named", ["scorers_in_a_file"])
    file.write_text("")

    assert found.source() == before
    scorer("elsewhere")(len)
    with pytest.raises(ScorerRejected, match="elsewhere must stand in a file"):
        find("elsewhere", []).source()


@pytest.mark.parametrize("name", ["", "Sharp", "sharp-1", "1st", "a b", "a" * 41])
def test_a_name_fits_into_the_names_of_versions(name):
    with pytest.raises(ScorerRejected, match="can't name a scorer"):
        scorer(name)


def test_a_name_has_one_function():
    scorer("one")(len)

    scorer("one")(len)  # the same module read again
    with pytest.raises(ScorerRejected, match="'one' is the name of"):
        scorer("one")(max)
