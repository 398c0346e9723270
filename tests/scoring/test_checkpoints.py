import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from scoring import checkpoints
from scoring.checkpoints import CheckpointRejected, UnableToWriteCheckpoint

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(7, dtype=torch.int32)}
MANIFEST = {"kind": "hps", "name": "made", "seed": 3}


@pytest.fixture(autouse=True)
def _one_commit(request, monkeypatch):
    """Manifests are compared whole; the checkout may move on while the tests run."""
    if "git_commit" not in request.node.name:
        monkeypatch.setattr(checkpoints, "git_commit", lambda: "0" * 40)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_write_reads_back(tmp_path):
    written = checkpoints.write(tmp_path / "one", TENSORS, MANIFEST)
    tensors, manifest = checkpoints.read(tmp_path / "one")

    assert (
        manifest
        == written
        == MANIFEST
        | {
            "format": 1,
            "libraries": checkpoints.library_versions(),
            "git_commit": checkpoints.git_commit(),
            "weights": {
                "file": "weights.safetensors",
                "sha256": checkpoints.file_sha256(tmp_path / "one" / "weights.safetensors"),
                "bytes": (tmp_path / "one" / "weights.safetensors").stat().st_size,
            },
        }
    )
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {"a.weight": [[0, 1, 2], [3, 4, 5]], "b": 7}
    assert names(tmp_path) == ["one"]
    assert names(tmp_path / "one") == ["manifest.json", "weights.safetensors"]


def test_write_gives_weights_the_rights_of_any_other_file(tmp_path):
    checkpoints.write(tmp_path / "one", TENSORS, MANIFEST)

    modes = {path.name: path.stat().st_mode for path in (tmp_path / "one").iterdir()}
    assert modes["weights.safetensors"] == modes["manifest.json"]


def test_write_gives_equal_files_for_equal_content(tmp_path):
    for name in ("one", "two"):
        checkpoints.write(tmp_path / name, TENSORS, MANIFEST)

    for file in ("manifest.json", "weights.safetensors"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_write_takes_views_of_a_larger_tensor(tmp_path):
    checkpoints.write(tmp_path / "one", {"a": TENSORS["a.weight"].T}, MANIFEST)

    assert checkpoints.read(tmp_path / "one")[0]["a"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_write_replaces_an_artefact(tmp_path):
    checkpoints.write(tmp_path / "one", TENSORS, MANIFEST)
    checkpoints.write(tmp_path / "one", {"a": torch.zeros(1)}, MANIFEST)

    assert list(checkpoints.read(tmp_path / "one")[0]) == ["a"]
    assert names(tmp_path) == ["one"]


@pytest.mark.parametrize("record", [{"metrics": float("nan")}, {"metrics": object()}, {"kind": ""}])
def test_write_that_fails_leaves_nothing_and_keeps_what_was_there(tmp_path, record):
    checkpoints.write(tmp_path / "one", TENSORS, MANIFEST)

    with pytest.raises(UnableToWriteCheckpoint):
        checkpoints.write(tmp_path / "one", {"a": torch.zeros(1)}, MANIFEST | record)

    assert list(checkpoints.read(tmp_path / "one")[0]) == list(TENSORS)
    assert names(tmp_path) == ["one"]


def test_write_killed_before_the_rename_leaves_no_artefact(tmp_path):
    script = (
        "import os, pathlib; from scoring import checkpoints\n"
        "checkpoints._take_place = lambda *paths: os._exit(9)\n"
        f"with checkpoints.whole_or_absent(pathlib.Path({str(tmp_path / 'one')!r})) as unfinished:\n"
        "    (unfinished / 'manifest.json').write_text('{}')\n"
    )

    assert subprocess.run([sys.executable, "-c", script], timeout=100, check=False).returncode == 9
    assert not (tmp_path / "one").exists()
    with pytest.raises(CheckpointRejected, match=r"manifest\.json: can't be read"):
        checkpoints.read(tmp_path / "one")


def test_write_syncs_every_file_and_folder_before_and_the_parent_after_the_rename(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(Path(f"/proc/self/fd/{descriptor}").readlink()))

    checkpoints.write(tmp_path / "one", TENSORS, MANIFEST)

    temporary = synced[0].parent.name
    assert [path.name for path in synced] == [
        "weights.safetensors",
        "manifest.json",
        temporary,
        tmp_path.name,
    ]
    assert temporary.startswith(".one.")


def test_read_rejects_changed_weights(tmp_path):
    checkpoints.write(tmp_path / "one", TENSORS, MANIFEST)
    path = tmp_path / "one" / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    with pytest.raises(CheckpointRejected, match=f"{path}: its SHA-256 is not the one in manifest.json"):
        checkpoints.read(tmp_path / "one")


def test_read_rejects_missing_weights(tmp_path):
    checkpoints.write(tmp_path / "one", TENSORS, MANIFEST)
    (tmp_path / "one" / "weights.safetensors").unlink()

    with pytest.raises(CheckpointRejected, match=r"weights\.safetensors: the file is missing"):
        checkpoints.read(tmp_path / "one")


def test_read_rejects_what_is_no_safetensors_file(tmp_path):
    checkpoints.write(tmp_path / "one", TENSORS, MANIFEST)
    (tmp_path / "one" / "weights.safetensors").write_bytes(b"nonsense")
    manifest = json.loads((tmp_path / "one" / "manifest.json").read_text())
    manifest["weights"]["sha256"] = checkpoints.file_sha256(tmp_path / "one" / "weights.safetensors")
    (tmp_path / "one" / "manifest.json").write_text(json.dumps(manifest))

    with pytest.raises(CheckpointRejected, match="not a safetensors file"):
        checkpoints.read(tmp_path / "one")


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "not JSON"), ("[]", "not a JSON object"), ('{"format": 2}', "format 2 is not known"), ("{}", "format None")],
)
def test_read_manifest_rejects(tmp_path, text, reason):
    (tmp_path / "manifest.json").write_text(text)

    with pytest.raises(CheckpointRejected, match=rf"manifest\.json: {reason}"):
        checkpoints.read_manifest(tmp_path)


@pytest.mark.parametrize("wrap", [lambda weights: weights, lambda weights: {"state_dict": weights, "epoch": 3}])
def test_convert_torch_file_takes_weights_by_name(tmp_path, wrap):
    torch.save(wrap({f"module.{name}": tensor for name, tensor in TENSORS.items()}), tmp_path / "foreign.pt")

    converted = checkpoints.convert_torch_file(tmp_path / "foreign.pt")

    assert {name: tensor.tolist() for name, tensor in converted.items()} == {
        name: tensor.tolist() for name, tensor in TENSORS.items()
    }


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def test_convert_torch_file_runs_no_code(tmp_path):
    torch.save({"state_dict": {"a": torch.zeros(1)}, "bomb": Malicious(tmp_path / "ran")}, tmp_path / "foreign.pt")

    with pytest.raises(CheckpointRejected, match=r"foreign.pt: can't be read as plain weights"):
        checkpoints.convert_torch_file(tmp_path / "foreign.pt")

    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense", pickle.dumps([1], 2), pickle.dumps({"a": 1}, 2)],
    ids=["empty", "nonsense", "list", "number"],
)
def test_convert_torch_file_rejects_what_holds_no_weights(tmp_path, content):
    (tmp_path / "foreign.pt").write_bytes(content)

    with pytest.raises(CheckpointRejected, match=r"foreign\.pt: "):
        checkpoints.convert_torch_file(tmp_path / "foreign.pt")


def test_git_commit_is_none_outside_a_checkout(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    assert checkpoints.git_commit() is None
