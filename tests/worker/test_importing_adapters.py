"""Adapters trained without the site that become versions of it."""

import json
import shutil
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from scoring import checkpoints
from tests.annotations.factories import make_generator, make_user
from tests.worker.adapter.test_loop import CONFIG, run
from tests.worker.generators import make_tiny_generator
from worker.adapter.artefact import WEIGHTS
from worker.models import ModelVersion
from worker.services.adapters import arms_of, original_of
from worker.services.generation import load_generator
from worker.services.recipes import Recipe
from worker.services.versions import folder_of

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trained")


@pytest.fixture
def trained(kept: Path, tiny_diffusion: Path, tmp_path: Path) -> Path:
    """The folder OUT/model of a training without the site."""
    if not (kept / "model").exists():
        run(tiny_diffusion, kept, replace(CONFIG, steps=1, evaluation_draws=1))
    return Path(shutil.copytree(kept / "model", tmp_path / "model"))


def said(*arguments: object) -> str:
    out = StringIO()
    call_command("import_adapter", *map(str, arguments), stdout=out)
    return out.getvalue().strip()


def test_import_adapter_registers_a_version_with_its_card_whose_original_is_the_named_generator(trained, files, client):
    original = make_tiny_generator("drawer", negative_prompt="blurry", guidance=1.5)

    told = said(trained, "--generator", "drawer")

    version = ModelVersion.objects.get()
    assert told == f"{trained} is adapter-1. {version.metrics['verdict']} Prove it: prove_adapter adapter-1"
    assert (str(version), version.is_current, version.is_synthetic, version.run) == ("adapter-1", False, True, None)
    assert version.manifest == checkpoints.read_manifest(folder_of(version))
    assert {**version.manifest, "drawn": None} == {**checkpoints.read_manifest(trained), "drawn": None}
    card = (folder_of(version) / "README.md").read_text()
    assert 'negative_prompt="Weird image. blurry", num_inference_steps=2, guidance_scale=1.5' in card
    assert original_of(version) == original
    load_generator(Recipe.of(arms_of(version=version, original=original)["adapted_marked"]))
    client.force_login(make_user("ada", is_staff=True, is_superuser=True))
    assert client.get(version.get_absolute_url()).status_code == 200


def test_import_adapter_refuses_a_generator_that_draws_with_another_model(trained, files, tmp_path, settings):
    other = tmp_path / "other"
    shutil.copytree(settings.BASE_MODELS["tiny-diffusion"], other)
    (weights,) = (other / "unet").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes() + b" ")
    make_tiny_generator("other", pipeline=str(other))

    with pytest.raises(CommandError, match=r"whose weights are not those of .*other, with which other draws"):
        said(trained, "--generator", "other")

    assert not ModelVersion.objects.exists()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json"),
        (lambda folder: _change(folder, kind="hps"), "holds no adapter but a 'hps'"),
        (lambda folder: _change(folder, format=9), "format 9 is not known"),
        (
            lambda folder: (folder / WEIGHTS).write_bytes(b"cut"),
            "weights.safetensors of model is not what",
        ),
    ],
)
def test_import_adapter_of_a_folder_that_is_no_good_says_why_and_leaves_nothing(trained, files, spoil, words):
    make_tiny_generator()
    spoil(trained)

    with pytest.raises(CommandError, match=words):
        said(trained, "--generator", "tiny")

    assert not ModelVersion.objects.exists()
    assert not list((files / "artefacts").glob("imported/*"))


def test_import_adapter_needs_a_generator_that_draws_without_an_adapter(trained, files):
    make_tiny_generator("adapted", adapter="adapter-1")
    make_generator("photographs")

    for name, words in (("adapted", "adapter-1"), ("photographs", "no recipe"), ("nobody", "no generator 'nobody'")):
        with pytest.raises(CommandError, match=words):
            said(trained, "--generator", name)


def _change(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    checkpoints.write_json(folder / "manifest.json", manifest | changes)
