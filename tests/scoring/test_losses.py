import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from scoring.losses import choice_divergence, choice_loss, preference_loss, shared_targets, soft_targets


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


def test_shared_targets_by_hand():
    mask = masked([4, 2, 3], 4)
    votes = torch.tensor([[2.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.5, 0.0, 0.0]])

    shares = shared_targets(votes, torch.tensor([1.0, 0.0, 0.75]), mask)

    assert shares.tolist() == [
        pytest.approx(row) for row in ([2.25 / 4, 1.25 / 4, 0.25 / 4, 0.25 / 4], [0.5, 0.5, 0, 0], [0.2, 0.6, 0.2, 0])
    ]


ANSWERS = st.lists(st.tuples(st.integers(-1, 3), st.sampled_from([0.25, 0.5, 1.0])), min_size=1, max_size=5)


@settings(max_examples=40)
@given(seed=st.integers(0, 1000), answers=st.lists(ANSWERS, min_size=1, max_size=4))
def test_loss_of_several_people_together_equals_each_one_alone(seed, answers):
    logits = torch.randn(len(answers), 4, generator=torch.Generator().manual_seed(seed))
    mask = torch.ones(len(answers), 4, dtype=torch.bool)
    votes = torch.zeros(len(answers), 4)
    ties = torch.zeros(len(answers))
    for row, people in enumerate(answers):
        for chosen, reliability in people:
            if chosen < 0:
                ties[row] += reliability
            else:
                votes[row, chosen] += reliability

    together = choice_loss(logits, mask, shared_targets(votes, ties, mask), votes.sum(dim=-1) + ties)

    each = [(row, chosen, weight) for row, people in enumerate(answers) for chosen, weight in people]
    total = 0.0
    for row, chosen, weight in each:
        shares = [math.exp(value) for value in logits[row].double().tolist()]
        logs = [math.log(share / sum(shares)) for share in shares]
        total -= weight * (sum(logs) / 4 if chosen < 0 else logs[chosen])
    assert together.item() == pytest.approx(total / sum(weight for *_, weight in each), rel=1e-4, abs=1e-6)


@settings(max_examples=40)
@given(seed=st.integers(0, 1000), labels=st.lists(st.sampled_from([(1.0, 0.0), (0.0, 1.0), (0.5, 0.5)]), min_size=1))
def test_divergence_of_pairs_equals_pickscores_criterion(seed, labels):
    """PickScore's clip_criterion.py written out: two cross-entropies, ln .5 added for a tie, weighted by example."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(len(labels), 2, generator=generator)
    weights = 0.1 + torch.rand(len(labels), generator=generator)
    expected = 0.0
    for (first, second), (label_0, label_1), weight in zip(logits.tolist(), labels, weights.tolist(), strict=True):
        loss_0, loss_1 = math.log(1 + math.exp(second - first)), math.log(1 + math.exp(first - second))
        tie = math.log(0.5) if label_0 == label_1 else 0.0
        expected += (label_0 * loss_0 + label_1 * loss_1 + tie) * weight / weights.sum().item()

    found = choice_divergence(logits, torch.ones(len(labels), 2, dtype=torch.bool), torch.tensor(labels), weights)

    assert found.item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_divergence_is_zero_where_the_scorer_gives_peoples_shares_and_has_the_gradient_of_the_loss():
    mask = masked([3, 2], 3)
    shares = torch.tensor([[0.5, 0.3, 0.2], [0.9, 0.1, 0.0]])
    right = shares.clamp(min=1e-30).log()
    logits = torch.tensor([[1.0, 0.0, 2.0], [0.5, 0.2, 0.0]], requires_grad=True)

    by_divergence = torch.autograd.grad(choice_divergence(logits, mask, shares), logits)[0]
    by_loss = torch.autograd.grad(choice_loss(logits, mask, shares), logits)[0]

    assert choice_divergence(right, mask, shares).item() == pytest.approx(0, abs=1e-6)
    assert by_divergence.tolist() == by_loss.tolist()


def test_hps_v2s_loss_is_the_batch_times_the_mean():
    """HPSLoss of open_clip/loss.py in tgxs002/HPSv2 written out: two labels per pair, summed over the batch."""
    logits = torch.tensor([[1.0, 3.0], [0.2, -0.4], [2.0, 2.5]])
    labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    losses = -(labels * torch.log_softmax(logits, dim=-1)).sum()

    found = choice_loss(logits, torch.ones(3, 2, dtype=torch.bool), labels)

    assert found.item() * 3 == pytest.approx(losses.item(), rel=1e-6)


def test_weights_of_one_change_nothing_and_of_nought_leave_a_choice_out():
    images, texts, mask = unit(3, 4, 5, seed=0), unit(3, 5, seed=1), masked([4, 3, 2], 4)
    targets, scale = soft_targets(torch.tensor([0, -1, 1]), mask), torch.tensor(2.0)

    plain = preference_loss(images, texts, scale, mask, targets)
    first_two = preference_loss(images, texts, scale, mask, targets, torch.tensor([1.0, 1.0, 0.0]))

    assert preference_loss(images, texts, scale, mask, targets, torch.full((3,), 2.0)).item() == pytest.approx(
        plain.item(), rel=1e-6
    )
    assert first_two.item() == pytest.approx(
        preference_loss(images[:2], texts[:2], scale, mask[:2], targets[:2]).item(), rel=1e-6
    )
