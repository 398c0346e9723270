"""Registering versions, putting them into use, and rolling back."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.annotations.factories import make_user
from tests.worker.test_runs import in_threads, make_run
from worker.models import ModelVersion, Promotion, Rejection
from worker.queries import rejection_of
from worker.services.versions import (
    NothingToRollBackTo,
    UnableToLoadScorer,
    UnableToReject,
    VersionRejected,
    folder_of,
    promote_version,
    register_base_models,
    register_version,
    reject_version,
    roll_back,
    scorer_for,
)


def write_artefact(folder: Path, kind: str = "hps") -> Path:
    """An artefact that verifies, without a model in it."""
    from scoring import checkpoints

    folder.mkdir(parents=True)
    weights = folder / checkpoints.WEIGHTS
    weights.write_bytes(folder.name.encode())
    manifest = {
        "kind": kind,
        "name": folder.name,
        "format": checkpoints.FORMAT,
        "is_synthetic": True,
        "weights": {"file": weights.name, "sha256": checkpoints.file_sha256(weights)},
    }
    checkpoints.write_json(folder / checkpoints.MANIFEST, manifest)
    return folder


def register(folder: Path, **fields: Any) -> ModelVersion:
    manifest = json.loads((folder / "manifest.json").read_text())
    return register_version(
        **{"family": "hps", "folder": folder, "manifest": manifest, "metrics": {}, "is_synthetic": False, **fields}
    )


@pytest.fixture
def versions(db: None, files: Path) -> list[ModelVersion]:
    return [register(write_artefact(files / "artefacts" / "hps" / name)) for name in ("one", "two", "three")]


def test_register_version_writes_a_model_card_beside_the_weights(db: None, files: Path) -> None:
    folder = write_artefact(files / "artefacts" / "hps" / "one")

    register(folder, metrics={"verdict": "Better than base CLIP."}, is_synthetic=True)

    lines = (folder / "README.md").read_text().splitlines()
    assert lines[0] == "# hps-1: one"
    assert "Better than base CLIP." in lines
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "manifest.json", "weights.safetensors"]


def test_register_version_leaves_a_base_models_folder_alone(db: None, files: Path) -> None:
    folder = write_artefact(files / "base-models" / "clip", "clip")
    (folder / "README.md").write_text("its own")

    register(folder, family="clip")

    assert (folder / "README.md").read_text() == "its own"


def in_use() -> list[str]:
    return [str(version) for version in ModelVersion.objects.current()]


def test_register_version_counts_within_the_family(db: None, files: Path) -> None:
    artefacts = files / "artefacts"

    first = register(write_artefact(artefacts / "hps" / "one"), metrics={"top_one": 0.7}, is_synthetic=True)
    second = register(write_artefact(artefacts / "hps" / "two"))
    other = register(write_artefact(artefacts / "adapter" / "one"), family="adapter")

    assert [str(version) for version in (first, second, other)] == ["hps-1", "hps-2", "adapter-1"]
    assert (first.folder, folder_of(first)) == ("hps/one", artefacts / "hps" / "one")
    assert (first.metrics, first.is_synthetic, first.is_current) == ({"top_one": 0.7}, True, False)


def test_register_version_in_ten_places_at_once_gives_ten_numbers(transactional_db: None, files: Path) -> None:
    folders = [write_artefact(files / "artefacts" / str(number)) for number in range(10)]

    registered = in_threads(10, lambda number: register(folders[number]).number)

    assert sorted(registered) == list(range(1, 11))


def test_register_version_of_the_same_run_again_is_the_same_version(db: None, files: Path) -> None:
    run, folder = make_run(), write_artefact(files / "artefacts" / "one")

    assert register(folder, run=run) == register(folder, run=run)
    assert ModelVersion.objects.count() == 1


def test_register_version_of_a_damaged_artefact_is_refused(db: None, files: Path) -> None:
    folder = write_artefact(files / "artefacts" / "one")
    (folder / "weights.safetensors").write_bytes(b"cut off")

    with pytest.raises(VersionRejected, match=r"weights.safetensors of one is not what its manifest says"):
        register(folder)


def test_register_version_without_an_artefact_is_refused(db: None, files: Path) -> None:
    with pytest.raises(VersionRejected, match="can't be read"):
        register_version(family="hps", folder=files / "nowhere", manifest={}, metrics={}, is_synthetic=False)


def test_register_base_models_twice_makes_one_version_in_use(db: None, files: Path) -> None:
    folder = write_artefact(files / "base" / "tiny-clip", kind="clip")

    first = register_base_models(folders=[folder])
    again = register_base_models(folders=[folder])

    assert first == again
    assert [(str(version), version.is_current, version.is_synthetic) for version in again] == [("clip-1", True, True)]
    assert folder_of(again[0]) == folder
    assert Promotion.objects.count() == 1


def test_register_base_models_finds_the_clip_models_of_the_settings(db: None, files: Path, settings: Any) -> None:
    settings.BASE_MODELS = {
        "tiny-clip": write_artefact(files / "tiny-clip", kind="clip"),
        "tiny-diffusion": write_artefact(files / "tiny-diffusion", kind="diffusion"),
        "missing": files / "missing",
    }

    assert [version.manifest["name"] for version in register_base_models()] == ["tiny-clip"]


def test_promote_version_puts_one_into_use_and_writes_down_who(versions: list[ModelVersion]) -> None:
    ada = make_user("ada")
    one, two, _three = versions

    promote_version(version=one)
    promoted = promote_version(version=two, by=ada, reason="better on the study")

    assert promoted.is_current
    assert in_use() == ["hps-2"]
    assert list(Promotion.objects.values_list("version", "replaced", "by", "reason")) == [
        (two.pk, one.pk, ada.pk, "better on the study"),
        (one.pk, None, None, ""),
    ]


def test_promote_version_that_is_in_use_changes_nothing(versions: list[ModelVersion]) -> None:
    promote_version(version=versions[0])
    promote_version(version=versions[0])

    assert Promotion.objects.count() == 1


def test_promote_version_in_many_places_at_once_leaves_one_in_use(transactional_db: None, files: Path) -> None:
    versions = [register(write_artefact(files / "artefacts" / str(number))) for number in range(8)]

    in_threads(8, lambda number: promote_version(version=versions[number]))

    last = Promotion.objects.latest("id")
    assert in_use() == [str(last.version)]
    assert Promotion.objects.count() == 8


@pytest.mark.parametrize("name", ["weights.safetensors", "manifest.json"])
def test_promote_version_with_a_changed_byte_is_refused_and_the_old_one_stays(
    versions: list[ModelVersion], name: str
) -> None:
    promote_version(version=versions[0])
    path = folder_of(versions[1]) / name
    path.write_bytes(path.read_bytes().replace(b"w", b"v", 1))

    with pytest.raises(VersionRejected):
        promote_version(version=versions[1])

    assert in_use() == ["hps-1"]


def test_promote_version_whose_disk_is_not_here_relies_on_its_registration(versions: list[ModelVersion]) -> None:
    ModelVersion.objects.filter(pk=versions[1].pk).update(folder="hps/on-another-machine")
    versions[1].refresh_from_db()

    assert promote_version(version=versions[1]).is_current


def test_roll_back_goes_back_one_version_with_each_call(versions: list[ModelVersion]) -> None:
    for version in versions:
        promote_version(version=version)

    assert [str(roll_back(family="hps")), str(roll_back(family="hps"))] == ["hps-2", "hps-1"]
    with pytest.raises(NothingToRollBackTo):
        roll_back(family="hps")
    assert in_use() == ["hps-1"]


def test_roll_back_after_a_new_promotion_returns_to_what_was_before_it(versions: list[ModelVersion]) -> None:
    one, two, three = versions
    promote_version(version=one)
    promote_version(version=two)
    roll_back(family="hps")
    promote_version(version=three)

    assert str(roll_back(family="hps")) == "hps-1"
    assert Promotion.objects.latest("id").reason == "rolled back"


def test_reject_version_takes_it_out_of_use_and_a_promotion_takes_the_rejection_back(
    versions: list[ModelVersion],
) -> None:
    boss = make_user("boss")
    promote_version(version=versions[0])

    rejected = reject_version(version=versions[0], reason=" blurs hands ", by=boss)

    assert (rejected.is_current, in_use()) == (False, [])
    standing = rejection_of(rejected)
    assert standing is not None
    assert (standing.reason, standing.by) == ("blurs hands", boss)

    promote_version(version=rejected)

    assert in_use() == ["hps-1"]
    assert rejection_of(rejected) is None
    assert Rejection.objects.get().taken_back_by == Promotion.objects.first()


def test_reject_version_is_done_once_and_with_a_reason(versions: list[ModelVersion]) -> None:
    with pytest.raises(UnableToReject, match="Say why hps-1 is rejected"):
        reject_version(version=versions[0], reason="  ")
    reject_version(version=versions[0], reason="blurs hands")
    with pytest.raises(UnableToReject, match="hps-1 is rejected already: blurs hands"):
        reject_version(version=versions[0], reason="once more")

    assert Rejection.objects.count() == 1


def test_roll_back_passes_over_a_rejected_version(versions: list[ModelVersion]) -> None:
    for version in versions:
        promote_version(version=version)
    reject_version(version=versions[1], reason="blurs hands")

    roll_back(family="hps")

    assert in_use() == ["hps-1"]


def test_scorer_for_an_adapter_is_refused(db: None, files: Path) -> None:
    adapter = register(write_artefact(files / "artefacts" / "one", kind="adapter"), family="adapter")

    with pytest.raises(UnableToLoadScorer, match="adapter-1 is an adapter"):
        scorer_for(adapter)
