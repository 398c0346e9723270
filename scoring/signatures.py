"""What a scorer's figures look like where something is wrong with it, or with what it was measured on."""

from typing import Literal

from scoring.metrics import Estimate

# A correlation within sets below this is no habit worth a warning.
LEAST_CORRELATION = 0.3


def beside_chance(accuracy: Estimate, chance: Estimate) -> Literal["above", "not told apart", "below", "unknown"]:
    """Where a scorer stands beside one that knows nothing; above only with its whole interval."""
    if accuracy.value is None or chance.value is None:
        return "unknown"
    if accuracy.value < chance.value:
        return "below"
    is_above = accuracy.low is not None and accuracy.low > chance.value
    return "above" if is_above else "not told apart"


def is_no_better_than_base(accuracy: Estimate, base: Estimate) -> bool:
    """Not above the interval of base CLIP: what was trained may have learnt nothing."""
    return accuracy.value is not None and base.high is not None and accuracy.value <= base.high


def is_above_ceiling(accuracy: Estimate, ceiling: Estimate) -> bool:
    """The whole interval above the whole interval of the human ceiling: the votes may have leaked into the training."""
    return accuracy.low is not None and ceiling.high is not None and accuracy.low > ceiling.high


def follows(scores: Estimate, people: Estimate) -> bool:
    """Scores go with a property of the file, in one direction, further than what people chose does.

    Args:
        scores: correlation of scores with the property within sets.
        people: correlation of vote shares with the property in the same sets; undefined counts as 0.
    """
    if scores.value is None or scores.low is None or scores.high is None or abs(scores.value) < LEAST_CORRELATION:
        return False
    of_people = people.value or 0.0
    return scores.low > max(of_people, 0.0) if scores.value > 0 else scores.high < min(of_people, 0.0)


def has_drifted(train: Estimate, test: Estimate) -> bool:
    """Better on prompts that it was trained on than on others, by more than both intervals: learnt by heart."""
    return train.low is not None and test.high is not None and train.low > test.high
