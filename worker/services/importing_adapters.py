"""Adapters trained without the site that become versions of it."""

import shutil
import uuid
from pathlib import Path
from typing import Any

from django.conf import settings

from annotations.models import Generator
from scoring import checkpoints
from scoring.checkpoints import CheckpointRejected
from worker.models import ModelVersion
from worker.services.adapters import drawn_with
from worker.services.adapting import check_trainable, verdict
from worker.services.generation import pipeline_folder
from worker.services.labelling import generator_named
from worker.services.recipes import Recipe
from worker.services.versions import register_version, verified


class UnableToImportAdapter(ValueError):
    """The folder can't become a version; the message says why and what would be right."""


def import_adapter(*, folder: Path, generator_name: str) -> ModelVersion:
    """Copy a finished adapter of `python -m worker.adapter` to the artefacts and register it. It is not put into use.

    Args:
        folder: `OUT/model`.
        generator_name: whose model was adapted, which is the original of its proof and of its studies.

    Raises:
        UnableToImportAdapter: nothing was registered and nothing stays on disk.
    """
    target = Path(settings.ARTEFACTS_DIR) / "imported" / uuid.uuid4().hex
    try:
        verified(folder)
        manifest = _manifest_of(folder)
        generator = generator_named(generator_name)
        check_trainable(generator)
        recipe = Recipe.of(generator)
        _check_base(manifest, generator, recipe)
        metrics = {"generator": generator.name, **manifest["metrics"]}
        metrics["verdict"] = verdict(metrics)
        manifest["drawn"] = drawn_with(recipe, manifest["mark"])
        with checkpoints.whole_or_absent(target) as unfinished:
            shutil.copytree(folder, unfinished, dirs_exist_ok=True)
            checkpoints.write_json(unfinished / checkpoints.MANIFEST, manifest)
        return register_version(
            family=ModelVersion.Family.ADAPTER,
            folder=target,
            manifest=manifest,
            metrics=metrics,
            is_synthetic=bool(manifest["is_synthetic"]) or generator.is_synthetic,
        )
    except (OSError, ValueError) as error:
        shutil.rmtree(target, ignore_errors=True)
        raise UnableToImportAdapter(str(error)) from error


def _manifest_of(folder: Path) -> dict[str, Any]:
    """The manifest of a folder that holds an adapter of this product's."""
    manifest = checkpoints.read_manifest(folder)
    if manifest.get("kind") != ModelVersion.Family.ADAPTER:
        raise CheckpointRejected(f"{folder} holds no adapter but a {manifest.get('kind')!r}.")
    if lacks := sorted({"base", "is_synthetic", "mark", "metrics", "weights"} - manifest.keys()):
        raise CheckpointRejected(f"{folder / checkpoints.MANIFEST} does not say {', '.join(lacks)}.")
    return manifest


def _check_base(manifest: dict[str, Any], generator: Generator, recipe: Recipe) -> None:
    """Refuse a generator whose model is not the one that was adapted, by the hash of its weights."""
    from worker.adapter.loop import base_record  # slow import

    if base_record(pipeline_folder(recipe.pipeline))["sha256"] != manifest["base"]["sha256"]:
        raise UnableToImportAdapter(
            f"The adapter was trained on {manifest['base']['name']}, whose weights are not those of {recipe.pipeline},"
            f" with which {generator} draws: name a generator of that model."
        )
