"""How many votes each pair policy needs until 12 generators stand nearly in their true order: Kendall's tau of 0.9.

Run: make bench-policies [POLICIES="--images 4 --worlds 200"]

Everything here is synthetic. Each world has 12 generators with hidden worths, some of them close neighbours; every
image differs from its generator's worth by luck; twelve simulated people of differing skill and habits, one of them
careless, choose by the noisy Plackett-Luce rule of the simulator. The policies are the functions that deal real claims,
with the random share that campaigns have by default; they know the votes alone, and those only up to their last look.
Uniform is dealt as the queue deals it, each matchup once a round, which needs fewer votes than drawing at random.

A policy has reached its aim where tau, between the ranking by its votes and the truth, is 0.9 or more and stays so to
the end. To touch 0.9 once and fall back is not enough. A world in which that takes more votes than there are counts
with all of them, which leaves medians as they are.
"""

import argparse
import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from scipy.stats import kendalltau

from annotations.policies import POLICIES, Floats, Standing, chances
from hps_site.demo.simulator import SimulatedAnnotator, panel
from scoring import rankings

GENERATORS, PEOPLE = 12, 12
AIM = 0.9
RANDOM_SHARE = 0.2

# In the simulator's units of quality: the log-odds of a person of skill 1. Between the best and the worst of twelve
# typical people then choose the best nineteen times of twenty.
SPREAD = 0.7  # standard deviation of the generators' worths
LUCK = 0.5  # standard deviation of an image around the worth of its generator

# The votes between two looks: never fewer than so many, and so large a part of all. Claims, too, are dealt by old news.
VOTES_UNSEEN, SHARE_UNSEEN = 6, 0.02


class World:
    """Generators with a hidden truth, and the people who vote."""

    def __init__(self, seed: int, images: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.worths = self.rng.normal(0, SPREAD, GENERATORS)
        self.people: list[SimulatedAnnotator] = panel(PEOPLE, seed)
        self.sets = list(itertools.combinations(range(GENERATORS), images))
        self.shown = np.array([np.isin(np.arange(GENERATORS), members) for members in self.sets], dtype=np.float64)
        self.answers = np.zeros_like(self.shown)

    def vote(self, number: int) -> None:
        """Let somebody answer a set, shown in random order."""
        members = self.rng.permutation(self.sets[number])
        person = self.people[self.rng.integers(PEOPLE)]
        answer = person.choose(list(self.rng.normal(self.worths[members], LUCK)), can_all_bad=False)
        if isinstance(answer, int):
            self.answers[number, members[answer]] += 1
        else:
            self.answers[number, members] += 1 / len(members)

    def tau(self) -> float:
        log_worths, _covariance = rankings.fit_worths(self.shown, self.answers)
        return float(kendalltau(log_worths, self.worths).statistic)


def main() -> None:
    """Print what each policy needs, and the ratio to uniform, with intervals over worlds."""
    wanted = arguments()
    started = time.time()
    needed: dict[str, Floats] = {}
    curves: dict[str, Floats] = {}
    with ProcessPoolExecutor(wanted.processes) as processes:
        for policy in POLICIES:
            one = partial(taus, policy=policy, images=wanted.images, votes=wanted.votes)
            rows = list(processes.map(one, range(wanted.worlds), chunksize=5))
            curves[policy] = np.array(rows)
            needed[policy] = np.array([votes_needed(row, wanted.votes) for row in rows])
    print(
        f"{wanted.worlds} worlds, {GENERATORS} generators, {wanted.images} images a set, {wanted.votes} votes at most"
    )
    print(
        f"{'policy':<10} {'votes needed (median, 95 %)':>28} {'of uniform':>22} {'mean tau reaches it':>20} not reached"
    )
    for policy, votes in needed.items():
        low, high = bootstrap(votes[None])
        ratio_low, ratio_high = bootstrap(np.array([votes, needed["uniform"]]))
        ratio = np.median(votes) / np.median(needed["uniform"])
        print(
            f"{policy:<10} {np.median(votes):>14.0f} ({low:.0f} to {high:.0f})"
            f" {ratio:>8.2f} ({ratio_low:.2f} to {ratio_high:.2f})"
            f" {votes_needed(curves[policy].mean(axis=0), wanted.votes):>14.0f}"
            f" {(curves[policy][:, -1] < AIM).mean():>14.0%}"
        )
    print(f"{time.time() - started:.0f} s")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=60, help="seeds 0, 1, 2 ...")
    parser.add_argument("--images", type=int, default=2, help="images in a set")
    parser.add_argument("--votes", type=int, default=3000, help="votes at most")
    parser.add_argument("--processes", type=int, default=2)
    return parser.parse_args()


def taus(seed: int, *, policy: str, images: int, votes: int) -> Floats:
    """Kendall's tau after each look, in one world under one policy."""
    world = World(seed, images)
    queue = rounds(len(world.sets), world.rng)
    found = []
    for count in batches(votes):
        numbers = [next(queue) for _ in range(count)] if policy == "uniform" else drawn(world, policy, count)
        for number in numbers:
            world.vote(number)
        found.append(world.tau())
    return np.array(found)


def drawn(world: World, policy: str, count: int) -> list[int]:
    """Sets drawn as for claims, with work left for all."""
    nothing = np.zeros(len(world.sets))
    standing = Standing(
        matchups=tuple("-".join(map(str, members)) for members in world.sets),
        shown=world.shown,
        answers=world.answers,
        out=nothing,
        free=nothing + 1,
    )
    probabilities = chances(standing, policy=POLICIES[policy], random_share=RANDOM_SHARE)
    return list(world.rng.choice(len(world.sets), size=count, p=probabilities))


def rounds(sets: int, rng: np.random.Generator) -> Iterator[int]:
    """Every set once in random order, then every set once more, for ever."""
    while True:
        yield from rng.permutation(sets)


def batches(votes: int) -> Iterator[int]:
    """How many votes come between two looks, until so many are there."""
    given = 0
    while given < votes:
        count = min(max(VOTES_UNSEEN, int(SHARE_UNSEEN * given)), votes - given)
        given += count
        yield count


def votes_needed(curve: Floats, votes: int) -> float:
    """How many votes were there at the look from which on tau is never below the aim; all if it is so at the last."""
    given = np.cumsum(list(batches(votes)))
    below = np.flatnonzero(curve < AIM)
    first = below[-1] + 1 if len(below) else 0
    return float(given[min(first, len(given) - 1)])


def bootstrap(columns: Floats) -> tuple[float, float]:
    """95 % interval of a median, or of the ratio of two medians, over worlds drawn anew; (1 or 2, worlds)."""
    rng = np.random.default_rng(0)
    medians = np.median(columns[:, rng.integers(columns.shape[1], size=(2000, columns.shape[1]))], axis=2)
    values = medians[0] if len(medians) == 1 else medians[0] / medians[1]
    return float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975))


if __name__ == "__main__":
    main()
