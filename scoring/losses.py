"""The preference losses: one family over one choice with its own candidates.

Whatever people said of one set of images becomes a row of shares, and a scorer's numbers become another by a softmax;
the loss is what lies between the two:

- one person chose one image: `soft_targets` gives 1 for it, and the cross-entropy is the Plackett-Luce likelihood of a
  first choice, which is HPS v1's loss (`PreferenceLoss` in open_clip/loss.py of tgxs002/HPSv2);
- a tie, or several people: `shared_targets` gives shares, and the cross-entropy is HPS v2's (`HPSLoss`, same file,
  there for two images and summed) and, less the entropy of the targets, PickScore's, see `choice_divergence`;
- some people are more reliable, or some examples count less (PickScore: one over the choices of a prompt): weights.
"""

import torch
from torch.nn import functional


def preference_loss(
    image_features: torch.Tensor,
    text_features: torch.Tensor,
    logit_scale: torch.Tensor,
    mask: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Cross-entropy of softmax(exp(logit_scale) * cosine) over the images of each choice, averaged over the choices.

    Args:
        image_features: (B, N, D) of length one; candidates beyond a choice's own may hold anything finite.
        text_features: (B, D) of length one.
        logit_scale: () natural logarithm of the inverse temperature, as CLIP stores it.
        mask: (B, N) bool, true where there is a candidate.
        targets: (B, N) in 0..1, each row summing to one; see `soft_targets` and `shared_targets`.
        weights: (B,) at least 0 and not all 0, how much each choice counts; all alike where not given.

    Returns:
        () nats; ln n is what a scorer reaches that can't tell n images apart.

    Source: PreferenceLoss of HPSv2's code base (open_clip/loss.py), which takes an index as target. As there, other
    choices' images are no negatives. Where we differ: a tie is an even target, not left out; missing images are masked
    with minus infinity, not with the logit -999.
    """
    logits = logit_scale.exp() * torch.einsum("bnd,bd->bn", image_features, text_features)
    return choice_loss(logits, mask, targets, weights)


def choice_loss(
    logits: torch.Tensor, mask: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Cross-entropy over each choice's own candidates for any logits, (B, N); see `preference_loss`."""
    return _average(_cross_entropies(logits, mask, targets), weights)


def choice_divergence(
    logits: torch.Tensor, mask: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """`choice_loss` less the entropy of the targets: 0 where the scorer's shares are people's, ties included.

    The gradient is that of `choice_loss`. Source: PickScore's clip_criterion.py, which adds ln .5 for each tie so that
    its best value is 0; for shares of several people this is the Kullback-Leibler divergence from them to the scorer.
    """
    return _average(_cross_entropies(logits, mask, targets) - torch.special.entr(targets).sum(dim=-1), weights)


def soft_targets(chosen: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """What the loss should see of one person's answer to each set.

    Args:
        chosen: (B,) int64 index of the chosen candidate, -1 for a tie.
        mask: (B, N) bool, true where there is a candidate.

    Returns:
        (B, N) float32: 1 for the chosen one; 1/n for each candidate of a tie.
    """
    even = mask.float() / mask.sum(dim=-1, keepdim=True)
    one = functional.one_hot(chosen.clamp(min=0), mask.shape[1]).float()
    return torch.where(chosen.unsqueeze(1) < 0, even, one)


def shared_targets(votes: torch.Tensor, ties: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """What the loss should see of several people's answers to each set: their shares, a tie counting 1/n for each.

    Args:
        votes: (B, N) how many people, or what sum of their reliabilities, chose each candidate; 0 beyond the set's own.
        ties: (B,) the same for those who saw no winner.
        mask: (B, N) bool, true where there is a candidate.

    Returns:
        (B, N) float32, each row summing to one; the weighted mean of `soft_targets` of each of the people. Even shares
        for a set on which nobody's answer counts.
    """
    even = mask.float() / mask.sum(dim=-1, keepdim=True)
    counted = votes + ties.unsqueeze(1) * even
    total = counted.sum(dim=-1, keepdim=True)
    return torch.where(total > 0, counted / total.where(total > 0, 1.0), even)


def _cross_entropies(logits: torch.Tensor, mask: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """One number per choice, (B,)."""
    log_shares = functional.log_softmax(logits.float().masked_fill(~mask, float("-inf")), dim=-1)
    # 0 * -inf would be NaN, and so would be its gradient.
    return -(targets * log_shares.masked_fill(~mask, 0.0)).sum(dim=-1)


def _average(losses: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    return losses.mean() if weights is None else (weights * losses).sum() / weights.sum()
