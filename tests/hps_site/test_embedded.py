"""The servers that come with the Python environment: shared, stopped by the last, and whole after a kill."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from hps_site import embedded, servers
from hps_site.unprivileged import Account
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

PROGRAM = """
import sys
from pathlib import Path
from hps_site import embedded
use = embedded.start(Path(sys.argv[1]))
print("started", flush=True)
sys.stdin.read()
embedded.stop_if_last(use)
"""


@pytest.fixture(autouse=True)
def _environment_without_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(scope="module")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a database that was made and is stopped; pytest closes the folders above it to everyone else."""
    home = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as monkeypatch:
        for variable in ("DATABASE_URL", "REDIS_URL"):
            monkeypatch.delenv(variable, raising=False)
        use = embedded.start(home)
        assert use is not None
        embedded.stop_if_last(use)
    return home


@pytest.fixture
def home(made_home: Path) -> Iterator[Path]:
    yield made_home
    servers.Redis(made_home).stop()
    servers.Postgres(made_home).stop()


def start(home: Path) -> embedded.Use:
    use = embedded.start(home)
    assert use is not None
    return use


def postgres_pid(home: Path) -> int:
    return int((home / "postgres" / "postmaster.pid").read_text().split()[0])


def answers(home: Path) -> tuple[bool, bool]:
    """Whether Postgres and Redis answer on the sockets of a home."""
    try:
        psycopg.connect(host=str(home / "run"), user="hps_site", dbname="hps_site").close()
        has_postgres = True
    except psycopg.OperationalError:
        has_postgres = False
    try:
        with redis.Redis.from_url(embedded.redis_url(home), retry=None) as client:
            has_redis = client.ping()
    except redis.ConnectionError:
        has_redis = False
    return has_postgres, has_redis


def test_start_gives_a_safe_postgres_that_sorts_alike_everywhere(home: Path) -> None:
    use = start(home)

    with psycopg.connect(host=str(home / "run"), user="hps_site", dbname="hps_site") as connection:
        row = connection.execute(
            "SELECT current_setting('fsync'), current_setting('listen_addresses'), current_setting('server_encoding'),"
            " datlocale, datlocprovider FROM pg_database WHERE datname = current_database()"
        ).fetchone()
    embedded.stop_if_last(use)

    assert row == ("on", "", "UTF8", "C.UTF-8", "b")


def test_start_gives_a_redis_that_keeps_what_it_is_told(home: Path) -> None:
    use = start(home)

    with redis.Redis.from_url(embedded.redis_url(home)) as client:
        names = ["port", "appendonly", "appendfsync", "maxmemory-policy"]
        told = {name: client.config_get(name)[name] for name in names}
    embedded.stop_if_last(use)

    assert told == {"port": "0", "appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}


def test_start_says_that_the_redis_is_for_trials(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    embedded.stop_if_last(start(home))

    assert (
        capfd.readouterr().err == "The embedded Redis is an old version, on a Unix socket: for demo and tests only.\n"
    )


def test_start_again_finds_the_servers_running(home: Path) -> None:
    first = start(home)
    pid = postgres_pid(home)
    second = start(home)

    assert postgres_pid(home) == pid
    embedded.stop_if_last(first)
    assert answers(home) == (True, True)
    embedded.stop_if_last(second)
    assert answers(home) == (False, False)


def test_processes_share_the_servers_and_the_last_one_stops_them(home: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(home)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    assert [process.stdout and process.stdout.readline() for process in processes] == ["started\n"] * 3
    seen = []
    for process in processes:
        seen.append(answers(home))
        process.communicate("")
    seen.append(answers(home))

    assert seen == [(True, True), (True, True), (True, True), (False, False)]


def test_a_fork_does_not_stop_what_its_parent_uses(home: Path) -> None:
    use = start(home)

    embedded.stop_if_last(embedded.Use(use.home, use.lock, pid=use.pid + 1))

    assert answers(home) == (True, True)
    embedded.stop_if_last(use)


def test_start_after_a_kill(home: Path) -> None:
    use = start(home)
    with psycopg.connect(host=str(home / "run"), user="hps_site", dbname="hps_site") as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS number")
    os.kill(postgres_pid(home), signal.SIGKILL)
    os.kill(int((home / "run" / "redis.pid").read_text()), signal.SIGKILL)
    os.close(use.lock)

    use = start(home)

    with psycopg.connect(host=str(home / "run"), user="hps_site", dbname="hps_site") as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (1,)
        connection.execute("DROP TABLE kept")
    assert answers(home) == (True, True)
    embedded.stop_if_last(use)


def test_start_when_the_number_of_the_dead_server_is_another_programs(home: Path) -> None:
    sleep = Path(shutil.which("sleep") or "")
    account = Account.for_data(home / "postgres")
    other = subprocess.Popen(account.command(sleep, "60") if account else [str(sleep), "60"])
    use = start(home)
    pid_file = home / "postgres" / "postmaster.pid"
    os.kill(postgres_pid(home), signal.SIGKILL)
    _wait_until(lambda: answers(home) == (False, True))
    for path in (pid_file, home / "run" / ".s.PGSQL.5432.lock"):
        path.write_text(re.sub(r"\A\d+", str(other.pid), path.read_text()))

    again = start(home)

    assert answers(home) == (True, True)
    other.kill()
    other.wait()
    embedded.stop_if_last(use)
    embedded.stop_if_last(again)


def test_start_when_the_socket_was_deleted(home: Path) -> None:
    use = start(home)
    (home / "run" / ".s.PGSQL.5432").unlink()

    again = start(home)

    assert answers(home) == (True, True)
    embedded.stop_if_last(use)
    embedded.stop_if_last(again)


def test_an_unfinished_database_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "postgres.new").mkdir()
    (tmp_path / "postgres.new" / "PG_VERSION").write_text("18")

    use = start(tmp_path)

    assert answers(tmp_path) == (True, True)
    embedded.stop_if_last(use)
    assert not (tmp_path / "postgres.new").exists()


def test_a_command_that_is_killed_politely_stops_its_servers(home: Path) -> None:
    # While Django still loads, Python may answer the signal with an error of its own.
    note = home.parent / "is-at-work"
    work = f"import pathlib, signal; pathlib.Path({str(note)!r}).touch(); signal.pause()"
    command = [sys.executable, "manage.py", "shell", "--verbosity", "0", "--command", work]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"HPS_SITE_HOME": str(home)})
    _wait_until(note.exists)
    assert answers(home) == (True, True)

    process.terminate()

    assert process.wait(60) == 128 + signal.SIGTERM
    assert answers(home) == (False, False)


def test_services_leaves_servers_named_by_the_environment_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://db.example/hps")
    monkeypatch.setenv("REDIS_URL", "redis://redis.example")
    monkeypatch.setenv("HPS_SITE_HOME", str(tmp_path / "home"))

    with embedded.services():
        assert not (tmp_path / "home").exists()


def test_start_refuses_a_home_whose_sockets_have_too_long_a_path(tmp_path: Path) -> None:
    with pytest.raises(embedded.EmbeddedServicesFailed, match=r"at most 107 bytes and .* has \d+: set HPS_SITE_HOME"):
        embedded.start(tmp_path / ("long" * 30))


def test_start_in_somebody_elses_folder_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path, *, home: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(embedded, "make_private", refuse)

    with pytest.raises(embedded.EmbeddedServicesFailed, match="run belongs to someone else: set HPS_SITE_HOME"):
        embedded.start(tmp_path)


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
