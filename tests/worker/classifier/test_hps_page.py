"""The lines of docs/hps.md do what the page says."""

import json
import re

import pytest

from tests.conftest import ROOT
from tests.scoring import tiny
from tests.worker.classifier.votes import study


# Lines for a notebook leave the pictures they opened to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_lines_of_the_page_train_and_score(tmp_path, monkeypatch, capsys):
    lines, _a_scorer_of_ones_own = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "hps.md").read_text(), re.DOTALL)
    choices, pictures = study(6)
    monkeypatch.chdir(tmp_path)
    tiny.write_clip(tmp_path / "base")
    images = tmp_path / "hpd" / "preference_images"
    images.mkdir(parents=True)
    for key, picture in pictures.items():
        picture.save(images / f"{key}.jpg")
    for split in ("train", "test"):
        rows = [
            {
                "human_preference": choice.chosen,
                "prompt": choice.prompt,
                "file_path": [f"{key}.jpg" for key in choice.images],
                "user_hash": choice.annotator,
            }
            for choice in choices
            if choice.split == split and choice.is_decided
        ]
        (tmp_path / "hpd" / f"preference_{split}.json").write_text(json.dumps(rows))
    for name in ("a.jpg", "b.jpg"):
        tiny.picture(100).save(tmp_path / name)

    exec(lines.replace('"preset": "paper"', '"preset": "tiny", "image_blocks": 1'), {})

    assert len([line for line in lines.splitlines() if line]) <= 22
    assert "stage='training'" in capsys.readouterr().out
    assert (tmp_path / "out" / "model" / "manifest.json").exists()
    assert list((tmp_path / "cache").glob("*/*.safetensors"))
