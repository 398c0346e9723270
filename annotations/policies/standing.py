"""What the policies know of a campaign: what was asked, what was said, and what is left to ask."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Standing:
    """The matchups of a campaign and how far each has come. All numbers count regular sets and their votes alone."""

    matchups: tuple[str, ...]
    """Names, as in `Slot.matchup`; "" stands for sets with an image of unknown origin, and says nothing of any."""

    shown: Floats
    """(matchups, generators): how many images of each generator one set holds."""

    answers: Floats
    """(matchups, generators): how often an image of each generator was chosen; a tie gives its images 1/n each."""

    out: Floats
    """(matchups,): sets that people are looking at now."""

    free: Floats
    """(matchups,): votes still wanted that nobody is giving."""

    @property
    def asked(self) -> Floats:
        """(matchups,): answers that are there or on their way."""
        return np.asarray(self.answers.sum(axis=1) + self.out)
