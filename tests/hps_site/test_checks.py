"""What `manage.py check` finds before people do."""

from pathlib import Path

import pytest
from pytest_django import Settings

from hps_site import checks


def test_folders_that_can_be_made_are_in_order(files: Path) -> None:
    assert not files.exists()
    assert checks.folders_are_writable() == []


def test_a_folder_that_takes_no_files_is_named(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MEDIA_ROOT = tmp_path / "closed" / "media"
    (tmp_path / "closed").mkdir()
    monkeypatch.setattr(checks.os, "access", lambda path, _mode: path != tmp_path / "closed")

    assert [(error.id, error.msg) for error in checks.folders_are_writable()] == [
        ("hps_site.E001", f"Files cannot be written into {tmp_path}/closed/media.")
    ]
