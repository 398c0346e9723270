"""Published scorers that become versions of this site."""

import shutil
import uuid
from pathlib import Path

from django.conf import settings

from scoring import checkpoints
from scoring.checkpoints import CheckpointRejected
from worker.models import ModelVersion
from worker.queries import current_version, version_by_name
from worker.services.versions import folder_of, register_version


class UnableToImportScorer(ValueError):
    """The file or folder can't become a version; the message says why and what would be right."""


def import_scorer(
    *,
    path: Path,
    name: str,
    kind: str = "hps",
    architecture: str | None = None,
    resize: str | None = None,
    clip: str = "",
) -> ModelVersion:
    """Convert a foreign scorer and register it; see `scoring.converters.convert`. It is not put into use.

    Args:
        path: the file or folder.
        name: for people.
        kind: `hps`, or `clip` for weights that people's choices have not changed.
        architecture: open_clip's name of the model, for files not known by their name.
        resize: `longest` or `shortest`; by default as the scorer was trained.
        clip: for an aesthetic head, the version (`clip` for the one in use, `clip-2`) or folder of the CLIP below it.

    Raises:
        UnableToImportScorer: nothing was registered and nothing stays on disk.
    """
    from scoring import converters  # slow import

    if not path.exists():
        raise UnableToImportScorer(f"{path}: there is no such file or folder.")
    folder = Path(settings.ARTEFACTS_DIR) / "imported" / uuid.uuid4().hex
    try:
        manifest = converters.convert(
            path,
            folder,
            name=name,
            kind=kind,
            architecture=architecture,
            resize=resize,
            clip_folder=_clip_folder(clip) if clip else None,
        )
        return register_version(
            family=str(manifest["kind"]),
            folder=folder,
            manifest=manifest,
            metrics={},
            is_synthetic=bool(manifest["is_synthetic"]),
        )
    except (CheckpointRejected, ValueError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise UnableToImportScorer(str(error)) from error


def _clip_folder(clip: str) -> Path:
    if (Path(clip) / checkpoints.MANIFEST).is_file():
        return Path(clip)
    version = current_version(clip) if clip == ModelVersion.Family.CLIP else version_by_name(clip)
    if version is None or version.family != ModelVersion.Family.CLIP:
        raise UnableToImportScorer(
            f"There is no CLIP {clip!r}; name a version such as clip-1, or an artefact's folder."
        )
    return folder_of(version)
