import pytest
import torch
from torch import nn

from scoring import halves, hps
from scoring.halves import encode_image, encode_text, for_scoring, text_length
from tests.scoring import tiny

SHORT, LONG = "blue", "one two three four five six seven eight nine ten"


def ids(model, *texts):
    return hps.tokenizer(model)(list(texts))


@torch.no_grad()
@pytest.mark.parametrize("texts", [[SHORT], [SHORT, "a red circle"], [SHORT, LONG], [LONG], [""]], ids=str)
def test_encode_text_gives_what_open_clip_gives(texts):
    model = tiny.clip().eval()

    torch.testing.assert_close(encode_text(model, ids(model, *texts)), model.encode_text(ids(model, *texts)))


@torch.no_grad()
def test_encode_text_goes_through_no_padding():
    model = tiny.clip().eval()
    lengths = []
    model.transformer.resblocks[0].register_forward_pre_hook(lambda _module, given: lengths.append(given[0].shape[1]))

    encode_text(model, ids(model, SHORT, "a red circle"))
    encode_text(model, ids(model, LONG))

    assert lengths == [5, 10]


@torch.no_grad()
def test_a_halves_that_looks_ahead_or_is_read_elsewhere_keeps_its_padding():
    model = tiny.clip().eval()
    assert text_length(model, ids(model, SHORT)) == 3

    model.attn_mask = None
    assert text_length(model, ids(model, SHORT)) == 10
    torch.testing.assert_close(encode_text(model, ids(model, SHORT)), model.encode_text(ids(model, SHORT)))

    model = tiny.clip().eval()
    model.text_pool_type = "last"
    assert text_length(model, ids(model, SHORT)) == 10
    torch.testing.assert_close(encode_text(model, ids(model, SHORT)), model.encode_text(ids(model, SHORT)))


@torch.no_grad()
@pytest.mark.parametrize("projection", ["linear", None])
def test_encode_text_takes_other_projections(projection):
    model = tiny.clip().eval()
    del model.text_projection  # a parameter's place takes no module
    model.text_projection = nn.Linear(16, 8) if projection else None

    torch.testing.assert_close(encode_text(model, ids(model, SHORT)), model.encode_text(ids(model, SHORT)))


def pixels(count, *, size=16):
    return torch.randn((count, 3, size, size), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize(
    "changes", [{}, {"pool_type": "avg"}, {"ls_init_value": 0.5}, {"attentional_pool": True}], ids=str
)
def test_encode_image_gives_what_open_clip_gives(changes):
    torch.manual_seed(0)
    architecture = tiny.ARCHITECTURE | {"vision_cfg": tiny.ARCHITECTURE["vision_cfg"] | changes}
    model = hps.build_clip(architecture).eval()

    torch.testing.assert_close(encode_image(model.visual, pixels(3)), model.encode_image(pixels(3)))


@torch.no_grad()
def test_images_that_go_through_a_few_at_once_come_out_the_same(monkeypatch):
    model = tiny.clip().eval()
    expected = model.encode_image(pixels(5))
    given = []
    model.visual.transformer.resblocks[0].register_forward_pre_hook(lambda _module, seen: given.append(len(seen[0])))

    monkeypatch.setattr(halves, "AT_ONCE_ON_CPU", 2 * 5 * 4 * 16)  # two images of five tokens
    ours = encode_image(model.visual, pixels(5))

    assert given == [2, 2, 1]
    torch.testing.assert_close(ours, expected)


@torch.no_grad()
@pytest.mark.parametrize("quick_gelu", [True, False])
def test_a_model_made_ready_for_scoring_gives_the_same_and_learns_nothing(quick_gelu):
    torch.manual_seed(0)
    model = hps.build_clip(tiny.ARCHITECTURE | {"quick_gelu": quick_gelu})
    given, texts = pixels(3), ids(model, SHORT, LONG)
    expected = model.encode_image(given), model.encode_text(texts)

    ready = for_scoring(model)

    torch.testing.assert_close((ready.encode_image(given), ready.encode_text(texts)), expected)
    torch.testing.assert_close(given, pixels(3))
    assert not ready.training
    assert not any(parameter.requires_grad for parameter in ready.parameters())
    names = {type(block.mlp.gelu).__name__ for block in ready.visual.transformer.resblocks}
    assert names == {"InPlaceQuickGELU" if quick_gelu else "GELU"}


@torch.no_grad()
def test_encode_image_of_a_resnet_is_open_clips():
    torch.manual_seed(0)
    vision = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
    model = hps.build_clip(tiny.ARCHITECTURE | {"vision_cfg": vision}).eval()

    torch.testing.assert_close(encode_image(model.visual, pixels(2, size=32)), model.encode_image(pixels(2, size=32)))


@torch.no_grad()
def test_the_last_block_works_out_the_token_that_is_read_and_no_other():
    model = tiny.clip().eval()
    seen = {}
    for name, half in (("image", model.visual), ("text", model)):
        for block in half.transformer.resblocks:
            block.mlp.register_forward_hook(
                lambda _module, _given, made, name=name: seen.setdefault(name, []).append(made.shape)
            )

    encode_image(model.visual, pixels(2))
    encode_text(model, ids(model, SHORT, "a red circle"))

    assert seen == {"image": [(2, 5, 16), (2, 5, 16), (2, 16)], "text": [(2, 5, 16), (2, 5, 16), (2, 16)]}


def test_what_is_learnt_is_what_open_clips_pass_would_teach():
    def gradients(image, text):
        model = tiny.clip()
        (image(model, pixels(3)) * text(model, ids(model, SHORT, LONG, "a red circle"))).sum().backward()
        return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}

    ours = gradients(lambda model, given: encode_image(model.visual, given), encode_text)
    theirs = gradients(lambda model, given: model.encode_image(given), lambda model, given: model.encode_text(given))

    assert len(ours) > 60
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
@torch.no_grad()
def test_encode_text_of_a_real_architecture_is_open_clips_to_the_rounding():
    model = hps.open_clip.create_model("ViT-B-32-quickgelu", pretrained=None).eval()

    texts = ids(model, SHORT, LONG)
    ours, theirs = encode_text(model, texts), model.encode_text(texts)

    assert nn.functional.cosine_similarity(ours, theirs).sub(1).abs().max() < 1e-6
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
@torch.no_grad()
def test_encode_image_of_a_real_architecture_is_open_clips_to_the_rounding():
    model = hps.open_clip.create_model("ViT-B-32-quickgelu", pretrained=None).eval()

    ours, theirs = encode_image(model.visual, pixels(2, size=224)), model.encode_image(pixels(2, size=224))

    assert nn.functional.cosine_similarity(ours, theirs).sub(1).abs().max() < 1e-6
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
