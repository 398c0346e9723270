"""Training in several processes; whole trainings are in the tests of the two loops."""

from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch

from scoring import distributed
from scoring.distributed import ALONE, Processes


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_the_shares_of_all_processes_are_the_batch(count):
    batch = np.arange(7)

    shares = [Processes(rank, count).share(batch) for rank in range(count)]

    assert sorted(np.concatenate(shares)) == list(batch)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_process_alone_changes_nothing_and_waits_for_nobody():
    given, untouched = (torch.nn.Parameter(torch.ones(2, 3)) for _ in range(2))
    given.grad = torch.ones(2, 3)

    ALONE.add_up([given.grad])
    ALONE.sum_gradients([given, untouched])
    ALONE.wait()
    ALONE.leave()

    assert torch.equal(given.grad, torch.ones(2, 3))
    assert untouched.grad is None
    assert (ALONE.agree(first=True), ALONE.agree(first=False)) == (True, False)
    assert (ALONE.sum(0.5), ALONE.together(["a", "b"])) == (0.5, ["a", "b"])
    assert (ALONE.is_first, Processes(1, 2).is_first) == (True, False)


def test_join_without_a_launcher_is_alone(monkeypatch):
    monkeypatch.delenv(distributed.WORLD_SIZE, raising=False)

    assert distributed.join() == ALONE


def test_three_processes_have_the_sum_of_their_gradients_and_all_that_they_made(tmp_path):
    with get_context("spawn").Pool(3) as pool:
        told = pool.starmap(one_of_three, [(rank, str(tmp_path / "meeting")) for rank in range(3)], chunksize=1)

    assert told == [([3.0, 3.0], [0.0, 0.0], 6.0, [0, 10, 20, 30], True)] * 3


def one_of_three(rank: int, meeting: str) -> tuple[list[float], list[float], float, list[int], bool]:
    """What one process has after it met the others; the last one had no row of the batch."""
    torch.distributed.init_process_group("gloo", init_method=Path(meeting).as_uri(), rank=rank, world_size=3)
    here = Processes(rank, 3)
    seen, unseen = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
    if rank < 2:
        seen.grad = torch.full((2,), float(rank + 1))
    here.sum_gradients([seen, unseen])
    made = here.together([10 * number for number in here.share(range(4))])
    total, first_says = here.sum(float(rank + 1)), here.agree(first=rank == 0)
    here.wait()
    here.leave()
    assert seen.grad is not None
    assert unseen.grad is not None
    return seen.grad.tolist(), unseen.grad.tolist(), total, made, first_says
