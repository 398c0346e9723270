"""Checkpoints inside a training run, from which it goes on as if it had never stopped."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scoring import checkpoints
from scoring.checkpoints import CheckpointRejected

if TYPE_CHECKING:
    import torch

KEPT = 2


@dataclass(frozen=True)
class TrainingState:
    """Where a training stood after a step."""

    step: int
    """Steps done."""

    tensors: dict[str, "torch.Tensor"]
    """Trained parameters, the optimizer's memory and the random generators' states, by name."""

    record: dict[str, Any]
    """Whatever else the loop needs to go on; must be equal on resume for what must not change (such as its config)."""

    rejected: tuple[str, ...] = ()
    """Why newer steps could not be used; empty where the newest one was whole."""


def write(folder: Path, *, step: int, tensors: Mapping[str, "torch.Tensor"], record: Mapping[str, Any]) -> Path:
    """Write the state after a step as `folder/step-000120`, and remove all but the last two.

    One process at a time may write into one folder; leftovers of a killed one are removed.
    """
    name = folder / f"step-{step:06d}"
    checkpoints.write(name, tensors, {"kind": "training_state", "step": step, "record": dict(record)})
    for leftover in [*folder.glob(".step-*"), *_steps(folder)[:-KEPT]]:
        shutil.rmtree(leftover, ignore_errors=True)
    return name


def latest(folder: Path) -> TrainingState | None:
    """The newest state that is whole, or None where there is none.

    A step that is damaged is passed over in favour of the one before; `rejected` then says so.
    """
    rejected: list[str] = []
    for path in reversed(_steps(folder)):
        try:
            tensors, manifest = checkpoints.read(path)
        except CheckpointRejected as error:
            rejected.append(str(error))
            continue
        return TrainingState(manifest["step"], tensors, manifest["record"], tuple(rejected))
    return None


def optimizer_tensors(model: "torch.nn.Module", optimizer: "torch.optim.Optimizer") -> dict[str, "torch.Tensor"]:
    """The trained parameters, the optimizer's memory of each, and the random generators' states, by name."""
    import torch  # slow import

    places: set[int] = set()
    tensors: dict[str, torch.Tensor] = {"random.cpu": torch.get_rng_state()}
    for number in range(torch.cuda.device_count()):
        tensors[f"random.cuda.{number}"] = torch.cuda.get_rng_state(number)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        tensors[f"parameter.{name}"] = parameter.detach()
        for key, value in optimizer.state.get(parameter, {}).items():
            memory = torch.as_tensor(value)
            # bitsandbytes keeps one table for all parameters, and safetensors takes no tensor twice.
            is_known = memory.numel() > 0 and memory.data_ptr() in places
            places.add(memory.data_ptr())
            tensors[f"optimizer.{key}.{name}"] = memory.clone() if is_known else memory
    return tensors


def restore(
    model: "torch.nn.Module", optimizer: "torch.optim.Optimizer", tensors: Mapping[str, "torch.Tensor"]
) -> None:
    """Put back what `optimizer_tensors` took; the learning rate is the loop's own to set.

    Raises:
        CheckpointRejected: the state is of a model with other trained parameters.
    """
    import torch  # slow import

    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    stored = {name.removeprefix("parameter.") for name in tensors if name.startswith("parameter.")}
    if stored != trained.keys():
        raise CheckpointRejected(f"The training state trains other parameters: {sorted(stored ^ trained.keys())[:3]}.")
    torch.set_rng_state(tensors["random.cpu"].cpu())
    for number in range(torch.cuda.device_count()):
        if f"random.cuda.{number}" in tensors:
            torch.cuda.set_rng_state(tensors[f"random.cuda.{number}"].cpu(), number)
    for key, value in tensors.items():
        part, _, rest = key.partition(".")
        if part == "parameter":
            trained[rest].data.copy_(value)
        elif part == "optimizer":
            memory, _, name = rest.partition(".")
            # AdamW keeps its count of steps on the CPU whatever the device of the parameter; bitsandbytes as a number.
            if memory == "step":
                kept = value.cpu().clone() if value.is_floating_point() else int(value)
            else:
                kept = value.to(trained[name].device).clone()
            optimizer.state[trained[name]][memory] = kept


def _steps(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))
