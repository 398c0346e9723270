"""What a training tells while it runs, and what comes of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class UnableToTrain(ValueError):
    """The training can't begin or go on; the message says what is missing or doesn't fit."""


class TrainingCancelled(Exception):
    """Somebody asked for the training to stop. Its last checkpoint stays, so that it could go on."""


@dataclass(frozen=True)
class StepReport:
    """Where a training stands."""

    stage: str
    """What is being done: `reading images`, `measuring the base`, `training`, `measuring`, `saving`."""

    step: int
    """Steps done, in training; things done, in the other stages."""

    total: int
    """Of how many."""

    loss: float | None = None
    """Cross-entropy of this batch in nats, before the step; only in training."""

    learning_rate: float | None = None
    """Of this step; only in training."""

    validation_loss: float | None = None
    """Divergence from people's shares on the prompts held back, in nats, after the step; only where it was measured."""

    note: str = ""
    """Something that a person should know, such as that a damaged checkpoint was passed over."""


@dataclass(frozen=True)
class TrainingResult:
    """What came of a training."""

    folder: Path
    """The artefact, readable by `scoring.hps.load_scorer`."""

    manifest: dict[str, Any]
    """As written in it."""

    metrics: dict[str, Any]
    """What was measured on the test choices, see `worker.classifier.evaluation.measure`."""

    steps: int
    """Steps of the whole training, those before a resume included."""

    resumed_from: int
    """The step at which this call took up; 0 for a training from the start."""


OnStep = Callable[[StepReport], None]
ShouldStop = Callable[[], bool]


def tell_nobody(_report: StepReport) -> None:
    """An `on_step` for trainings that nobody watches."""


def never() -> bool:
    """A `should_stop` for trainings that nobody stops."""
    return False
