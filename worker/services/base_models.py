"""The models that trainings and generators start from: where they lie, and who brings those that ship with the site."""

import re
from collections.abc import Callable
from pathlib import Path

from django.conf import settings

Bringer = Callable[[Path], object]
"""Writes its base models, whole or not at all, as subfolders of a folder."""

# A name is the name of a folder, which must not lead elsewhere.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")

_bringers: dict[str, Bringer] = {}


class BaseModelMissing(ValueError):
    """The model that a job starts from is not on this worker; the message says where it must be."""


class UnableToImportBaseModel(ValueError):
    """Weights can't become a base model; the message says why."""


def ships(*names: str, bringer: Bringer) -> None:
    """Say that base models of these names come with the site, and are brought when a job first wants them."""
    _bringers.update(dict.fromkeys(names, bringer))


def base_models(marker: str) -> dict[str, Path]:
    """Folders of the base models on this machine, by name: those of settings.BASE_MODELS, and all beside them at home.

    Args:
        marker: the file that tells that a folder is what is wanted.
    """
    home = _home()
    folders = {folder.name: folder for folder in sorted(home.iterdir())} if home.is_dir() else {}
    folders |= {name: Path(folder) for name, folder in settings.BASE_MODELS.items()}
    return {name: folder for name, folder in folders.items() if (folder / marker).is_file()}


def base_model_folder(name: str, marker: str) -> Path:
    """The folder of a base model.

    Args:
        name: as in settings.BASE_MODELS, or of a folder in `base-models` under HPS_SITE_HOME.
        marker: the file that tells that the folder is what is wanted.

    Raises:
        BaseModelMissing: it is not on this machine and doesn't ship with the site; the message names those that are.
    """
    folder = settings.BASE_MODELS.get(name)
    if folder is not None and not (Path(folder) / marker).is_file() and name in _bringers:
        _bringers[name](Path(folder).parent)
    there = base_models(marker)
    if name not in there:
        raise BaseModelMissing(
            f"The base model {name!r} is not on this worker; put it into {folder or _home()}."
            f" There are: {', '.join(there) or 'none'}."
        )
    return there[name]


def import_base_model(*, name: str, architecture: str, tag: str = "", file: Path | None = None) -> Path:
    """Bring in weights that trainings can start from, once; see `scoring.hps.import_pretrained`, `import_clip_file`.

    Args:
        name: of the new folder, as trainings shall name it under `base`.
        architecture: what open_clip calls the model, with the activation that the weights were trained with.
        tag: of weights that open_clip knows, fetched unless they are in the hub's cache.
        file: with open_clip's or OpenAI's weights, in place of a tag.

    Returns:
        The folder.

    Raises:
        UnableToImportBaseModel: nothing was written.
    """
    from scoring import hps  # slow import

    if not NAME.fullmatch(name):
        raise UnableToImportBaseModel(f"{name!r} can't name a base model; take letters, digits, dots, - and _.")
    folder = Path(settings.BASE_MODELS.get(name, _home() / name))
    if name in _bringers or folder.exists():
        raise UnableToImportBaseModel(f"There is a base model {name} already; remove {folder} or take another name.")
    try:
        if file is None:
            hps.import_pretrained(architecture, tag, folder)
        else:
            preprocessing = hps.preprocessing_for(architecture)
            hps.import_clip_file(
                file, folder, architecture=architecture, preprocessing=preprocessing, kind="clip", name=name
            )
    except (ValueError, OSError) as error:
        raise UnableToImportBaseModel(" ".join(str(error).split())) from error
    return folder


def _home() -> Path:
    return Path(settings.HPS_SITE_HOME) / "base-models"
