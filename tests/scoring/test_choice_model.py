"""The likelihood of the choice model against a plain one, and its derivatives against differences."""

import numpy as np
import pytest
from scipy import optimize

from scoring import choice_model
from scoring.choice_model import Counts, Model, likelihood, scores

GENERATORS, PRIOR = 7, 0.3


def groups(rng, *, ties, placed):
    """Answers to sets of 2, 3 and 9 images, whose order may be known; a generator may stand in a set twice."""
    return [
        Counts(
            rng.integers(0, GENERATORS, (40, n)).astype(np.int32),
            rng.integers(0, n + ties, 40).astype(np.int32),
            rng.integers(1, 4, 40).astype(float),
            has_places=n in placed,
        )
        for n in (2, 3, 9)
    ]


def plain_log_likelihood(model, members, answer, values, *, has_places):
    """Of one answer to one set, one image after the other."""
    utilities = [
        values[member] + (values[model.worths + model.has_ties + place] if has_places else 0.0)
        for place, member in enumerate(members)
    ]
    if model.has_ties:
        utilities.append(values[model.worths] + sum(utilities) / len(members))
    return utilities[answer] - np.log(sum(np.exp(utility) for utility in utilities))


def plain_loss(model, counted, values):
    return PRIOR / 2 * sum(value**2 for value in values) - sum(
        count * plain_log_likelihood(model, members, answer, values, has_places=group.has_places)
        for group in counted
        for members, answer, count in zip(group.members, group.answers, group.counts, strict=True)
    )


@pytest.mark.parametrize("placed", [(), (2, 3), (2, 3, 9)], ids=["no-places", "places-of-some", "places"])
@pytest.mark.parametrize("ties", [0, 1], ids=["no-ties", "ties"])
def test_the_likelihood_and_its_derivatives_are_those_of_a_plain_one(ties, placed, monkeypatch):
    monkeypatch.setattr(choice_model, "CHUNK", 16)
    rng = np.random.default_rng(3)
    model = Model(GENERATORS, bool(ties), max(placed, default=0), PRIOR)
    counted = groups(rng, ties=ties, placed=placed)
    values = rng.normal(size=model.size)

    loss, gradient, curvature = likelihood(model, counted, values)

    assert loss == pytest.approx(plain_loss(model, counted, values))
    slope = optimize.approx_fprime(values, lambda at: plain_loss(model, counted, at), 1e-7)
    np.testing.assert_allclose(gradient, slope, atol=1e-4)
    bend = optimize.approx_fprime(values, lambda at: likelihood(model, counted, at)[1], 1e-7)
    np.testing.assert_allclose(curvature, bend, atol=1e-4)


def test_scores_add_up_to_the_gradient_without_the_prior():
    rng = np.random.default_rng(4)
    model, counted = Model(GENERATORS, has_ties=True, places=9, prior=PRIOR), groups(rng, ties=1, placed=(2, 9))
    values = rng.normal(size=model.size)

    each = scores(model, counted, values).toarray()

    _, gradient, _ = likelihood(model, counted, values)
    counts = np.concatenate([group.counts for group in counted])
    np.testing.assert_allclose(PRIOR * values - counts @ each, gradient, atol=1e-3)
