"""Postgres and Redis from the Python environment, for everyone who has not set DATABASE_URL and REDIS_URL.

The servers speak on Unix sockets under HPS_SITE_HOME only. All processes that use one home share one pair:
each holds a shared lock while it runs, and whoever can take the lock alone when it ends stops the servers.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from hps_site.servers import DATABASE, ROLE, EmbeddedServicesFailed, Postgres, Redis, make_private

SOCKET_PATH_LIMIT = 107  # bytes in sockaddr_un.sun_path, less the final zero


def default_home() -> Path:
    """The folder of everything that this installation keeps: HPS_SITE_HOME, or `var` beside manage.py."""
    return Path(os.environ.get("HPS_SITE_HOME") or Path(__file__).resolve().parent.parent / "var").absolute()


def database_url(home: Path) -> str:
    return f"postgresql://{ROLE}@:5432/{DATABASE}?host={quote(str(Postgres(home).run))}"


def redis_url(home: Path) -> str:
    return f"unix://{quote(str(Redis(home).socket))}?db=0"


@contextlib.contextmanager
def services() -> Iterator[None]:
    """While the block runs, so does whatever of Postgres and Redis the environment does not name."""
    use = start(default_home())
    try:
        yield
    finally:
        if use is not None:
            stop_if_last(use)


@dataclass(frozen=True)
class Use:
    """One process's use of the servers of a home."""

    home: Path
    lock: int
    pid: int


def start(home: Path) -> Use | None:
    """Start what is needed and does not run yet; None when the environment names servers for everything."""
    wanted = [server for server in (Postgres, Redis) if not os.environ.get(server.variable)]
    if not wanted:
        return None
    _check_socket_path(Postgres(home).run / ".s.PGSQL.5432.lock")
    try:
        home.mkdir(parents=True, exist_ok=True)
        make_private(home / "run", home=home)
        with _exclusive(home / "run" / "start.lock"):
            # This waits while the last of the others is stopping the servers.
            use = Use(home, _locked(home / "run" / "in-use.lock", fcntl.LOCK_SH), os.getpid())
            _start_all([server(home) for server in wanted], use)
    except PermissionError as error:
        raise EmbeddedServicesFailed(
            f"{error.filename} belongs to someone else: set HPS_SITE_HOME to a folder of your own."
        ) from error
    return use


def _start_all(servers: list[Postgres | Redis], use: Use) -> None:
    try:
        for server in servers:
            server.start()
    except BaseException:
        stop_if_last(use)
        raise


def stop_if_last(use: Use) -> None:
    """Give the servers up; the last process to do so stops them."""
    if use.pid != os.getpid():  # a fork has its parent's lock, which is not the fork's to give up
        return
    try:
        fcntl.flock(use.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        Redis(use.home).stop()
        Postgres(use.home).stop()
    except BlockingIOError:  # others still use them
        pass
    finally:
        os.close(use.lock)


def server_pids(home: Path) -> tuple[int, ...]:
    """Process numbers of the servers of a home that run, for those who measure them."""
    files = [Postgres(home).data / "postmaster.pid", Redis(home).pid_file]
    return tuple(int(file.read_text().split("\n", 1)[0]) for file in files if file.exists())


def _check_socket_path(path: Path) -> None:
    length = len(os.fsencode(path))
    if length > SOCKET_PATH_LIMIT:
        raise EmbeddedServicesFailed(
            f"The path of a socket has at most {SOCKET_PATH_LIMIT} bytes and {path} has {length}: "
            "set HPS_SITE_HOME to a folder with a shorter path."
        )


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    descriptor = _locked(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def _locked(path: Path, kind: int) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, kind)
    return descriptor
