"""The models that trainings and generators start from: where they lie, and who brings those that ship with the site."""

from collections.abc import Callable
from pathlib import Path

from django.conf import settings

Bringer = Callable[[Path], object]
"""Writes its base models, whole or not at all, as subfolders of a folder."""

_bringers: dict[str, Bringer] = {}


class BaseModelMissing(ValueError):
    """The model that a job starts from is not on this worker; the message says where it must be."""


def ships(*names: str, bringer: Bringer) -> None:
    """Say that base models of these names come with the site, and are brought when a job first wants them."""
    _bringers.update(dict.fromkeys(names, bringer))


def base_model_folder(name: str, marker: str) -> Path:
    """The folder of a base model.

    Args:
        name: as in settings.BASE_MODELS.
        marker: the file that tells that the folder is what is wanted.

    Raises:
        BaseModelMissing: the settings don't know it, or it is not on this machine and doesn't ship with the site.
    """
    folder = settings.BASE_MODELS.get(name)
    if folder is not None and not (Path(folder) / marker).is_file() and name in _bringers:
        _bringers[name](Path(folder).parent)
    if folder is None or not (Path(folder) / marker).is_file():
        raise BaseModelMissing(
            f"The base model {name!r} is not on this worker; put it where BASE_MODELS in the settings"
            f" looks for it{f': {folder}' if folder else ''}."
        )
    return Path(folder)
