import pytest
import torch
from torch import nn

from scoring import aesthetic, checkpoints, hps
from scoring.checkpoints import CheckpointRejected
from tests.scoring import tiny

PICTURES = [tiny.picture(brightness, seed=brightness) for brightness in (40, 120, 200)]
MANIFEST = {
    "name": "beauty",
    "model": {"architecture": tiny.ARCHITECTURE},
    "preprocessing": tiny.PREPROCESSING.to_manifest(),
}


def head(name, seed=1):
    torch.manual_seed(seed)
    return aesthetic.AestheticHead(8, name)


def test_head_has_the_published_names_and_shapes():
    published = {
        "layers.0": (1024, 768),
        "layers.2": (128, 1024),
        "layers.4": (64, 128),
        "layers.6": (16, 64),
        "layers.7": (1, 16),
    }

    shapes = {name: tuple(tensor.shape) for name, tensor in aesthetic.AestheticHead(768).state_dict().items()}

    assert shapes == {f"{name}.weight": shape for name, shape in published.items()} | {
        f"{name}.bias": shape[:1] for name, shape in published.items()
    }


@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_score_is_the_head_on_embeddings_of_length_one_whatever_the_prompt(tmp_path, name):
    aesthetic.save(tmp_path / "one", tiny.clip(), head(name), MANIFEST)
    clip = hps.load_clip_scorer(tiny.write_clip(tmp_path / "clip"), "cpu")
    with torch.no_grad():
        expected = head(name).eval()(clip.encode_images(PICTURES)).tolist()

    scorer = hps.load_scorer(tmp_path / "one", "cpu")

    assert scorer.kind == "aesthetic"
    assert scorer.score(PICTURES, "one").tolist() == pytest.approx(expected, abs=1e-5)
    assert scorer.score(PICTURES, "another").tolist() == pytest.approx(expected, abs=1e-5)
    pairs = [(picture, "") for picture in PICTURES]
    assert list(scorer.score_pairs(pairs, batch_size=2)) == pytest.approx(expected, abs=1e-5)
    assert len(set(expected)) == 3


def test_save_keeps_the_image_half_alone(tmp_path):
    manifest = aesthetic.save(tmp_path / "one", tiny.clip(), head("linear"), MANIFEST)

    tensors, _ = checkpoints.read(tmp_path / "one")
    assert {name.split(".")[0] for name in tensors} == {"visual", "head"}
    assert manifest["model"] == {"architecture": tiny.ARCHITECTURE, "head": "linear"}


def test_import_published_head_joins_it_with_clip(tmp_path):
    clip = tiny.write_clip(tmp_path / "clip")
    torch.save(head("mlp").state_dict(), tmp_path / "ava.pth")

    manifest = aesthetic.import_published_head(tmp_path / "ava.pth", clip, tmp_path / "one")

    loaded = aesthetic.load(tmp_path / "one", "cpu")
    assert {name: tensor.tolist() for name, tensor in loaded.head.state_dict().items()} == {
        name: tensor.tolist() for name, tensor in head("mlp").state_dict().items()
    }
    assert manifest["base"] == {"name": "tiny", "sha256": checkpoints.read_manifest(clip)["weights"]["sha256"]}


def test_import_published_head_takes_the_linear_ones(tmp_path):
    torch.manual_seed(3)
    linear = nn.Linear(8, 1)
    torch.save(linear.state_dict(), tmp_path / "sa_0_4.pth")
    clip = tiny.write_clip(tmp_path / "clip")

    manifest = aesthetic.import_published_head(tmp_path / "sa_0_4.pth", clip, tmp_path / "one")

    with torch.no_grad():
        expected = linear(hps.load_clip_scorer(clip, "cpu").encode_images(PICTURES)).squeeze(1).tolist()
    assert hps.load_scorer(tmp_path / "one", "cpu").score(PICTURES, "").tolist() == pytest.approx(expected, abs=1e-5)
    assert (manifest["model"]["head"], manifest["preprocessing"]["resize"]) == ("linear", "shortest")


@pytest.mark.parametrize("foreign", [nn.Linear(9, 1).state_dict(), {"layers.1.weight": torch.zeros(1)}])
def test_import_published_head_rejects_another_models(tmp_path, foreign):
    torch.save(foreign, tmp_path / "ava.pth")

    with pytest.raises(CheckpointRejected, match="doesn't fit the model"):
        aesthetic.import_published_head(tmp_path / "ava.pth", tiny.write_clip(tmp_path / "clip"), tmp_path / "one")


def test_load_rejects_another_kind(tmp_path):
    with pytest.raises(CheckpointRejected, match="kind 'clip', needed is aesthetic"):
        aesthetic.load(tiny.write_clip(tmp_path / "clip"))
