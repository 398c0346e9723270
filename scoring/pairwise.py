"""Pairwise accuracy by the conventions of those who publish it: the same scores and votes, different numbers.

They differ in what they do with ties of people and with equal scores, by up to ten points. A number without the name of
its convention says little; these all carry theirs.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scoring.metrics import Estimate, Scores, as_arrays, clustered_mean, pairwise_accuracy
from scoring.preferences import Choice

# As published with Pick-a-Pic: differences of the two probabilities up to which a scorer is said to see a tie.
THRESHOLDS = np.linspace(0, 1, 11)


def pairwise_accuracies(choices: Sequence[Choice], scores: Scores, *, seed: int = 0) -> list[Estimate]:
    """All conventions on the same choices, each by its name.

    Args:
        choices: of any sizes; what each convention leaves out stands with it.
        scores: in logits, which only `threshold_accuracy` asks for.
        seed: of the intervals' resampling.

    Raises:
        UnableToMeasure: scores are missing, too many, or not finite.
    """
    return [
        pairwise_accuracy(choices, scores, ties="half", seed=seed),
        pairwise_accuracy(choices, scores, ties="dropped", seed=seed),
        strict_accuracy(choices, scores, seed=seed),
        inversion_score(choices, scores, seed=seed),
        threshold_accuracy(choices, scores, seed=seed),
    ]


def strict_accuracy(choices: Sequence[Choice], scores: Scores, *, seed: int = 0) -> Estimate:
    """How often the chosen image has the strictly higher score: ties of people left out, equal scores wrong.

    Returns:
        0..1; n counts the pairs of the chosen image with each other one; interval resampled by prompt.

    Source: `acc` of the ImageReward repository.
    """
    values, mask, chosen = as_arrays(choices, scores)
    decided = chosen >= 0
    won = (mask & (_of_chosen(values, chosen) > values)).sum(axis=1)
    return clustered_mean(
        np.where(decided, won, 0).astype(float),
        [choice.prompt for choice in choices],
        name="pairwise, equal scores wrong (ImageReward)",
        weights=np.where(decided, mask.sum(axis=1) - 1, 0),
        seed=seed,
        unit="pairs",
    )


def inversion_score(choices: Sequence[Choice], scores: Scores, *, seed: int = 0) -> Estimate:
    """One minus the share of a set's pairs that scorer and person order the other way round; ties are never inverted.

    A choice ranks one image first and all others second, so of n images only n - 1 of the n(n - 1)/2 pairs can be
    inverted: with four images, a scorer that is always wrong still gets .5, and a tie gives 1 to every scorer.

    Returns:
        0..1; n counts choices, all-bad answers left out; interval resampled by prompt.

    Source: `inversion_score` of the HPS v2 repository.
    """
    values, mask, chosen = as_arrays(choices, scores)
    inverted = (mask & (values > _of_chosen(values, chosen))).sum(axis=1)
    sizes = mask.sum(axis=1)
    credits = np.where(chosen >= 0, 1 - inverted / np.maximum(sizes * (sizes - 1) / 2, 1), 1.0)
    judged = np.array([choice.outcome != "all_bad" for choice in choices], dtype=bool)
    prompts = [choice.prompt for choice in choices if choice.outcome != "all_bad"]
    return clustered_mean(credits[judged], prompts, name="inversion score, ties as right (HPS v2)", seed=seed)


def threshold_accuracy(choices: Sequence[Choice], scores: Scores, *, seed: int = 0) -> Estimate:
    """Of two images each, a scorer may see a tie: 1 for the same answer as the person, half where only one saw a tie.

    A scorer sees a tie where the softmax probabilities of the two images differ by no more than a threshold. On the
    choices that are measured a tuned threshold would flatter, so half of the prompts give the threshold of the others.

    Args:
        choices: others than those between two images are left out.
        scores: in logits: their softmax is the scorer's probability.
        seed: of the halves, and of the interval's resampling.

    Returns:
        0..1, where a scorer that always sees a tie already gets (1 + share of ties)/2, which is the chance level to
        hold it against; n counts choices between two images, all-bad answers left out; interval resampled by prompt.

    Source: Pick-a-Pic (Kirstain et al. 2023), which tunes the threshold on a validation set.
    """
    name = "pairwise, ties by a threshold (Pick-a-Pic)"
    pairs = [
        (choice, numbers)
        for choice, numbers in zip(choices, scores, strict=True)
        if len(choice.images) == 2 and choice.outcome != "all_bad"
    ]
    if not pairs:
        return Estimate(name, None, None, None, 0, reason="There is no choice between two images.")
    judged = [choice for choice, _ in pairs]
    values, _, chosen = as_arrays(judged, [numbers for _, numbers in pairs])
    credits = _credits_by_threshold(values, chosen)
    prompts, places = np.unique([choice.prompt for choice in judged], return_inverse=True)
    is_second = np.random.default_rng(seed).permutation(len(prompts))[places] % 2 == 1
    taken = np.where(is_second, _best_threshold(credits[~is_second]), _best_threshold(credits[is_second]))
    of_choice = credits[np.arange(len(credits)), taken]
    return clustered_mean(of_choice, [choice.prompt for choice in judged], name=name, seed=seed)


def _credits_by_threshold(values: NDArray[np.float64], chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    """(choices, thresholds) credits; a person's tie has -1 as chosen."""
    margin = np.tanh((values[:, 0] - values[:, 1]) / 2)  # p - (1 - p) of the logistic function
    says_tie = np.abs(margin)[:, None] <= THRESHOLDS + 1e-12
    is_tie = (chosen < 0)[:, None]
    right = ((margin > 0) == (chosen == 0))[:, None]
    return np.where(says_tie & is_tie, 1.0, np.where(says_tie | is_tie, 0.5, right))


def _best_threshold(credits: NDArray[np.float64]) -> int:
    """The first of the best; the first of all where there is nothing to tune on."""
    return int(credits.mean(axis=0).argmax()) if len(credits) else 0


def _of_chosen(values: NDArray[np.float64], chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    """(choices, 1) score of the chosen image, infinite where none was chosen: nothing is above it."""
    scores = np.take_along_axis(values, np.maximum(chosen, 0)[:, None], axis=1)
    return np.where(chosen[:, None] >= 0, scores, np.inf)
