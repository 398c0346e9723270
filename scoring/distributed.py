"""Several processes that train one model, each on its share of every batch, as `accelerate launch` starts them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

Rows = TypeVar("Rows", bound=Sequence[object])


@dataclass(frozen=True)
class Processes:
    """This process among those that train together; by default there is no other.

    Each process takes every `count`-th row of a batch and divides its loss by the size of the whole batch; the sum of
    all gradients is then that of one process with the whole batch, whatever the number of processes. What is written
    and said, the first one writes and says.
    """

    rank: int = 0
    count: int = 1
    device: str | None = None
    """Where this process computes, such as `cuda:1`; None leaves it to the training."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and reports for all."""
        return self.rank == 0

    def share(self, rows: Rows) -> Rows:
        """This process's rows of a batch."""
        return rows[self.rank :: self.count]  # type: ignore[return-value]

    def add_up(self, tensors: Sequence["torch.Tensor"]) -> None:
        """Put the sum over all processes into each tensor, in place, in one exchange; all of one kind and device."""
        if self.count == 1:
            return
        import torch  # slow import

        together = torch.cat([tensor.reshape(-1) for tensor in tensors])
        torch.distributed.all_reduce(together)
        parts = together.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def agree(self, *, first: bool) -> bool:
        """What the first process says, for all of them: a decision that all must take alike, such as to stop."""
        if self.count == 1:
            return first
        import torch  # slow import

        answer = torch.tensor([int(first)], device=self.device)
        torch.distributed.broadcast(answer, src=0)
        return bool(answer.item())

    def wait(self) -> None:
        """Go on when all processes have come here."""
        if self.count > 1:
            import torch  # slow import

            torch.distributed.barrier()


ALONE = Processes()

WORLD_SIZE = "WORLD_SIZE"
"""The variable in which launchers say how many processes they started; nobody sets it by hand."""


class UnableToJoin(RuntimeError):
    """A launcher started several processes, but they did not find each other."""


def join(device: str | None = None) -> Processes:
    """The processes that `accelerate launch` or `torchrun` started this one with; alone where neither did.

    Args:
        device: `cpu` keeps all of them off the GPUs; without one, each takes a GPU of its own where there are some.

    Raises:
        UnableToJoin: going on alone, each of them would train and write the whole.
    """
    wanted = int(os.environ.get(WORLD_SIZE, "1"))
    if wanted == 1:
        return ALONE
    import torch  # slow imports
    from accelerate import PartialState

    state = PartialState(cpu=device == "cpu" or not torch.cuda.is_available())
    if state.num_processes != wanted:
        raise UnableToJoin(f"{wanted} processes were started, and only {state.num_processes} joined.")
    return Processes(state.process_index, state.num_processes, str(state.device))
