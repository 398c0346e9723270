"""Published scorers that become versions."""

import json
from io import StringIO
from pathlib import Path

import pytest
import torch
from django.core.management import CommandError, call_command

from scoring import hps
from tests.scoring import tiny
from tests.worker.test_versions import register
from worker.models import ModelVersion
from worker.services.versions import scorer_for

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        hps.open_clip, "get_model_config", {"ViT-L-14-quickgelu": tiny.ARCHITECTURE, "ViT-tiny": tiny.ARCHITECTURE}.get
    )


def said(*arguments: object) -> str:
    out = StringIO()
    call_command("import_scorer", *map(str, arguments), stdout=out)
    return out.getvalue().strip()


def test_import_scorer_registers_a_version_that_scores_and_is_not_in_use(files: Path, tmp_path: Path) -> None:
    torch.save({"state_dict": tiny.clip().state_dict()}, tmp_path / "hpc.pt")

    assert said(tmp_path / "hpc.pt", "--name", "HPS v1") == (
        "HPS v1 is hps-1. Put it into use with: promote_version hps-1"
    )

    version = ModelVersion.objects.get()
    assert (version.family, version.is_current, version.is_synthetic) == ("hps", False, False)
    assert version.manifest["name"] == "HPS v1"
    assert (files / "artefacts" / version.folder).is_dir()
    assert len(scorer_for(version).score([tiny.picture(100)], "a circle")) == 1


def test_import_scorer_of_an_aesthetic_head_takes_the_clip_by_name(files: Path, tmp_path: Path) -> None:
    register(tiny.write_clip(files / "artefacts" / "clip"), family="clip")
    torch.save(torch.nn.Linear(8, 1).state_dict(), tmp_path / "head.pth")

    record = json.loads(said(tmp_path / "head.pth", "--name", "LAION", "--clip", "clip-1", "--json"))

    assert record == {"version": "aesthetic-1", "name": "LAION", "family": "aesthetic"}
    with pytest.raises(CommandError, match="no CLIP 'clip-2'"):
        said(tmp_path / "head.pth", "--name", "LAION", "--clip", "clip-2")


def test_import_scorer_of_an_untrained_clip_is_a_clip(files: Path, tmp_path: Path) -> None:
    torch.save(tiny.clip().state_dict(), tmp_path / "open_clip_pytorch_model.bin")

    text = said(
        tmp_path / "open_clip_pytorch_model.bin", "--name", "tiny", "--kind", "clip", "--architecture", "ViT-tiny"
    )

    assert text == "tiny is clip-1. Put it into use with: promote_version clip-1"
    assert ModelVersion.objects.get().manifest["kind"] == "clip"


def test_import_scorer_that_fails_leaves_nothing(files: Path, tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "hpc.pt")

    with pytest.raises(CommandError, match="doesn't fit the model"):
        said(tmp_path / "hpc.pt", "--name", "HPS v1")
    (tmp_path / "hpc.pt").rename(tmp_path / "mine.pt")
    with pytest.raises(CommandError, match="open_clip knows no model 'ViT-Z'"):
        said(tmp_path / "mine.pt", "--name", "x", "--architecture", "ViT-Z")
    with pytest.raises(CommandError, match="there is no such file or folder"):
        said(tmp_path / "none.pt", "--name", "x")

    assert not ModelVersion.objects.exists()
    assert not list((files / "artefacts").glob("imported/*"))
