"""What frozen blocks made of images and prompts, kept on disk from one training to the next.

    folder/
      5c1e.../                 a shelf: everything of one half of one base model, cut at one block
        about.json             what its numbers depend on; the shelf's name is the SHA-256 of it
        9f03....safetensors    a batch: `tokens`, (n, tokens, width) bfloat16, and in the header the names of its rows

A batch is whole or absent, so a killed training leaves nothing that misleads a later one. Files are mapped, not loaded;
one that is removed by another process stays readable for whoever has it mapped.
"""

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from scoring import checkpoints

# 1: the first one. Goes into every shelf's name.
FORMAT = 1

# Disks get slow, and databases stop, when they are full: this share is left free, whatever the cap.
LEFT_FREE = 0.05

# After so many seconds an unfinished file is that of a killed process.
ABANDONED = 3600


class TrunkCache:
    """All shelves of one folder together: how large they are, and what has to go when room is wanted."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self.max_bytes = folder, max_bytes
        self._in_use: set[Path] = set()

    def shelf(self, about: Mapping[str, Any]) -> "Shelf":
        """The shelf for what these facts describe; made where it is not there.

        Args:
            about: whatever the numbers depend on: the hash of the base's weights, which half, the number of frozen
                blocks, the preprocessing, the format of the arithmetic.
        """
        facts = {**about, "format": FORMAT}
        name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        checkpoints.write_json(folder / "about.json", facts)
        return Shelf(self, folder)

    def __str__(self) -> str:
        return f"the cache holds {self.bytes_held() / 1e6:.1f} of {self.max_bytes / 1e6:.0f} MB"

    def bytes_held(self) -> int:
        """Size of all batches of all shelves."""
        return sum(size for _, _, size in self._batches())

    def keep(self, path: Path) -> None:
        """Say that a batch is wanted now: it counts as used last, and this object won't let it go."""
        self._in_use.add(path)
        with contextlib.suppress(FileNotFoundError):
            os.utime(path)

    def make_room(self, wanted: int) -> bool:
        """Let go of what was used least recently until so many bytes fit; whether they do.

        Nothing is let go where it would not be enough.
        """
        batches = sorted(self._batches())
        held = sum(size for _, _, size in batches)
        disk = shutil.disk_usage(self.folder)
        excess = wanted - min(self.max_bytes - held, disk.free - int(LEFT_FREE * disk.total))
        going = []
        for _, path, size in batches:
            if excess <= 0:
                break
            if path not in self._in_use:
                going.append(path)
                excess -= size
        if excess > 0:
            return False
        for path in going:
            path.unlink(missing_ok=True)
        return True

    def _batches(self) -> Iterator[tuple[float, Path, int]]:
        """When each batch was last used, where it is, and its size."""
        for path in self.folder.glob("*/*.safetensors"):
            with contextlib.suppress(FileNotFoundError):  # another process may be making room
                found = path.stat()
                yield found.st_mtime, path, found.st_size


class Shelf:
    """Tokens by name, all of one shape; made by `TrunkCache.shelf`."""

    def __init__(self, cache: TrunkCache, folder: Path) -> None:
        self._cache, self._folder = cache, folder
        self._rows: dict[str, tuple[Path, torch.Tensor, int]] = {}
        self._seen: set[Path] = set()
        self.damaged = 0
        """Batches that could not be read and were removed."""
        self.look()

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    def look(self) -> None:
        """Take in what other processes have added."""
        for path in sorted(set(self._folder.glob("*.safetensors")) - self._seen):
            self._open(path)

    def keep(self, names: Iterable[str]) -> None:
        """Say which names are wanted now, so that making room spares them."""
        for path in sorted({self._rows[name][0] for name in names if name in self._rows}):
            self._cache.keep(path)

    def add(self, names: Sequence[str], tokens: torch.Tensor) -> bool:
        """Keep the tokens of these names, (n, tokens, width), rounded to bfloat16; false where there is no room."""
        tokens = tokens.detach().to("cpu", torch.bfloat16).contiguous()
        if not self._cache.make_room(tokens.nbytes):
            return False
        name = uuid.uuid4().hex
        unfinished, path = self._folder / f".{name}.tmp", self._folder / f"{name}.safetensors"
        try:
            save_file({"tokens": tokens}, unfinished, metadata={"names": json.dumps(list(names))})
            _sync(unfinished)
            unfinished.rename(path)
            _sync(self._folder)
        finally:
            unfinished.unlink(missing_ok=True)
        self._cache.keep(path)
        self._open(path)
        return True

    def tokens(self, names: Sequence[str]) -> torch.Tensor:
        """The tokens of these names, (n, tokens, width) bfloat16, copied out of the mapped files.

        Raises:
            KeyError: one of them isn't here.
        """
        return torch.stack([self._rows[name][1][self._rows[name][2]] for name in names])

    def _open(self, path: Path) -> None:
        self._seen.add(path)
        try:
            with safe_open(path, framework="pt") as file:
                tokens, names = file.get_tensor("tokens"), json.loads(file.metadata()["names"])
        except FileNotFoundError:
            return  # another process made room
        except (SafetensorError, OSError, KeyError, ValueError):
            path.unlink(missing_ok=True)
            self.damaged += 1
            return
        self._rows |= {name: (path, tokens, row) for row, name in enumerate(names)}


def _remove_abandoned(folder: Path) -> None:
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
