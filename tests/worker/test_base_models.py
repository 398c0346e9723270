"""Base models: found where the settings say, brought when they ship with the site."""

from io import StringIO

import pytest
import torch
from django.core.management import CommandError, call_command

from scoring import hps
from tests.scoring import tiny
from worker.services import base_models
from worker.services.base_models import BaseModelMissing, base_model_folder, ships


@pytest.fixture(autouse=True)
def known(monkeypatch, settings, tmp_path):
    monkeypatch.setattr(base_models, "_bringers", {})
    settings.HPS_SITE_HOME = tmp_path / "home"
    settings.BASE_MODELS = {"small": tmp_path / "small"}
    return tmp_path


def bring(into):
    (into / "small").mkdir()
    (into / "small" / "manifest.json").write_text("{}")


def test_base_model_folder_finds_what_is_there(known):
    bring(known)

    assert base_model_folder("small", "manifest.json") == known / "small"


def test_base_model_folder_brings_what_ships_once(known):
    calls = []
    ships("small", bringer=lambda into: (calls.append(into), bring(into)))

    assert base_model_folder("small", "manifest.json") == known / "small"
    assert base_model_folder("small", "manifest.json") == known / "small"
    assert calls == [known]


def test_base_model_folder_finds_any_folder_under_home_by_its_name(known):
    tiny.write_clip(known / "home" / "base-models" / "clip-vit-b-32")
    bring(known)
    (known / "home" / "base-models" / "small").mkdir()
    (known / "home" / "base-models" / "small" / "manifest.json").write_text("{}")

    assert base_model_folder("clip-vit-b-32", "manifest.json") == known / "home" / "base-models" / "clip-vit-b-32"
    assert base_model_folder("small", "manifest.json") == known / "small"  # what the settings say goes first


def test_base_model_folder_says_where_a_missing_one_must_be_and_which_there_are(known):
    for name in ("b", "a"):
        tiny.write_clip(known / "home" / "base-models" / name)
    (known / "home" / "base-models" / "a-pipeline").mkdir()

    with pytest.raises(BaseModelMissing) as caught:
        base_model_folder("small", "manifest.json")

    assert str(caught.value) == (
        f"The base model 'small' is not on this worker; put it into {known / 'small'}. There are: a, b."
    )


@pytest.mark.parametrize("name", ["large", "../small", "..", ".", "", "/etc"])
def test_base_model_folder_of_an_unknown_name_is_missing(known, name):
    bring(known)

    with pytest.raises(BaseModelMissing) as caught:
        base_model_folder(name, "manifest.json")

    home = known / "home" / "base-models"
    assert str(caught.value) == f"The base model {name!r} is not on this worker; put it into {home}. There are: small."


def said(*arguments):
    out = StringIO()
    call_command("import_base_model", *map(str, arguments), stdout=out)
    return out.getvalue().strip()


def test_import_base_model_of_a_file_gives_a_folder_that_trainings_can_name(known, monkeypatch):
    monkeypatch.setattr(hps.open_clip, "get_model_config", {"ViT-tiny": tiny.ARCHITECTURE}.get)
    torch.save(tiny.clip().state_dict(), known / "weights.pt")
    folder = known / "home" / "base-models" / "mine"

    words = said("mine", "--architecture", "ViT-tiny", "--file", known / "weights.pt")

    assert words == f'{folder} is there. Start from it with: retrain_classifier --config \'{{"base": "mine"}}\''
    assert base_model_folder("mine", "manifest.json") == folder
    manifest = hps.load_scorer(folder, "cpu").manifest
    assert (manifest["kind"], manifest["name"], manifest["preprocessing"]["size"]) == ("clip", "mine", 16)
    with pytest.raises(CommandError, match=f"There is a base model mine already; remove {folder}"):
        said("mine", "--architecture", "ViT-tiny", "--file", known / "weights.pt")


def test_import_base_model_of_a_tag_fetches_it(known, monkeypatch):
    torch.save(tiny.clip().state_dict(), known / "weights.bin")
    monkeypatch.setattr(hps.open_clip, "get_model_config", lambda _: tiny.ARCHITECTURE)
    monkeypatch.setattr(hps.open_clip, "get_pretrained_cfg", lambda *_: {"quick_gelu": True})
    monkeypatch.setattr(hps.open_clip, "download_pretrained", lambda _: str(known / "weights.bin"))

    said("clip-vit-b-32", "--architecture", "ViT-B-32-quickgelu", "--pretrained", "openai")

    folder = base_model_folder("clip-vit-b-32", "manifest.json")
    assert hps.load_scorer(folder, "cpu").manifest["name"] == "ViT-B-32-quickgelu openai"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["../mine", "--architecture", "ViT-B-32", "--pretrained", "openai"], "'../mine' can't name a base model"),
        (["a", "--architecture", "ViT-B-32", "--pretrained", "laion9b"], "open_clip knows no weights 'laion9b'"),
        (["a", "--architecture", "ViT-H-14-worldwide", "--file", "x.pt"], "reads prompts by facebook/xlm-v-base's"),
        (["a", "--architecture", "ViT-B-32", "--file", "none.pt"], "none.pt"),
        (["a", "--architecture", "ViT-B-32"], "one of the arguments --pretrained --file is required"),
    ],
)
def test_import_base_model_says_why_it_can_not(known, arguments, reason):
    with pytest.raises(CommandError, match=reason):
        said(*arguments)

    assert not (known / "home").exists()


def test_the_tiny_models_ship_with_the_site():
    from django.apps import apps

    apps.get_app_config("hps_site").ready()

    assert sorted(base_models._bringers) == ["tiny-clip", "tiny-diffusion"]
