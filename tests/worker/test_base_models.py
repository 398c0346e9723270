"""Base models: found where the settings say, brought when they ship with the site."""

import pytest

from worker.services import base_models
from worker.services.base_models import BaseModelMissing, base_model_folder, ships


@pytest.fixture(autouse=True)
def known(monkeypatch, settings, tmp_path):
    monkeypatch.setattr(base_models, "_bringers", {})
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


def test_base_model_folder_says_where_a_missing_one_must_be(known):
    with pytest.raises(BaseModelMissing, match=f"'small' is not on this worker.*{known / 'small'}"):
        base_model_folder("small", "manifest.json")


def test_base_model_folder_of_an_unknown_name_is_missing():
    with pytest.raises(BaseModelMissing, match="'large' is not on this worker"):
        base_model_folder("large", "manifest.json")


def test_the_tiny_models_ship_with_the_site():
    from django.apps import apps

    apps.get_app_config("hps_site").ready()

    assert sorted(base_models._bringers) == ["tiny-clip", "tiny-diffusion"]
