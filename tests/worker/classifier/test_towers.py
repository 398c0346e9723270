import pytest
import torch

from scoring import halves, hps
from tests.scoring import tiny
from worker.classifier import towers
from worker.classifier.config import HPS2, PAPER
from worker.classifier.towers import UnableToUnlock


def trained_parts(model):
    """Names of what is trained, cut after the number of a block."""
    names = set()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            before, block, after = name.partition("resblocks.")
            names.add(f"{before}{block}{after.split('.')[0]}" if block else name)
    return names


def test_unlock_trains_the_last_blocks_with_norm_projection_and_logit_scale():
    model = tiny.clip()

    towers.unlock(model, image_blocks=2, text_blocks=1)

    assert trained_parts(model) == {
        "visual.transformer.resblocks.1",
        "visual.transformer.resblocks.2",
        "visual.ln_post.weight",
        "visual.ln_post.bias",
        "visual.proj",
        "transformer.resblocks.2",
        "ln_final.weight",
        "ln_final.bias",
        "text_projection",
        "logit_scale",
    }


def test_unlock_freezes_a_half_with_no_blocks():
    model = tiny.clip()

    towers.unlock(model, image_blocks=1, text_blocks=0)

    assert trained_parts(model) == {
        "visual.transformer.resblocks.2", "visual.ln_post.weight", "visual.ln_post.bias", "visual.proj", "logit_scale"
    }  # fmt: skip


def test_unlock_never_trains_embeddings():
    model = tiny.clip()

    towers.unlock(model, image_blocks=3, text_blocks=3)

    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {
        "positional_embedding",
        "token_embedding.weight",
        "visual.class_embedding",
        "visual.positional_embedding",
        "visual.conv1.weight",
        "visual.ln_pre.weight",
        "visual.ln_pre.bias",
    }


def test_unlock_of_the_papers_model():
    with torch.device("meta"):
        model = hps.build_clip(PAPER.architecture)

    towers.unlock(model, image_blocks=PAPER.image_blocks, text_blocks=PAPER.text_blocks)

    assert trained_parts(model) == {
        *(f"visual.transformer.resblocks.{number}" for number in range(14, 24)),
        *(f"transformer.resblocks.{number}" for number in range(6, 12)),
        *("visual.ln_post.weight", "visual.ln_post.bias", "visual.proj"),
        *("ln_final.weight", "ln_final.bias", "text_projection", "logit_scale"),
    }
    # 168.5 million in the blocks, 1.4 in the projections
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 169_869_313


def test_unlock_of_hps_v2s_model_trains_what_its_own_code_unlocks():
    """`--lock-image-unlocked-groups 20 --lock-text-unlocked-layers 11` of tgxs002/HPSv2, its groups written out."""
    with torch.device("meta"):
        model = hps.build_clip(HPS2.architecture)
    blocks = [[f"visual.transformer.resblocks.{number}"] for number in range(32)]
    blocks[-1] += ["visual.ln_post.weight", "visual.ln_post.bias"]
    stem = ["visual.conv1.weight", "visual.class_embedding", "visual.positional_embedding", "visual.ln_pre"]
    groups = [stem, *blocks, ["visual.proj"]]

    towers.unlock(model, image_blocks=HPS2.image_blocks, text_blocks=HPS2.text_blocks)

    assert trained_parts(model) == {
        *(name for group in groups[-20:] for name in group),
        *(f"transformer.resblocks.{number}" for number in range(13, 24)),
        *("ln_final.weight", "ln_final.bias", "text_projection", "logit_scale"),
    }


@pytest.mark.parametrize(("image_blocks", "text_blocks", "half"), [(4, 1, "image"), (1, 4, "text")])
def test_unlock_says_that_there_are_fewer_blocks(image_blocks, text_blocks, half):
    with pytest.raises(UnableToUnlock, match=f"4 {half} blocks shall be trained, the model has 3"):
        towers.unlock(tiny.clip(), image_blocks=image_blocks, text_blocks=text_blocks)


def test_unlock_refuses_other_towers():
    architecture = tiny.ARCHITECTURE | {"vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}}

    with pytest.raises(UnableToUnlock, match="vision transformer"):
        towers.unlock(hps.build_clip(architecture), image_blocks=1, text_blocks=1)


@pytest.mark.parametrize("trained_blocks", [0, 1, 3])
def test_trunk_and_head_give_what_the_whole_model_gives(trained_blocks):
    model = tiny.clip().eval()
    pixels = torch.randn(5, 3, 16, 16)
    texts = hps.tokenizer(model)(["a red circle", "blue", "one two three four five six seven eight nine ten"])

    with torch.no_grad():
        images = towers.image_head(model, towers.image_trunk(model, pixels, trained_blocks), trained_blocks)
        words = towers.text_head(model, towers.text_trunk(model, texts, trained_blocks), texts, trained_blocks)

        assert torch.allclose(images, model.encode_image(pixels, normalize=True), atol=1e-6)
        assert torch.allclose(words, model.encode_text(texts, normalize=True), atol=1e-6)


def test_text_head_gives_the_same_without_the_padding():
    model = tiny.clip().eval()
    texts = hps.tokenizer(model)(["a red circle", "blue"])
    length = halves.text_length(model, texts)

    with torch.no_grad():
        tokens = towers.text_trunk(model, texts, 2)[:, :length]
        words = towers.text_head(model, tokens, texts[:, :length], 2)

        assert length == 5 < texts.shape[1]
        assert torch.allclose(words, model.encode_text(texts, normalize=True), atol=1e-6)


@torch.no_grad()
def test_the_text_trunk_works_out_nothing_behind_the_longest_text():
    model = tiny.clip().eval()
    texts = hps.tokenizer(model)(["a red circle", "blue"])
    lengths = []
    model.transformer.resblocks[0].register_forward_pre_hook(lambda _block, given: lengths.append(given[0].shape[1]))

    tokens = towers.text_trunk(model, texts, 1)

    assert lengths == [5]
    assert tokens.shape == (2, 10, 16)
    assert tokens[:, :5].abs().sum(dim=-1).min() > 0
    assert not tokens[:, 5:].any()
