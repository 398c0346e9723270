"""How the processes of one training share its work: each takes some choices, and all make the same step.

Every process holds the whole model and knows the whole table of choices. Of each batch it sees its own part only, the
loss of each choice being weighed by the whole batch: the sum of the gradients is that of one process, however unequal
the parts are, an empty one included.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

Item = TypeVar("Item")

# One process waits so long for another one that fills its part of the cache or writes a checkpoint.
PATIENCE = timedelta(hours=1)


class Processes(Protocol):
    """What a training asks of the processes that share it."""

    device: torch.device | None
    """Where this process computes; None: wherever the training likes."""

    is_first: bool
    """Whether this is the one process that tells and writes."""

    def share(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """This process's part of what all have, perhaps none."""

    def sum(self, value: float) -> float:
        """The sum of what each process has, the same in all of them."""

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Give each parameter the sum of the gradients that the processes have for it."""

    def together(self, shares: Sequence[Item]) -> list[Item]:
        """What each process made of its `share`, in the order of the whole."""

    def wait(self) -> None:
        """Go on when all processes are here."""

    def leave(self) -> None:
        """Part from the others; nothing here works afterwards."""


class Alone:
    """One process, which does everything."""

    device: torch.device | None = None
    is_first = True

    def share(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return rows

    def sum(self, value: float) -> float:
        return value

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        pass

    def together(self, shares: Sequence[Item]) -> list[Item]:
        return list(shares)

    def wait(self) -> None:
        pass

    def leave(self) -> None:
        pass


class Launched:
    """One of the processes that `accelerate launch` started on this machine, each on a GPU of its own or on the CPU."""

    def __init__(self, *, on_cpu: bool) -> None:
        from accelerate import PartialState  # joins the others

        self._state = PartialState(cpu=on_cpu, timeout=PATIENCE)
        self.device: torch.device | None = self._state.device
        self.is_first = bool(self._state.is_main_process)

    def share(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return rows[self._state.process_index :: self._state.num_processes]

    def sum(self, value: float) -> float:
        total = torch.tensor(value, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(total)
        return total.item()

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        # One message for all of them: there are hundreds, most of them small.
        trained = list(parameters)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        together = torch.cat([gradient.flatten() for gradient in gradients])
        torch.distributed.all_reduce(together)
        for parameter, summed in zip(trained, together.split([p.numel() for p in trained]), strict=True):
            parameter.grad = summed.view_as(parameter)

    def together(self, shares: Sequence[Item]) -> list[Item]:
        gathered: list[Any] = [None] * self._state.num_processes
        torch.distributed.all_gather_object(gathered, list(shares))
        whole: list[Any] = [None] * sum(map(len, gathered))
        for number, part in enumerate(gathered):
            whole[number :: self._state.num_processes] = part
        return whole

    def wait(self) -> None:
        self._state.wait_for_everyone()

    def leave(self) -> None:
        self._state.destroy_process_group()
