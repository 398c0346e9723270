"""Root hands its servers to another account, which can pass closed folders and do nothing else."""

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from hps_site.unprivileged import Account

GREP, CAT = Path("/bin/grep"), Path("/bin/cat")


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)


@pytest.fixture
def nobody() -> Account:
    entry = pwd.getpwnam("nobody")
    return Account(entry.pw_uid, entry.pw_gid)


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A file that everyone may read, in a folder that only its owner may enter."""
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    (folder / "letter").write_text("dear all")
    (folder / "letter").chmod(0o644)
    return folder / "letter"


def test_an_ordinary_user_runs_servers_himself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert Account.for_data(tmp_path) is None


def test_for_root_nobody_runs_new_servers(tmp_path: Path, nobody: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    assert Account.for_data(tmp_path / "postgres") == nobody


@pytest.mark.root
def test_for_root_the_owner_of_the_data_runs_servers(tmp_path: Path) -> None:
    os.chown(tmp_path, 1, 2)

    assert Account.for_data(tmp_path) == Account(1, 2)


@pytest.mark.root
def test_take_changes_the_owner_of_the_folder_and_not_of_what_a_link_names(tmp_path: Path, nobody: Account) -> None:
    (tmp_path / "outside").write_text("")
    data = tmp_path / "data"
    (data / "deep").mkdir(parents=True)
    (data / "deep" / "link").symlink_to(tmp_path / "outside")

    nobody.take(data)

    owners = [
        path.lstat().st_uid for path in (data, data / "deep", data / "deep" / "link", tmp_path / "outside", tmp_path)
    ]
    assert owners == [nobody.uid, nobody.uid, nobody.uid, 0, 0]


@pytest.mark.root
def test_the_account_has_no_capability_where_it_needs_none(nobody: Account) -> None:
    command = nobody.command(
        GREP, "-E", "^(Uid|Gid|Groups|CapPrm|CapEff|CapAmb)", "/proc/self/status", reaching=[Path("/")]
    )

    assert run(command).stdout.split("\n") == [
        "\t".join(["Uid:", *[str(nobody.uid)] * 4]),
        "\t".join(["Gid:", *[str(nobody.gid)] * 4]),
        "Groups:\t ",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "",
    ]


@pytest.mark.root
def test_the_account_passes_a_closed_folder_and_its_rights_stay(nobody: Account, closed: Path) -> None:
    without = run(nobody.command(CAT, str(closed)))
    with_capability = run(nobody.command(CAT, str(closed), reaching=[closed]))

    assert (without.returncode, with_capability.stdout) == (1, "dear all")
    assert closed.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.root
def test_access_too_answers_that_a_closed_folder_can_be_passed(nobody: Account, closed: Path) -> None:
    """access(2), which Postgres asks, forgets capabilities unless told otherwise."""
    shell = Path("/bin/sh")

    assert run(nobody.command(shell, "-c", f"test -r {closed}", reaching=[closed])).returncode == 0


@pytest.mark.root
def test_the_account_cannot_write_into_what_it_may_only_pass(nobody: Account, closed: Path) -> None:
    command = nobody.command(Path("/bin/sh"), "-c", f"echo changed > {closed}", reaching=[closed])

    assert (run(command).returncode, closed.read_text()) == (2, "dear all")


@pytest.mark.root
def test_the_account_executes_a_program_that_only_root_may(nobody: Account, tmp_path: Path) -> None:
    program = tmp_path / "cat"
    program.write_bytes(CAT.read_bytes())
    program.chmod(0o700)

    assert run(nobody.command(program, "/proc/self/loginuid")).returncode == 0


@pytest.mark.root
def test_whoever_may_not_change_accounts_is_told_what_to_do(nobody: Account) -> None:
    again = nobody.command(CAT, "/proc/self/status")
    python = Path(again[0]).resolve()

    result = run(nobody.command(python, *again[1:], reaching=[Path(again[3])]))

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"root could not become user {nobody.uid} ([Errno 1] Operation not permitted): run this as an ordinary user\n"
    )
