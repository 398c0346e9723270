"""Against plain forward passes of the source architectures: open_clip's and transformers' own CLIP, random weights."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from scoring import checkpoints, converters, hps
from scoring.checkpoints import CheckpointRejected
from tests.scoring import tiny

open_clip = hps.open_clip

PICTURES = [tiny.picture(brightness, seed=brightness, size=(24, 16)) for brightness in (40, 120, 200)]
PROMPTS = ["a red circle", "a very long prompt of more words than the model can read at once, and then some"]


@pytest.fixture
def known(monkeypatch):
    """The tiny architecture under the names of the published ones, with either activation."""
    records = {
        "ViT-L-14-quickgelu": tiny.ARCHITECTURE,
        "ViT-L-14": {**tiny.ARCHITECTURE, "quick_gelu": False},
        "ViT-H-14": {**tiny.ARCHITECTURE, "quick_gelu": False},
    }
    monkeypatch.setattr(open_clip, "list_models", lambda: list(records))
    monkeypatch.setattr(open_clip, "get_model_config", records.get)
    return records


def plain_scores(record, tensors, preprocessing):
    """100 * cosine by open_clip alone, (pictures, prompts)."""
    model = open_clip.model.CLIP(**record).eval()
    model.load_state_dict(tensors)
    with torch.inference_mode():
        images = model.encode_image(torch.from_numpy(pixels(preprocessing)))
        texts = model.encode_text(open_clip.tokenize(PROMPTS, context_length=10))
    return (100 * functional.normalize(images, dim=-1) @ functional.normalize(texts, dim=-1).T).numpy()


def pixels(preprocessing):
    return preprocessing.normalise(np.stack([preprocessing.square(picture) for picture in PICTURES]))


def scores(folder):
    scorer = hps.load_scorer(folder, "cpu")
    return np.stack([scorer.score(PICTURES, prompt) for prompt in PROMPTS], axis=1), scorer.preprocessing


@pytest.mark.parametrize(
    ("file", "architecture", "wrap"),
    [
        ("hpc.pt", "ViT-L-14-quickgelu", lambda tensors: {"state_dict": tensors}),
        ("HPS_v2_compressed.pt", "ViT-H-14", lambda tensors: {"epoch": 1, "state_dict": tensors, "optimizer": None}),
        ("HPS_v2.1_compressed.pt", "ViT-H-14", lambda tensors: {"model": tensors}),
        ("HPS_v2.pt", "ViT-H-14", lambda tensors: {f"module.clip.{key}": value for key, value in tensors.items()}),
    ],
)
def test_convert_gives_what_open_clip_gives_with_the_right_activation(tmp_path, known, file, architecture, wrap):
    tensors = tiny.clip(seed=5).state_dict()
    torch.save(wrap(dict(tensors)), tmp_path / file)

    manifest = converters.convert(tmp_path / file, tmp_path / "out", name="HPS")

    found, preprocessing = scores(tmp_path / "out")
    other = {**known[architecture], "quick_gelu": not known[architecture]["quick_gelu"]}
    assert found == pytest.approx(plain_scores(known[architecture], tensors, preprocessing), abs=1e-4)
    assert np.abs(found - plain_scores(other, tensors, preprocessing)).max() > 1e-2
    assert (manifest["kind"], manifest["name"], manifest["preprocessing"]["resize"]) == ("hps", "HPS", "longest")
    assert manifest["model"] == {"architecture": architecture}
    assert manifest["scale"] == pytest.approx(1 / 0.07)  # as CLIP begins


@pytest.mark.usefixtures("known")
def test_convert_refuses_a_known_file_with_the_other_activation(tmp_path):
    torch.save(tiny.clip().state_dict(), tmp_path / "hpc.pt")

    with pytest.raises(CheckpointRejected, match="of this name is a ViT-L-14-quickgelu, not ViT-L-14;"):
        converters.convert(tmp_path / "hpc.pt", tmp_path / "out", name="HPS", architecture="ViT-L-14")

    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("known")
def test_convert_of_an_unknown_file_asks_for_the_architecture_and_names_those_that_fit(tmp_path):
    torch.save(tiny.clip().state_dict(), tmp_path / "mine.pt")

    with pytest.raises(CheckpointRejected, match="Of its shape: ViT-L-14-quickgelu, ViT-L-14, ViT-H-14"):
        converters.convert(tmp_path / "mine.pt", tmp_path / "out", name="mine")

    converters.convert(tmp_path / "mine.pt", tmp_path / "out", name="mine", architecture="ViT-L-14", resize="shortest")
    assert scores(tmp_path / "out")[1].resize == "shortest"


def test_open_clips_own_names_are_found_by_shape():
    with torch.device("meta"):
        tensors = hps.build_clip("ViT-H-14").state_dict()

    assert {"ViT-H-14", "ViT-H-14-quickgelu"} == set(converters._fitting(tensors))


def test_convert_of_a_file_that_would_run_code_does_not_run_it(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"state_dict": Evil()}, tmp_path / "hpc.pt")

    with pytest.raises(CheckpointRejected, match="can't be read as plain weights"):
        converters.convert(tmp_path / "hpc.pt", tmp_path / "out", name="evil")

    assert not (tmp_path / "ran").exists()


@pytest.mark.usefixtures("known")
def test_convert_of_a_damaged_or_other_file_says_so(tmp_path):
    (tmp_path / "hpc.pt").write_bytes(b"PK")
    torch.save({"a": torch.zeros(1)}, tmp_path / "HPS_v2.pt")

    with pytest.raises(CheckpointRejected, match="can't be read as plain weights"):
        converters.convert(tmp_path / "hpc.pt", tmp_path / "out", name="one")
    with pytest.raises(CheckpointRejected, match="doesn't fit the model"):
        converters.convert(tmp_path / "HPS_v2.pt", tmp_path / "out", name="one")
    with pytest.raises(CheckpointRejected, match="can't be read as plain weights"):
        converters.convert(tmp_path / "none.pt", tmp_path / "out", name="one")


def transformers_model(activation, seed=7):
    from transformers import CLIPConfig, CLIPModel

    half = {
        "num_hidden_layers": 3, "num_attention_heads": 2, "hidden_act": activation,
    }  # fmt: skip
    torch.manual_seed(seed)
    config = CLIPConfig(
        text_config={
            **half, "hidden_size": 16, "intermediate_size": 48, "max_position_embeddings": 10, "vocab_size": 49408,
            "eos_token_id": 49407, "bos_token_id": 49406, "pad_token_id": 1,
        },
        vision_config={**half, "hidden_size": 32, "intermediate_size": 64, "image_size": 16, "patch_size": 8},
        projection_dim=8,
    )  # fmt: skip
    model = CLIPModel(config).eval()
    for parameter in model.parameters():  # its own start leaves the biases zero
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def transformers_scores(model, preprocessing):
    with torch.inference_mode():
        output = model(
            input_ids=open_clip.tokenize(PROMPTS, context_length=10),
            pixel_values=torch.from_numpy(pixels(preprocessing)),
        )
    return (100 * output.image_embeds @ output.text_embeds.T).numpy()


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_convert_gives_what_transformers_gives(tmp_path, activation):
    model = transformers_model(activation)
    model.save_pretrained(tmp_path / "pickscore")
    (tmp_path / "pickscore" / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5, 0.4, 0.3]}))

    manifest = converters.convert(tmp_path / "pickscore", tmp_path / "out", name="PickScore")

    found, preprocessing = scores(tmp_path / "out")
    assert found == pytest.approx(transformers_scores(model, preprocessing), abs=1e-3)
    assert manifest["preprocessing"]["resize"] == "shortest"
    assert manifest["preprocessing"]["mean"] == [0.5, 0.4, 0.3]
    assert manifest["scale"] == pytest.approx(model.logit_scale.exp().item())
    assert manifest["model"]["architecture"]["quick_gelu"] == (activation == "quick_gelu")
    other = transformers_model("quick_gelu" if activation == "gelu" else "gelu")
    other.load_state_dict(model.state_dict())
    assert np.abs(found - transformers_scores(other, preprocessing)).max() > 1e-2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model_type": "blip"}, "model_type 'blip', needed is clip"),
        ({"text_config": {"hidden_act": "gelu_new"}}, "hidden_act must be gelu or quick_gelu"),
        ({"text_config": {"layer_norm_eps": 1e-6}}, "layer_norm_eps must be 1e-5"),
        ({"vision_config": {"num_hidden_layers": 4}}, "lacks 'vision_model.encoder.layers.3"),
        ({"projection_dim": 9}, "doesn't fit the model"),
    ],
)
def test_convert_of_a_folder_that_is_no_such_model_says_why(tmp_path, change, reason):
    transformers_model("gelu").save_pretrained(tmp_path / "one")
    record = checkpoints.read_json(tmp_path / "one" / "config.json")
    for key, value in change.items():
        record[key] = record[key] | value if isinstance(value, dict) else value
    checkpoints.write_json(tmp_path / "one" / "config.json", record)

    with pytest.raises(CheckpointRejected, match=reason):
        converters.convert(tmp_path / "one", tmp_path / "out", name="one")

    assert not (tmp_path / "out").exists()


def test_convert_joins_an_aesthetic_head_with_its_clip(tmp_path):
    torch.save(torch.nn.Linear(8, 1).state_dict(), tmp_path / "sa_0_4_vit_l_14_linear.pth")

    with pytest.raises(CheckpointRejected, match="aesthetic head; say which CLIP"):
        converters.convert(tmp_path / "sa_0_4_vit_l_14_linear.pth", tmp_path / "out", name="LAION")
    manifest = converters.convert(
        tmp_path / "sa_0_4_vit_l_14_linear.pth",
        tmp_path / "out",
        name="LAION",
        clip_folder=tiny.write_clip(tmp_path / "clip"),
    )

    assert (manifest["kind"], manifest["name"]) == ("aesthetic", "LAION")
