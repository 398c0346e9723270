"""Simulated people: each knows the true quality of what is shown, roughly, and chooses with their own habits."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from hps_site.demo import truth

Choice = int | Literal["tie", "all_bad"]
"""An index into the images as shown, or one of the two other answers."""


@dataclass
class SimulatedAnnotator:
    """One simulated person. Same seed and same questions in the same order: same answers.

    They choose by the Plackett-Luce rule: the odds of image i are exp(skill * utility_i + position_bias * position_i).
    """

    name: str
    skill: float = 1.0
    """Inverse temperature: how much a step in true quality moves the odds. 0 chooses blindly."""
    position_bias: float = 0.0
    """Added to the log-odds per place to the right (negative: prefers the first)."""
    tie_threshold: float = 0.0
    """Two best whose utilities differ by less than this seem equal..."""
    tie_rate: float = 0.0
    """...and are then called a tie this often."""
    all_bad_below: float = -np.inf
    """With no utility above this, none is chosen and all are called bad."""
    seed: int = 0
    _rng: np.random.Generator = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def choose(self, utilities: Sequence[float], *, can_tie: bool = True, can_all_bad: bool = True) -> Choice:
        """One answer to a set of images, given their true utilities in the order shown."""
        best_first = np.sort(np.asarray(utilities, dtype=float))[::-1]
        if can_all_bad and best_first[0] < self.all_bad_below:
            return "all_bad"
        seems_equal = len(best_first) > 1 and best_first[0] - best_first[1] < self.tie_threshold
        if can_tie and seems_equal and self._rng.random() < self.tie_rate:
            return "tie"
        return int(self._rng.choice(len(best_first), p=self.probabilities(utilities)))

    def probabilities(self, utilities: Sequence[float]) -> np.ndarray:
        """How likely each image is chosen, where one is chosen: (n,) floats with sum 1."""
        values = np.asarray(utilities, dtype=float)
        odds = self.skill * values + self.position_bias * np.arange(len(values))
        weights = np.exp(odds - odds.max())
        return weights / weights.sum()

    def look(self, images: Sequence[np.ndarray], caption: str) -> list[float]:
        """What this person sees in images of one caption: their true utilities, in the order shown."""
        return [truth.utility(image, caption) for image in images]


NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gül", "Hana", "Ivo", "Jun", "Kit", "Lea")
CARELESS = "Max"
"""Answers fast and nearly blindly, mostly the first image: the one whom quality control should find."""


def panel(people: int, seed: int) -> list[SimulatedAnnotator]:
    """So many people of differing skill and habits; the last one is careless.

    The careful differ in skill between 1.2 and 2.4, in their leaning to the left or right, and in how readily they
    call a tie or find everything bad.
    """
    rng = np.random.default_rng(seed)
    careful = [
        SimulatedAnnotator(
            name=NAMES[number % len(NAMES)] + (f" {number // len(NAMES) + 1}" if number >= len(NAMES) else ""),
            skill=float(rng.uniform(1.2, 2.4)),
            position_bias=float(rng.normal(0, 0.08)),
            tie_threshold=0.25,
            tie_rate=float(rng.uniform(0.2, 0.6)),
            all_bad_below=float(rng.uniform(-9, -6)),
            seed=int(rng.integers(2**31)),
        )
        for number in range(people - 1)
    ]
    careless = SimulatedAnnotator(
        name=CARELESS, skill=0.05, position_bias=-0.7, tie_threshold=0.25, tie_rate=0.1, seed=int(rng.integers(2**31))
    )
    return [*careful, careless]
