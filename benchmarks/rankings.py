"""How long it takes to rank generators by a million votes, and how much memory.

Run: make bench-rankings [RANKINGS="--votes 1000000 --generators 200"]

The votes are synthetic: drawn from known worths by the model that is fitted, Plackett-Luce with Davidson's ties and a
leaning to the first place, among sets of two to nine or of the sizes asked for, twenty on each prompt. What is timed is
everything that `rank_generators` does with votes that it has read: the fit with ties and places, intervals by 1,000
resamples, bands of ranks, components.
"""

import argparse
import resource
import time

import numpy as np

from scoring.rankings import Ranking, Votes, rank_votes

SPREAD, LEANING, TIE = 1.0, 0.2, -1.0
AIM_SECONDS, AIM_MEGABYTES = 10.0, 500

AT_ONCE = 1000

VOTES_PER_PROMPT = 20


def main() -> None:
    """Print seconds, peak memory, and how near the ranking is to the truth."""
    wanted = arguments()
    rng = np.random.default_rng(wanted.seed)
    worths = rng.normal(0, SPREAD, wanted.generators)
    votes = made(rng, worths - worths.mean(), wanted.votes, wanted.sizes)
    before = megabytes()
    started, cpu = time.perf_counter(), time.process_time()
    ranking = rank_votes([f"generator {n}" for n in range(wanted.generators)], votes)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    count = sum(len(of_size.answers) for of_size in votes)
    sizes = " ".join(map(str, wanted.sizes))
    print(f"{count:,} votes on sets of {sizes}, {wanted.generators} generators, ties and places estimated")
    print(f"{seconds:.1f} s by the clock, {cpu_seconds:.1f} s of CPU; the aim is {AIM_SECONDS:.0f} s")
    print(f"{megabytes():.0f} MB at the peak ({before:.0f} MB before); the aim is {AIM_MEGABYTES} MB")
    print(f"{covered(ranking, worths - worths.mean()):.1%} of the true log-worths lie in their 95 % interval")


def made(rng: np.random.Generator, worths: np.ndarray, count: int, sizes: list[int]) -> list[Votes]:
    """Votes on sets of each size, as many of every size."""
    made = []
    for size in sizes:
        members = np.concatenate([some_sets(rng, len(worths), size) for _ in range(count // len(sizes) // AT_ONCE)])
        utilities = worths[members] + LEANING * (np.arange(size) == 0)
        utilities = np.hstack([utilities, TIE + utilities.mean(axis=1, keepdims=True)])
        answers = (utilities + rng.gumbel(size=utilities.shape)).argmax(axis=1).astype(np.int32)
        prompts = np.arange(len(members), dtype=np.uint32) // VOTES_PER_PROMPT
        made.append(Votes(members, answers, prompts, has_places=True))
    return made


def some_sets(rng: np.random.Generator, generators: int, size: int) -> np.ndarray:
    """(AT_ONCE, size) different generators in each row, drawn in pieces so as to take little memory."""
    return rng.random((AT_ONCE, generators)).argpartition(size, axis=1)[:, :size].astype(np.int32)


def covered(ranking: Ranking, worths: np.ndarray) -> float:
    """The share of the true log-worths within their interval."""
    return float(
        np.mean([place.low <= worths[int(place.generator.split()[1])] <= place.high for place in ranking.places])
    )


def megabytes() -> float:
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--votes", type=int, default=1_000_000, help="rounded down to 8,000s")
    parser.add_argument("--sizes", type=int, nargs="+", default=[*range(2, 10)], help="images in a set")
    parser.add_argument("--generators", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
