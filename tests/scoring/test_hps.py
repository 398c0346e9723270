import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from scoring import checkpoints, hps
from scoring.backend import pick_device
from scoring.checkpoints import CheckpointRejected
from scoring.hps import ArchitectureRejected, TagRejected
from scoring.preprocessing import Preprocessing
from tests.scoring import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.write_clip(tmp_path_factory.mktemp("clip") / "tiny")


@pytest.fixture(scope="module")
def scorer(folder):
    return hps.load_clip_scorer(folder, "cpu")


RESNET = tiny.ARCHITECTURE | {"vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}}
PICTURES = [tiny.picture(brightness, seed=brightness) for brightness in (40, 120, 200)]


def test_score_is_a_hundred_times_the_cosine(scorer):
    model = tiny.clip().eval()
    with torch.inference_mode():
        pixels = torch.stack([torch.from_numpy(np.asarray(picture) / 255).permute(2, 0, 1) for picture in PICTURES])
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (tiny.PREPROCESSING.mean, tiny.PREPROCESSING.std))
        images = model.encode_image(((pixels - mean) / std).float())
        text = model.encode_text(hps.open_clip.tokenize(["a red circle"], context_length=10))
        expected = 100 * nn.functional.cosine_similarity(images, text)

    scores = scorer.score(PICTURES, "a red circle")

    assert scores.dtype == np.float64
    assert scores.tolist() == pytest.approx(expected.tolist(), abs=1e-4)
    assert len(set(scores.tolist())) == 3


def test_score_pairs_gives_what_score_gives_in_order(scorer):
    prompts = ["one", "two", "one", "three"] * 3
    pairs = [(PICTURES[number % 3], prompt) for number, prompt in enumerate(prompts)]

    expected = [scorer.score([picture], prompt)[0] for picture, prompt in pairs]

    assert list(scorer.score_pairs(pairs)) == pytest.approx(expected, abs=1e-4)
    assert list(scorer.score_pairs(iter(pairs), batch_size=5)) == pytest.approx(expected, abs=1e-4)


def test_score_pairs_reads_no_more_ahead_than_it_says(scorer):
    given = []

    def pairs():
        for number in range(40):
            given.append(number)
            yield PICTURES[number % 3], "one"

    next(scorer.score_pairs(pairs(), batch_size=4))

    assert len(given) == 4 * (2 + hps.READ_AHEAD_ON_CPU)


def test_score_pairs_tells_which_picture_is_damaged(scorer, tmp_path):
    PICTURES[0].resize((64, 64)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:200])

    with hps.Image.open(tmp_path / "cut.png") as cut, pytest.raises(OSError, match="truncated"):
        scorer.score([cut], "one")


def test_score_in_bfloat16_is_near(folder, scorer):
    half = hps.load_scorer(folder, "cpu", "bfloat16")

    scores = half.score(PICTURES, "one")

    assert half.model.visual.proj.dtype == torch.bfloat16
    assert scores.dtype == np.float64
    assert scores.tolist() == pytest.approx(scorer.score(PICTURES, "one").tolist(), abs=1)


def test_score_of_nothing_is_empty(scorer):
    assert scorer.score([], "one").tolist() == []


def test_score_pairs_encodes_each_distinct_prompt_once(folder, monkeypatch):
    scorer = hps.load_clip_scorer(folder, "cpu")
    encoded = []
    encode_text = hps.encode_text
    monkeypatch.setattr(hps, "encode_text", lambda model, ids: encoded.append(len(ids)) or encode_text(model, ids))

    list(scorer.score_pairs([(PICTURES[0], prompt) for prompt in "aabbccab"], batch_size=3))
    scorer.score(PICTURES, "c")

    assert encoded == [1, 1, 1]  # on a CPU one after the other: in bfloat16 two at once take ten times as long


def test_encode_texts_forgets_what_was_not_wanted_for_the_longest_time(folder, monkeypatch):
    monkeypatch.setattr(hps, "MAX_CACHED_TEXTS", 2)
    scorer = hps.load_clip_scorer(folder, "cpu")
    first = scorer.encode_texts(["a", "b"])

    again = scorer.encode_texts(["b", "c"])
    scorer.encode_texts(["b"])
    more = scorer.encode_texts(["d", "e", "b"])

    assert torch.allclose(again[0], first[1], atol=1e-6)
    assert more.shape == (3, 8)
    assert list(scorer._texts) == ["e", "b"]


def test_score_cuts_a_prompt_that_is_too_long(scorer):
    words = "word " * 8

    long, cut, short = (scorer.score(PICTURES[:1], text)[0] for text in (words + "x y z", words, "word"))

    assert long == pytest.approx(cut, abs=1e-4)
    assert abs(long - short) > 0.01


def test_load_scorer_gives_clip_and_hps_and_says_which(tmp_path):
    for kind in ("clip", "hps"):
        scorer = hps.load_scorer(tiny.write_clip(tmp_path / kind, kind=kind), "cpu")

        assert (scorer.kind, scorer.manifest["name"]) == (kind, "tiny")


def test_load_scorer_reads_half_precision(tmp_path, scorer):
    half = {name: tensor.half() for name, tensor in tiny.clip().state_dict().items()}
    manifest = {"kind": "clip", "model": {"architecture": tiny.ARCHITECTURE}, "preprocessing": {"size": 16}}
    checkpoints.write(tmp_path / "half", half, manifest)

    loaded = hps.load_clip_scorer(tmp_path / "half", "cpu")

    assert loaded.model.visual.proj.dtype == torch.float32
    assert loaded.score(PICTURES, "one").tolist() == pytest.approx(scorer.score(PICTURES, "one").tolist(), abs=0.2)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"kind": "adapter"}, "kind 'adapter', needed is clip or hps"),
        ({"model": {}}, "can't be built from it"),
        ({"model": {"architecture": "ViT-Z-99"}}, "open_clip knows no model 'ViT-Z-99'"),
        ({"model": {"architecture": {**tiny.ARCHITECTURE, "custom_text": True}}}, "Only open_clip's class CLIP"),
        ({"model": {"architecture": {**tiny.ARCHITECTURE, "embed_dim": 9}}}, "doesn't fit the model"),
        ({"preprocessing": {"size": 224}}, "size 224, the model needs"),
        ({"preprocessing": {"side": 16}}, "can't be built from it"),
    ],
)
def test_load_scorer_rejects(tmp_path, more, reason):
    with pytest.raises(CheckpointRejected, match=reason):
        hps.load_scorer(tiny.write_clip(tmp_path / "one", **more), "cpu")


def test_build_clip_knows_open_clips_names():
    with torch.device("meta"):
        model = hps.build_clip("ViT-L-14-quickgelu")

    assert sum(parameter.numel() for parameter in model.parameters()) == 427_616_513
    assert type(model.visual.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ViT-H-14-worldwide", "reads prompts by facebook/xlm-v-base's tokenizer"),
        ("ViT-L-14-CLIPA", "reads prompts by bert-base-uncased's tokenizer"),
        ("xlm-roberta-base-ViT-B-32", "reads prompts by xlm-roberta-base's tokenizer"),
        ("ViT-B-16-SigLIP", "Only open_clip's class CLIP can be used; it has no .*custom_text"),
        ("ViT-Z-99", "open_clip knows no model 'ViT-Z-99'"),
        ({"hf_model_name": "roberta-base"}, "reads prompts by roberta-base's tokenizer"),
        ({"tokenizer_kwargs": {"clean": "canonicalize"}}, "reads prompts by a tokenizer with tokenizer_kwargs"),
        ({"vocab_size": 32000}, "knows 32,000 word pieces, CLIP's tokenizer 49,408"),
    ],
)
def test_build_clip_refuses_what_clips_own_tokenizer_does_not_read_for(name, reason):
    if isinstance(name, dict):
        name = tiny.ARCHITECTURE | {"text_cfg": tiny.ARCHITECTURE["text_cfg"] | name}

    with pytest.raises(ArchitectureRejected, match=reason), torch.device("meta"):
        hps.build_clip(name)


def test_a_clip_with_a_resnet_scores(tmp_path):
    model = hps.build_clip(RESNET)
    manifest = {"kind": "clip", "model": {"architecture": RESNET}, "preprocessing": {"size": 32}}
    checkpoints.write(tmp_path / "resnet", model.state_dict(), manifest)
    squares = np.stack([Preprocessing(size=32).square(picture) for picture in PICTURES])
    with torch.inference_mode():
        images = model.eval().encode_image(torch.from_numpy(Preprocessing(size=32).normalise(squares)))
        text = model.encode_text(hps.open_clip.tokenize(["a red circle"], context_length=10))
        expected = 100 * nn.functional.cosine_similarity(images, text)

    scores = hps.load_scorer(tmp_path / "resnet", "cpu").score(PICTURES, "a red circle")

    assert scores.tolist() == pytest.approx(expected.tolist(), abs=1e-4)


def test_pack_token_table_keeps_the_rows_that_are_not_zero():
    table = torch.zeros(10, 3)
    table[[2, 7]] = torch.tensor([[1.0, 2, 3], [0, 0, 4]])
    tensors = {"token_embedding.weight": table, "other": torch.ones(1)}

    packed = hps.pack_token_table(tensors)

    assert {name: tensor.tolist() for name, tensor in packed.items()} == {
        "other": [1],
        "token_embedding.rows": [[1, 2, 3], [0, 0, 4]],
        "token_embedding.row_ids": [2, 7],
    }
    assert torch.equal(hps.unpack_token_table(packed, 10)["token_embedding.weight"], table)
    assert sorted(hps.unpack_token_table(packed, 10)) == sorted(tensors)


def test_pack_token_table_leaves_a_full_table_alone():
    tensors = {"token_embedding.weight": torch.ones(4, 2)}

    assert hps.pack_token_table(tensors) == tensors
    assert hps.unpack_token_table(tensors, 4) == tensors


def test_load_clip_reads_a_packed_token_table(tmp_path):
    model = tiny.clip()
    with torch.no_grad():
        model.token_embedding.weight[100:49000] = 0
    manifest = {"kind": "clip", "model": {"architecture": tiny.ARCHITECTURE}, "preprocessing": {"size": 16}}
    checkpoints.write(tmp_path / "packed", hps.pack_token_table(model.state_dict()), manifest)

    loaded, preprocessing, _ = hps.load_clip(tmp_path / "packed")

    assert preprocessing == Preprocessing(size=16)
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert (tmp_path / "packed" / "weights.safetensors").stat().st_size < 200_000


def test_import_clip_file_converts_openais_naming_once(tmp_path, scorer):
    remarks = {name: torch.tensor(7) for name in ("input_resolution", "context_length", "vocab_size")}
    torch.save({"state_dict": {**tiny.clip().state_dict(), **remarks}}, tmp_path / "hpc.pt")

    manifest = hps.import_clip_file(
        tmp_path / "hpc.pt",
        tmp_path / "hpc",
        architecture=tiny.ARCHITECTURE,
        preprocessing=tiny.PREPROCESSING,
        kind="hps",
        name="HPS v1",
    )

    loaded = hps.load_scorer(tmp_path / "hpc", "cpu")
    assert loaded.score(PICTURES, "one").tolist() == pytest.approx(scorer.score(PICTURES, "one").tolist(), abs=1e-4)
    assert (manifest["kind"], manifest["name"], manifest["is_synthetic"]) == ("hps", "HPS v1", False)
    assert manifest["converted_from"] == {
        "file": "hpc.pt",
        "sha256": checkpoints.file_sha256(tmp_path / "hpc.pt"),
    }


def test_import_clip_file_reads_safetensors(tmp_path, scorer):
    save_file(tiny.clip().state_dict(), tmp_path / "open_clip_model.safetensors")

    hps.import_clip_file(
        tmp_path / "open_clip_model.safetensors", tmp_path / "clip", architecture=tiny.ARCHITECTURE,
        preprocessing=tiny.PREPROCESSING, kind="clip", name="tiny",
    )  # fmt: skip

    loaded = hps.load_scorer(tmp_path / "clip", "cpu")
    assert loaded.score(PICTURES, "one").tolist() == pytest.approx(scorer.score(PICTURES, "one").tolist(), abs=1e-4)


def test_import_pretrained_brings_the_file_of_a_tag_with_its_own_preprocessing(tmp_path, monkeypatch):
    torch.save(tiny.clip().state_dict(), tmp_path / "weights.bin")
    mean = [0.5, 0.5, 0.5]
    monkeypatch.setattr(hps.open_clip, "get_model_config", lambda _: tiny.ARCHITECTURE)
    monkeypatch.setattr(hps.open_clip, "get_pretrained_cfg", lambda *_: {"quick_gelu": True, "mean": mean, "std": None})
    monkeypatch.setattr(hps.open_clip, "download_pretrained", lambda _: str(tmp_path / "weights.bin"))

    manifest = hps.import_pretrained("ViT-tiny", "a_tag", tmp_path / "clip")

    assert (manifest["kind"], manifest["name"]) == ("clip", "ViT-tiny a_tag")
    assert manifest["preprocessing"] == Preprocessing(size=16, mean=(0.5, 0.5, 0.5)).to_manifest()
    assert manifest["converted_from"]["file"] == "weights.bin"


def test_import_pretrained_brings_a_resnet(tmp_path, monkeypatch):
    torch.save(hps.build_clip(RESNET).state_dict(), tmp_path / "weights.bin")
    monkeypatch.setattr(hps.open_clip, "get_model_config", lambda _: RESNET)
    monkeypatch.setattr(hps.open_clip, "get_pretrained_cfg", lambda *_: {"quick_gelu": True})
    monkeypatch.setattr(hps.open_clip, "download_pretrained", lambda _: str(tmp_path / "weights.bin"))

    manifest = hps.import_pretrained("RN-tiny", "openai", tmp_path / "clip")

    assert manifest["preprocessing"] == Preprocessing(size=32).to_manifest()


@pytest.mark.parametrize(
    ("architecture", "tag", "reason"),
    [
        ("ViT-H-14-quickgelu", "dfn5b", "dfn5b was trained on pictures squashed into a square; here they are padded"),
        ("ViT-L-14-CLIPA", "datacomp1b", "datacomp1b was trained on pictures squashed into a square"),
    ],
)
def test_import_pretrained_refuses_weights_that_saw_pictures_otherwise(tmp_path, architecture, tag, reason):
    with pytest.raises(TagRejected, match=reason):
        hps.import_pretrained(architecture, tag, tmp_path / "clip")


def test_import_pretrained_refuses_another_filter(tmp_path, monkeypatch):
    monkeypatch.setattr(hps.open_clip, "get_pretrained_cfg", lambda *_: {"interpolation": "bilinear"})

    with pytest.raises(TagRejected, match="a_tag was trained on pictures resized by a bilinear filter"):
        hps.import_pretrained("ViT-B-32", "a_tag", tmp_path / "clip")


def test_import_pretrained_says_what_open_clip_does_not_know(tmp_path):
    with pytest.raises(TagRejected, match="no weights 'laion9b' of ViT-B-32; it has openai"):
        hps.import_pretrained("ViT-B-32", "laion9b", tmp_path / "clip")


def test_import_pretrained_refuses_the_wrong_activation(tmp_path, monkeypatch):
    monkeypatch.setattr(hps.open_clip, "get_model_config", lambda _: tiny.ARCHITECTURE | {"quick_gelu": False})
    monkeypatch.setattr(hps.open_clip, "get_pretrained_cfg", lambda *_: {"quick_gelu": True})

    with pytest.raises(TagRejected, match="trained with the activation of ViT-tiny-quickgelu"):
        hps.import_pretrained("ViT-tiny", "openai", tmp_path / "clip")


def test_import_clip_file_rejects_weights_of_another_model(tmp_path):
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "foreign.pt")

    with pytest.raises(CheckpointRejected, match="doesn't fit the model"):
        hps.import_clip_file(
            tmp_path / "foreign.pt",
            tmp_path / "out",
            architecture=tiny.ARCHITECTURE,
            preprocessing=tiny.PREPROCESSING,
            kind="hps",
            name="other",
        )

    assert not (tmp_path / "out").exists()


@pytest.mark.gpu
def test_score_is_the_same_on_the_gpu(folder, scorer):
    on_gpu = hps.load_clip_scorer(folder, "cuda")

    assert on_gpu.device == pick_device("cuda")
    assert on_gpu.score(PICTURES, "one").tolist() == pytest.approx(scorer.score(PICTURES, "one").tolist(), abs=1e-2)
