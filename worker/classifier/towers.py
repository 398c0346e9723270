"""CLIP cut in two at the first trained block: the frozen trunk below, the trained head above."""

import torch
from torch import nn

from scoring.halves import (  # before open_clip, see there
    attention_mask,
    embedded,
    few_at_once,
    image_tail,
    text_length,
    text_tail,
    through,
)

from open_clip.model import CLIP  # isort: skip
from open_clip.transformer import Transformer, VisionTransformer  # isort: skip


class UnableToUnlock(ValueError):
    """The model hasn't the blocks that shall be trained; the message says which it has."""


def unlock(model: CLIP, *, image_blocks: int, text_blocks: int) -> None:
    """Let only the last blocks of each half be trained, with the norm and projection behind them, and the logit scale.

    The embeddings, and everything else below, stay as they are. A half with 0 blocks is frozen altogether.

    The lock functions of open_clip count the projection as a group of its own, hence one group more than blocks. The
    text half's of the paper's code base counted blocks alone and always left the last norm and the projection free,
    which comes to the same.

    Raises:
        UnableToUnlock: a half has fewer blocks, or is no plain transformer.
    """
    if not isinstance(model.visual, VisionTransformer) or not isinstance(model.transformer, Transformer):
        raise UnableToUnlock("Only CLIP models with a vision transformer can be trained here.")
    for half, wanted, blocks in (
        ("image", image_blocks, model.visual.transformer.resblocks),
        ("text", text_blocks, model.transformer.resblocks),
    ):
        if wanted > len(blocks):
            raise UnableToUnlock(f"{wanted} {half} blocks shall be trained, the model has {len(blocks)}.")
    model.lock_image_tower(unlocked_groups=image_blocks + 1 if image_blocks else 0)
    model.lock_text_tower(unlocked_layers=text_blocks + 1 if text_blocks else 0)
    model.logit_scale.requires_grad_(True)


def image_trunk(model: CLIP, pixels: torch.Tensor, trained_blocks: int) -> torch.Tensor:
    """What the frozen image blocks make of pixels (n, 3, size, size): (n, tokens, width)."""
    visual, blocks = model.visual, _frozen(model.visual.transformer, trained_blocks)
    return torch.cat([through(blocks, embedded(visual, some)) for some in few_at_once(visual, pixels)])


def image_head(model: CLIP, tokens: torch.Tensor, trained_blocks: int) -> torch.Tensor:
    """From `image_trunk` to embeddings of length one, (n, embed_dim): what `encode_image` gives, to the rounding."""
    embeddings = image_tail(model.visual, tokens, _trained(model.visual.transformer, trained_blocks))
    return nn.functional.normalize(embeddings, dim=-1)


def text_trunk(model: CLIP, texts: torch.Tensor, trained_blocks: int) -> torch.Tensor:
    """What the frozen text blocks make of token ids (n, context length): (n, context length, width).

    Zeros stand behind the `text_length` of all: nothing that is needed looks at what comes there.
    """
    length = text_length(model, texts)
    tokens: torch.Tensor = model.token_embedding(texts[:, :length]) + model.positional_embedding[:length]
    tokens = through(_frozen(model.transformer, trained_blocks), tokens, attention_mask(model, length))
    return nn.functional.pad(tokens, (0, 0, 0, texts.shape[1] - length))


def text_head(model: CLIP, tokens: torch.Tensor, texts: torch.Tensor, trained_blocks: int) -> torch.Tensor:
    """From `text_trunk` to embeddings of length one, (n, embed_dim): what `encode_text` gives, to the rounding.

    Tokens and ids may both be cut at the `text_length`.
    """
    embeddings = text_tail(model, tokens, texts, _trained(model.transformer, trained_blocks))
    return nn.functional.normalize(embeddings, dim=-1)


def _frozen(transformer: Transformer, trained_blocks: int) -> list[nn.Module]:
    return list(transformer.resblocks)[: len(transformer.resblocks) - trained_blocks]


def _trained(transformer: Transformer, trained_blocks: int) -> list[nn.Module]:
    return list(transformer.resblocks)[len(transformer.resblocks) - trained_blocks :]
