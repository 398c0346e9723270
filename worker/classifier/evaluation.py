"""What a scorer is worth on the choices held out, beside chance, people and the model it came from."""

from collections.abc import Sequence
from typing import Any

from scoring import agreement, metrics
from scoring.metrics import Scores
from scoring.preferences import Choice


def measure(choices: Sequence[Choice], scores: Scores, base: Scores | None = None) -> dict[str, Any]:
    """Every number with its name, interval and n, as records for JSON.

    Args:
        choices: the test side of the split.
        scores: of the scorer, per choice and image.
        base: of the model it was trained from, on the same.

    Returns:
        `top_one`, `pairwise`, `chance`, `human_ceiling`, `highest_attainable`, and with a base `base_top_one` and
        `top_one_difference`, each a `metrics.Estimate` as a record.
    """
    estimates = {
        "top_one": metrics.top_one_accuracy(choices, scores),
        "pairwise": metrics.pairwise_accuracy(choices, scores),
        "chance": metrics.chance_level(choices),
        "human_ceiling": agreement.human_ceiling(choices),
        "highest_attainable": agreement.highest_attainable(choices),
    }
    if base is not None:
        estimates["base_top_one"] = metrics.top_one_accuracy(choices, base, name="top-1 of n, base")
        estimates["top_one_difference"] = metrics.top_one_difference(
            choices, scores, base, name="top-1 of n, difference to base"
        )
    return {name: estimate.to_record() for name, estimate in estimates.items()}
