"""Training in several processes; two of them at work are in tests/worker/adapter/test_together.py."""

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
    gradient = torch.ones(2, 3)

    ALONE.add_up([gradient])
    ALONE.wait()

    assert torch.equal(gradient, torch.ones(2, 3))
    assert (ALONE.agree(first=True), ALONE.agree(first=False)) == (True, False)
    assert (ALONE.is_first, Processes(1, 2).is_first) == (True, False)


def test_join_without_a_launcher_is_alone(monkeypatch):
    monkeypatch.delenv(distributed.WORLD_SIZE, raising=False)

    assert distributed.join() == ALONE
