"""The artefact format: one folder with weights.safetensors and manifest.json, whole or absent."""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# 1: the first one.
FORMAT = 1

MANIFEST, WEIGHTS = "manifest.json", "weights.safetensors"

# Libraries whose version may change the numbers.
LIBRARIES = (
    "torch", "torchvision", "open_clip_torch", "diffusers", "peft", "transformers", "safetensors", "numpy", "pillow",
)  # fmt: skip


class CheckpointRejected(ValueError):
    """A file or folder is not a checkpoint that can be used; the message names the file and the reason."""


class UnableToWriteCheckpoint(ValueError):
    """What was given can't be written as a checkpoint; the message says why."""


def write(folder: Path, tensors: Mapping[str, "torch.Tensor"], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Write an artefact so that at every moment, power cuts included, it is there whole or not at all.

    Args:
        folder: where it will stand; an artefact already there is replaced.
        tensors: weights by name, in the number format in which they shall be stored.
        manifest: at least `kind`. By convention of all artefacts of this product:

            - `kind`: `clip`, `hps`, `aesthetic`, `adapter`, `diffusion`
            - `name`: for people
            - `is_synthetic`: true where it was trained on the toy world or on simulated votes
            - `model`, `preprocessing`: what the kind needs to rebuild the model (see `scoring.hps`)
            - `base`: `{"name", "sha256"}` of the artefact it was trained from, the hash being that of its weights
            - `config`: the settings of the training; `seed`; `data_sha256`: hash of the choices
            - `metrics`: what was measured, as printed
            - `weights`, `format`, `libraries`, `git_commit`: filled in here

    Returns:
        The manifest as written.

    Raises:
        UnableToWriteCheckpoint: the manifest has no kind, or holds what JSON can't.
    """
    from safetensors.torch import save_file  # slow import

    if not manifest.get("kind"):
        raise UnableToWriteCheckpoint("The manifest needs a kind, such as 'hps'.")
    with whole_or_absent(folder) as unfinished:
        weights = unfinished / WEIGHTS
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, weights)
        complete = {
            **manifest,
            "format": FORMAT,
            "libraries": library_versions(),
            "git_commit": git_commit(),
            "weights": {"file": WEIGHTS, "sha256": file_sha256(weights), "bytes": weights.stat().st_size},
        }
        write_json(unfinished / MANIFEST, complete)
        # safetensors writes for its own user alone; the site may run as another than the worker.
        weights.chmod((unfinished / MANIFEST).stat().st_mode)
    return complete


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an artefact, without reading its weights.

    Raises:
        CheckpointRejected: it is missing, is no JSON object, or is of a format this version doesn't know.
    """
    path = folder / MANIFEST
    manifest = read_json(path)
    if manifest.get("format") != FORMAT:
        raise CheckpointRejected(f"{path}: format {manifest.get('format')!r} is not known here, only {FORMAT}.")
    return manifest


def read(folder: Path, device: str = "cpu") -> tuple[dict[str, "torch.Tensor"], dict[str, Any]]:
    """Weights and manifest of an artefact, the weights checked against the hash in the manifest.

    Raises:
        CheckpointRejected: as `read_manifest`, or the weights are missing, changed, or no safetensors file.
    """
    from safetensors import SafetensorError  # slow import
    from safetensors.torch import load_file

    manifest = read_manifest(folder)
    path = folder / WEIGHTS
    if not path.is_file():
        raise CheckpointRejected(f"{path}: the file is missing.")
    expected = manifest.get("weights", {}).get("sha256")
    if file_sha256(path) != expected:
        raise CheckpointRejected(f"{path}: its SHA-256 is not the one in {MANIFEST}; the file was changed or cut off.")
    try:
        return load_file(path, device=device), manifest
    except SafetensorError as error:
        raise CheckpointRejected(f"{path}: not a safetensors file ({error}).") from error


def convert_torch_file(path: Path) -> dict[str, "torch.Tensor"]:
    """Weights from a foreign .pt, .pth, .bin or .safetensors file, read without running any code that it may hold.

    A dict under the key `state_dict`, `model_state_dict` or `model` is taken out, and the prefix `module.` of
    data-parallel training removed. Entries that are not tensors are left out.

    Raises:
        CheckpointRejected: the file holds more than plain weights, is a TorchScript archive, or is damaged.
    """
    import pickle  # for the name of its error alone

    import torch  # slow import
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    loaded: Any
    try:
        if path.suffix == ".safetensors":
            loaded = load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, SafetensorError, EOFError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointRejected(f"{path}: can't be read as plain weights ({reason}).") from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if not isinstance(loaded, dict):
        raise CheckpointRejected(f"{path}: holds a {type(loaded).__name__}, not weights by name.")
    tensors = {str(key).removeprefix("module."): value for key, value in loaded.items() if torch.is_tensor(value)}
    if not tensors:
        raise CheckpointRejected(f"{path}: holds no tensors.")
    return tensors


@contextlib.contextmanager
def whole_or_absent(folder: Path) -> Iterator[Path]:
    """A temporary sibling to write into, which takes the folder's place when the block ends without an error.

    Every file and folder is synced to disk before the rename and the parent after it, so that neither a killed
    process nor a power cut leaves half an artefact under the final name. On an error the sibling is removed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.parent / f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp"
    unfinished.mkdir()
    try:
        yield unfinished
        for path in sorted(unfinished.rglob("*"), reverse=True):
            _sync(path)
        _sync(unfinished)
        _take_place(unfinished, folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _take_place(unfinished: Path, folder: Path) -> None:
    replaced = unfinished.with_suffix(".old")
    if folder.exists():
        folder.rename(replaced)
    unfinished.rename(folder)
    _sync(folder.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a JSON object, sorted and indented; equal records give equal files.

    Raises:
        UnableToWriteCheckpoint: the record holds something that JSON can't, such as NaN.
    """
    try:
        text = json.dumps(record, ensure_ascii=False, sort_keys=True, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UnableToWriteCheckpoint(f"{path.name} can't be written as JSON: {error}.") from error
    path.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CheckpointRejected: the file is missing or holds no JSON object.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointRejected(f"{path}: can't be read ({error.strerror}).") from error
    except ValueError as error:
        raise CheckpointRejected(f"{path}: not JSON ({error}).") from error
    if not isinstance(record, dict):
        raise CheckpointRejected(f"{path}: not a JSON object.")
    return record


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def library_versions() -> dict[str, str]:
    """Installed versions of the libraries that may change the numbers."""
    versions = {}
    for name in LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def git_commit() -> str | None:
    """The commit this code was checked out at, or None outside a checkout."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
