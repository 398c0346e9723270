import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from scoring.losses import preference_loss, soft_targets


def plain_loss(images, texts, logit_scale, sizes, chosen):
    """The loss written out choice by choice, in float64."""
    losses = []
    for row, size in enumerate(sizes):
        logits = [math.exp(logit_scale) * float(images[row, i].double() @ texts[row].double()) for i in range(size)]
        total = sum(math.exp(logit) for logit in logits)
        shares = [math.exp(logit) / total for logit in logits]
        wanted = [1 / size] * size if chosen[row] < 0 else [float(i == chosen[row]) for i in range(size)]
        losses.append(-sum(w * math.log(share) for w, share in zip(wanted, shares, strict=True)))
    return sum(losses) / len(losses)


def unit(*shape, seed):
    return nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def masked(sizes, width):
    return torch.arange(width) < torch.tensor(sizes)[:, None]


@settings(max_examples=40)
@given(
    seed=st.integers(0, 1000),
    scale=st.floats(0, 3),
    rows=st.lists(st.integers(2, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(-1, n - 1))), min_size=1),
)
def test_preference_loss_equals_the_plain_one(seed, scale, rows):
    sizes, chosen = [n for n, _ in rows], [c for _, c in rows]
    images, texts = unit(len(rows), 9, 5, seed=seed), unit(len(rows), 5, seed=seed + 1)
    mask = masked(sizes, 9)

    loss = preference_loss(images, texts, torch.tensor(scale), mask, soft_targets(torch.tensor(chosen), mask))

    assert loss.item() == pytest.approx(plain_loss(images, texts, scale, sizes, chosen), rel=1e-4, abs=1e-6)


def test_preference_loss_by_hand():
    # Cosines .6 and .8 at scale 10: the second of two is chosen with a share of 1 / (1 + exp(-2)).
    images = torch.tensor([[[0.6, 0.8], [0.8, 0.6]]])
    mask = masked([2], 2)

    loss = preference_loss(
        images, torch.tensor([[1.0, 0.0]]), torch.tensor(math.log(10)), mask, soft_targets(torch.tensor([1]), mask)
    )

    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2)), rel=1e-5)


def test_preference_loss_is_ln_n_where_nothing_tells_the_images_apart():
    images, mask = unit(1, 1, 5, seed=0).expand(2, 4, 5), masked([4, 3], 4)

    loss = preference_loss(
        images, unit(2, 5, seed=1), torch.tensor(3.0), mask, soft_targets(torch.tensor([2, -1]), mask)
    )

    assert loss.item() == pytest.approx((math.log(4) + math.log(3)) / 2, rel=1e-5)


def test_preference_loss_ignores_what_lies_beyond_a_choices_own_images():
    images, texts, mask = unit(2, 4, 5, seed=0), unit(2, 5, seed=1), masked([2, 3], 4)
    targets = soft_targets(torch.tensor([0, -1]), mask)
    padded_otherwise = torch.where(mask[..., None], images, 100.0).requires_grad_()

    loss = preference_loss(padded_otherwise, texts, torch.tensor(1.0), mask, targets)
    loss.backward()

    assert loss.item() == preference_loss(images, texts, torch.tensor(1.0), mask, targets).item()
    assert torch.isfinite(padded_otherwise.grad).all()
    assert not padded_otherwise.grad[~mask].any()
    assert padded_otherwise.grad[mask].any()


def test_preference_loss_of_a_tie_is_least_where_the_scores_are_equal():
    texts, mask = torch.tensor([[1.0, 0.0]]), masked([2], 2)
    targets = soft_targets(torch.tensor([-1]), mask)

    def loss(first, second):
        images = torch.tensor([[[first, (1 - first**2) ** 0.5], [second, (1 - second**2) ** 0.5]]])
        return preference_loss(images, texts, torch.tensor(2.0), mask, targets).item()

    assert loss(0.5, 0.5) == pytest.approx(math.log(2), rel=1e-5)
    assert loss(0.5, 0.6) > loss(0.5, 0.5)
    assert loss(0.6, 0.5) == pytest.approx(loss(0.5, 0.6), rel=1e-5)


def test_soft_targets_by_hand():
    mask = masked([4, 2, 3], 4)

    assert soft_targets(torch.tensor([3, -1, 0]), mask).tolist() == [[0, 0, 0, 1], [0.5, 0.5, 0, 0], [1, 0, 0, 0]]
