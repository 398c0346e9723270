"""What the frozen blocks make of a training's images and prompts: from the cache where it is there, else made anew."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from scoring.distributed import Processes
from worker.classifier.trunk_cache import Shelf

MADE_AT_ONCE = 128

Make = Callable[[NDArray[np.int64]], torch.Tensor]
"""From places in a list of things to their tokens, (n, tokens, width), without gradient."""

Ask = Callable[[NDArray[np.int64]], None]
"""Told the places of things that will soon have to be made."""


@dataclass(frozen=True)
class Kept:
    """What the cache did for one training."""

    found: int
    """Things whose tokens an earlier training had left."""

    made: int
    """Things worked out now and kept."""

    left_out: int
    """Things for which there was no room: they are worked out again whenever they are wanted."""

    damaged: int
    """Batches that could not be read and were removed."""

    def __str__(self) -> str:
        said = f"{self.made} worked out, {self.found} found in the cache"
        if self.left_out:
            said += f", {self.left_out} without room in it"
        if self.damaged:
            said += f", {self.damaged} damaged files removed"
        return said


class FrozenTokens:
    """Tokens after the frozen blocks of things numbered from 0, such as a table's images or prompts.

    Those on the shelf come from it, rounded to bfloat16; the others are made when they are wanted.
    """

    def __init__(self, make: Make, ask: Ask) -> None:
        self._make, self._ask = make, ask
        self._names: Sequence[str] = ()
        self._shelf: Shelf | None = None
        self._thread: Executor | None = None
        self._ahead: dict[bytes, Future[torch.Tensor]] = {}

    def keep(
        self,
        shelf: Shelf,
        names: Sequence[str],
        thread: Executor,
        on_made: Callable[[int, int], None],
        processes: Processes,
    ) -> Kept:
        """From now on take from a shelf what is there, and first put onto it what isn't.

        Args:
            shelf: where tokens stand by name.
            names: of all things, by place; equal things have equal names and are made once.
            thread: writes and fetches; one thread, so that there is an order.
            on_made: called with how many are there, and of how many; may raise to stop.
            processes: each puts its share of what is missing onto the shelf.
        """
        self._shelf, self._names, self._thread = shelf, names, thread
        shelf.keep(names)
        places = {name: place for place, name in reversed(list(enumerate(names)))}
        missing = np.array(sorted(place for name, place in places.items() if name not in shelf), dtype=np.int64)
        found = len(places) - len(missing)
        on_made(found, len(places))
        processes.wait()  # until all have seen the same missing
        mine = processes.share(missing)
        writing: Future[bool] | None = None
        for start in range(0, len(mine), MADE_AT_ONCE):
            some = mine[start : start + MADE_AT_ONCE]
            self._ask(mine[start + MADE_AT_ONCE : start + 2 * MADE_AT_ONCE])
            tokens = self._make(some)
            if writing is not None and not writing.result():
                break
            # While this batch goes to the disk, the next one is computed.
            writing = thread.submit(shelf.add, [names[place] for place in some], tokens)
            on_made(found + start + len(some), len(places))
        if writing is not None:
            writing.result()
        processes.wait()
        shelf.look()
        made = sum(names[place] in shelf for place in missing)
        return Kept(found, made, len(missing) - made, shelf.damaged)

    def ask(self, places: NDArray[np.int64]) -> None:
        """Begin to fetch or read what will soon be wanted, the places in the same order as then."""
        here = self._on_shelf(places)
        if self._thread is not None and here.any():
            self._ahead[places.tobytes()] = self._thread.submit(self._fetch, places[here])
        self._ask(places[~here])

    def tokens(self, places: NDArray[np.int64], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """Tokens of the things at these places, (n, tokens, width)."""
        here = self._on_shelf(places)
        if not here.any():
            return self._make(places).to(dtype)
        ahead = self._ahead.pop(places.tobytes(), None)
        fetched = ahead.result() if ahead is not None else self._fetch(places[here])
        kept = fetched.to(device, non_blocking=True).to(dtype)
        if here.all():
            return kept
        tokens = kept.new_empty(len(places), *kept.shape[1:])
        tokens[torch.from_numpy(here).to(device)] = kept
        tokens[torch.from_numpy(~here).to(device)] = self._make(places[~here]).to(dtype)
        return tokens

    def _on_shelf(self, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.array([self._shelf is not None and self._names[place] in self._shelf for place in places], dtype=bool)

    def _fetch(self, places: NDArray[np.int64]) -> torch.Tensor:
        assert self._shelf is not None
        tokens = self._shelf.tokens([self._names[place] for place in places])
        # From pinned memory the copy to the GPU goes on beside its work.
        return tokens.pin_memory() if torch.cuda.is_available() else tokens


def nobody(_places: NDArray[np.int64]) -> None:
    """An `ask` for things that need no reading ahead."""
