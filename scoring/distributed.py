"""Several processes that train one model, each on its share of every batch, as `accelerate launch` starts them."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, overload

from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Item = TypeVar("Item")

# One process waits so long for another one that fills its part of a cache or writes a checkpoint.
PATIENCE = timedelta(hours=1)


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

    @overload
    def share(self, rows: NDArray[Any]) -> NDArray[Any]: ...

    @overload
    def share(self, rows: Sequence[Item]) -> Sequence[Item]: ...

    def share(self, rows: NDArray[Any] | Sequence[Any]) -> NDArray[Any] | Sequence[Any]:
        """This process's rows of what all have, perhaps none."""
        return rows[self.rank :: self.count]

    def together(self, made: Sequence[Item]) -> list[Item]:
        """What each process made of its `share`, in the order of the whole."""
        if self.count == 1:
            return list(made)
        import torch  # slow import

        shares: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(shares, list(made))
        whole: list[Any] = [None] * sum(map(len, shares))
        for rank, share in enumerate(shares):
            whole[rank :: self.count] = share
        return whole

    def sum(self, value: float) -> float:
        """The sum of what each process has, the same in all of them."""
        if self.count == 1:
            return value
        import torch  # slow import

        total = torch.tensor(value, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(total)
        return total.item()

    def sum_gradients(self, parameters: Iterable["torch.nn.Parameter"]) -> None:
        """Give each parameter the sum of its gradients; a process that had no row of the batch adds nothing."""
        if self.count == 1:
            return
        import torch  # slow import

        trained = list(parameters)
        for parameter in trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.add_up([parameter.grad for parameter in trained if parameter.grad is not None])

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

    def leave(self) -> None:
        """Part from the others; nothing here works afterwards."""
        if self.count > 1:
            import torch  # slow import

            torch.distributed.destroy_process_group()


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

    state = PartialState(cpu=device == "cpu" or not torch.cuda.is_available(), timeout=PATIENCE)
    if state.num_processes != wanted:
        raise UnableToJoin(f"{wanted} processes were started, and only {state.num_processes} joined.")
    return Processes(state.process_index, state.num_processes, str(state.device))
