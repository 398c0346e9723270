"""The two halves of a CLIP model, as much of them as is needed: open_clip's `encode_image` and `encode_text`, faster.

An embedding is read from one token of what the last block gives: the class token of an image, the end of a text. So
the last block need work out no other token: it takes keys and values of all, query and everything behind it of the one.
That is the same sum with the unused rows left out, and saves most of a block: of the twelve in ViT-B/32, or of the two
that a training has of them.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
from torch import nn
from torch.nn import functional

from scoring import backend  # noqa: F401 - before open_clip: makes its own import of torchvision possible

from open_clip.model import CLIP  # isort: skip
from open_clip.transformer import QuickGELU, ResidualAttentionBlock, VisionTransformer, text_global_pool  # isort: skip

# Numbers that a block's widest layer may make at once on a CPU: what is larger no longer fits into the processor's own
# memory, and each such tensor is one for which the system has to be asked. Four images for ViT-L/14, 32 for ViT-B/32.
AT_ONCE_ON_CPU = 5_000_000


class InPlaceQuickGELU(nn.Module):
    """QuickGELU, x * sigmoid(1.702 x), written over its input: for passes of which no gradient is wanted.

    open_clip's makes three new tensors of a block's widest layer, which on a CPU is a tenth of all time.
    """

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return functional.silu(given.mul_(1.702), inplace=True).div_(1.702)


Half = TypeVar("Half", bound=nn.Module)


def for_scoring(model: Half) -> Half:
    """The same model, or half of one, changed so that it can score and no longer learn."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, QuickGELU):
                setattr(module, name, InPlaceQuickGELU())
    return model.eval().requires_grad_(False)


def encode_image(visual: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Embeddings (n, embed_dim) of pixels (n, 3, size, size), equal to open_clip's to the rounding.

    Args:
        visual: the image half of a CLIP model.
        pixels: on a CPU, they are worked through a few images at a time.
    """
    if not isinstance(visual, VisionTransformer):
        return torch.as_tensor(visual(pixels))
    blocks = list(visual.transformer.resblocks)
    return torch.cat([image_tail(visual, embedded(visual, some), blocks) for some in few_at_once(visual, pixels)])


def embedded(visual: VisionTransformer, pixels: torch.Tensor) -> torch.Tensor:
    """What enters the first block, (n, tokens, width), of pixels (n, 3, size, size)."""
    return torch.as_tensor(visual._embeds(pixels))  # open_clip has no public way to half a pass


def few_at_once(visual: VisionTransformer, pixels: torch.Tensor) -> Sequence[torch.Tensor]:
    """Pixels in parts that are best worked through one after the other where no gradient is wanted."""
    if pixels.device.type != "cpu":
        return [pixels]
    of_one = visual.positional_embedding.shape[0] * 4 * visual.transformer.width
    parts: Sequence[torch.Tensor] = pixels.split(max(1, AT_ONCE_ON_CPU // of_one))
    return parts


def encode_text(model: CLIP, texts: torch.Tensor) -> torch.Tensor:
    """Embeddings (n, embed_dim) of token ids (n, context length), equal to open_clip's to the rounding.

    A caption of ten words takes 13 of the 77 positions. One of three words by ViT-B/32 on one thread of a CPU: 29 ms in
    place of 83 in float32, 19 in place of 32 in bfloat16.
    """
    length = text_length(model, texts)
    tokens = model.token_embedding(texts[:, :length]) + model.positional_embedding[:length]
    return text_tail(model, tokens, texts[:, :length], list(model.transformer.resblocks))


def image_tail(visual: VisionTransformer, tokens: torch.Tensor, blocks: Sequence[nn.Module]) -> torch.Tensor:
    """Embeddings (n, embed_dim) of an image half's tokens (n, tokens, width) that enter these last blocks."""
    if visual.attn_pool is None and visual.pool_type == "tok" and _may_be_cut(blocks):
        tokens = through(blocks[:-1], tokens)
        first = torch.zeros(len(tokens), dtype=torch.long, device=tokens.device)
        pooled = visual.ln_post(_one_token(blocks[-1], tokens, first, None))
    else:
        pooled, _ = visual._pool(through(blocks, tokens))
    return torch.as_tensor(pooled if visual.proj is None else pooled @ visual.proj)


def text_tail(model: CLIP, tokens: torch.Tensor, texts: torch.Tensor, blocks: Sequence[nn.Module]) -> torch.Tensor:
    """Embeddings (n, embed_dim) of a text half's tokens (n, length, width) that enter these last blocks.

    Args:
        model: whose text half it is.
        tokens: may be cut at the `text_length`, as
        texts: token ids, (n, length).
        blocks: none where the tokens have been through all.
    """
    mask = attention_mask(model, tokens.shape[1])
    if model.text_pool_type == "argmax" and _may_be_cut(blocks):
        tokens = through(blocks[:-1], tokens, mask)
        pooled = model.ln_final(_one_token(blocks[-1], tokens, texts.argmax(dim=-1), mask))
    else:
        tokens = model.ln_final(through(blocks, tokens, mask))
        pooled = text_global_pool(tokens, texts, model.text_pool_type, eos_token_id=model.text_eos_id)
    projection = model.text_projection
    if projection is None:
        return torch.as_tensor(pooled)
    return torch.as_tensor(projection(pooled) if isinstance(projection, nn.Linear) else pooled @ projection)


def through(blocks: Iterable[nn.Module], tokens: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    for block in blocks:
        tokens = block(tokens, attn_mask=mask)
    return tokens


def text_length(model: CLIP, texts: torch.Tensor) -> int:
    """How many tokens are needed of token ids (n, context length): those up to the last end of a text.

    Attention looks back only and the embedding is read at the end of the text, so the padding behind it says nothing.
    """
    if model.attn_mask is None or model.text_pool_type != "argmax":
        return texts.shape[1]
    return int(texts.argmax(dim=-1).max()) + 1


def attention_mask(model: CLIP, length: int) -> torch.Tensor | None:
    """What each of the first tokens may look at, (length, length); None where all may look at all."""
    return None if model.attn_mask is None else model.attn_mask[:length, :length]


def _may_be_cut(blocks: Sequence[nn.Module]) -> bool:
    """Whether there is a last block, of the kind that `_one_token` knows."""
    return bool(blocks) and isinstance(blocks[-1], ResidualAttentionBlock) and not hasattr(blocks[-1], "ln_1_kv")


def _one_token(
    block: ResidualAttentionBlock, tokens: torch.Tensor, places: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """What a block gives at one token of each row, (n, width); `block(tokens, attn_mask=mask)` read at `places`.

    The attention is written out: torch's own module turns tokens on their side first, and the product of what no
    longer lies in one piece with the weights is slow (docs/benchmarks.md).
    """
    attention = block.attn
    rows, length, width = tokens.shape
    each = torch.arange(rows, device=tokens.device)
    normed = block.ln_1(tokens)
    of_query, of_key_and_value = attention.in_proj_weight.split([width, 2 * width])
    query_bias, key_and_value_bias = attention.in_proj_bias.split([width, 2 * width])
    query = functional.linear(normed[each, places], of_query, query_bias)
    keys_and_values = functional.linear(normed, of_key_and_value, key_and_value_bias)
    heads, depth = attention.num_heads, width // attention.num_heads
    key, value = keys_and_values.view(rows, length, 2, heads, depth).permute(2, 0, 3, 1, 4)
    allowed = None if mask is None else mask.to(query.dtype)[places][:, None, None]
    attended = functional.scaled_dot_product_attention(query.view(rows, heads, 1, depth), key, value, allowed)
    token = tokens[each, places] + block.ls_1(attention.out_proj(attended.reshape(rows, width)))
    return torch.as_tensor(token + block.ls_2(block.mlp(block.ln_2(token))))
