"""Model versions: registered from an artefact, put into use, rolled back."""

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Max

from annotations.models import Generator, Snapshot
from scoring import checkpoints, model_cards, scorers
from scoring.checkpoints import CheckpointRejected
from scoring.scorers import ScorerRejected
from worker.models import ModelVersion, Promotion, Rejection, Run
from worker.queries import generator_of, previous_version, rejection_of

if TYPE_CHECKING:
    from scoring.hps import Precision, Scorer


class VersionRejected(ValueError):
    """The artefact of a version is not whole; the message says what is wrong with it."""


class NothingToRollBackTo(ValueError):
    """No other version of the family was in use before."""


class UnableToReject(ValueError):
    """A version is rejected once, and with a reason."""


class UnableToLoadScorer(ValueError):
    """The version is no scorer."""


def register_version(
    *,
    family: str,
    folder: Path,
    manifest: Mapping[str, Any],
    metrics: Mapping[str, Any],
    run: Run | None = None,
    snapshot: Snapshot | None = None,
    is_synthetic: bool,
) -> ModelVersion:
    """Give an artefact that stands on disk the next number of its family.

    Registering the artefact of the same run again gives back the version it has.

    Raises:
        VersionRejected: the folder holds no whole artefact.
    """
    sha256 = verified(folder)
    with transaction.atomic():
        _take_turns(family)
        if run is not None and (known := ModelVersion.objects.filter(run=run).first()):
            return known
        last = ModelVersion.objects.filter(family=family).aggregate(last=Max("number"))["last"] or 0
        version = ModelVersion.objects.create(
            family=family,
            number=last + 1,
            folder=_stored_path(folder),
            sha256=sha256,
            manifest=dict(manifest),
            metrics=dict(metrics),
            run=run,
            snapshot=snapshot,
            is_synthetic=is_synthetic,
        )
        write_model_card(version)
    version.refresh_from_db()
    return version


def write_model_card(version: ModelVersion) -> None:
    """Put a README.md into the folder of a version that this site made; a base model keeps what came with it."""
    folder = folder_of(version)
    if Path(version.folder).is_absolute():
        return
    snapshot = version.snapshot
    data = {} if snapshot is None else {
        "snapshot": snapshot.sha256,
        "campaign": snapshot.campaign.slug if snapshot.campaign else "all",
        "votes": snapshot.votes,
        "people": snapshot.annotators,
        "prompts": snapshot.prompts,
        "images": snapshot.images,
        "filters": json.dumps(snapshot.filters, sort_keys=True),
    }  # fmt: skip
    card = model_cards.model_card(str(version), version.manifest, metrics=version.metrics, data=data)
    unfinished = folder / f".{model_cards.FILE}"
    unfinished.write_text(card, encoding="utf-8")
    unfinished.replace(folder / model_cards.FILE)


def register_base_models(*, folders: Iterable[Path] | None = None) -> list[ModelVersion]:
    """Make the CLIP models that trainings start from known as scorers of their own, the first one in use.

    Calling it again changes nothing.

    Args:
        folders: artefacts of kind `clip`; by default those of settings.BASE_MODELS that are on this machine.

    Returns:
        Their versions, in the order given.

    Raises:
        VersionRejected: one of them is damaged.
    """
    versions = []
    for folder in folders if folders is not None else _base_clips():
        with transaction.atomic():
            _take_turns(ModelVersion.Family.CLIP)
            sha256 = verified(folder)
            version = ModelVersion.objects.filter(family=ModelVersion.Family.CLIP, sha256=sha256).first()
            if version is None:
                manifest = checkpoints.read_manifest(folder)
                version = register_version(
                    family=ModelVersion.Family.CLIP,
                    folder=folder,
                    manifest=manifest,
                    metrics=manifest.get("metrics", {}),
                    is_synthetic=bool(manifest.get("is_synthetic", False)),
                )
            if not ModelVersion.objects.current().filter(family=ModelVersion.Family.CLIP).exists():
                version = promote_version(version=version, reason="the first of its family")
        versions.append(version)
    return versions


def promote_version(
    *, version: ModelVersion, by: User | None = None, reason: str = "", generator: Generator | None = None
) -> ModelVersion:
    """Put a version into use in place of the one that is; a version in use already stays so.

    Where the artefact can be read from this machine it must be whole; a web process that doesn't share the disk of
    the workers relies on the check made when it was registered.

    Args:
        generator: as which an adapter is in use from now on.

    Raises:
        VersionRejected: the artefact was changed or cut off since it was registered.
    """
    folder = folder_of(version)
    if folder.is_dir() and verified(folder) != version.sha256:
        raise VersionRejected(f"{version}: the manifest is not the one that was registered; train it again.")
    with transaction.atomic():
        _take_turns(version.family)
        replaced = ModelVersion.objects.current().select_for_update().filter(family=version.family).first()
        if replaced is None or replaced.pk != version.pk:
            ModelVersion.objects.filter(family=version.family, is_current=True).update(is_current=False)
            ModelVersion.objects.filter(pk=version.pk).update(is_current=True)
            promotion = Promotion.objects.create(
                version=version, replaced=replaced, generator=generator, by=by, reason=reason[:300]
            )
            Rejection.objects.filter(version=version, taken_back_by=None).update(taken_back_by=promotion)
    version.refresh_from_db()
    return version


def reject_version(*, version: ModelVersion, reason: str, by: User | None = None) -> ModelVersion:
    """Decide against a version, for a reason that is kept; one in use goes out of use. A promotion takes it back.

    Raises:
        UnableToReject: there is no reason, or it is rejected already.
    """
    if not reason.strip():
        raise UnableToReject(f"Say why {version} is rejected; whoever looks at it later will want to know.")
    with transaction.atomic():
        _take_turns(version.family)
        if standing := rejection_of(version):
            raise UnableToReject(f"{version} is rejected already: {standing.reason}")
        ModelVersion.objects.filter(pk=version.pk).update(is_current=False)
        Rejection.objects.create(version=version, reason=reason.strip()[:300], by=by)
    version.refresh_from_db()
    return version


def roll_back(*, family: str, by: User | None = None) -> ModelVersion:
    """Put the version that was in use before the current one into use again; further back with each call.

    An adapter comes back as the generator that it was before.

    Raises:
        NothingToRollBackTo: there is none.
        VersionRejected: its artefact is not whole any more.
    """
    with transaction.atomic():
        _take_turns(family)
        previous = previous_version(family)
        if previous is None:
            raise NothingToRollBackTo("No other version of this family was in use before.")
        return promote_version(version=previous, by=by, reason="rolled back", generator=generator_of(previous))


def folder_of(version: ModelVersion) -> Path:
    """Where the artefact of a version stands on this machine, if it does."""
    return Path(settings.ARTEFACTS_DIR) / version.folder


def scorer_for(version: ModelVersion, precision: "Precision" = "float32") -> "Scorer":
    """The scorer of a version, loaded once per process.

    Args:
        version: of any family but adapters.
        precision: of the arithmetic of CLIP and HPS; the others have their own.

    Raises:
        UnableToLoadScorer: adapters don't score.
        CheckpointRejected: the artefact is missing or damaged.
        ScorerRejected: it is a scorer of one's own whose code is gone, or is another by now.
    """
    if version.family == ModelVersion.Family.ADAPTER:
        raise UnableToLoadScorer(f"{version} is an adapter; choose a version that scores.")
    if version.family not in ModelVersion.Family:
        return _own_scorer(version)
    return _load_scorer(folder_of(version), version.sha256, precision)


def _own_scorer(version: ModelVersion) -> "Scorer":
    own = scorers.find(version.family, settings.SCORER_MODULES)
    if own is None:
        raise ScorerRejected(f"No module of SCORER_MODULES has {version.family}, of which {version} is a version.")
    if hashlib.sha256(own.source()).hexdigest() != version.manifest["weights"]["sha256"]:
        raise ScorerRejected(
            f"The code of {version.family} is another than that of {version}; name it without a number to use it."
        )
    return own


@functools.lru_cache(maxsize=4)
def _load_scorer(folder: Path, _sha256: str, precision: "Precision") -> "Scorer":
    from scoring.hps import load_scorer  # slow import

    device = None if settings.DEVICE == "auto" else settings.DEVICE
    return load_scorer(folder, device, precision)


def verified(folder: Path) -> str:
    """SHA-256 of the manifest of an artefact whose weights are what the manifest says.

    Raises:
        VersionRejected: they are not, or the folder holds no artefact.
    """
    try:
        manifest = checkpoints.read_manifest(folder)
        weights = manifest.get("weights", {})
        file = folder / weights.get("file", checkpoints.WEIGHTS)
        if checkpoints.file_sha256(file) != weights.get("sha256"):
            raise VersionRejected(f"{file.name} of {folder.name} is not what its manifest says; train it again.")
        return checkpoints.file_sha256(folder / checkpoints.MANIFEST)
    except (CheckpointRejected, OSError) as error:
        raise VersionRejected(f"The artefact {folder.name} can't be read: {error}") from error


def _base_clips() -> list[Path]:
    folders = [Path(folder) for folder in settings.BASE_MODELS.values()]
    present = [folder for folder in folders if (folder / checkpoints.MANIFEST).is_file()]
    return [folder for folder in present if checkpoints.read_manifest(folder).get("kind") == "clip"]


def _stored_path(folder: Path) -> str:
    """Relative to the folder of artefacts where it lies in there, so that other machines find it too."""
    root = Path(settings.ARTEFACTS_DIR).resolve()
    path = folder.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _take_turns(family: str) -> None:
    """Until this transaction ends, nobody else numbers or promotes versions of this family."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"versions of {family}"])
