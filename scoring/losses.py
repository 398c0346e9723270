"""The preference loss: which of one choice's own images did the person choose."""

import torch
from torch.nn import functional


def preference_loss(
    image_features: torch.Tensor,
    text_features: torch.Tensor,
    logit_scale: torch.Tensor,
    mask: torch.Tensor,
    targets: torch.Tensor,
) -> torch.Tensor:
    """Cross-entropy of softmax(exp(logit_scale) * cosine) over the images of each choice, averaged over the choices.

    Args:
        image_features: (B, N, D) of length one; candidates beyond a choice's own may hold anything finite.
        text_features: (B, D) of length one.
        logit_scale: () natural logarithm of the inverse temperature, as CLIP stores it.
        mask: (B, N) bool, true where there is a candidate.
        targets: (B, N) in 0..1, each row summing to one; see `soft_targets`.

    Returns:
        () nats; ln n is what a scorer reaches that can't tell n images apart.

    Source: PreferenceLoss of HPSv2's code base (open_clip/loss.py), which takes an index as target. As there, other
    choices' images are no negatives. Where we differ: a tie is an even target, not left out; missing images are masked
    with minus infinity, not with the logit -999.
    """
    logits = logit_scale.exp() * torch.einsum("bnd,bd->bn", image_features, text_features)
    return choice_loss(logits, mask, targets)


def choice_loss(logits: torch.Tensor, mask: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy over each choice's own candidates for any logits, (B, N); see `preference_loss`."""
    log_shares = functional.log_softmax(logits.float().masked_fill(~mask, float("-inf")), dim=-1)
    # 0 * -inf would be NaN, and so would be its gradient.
    return -(targets * log_shares.masked_fill(~mask, 0.0)).sum(dim=-1).mean()


def soft_targets(chosen: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """What the loss should see of people's answers.

    Args:
        chosen: (B,) int64 index of the chosen candidate, -1 for a tie.
        mask: (B, N) bool, true where there is a candidate.

    Returns:
        (B, N) float32: 1 for the chosen one; 1/n for each candidate of a tie.
    """
    even = mask.float() / mask.sum(dim=-1, keepdim=True)
    one = functional.one_hot(chosen.clamp(min=0), mask.shape[1]).float()
    return torch.where(chosen.unsqueeze(1) < 0, even, one)
