"""Pipelines from the Hugging Face hub, for sites that allow it."""

import re
from pathlib import Path

import scoring.backend  # noqa: F401  before diffusers: makes its own import of torchvision possible

from diffusers import DiffusionPipeline  # isort: skip
from worker.generation.pipeline import PipelineRejected  # isort: skip

NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w.-]+)?", re.ASCII)
"""`owner/name`, or `owner/name@revision` for one state of it: a branch, a tag or a commit."""


def is_hub_name(name: str) -> bool:
    """Whether a text could be a pipeline's name on the hub."""
    return NAME.fullmatch(name) is not None


def download_pipeline(name: str) -> Path:
    """The folder, in the hub's own cache, of a pipeline on the hub; only safetensors are fetched, and only once.

    Without a network, what was fetched before is given.

    Raises:
        PipelineRejected: there is no such pipeline, it has no safetensors, or the hub can't be reached.
    """
    repository, _at, revision = name.partition("@")
    try:
        return Path(DiffusionPipeline.download(repository, revision=revision or None, use_safetensors=True))
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise PipelineRejected(f"{name} can't be fetched from the hub: {reason}") from error
