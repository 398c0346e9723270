"""Two generators against each other on pairs: who has more than half of the votes on how many prompts."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scoring import agreement, metrics
from scoring.metrics import Estimate, Scores, clustered_mean
from scoring.preferences import Choice


@dataclass(frozen=True)
class Majorities:
    """On how many prompts each side has more than half of all votes, as the study of the HPS paper counts."""

    won: int
    """Prompts on which the generator asked about has more than half."""
    lost: int
    """Prompts on which the other one has."""
    neither: int
    """Prompts split evenly, or on which ties leave nobody more than half."""
    won_share: Estimate
    """Of all prompts; interval resampled by prompt."""
    lost_share: Estimate

    @property
    def prompts(self) -> int:
        return self.won + self.lost + self.neither

    @property
    def neither_share(self) -> float | None:
        return self.neither / self.prompts if self.prompts else None


def majorities(choices: Sequence[Choice], generator: str, *, seed: int = 0) -> Majorities:
    """Count the prompts on which a generator, or the other one, has strictly more than half of the votes.

    Args:
        choices: between two generators each; a tie is a vote for neither. All-bad answers are left out, and so are
            choices in which the generator was not shown.
        generator: name of the one asked about.
        seed: of the intervals' resampling.

    Returns:
        Counts and shares. Paper: 74 % of 100 prompts won and 22 % lost, of 20 votes each without ties.
    """
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for choice in choices:
        if generator in choice.generators and choice.outcome != "all_bad":
            votes[choice.prompt][_side(choice, generator)] += 1
    prompts = list(votes)
    won, lost = (
        np.array([2 * votes[prompt][side] > votes[prompt].total() for prompt in prompts], dtype=float)
        for side in ("mine", "other")
    )
    return Majorities(
        won=int(won.sum()),
        lost=int(lost.sum()),
        neither=len(prompts) - int(won.sum() + lost.sum()),
        won_share=clustered_mean(won, prompts, name="share of prompts won", seed=seed, unit="prompts"),
        lost_share=clustered_mean(lost, prompts, name="share of prompts lost", seed=seed, unit="prompts"),
    )


def human_agreement(choices: Sequence[Choice], *, seed: int = 0) -> Estimate:
    """How often two people who chose an image of the same pair chose the same one; chance is one half.

    Ties and all-bad answers name no image and are left out, as they are of `scorer_agreement`.
    """
    decided = [choice for choice in choices if choice.is_decided]
    return agreement.percent_agreement(decided, seed=seed)


def scorer_agreement(choices: Sequence[Choice], scores: Scores, *, seed: int = 0) -> Estimate:
    """How often the image with the higher score is the one that a person chose; chance is one half, equal scores half.

    Args:
        choices: of pairs.
        scores: for each choice in turn, one number per image.

    Raises:
        UnableToMeasure: scores are missing, too many, or not finite.
    """
    return metrics.top_one_accuracy(choices, scores, seed=seed, name="agreement with people")


def _side(choice: Choice, generator: str) -> str:
    if choice.chosen is None:
        return "neither"
    return "mine" if choice.generators[choice.chosen] == generator else "other"
