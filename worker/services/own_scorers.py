"""Scorers of one's own as versions: a family each, by its name, a new number with each change of its code."""

import hashlib
from pathlib import Path
from typing import Any

from django.conf import settings

from scoring import checkpoints, scorers
from scoring.scorers import FunctionScorer, ScorerRejected
from worker.models import ModelVersion
from worker.queries import current_version
from worker.services.versions import promote_version, register_version

SOURCE = "scorer.py"


def register_own_scorers() -> list[ModelVersion]:
    """Every scorer of SCORER_MODULES as a version, in use; calling it again changes nothing while the code is the same.

    Raises:
        ScorerRejected: a module can't be imported, or a scorer has the name of one of the site's families.
    """
    return [register_own_scorer(scorer) for _name, scorer in sorted(scorers.known(settings.SCORER_MODULES).items())]


def register_own_scorer(scorer: FunctionScorer) -> ModelVersion:
    """The version of a scorer as its code is now, put into use: what an earlier code was can't be run any more.

    The artefact holds a copy of the file in which the function stands. What that file imports is not looked at.

    Raises:
        ScorerRejected: it has the name of one of the site's families, or stands in no file.
    """
    if scorer.kind in ModelVersion.Family:
        raise ScorerRejected(f"{scorer.kind} is a family of the site; give your scorer another name.")
    source = scorer.source()
    sha256 = hashlib.sha256(source).hexdigest()
    known = ModelVersion.objects.filter(family=scorer.kind, manifest__weights__sha256=sha256).first()
    version = known or _registered(scorer, source, sha256)
    if current_version(scorer.kind) != version:
        version = promote_version(version=version, reason="its code is what runs now")
    return version


def _registered(scorer: FunctionScorer, source: bytes, sha256: str) -> ModelVersion:
    folder = Path(settings.ARTEFACTS_DIR) / "own" / scorer.kind / sha256
    manifest: dict[str, Any] = {
        **scorer.manifest,
        "format": checkpoints.FORMAT,
        "is_synthetic": False,
        "libraries": checkpoints.library_versions(),
        "git_commit": checkpoints.git_commit(),
        "weights": {"file": SOURCE, "sha256": sha256, "bytes": len(source)},
    }
    with checkpoints.whole_or_absent(folder) as unfinished:
        (unfinished / SOURCE).write_bytes(source)
        checkpoints.write_json(unfinished / checkpoints.MANIFEST, manifest)
    return register_version(family=scorer.kind, folder=folder, manifest=manifest, metrics={}, is_synthetic=False)
