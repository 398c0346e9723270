import pytest
import torch
from torch import nn

from scoring import hps
from scoring.text_half import encode_text, text_length
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
    model.transformer.register_forward_pre_hook(lambda _module, given: lengths.append(given[0].shape[1]))

    encode_text(model, ids(model, SHORT, "a red circle"))
    encode_text(model, ids(model, LONG))

    assert lengths == [5, 10]


@torch.no_grad()
def test_a_text_half_that_looks_ahead_or_is_read_elsewhere_keeps_its_padding():
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


@pytest.mark.slow
@torch.no_grad()
def test_encode_text_of_a_real_architecture_is_open_clips_to_the_rounding():
    model = hps.open_clip.create_model("ViT-B-32-quickgelu", pretrained=None).eval()

    texts = ids(model, SHORT, LONG)
    ours, theirs = encode_text(model, texts), model.encode_text(texts)

    assert nn.functional.cosine_similarity(ours, theirs).sub(1).abs().max() < 1e-6
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
