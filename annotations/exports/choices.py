"""Gives a campaign's votes out in the forms that others read: from a snapshot, as a stream, whole or not at all."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from annotations.exports.dpo import export_dpo
from annotations.exports.hpd import export_hpd
from annotations.exports.hpd2 import export_hpd2
from annotations.exports.huggingface import export_datasets
from annotations.exports.pickapic import export_pickapic
from annotations.exports.stream import Exported, Progress, Votes
from annotations.exports.table import export_csv, export_parquet
from annotations.models import Campaign, Snapshot
from annotations.services.snapshots import SnapshotDamaged, take_snapshot

FORMS: dict[str, Callable[[Votes, Path], Exported]] = {
    "csv": export_csv,
    "datasets": export_datasets,
    "dpo": export_dpo,
    "hpd": export_hpd,
    "hpd2": export_hpd2,
    "parquet": export_parquet,
    "pickapic": export_pickapic,
}


class UnableToExport(Exception):
    """Nothing was written; the message says why and what to do."""


def export_choices(*, campaign: Campaign, form: str, out: Path, progress: Progress) -> Exported:
    """Freezes the campaign's counted votes and writes them to a new file or folder.

    Args:
        campaign: whose votes.
        form: one of FORMS.
        out: a path that is not there yet.
        progress: told how many votes are done, and how many there are.

    Raises:
        UnableToExport: the path is taken or cannot be written, or an image file is missing.
    """
    check_path(out)
    return export_snapshot(snapshot=take_snapshot(campaign=campaign), form=form, out=out, progress=progress)


def export_snapshot(*, snapshot: Snapshot, form: str, out: Path, progress: Progress) -> Exported:
    """Writes the votes of a snapshot, such as one that a model was trained on; see export_choices."""
    check_path(out)
    try:
        with whole_or_absent(out) as unfinished:
            return FORMS[form](Votes(snapshot, progress), unfinished)
    except SnapshotDamaged as error:
        raise UnableToExport(str(error)) from error
    except OSError as error:
        raise UnableToExport(f"{error.filename or out} cannot be written or read: {error.strerror}.") from error


def check_path(out: Path) -> None:
    if out.exists() or out.is_symlink():
        raise UnableToExport(f"{out} is there already; name another path.")
    if not out.resolve().parent.is_dir():
        raise UnableToExport(f"{out.parent} is no folder; make it first.")


@contextmanager
def whole_or_absent(out: Path) -> Iterator[Path]:
    """A path beside the wanted one; what stands there in the end is renamed, or removed if something failed."""
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.resolve().parent))
    try:
        yield folder / out.name
        (folder / out.name).rename(out)
    finally:
        shutil.rmtree(folder)
