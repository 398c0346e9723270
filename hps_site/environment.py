"""Values from the environment, read into what the settings need; every message says how to set the variable."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from django.core.exceptions import ImproperlyConfigured

TRUE, FALSE = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}


def text(name: str, default: str = "") -> str:
    return os.environ.get(name) or default


def whole_number(name: str, default: int) -> int:
    value = text(name, str(default))
    if not value.isdigit():
        raise ImproperlyConfigured(f"{name} is {value!r}: set it to a whole number, such as {default}.")
    return int(value)


def truth(name: str) -> bool:
    value = text(name).lower()
    if value not in TRUE | FALSE:
        raise ImproperlyConfigured(f"{name} is {value!r}: set it to 1 or 0.")
    return value in TRUE


def words(name: str, default: list[str]) -> list[str]:
    """The parts of a list with commas, or the default where the variable is not set."""
    return [part.strip() for part in text(name).split(",") if part.strip()] or default


def secret_key(home: Path) -> str:
    """SECRET_KEY; without a database of one's own, a key made once and kept in the home."""
    if key := text("SECRET_KEY"):
        return key
    if text("DATABASE_URL"):
        raise ImproperlyConfigured(
            "Set SECRET_KEY, and keep it secret. "
            "This makes one: python3 -c 'import secrets; print(secrets.token_urlsafe(50))'"
        )
    path = home / "secret_key"
    if not path.exists():
        _write_once(path, secrets.token_urlsafe(50))
    return path.read_text()


def _write_once(path: Path, content: str) -> None:
    """Write a file that only its owner may read; of several processes the first one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()


def database(url: str) -> dict[str, Any]:
    """Django's settings of a database, without options, from postgresql://user:password@host:port/name?option=value."""
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"} or len(parts.path) < 2:
        raise ImproperlyConfigured("DATABASE_URL must look like postgresql://user:password@host:5432/name.")
    options = dict(parse_qsl(parts.query))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path[1:]),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", None) or parts.hostname or "",
        "PORT": str(options.pop("port", None) or parts.port or 5432),
        "OPTIONS": options,
    }


def broker_url(redis_url: str) -> str:
    """Celery's name for what Redis and Django call unix://PATH?db=N; other addresses are the same for all."""
    parts = urlsplit(redis_url)
    if parts.scheme != "unix":
        return redis_url
    database = dict(parse_qsl(parts.query)).get("db", "0")
    return f"redis+socket://{parts.path}?virtual_host={database}"


def next_redis_database(redis_url: str) -> str:
    """The address of the database after this one, so that emptying the cache never touches the queue."""
    parts = urlsplit(redis_url)
    query = dict(parse_qsl(parts.query))
    is_socket = parts.scheme == "unix"
    number = query.pop("db", None) or (not is_socket and parts.path.strip("/")) or "0"
    path = parts.path if is_socket else ""
    return f"{parts.scheme}://{parts.netloc}{path}?{urlencode({**query, 'db': int(number) + 1})}"


def origin(name: str, default: str = "") -> str:
    """Scheme and host of an address, as browsers compare them; empty where there is neither value nor default."""
    url = text(name, default)
    parts = urlsplit(url)
    if url and (parts.scheme not in {"http", "https"} or not parts.hostname):
        raise ImproperlyConfigured(f"{name} is {url!r}: set it to an address such as https://hps.example.org.")
    return f"{parts.scheme}://{parts.netloc}" if url else ""


def options_of_sessions(timeouts: Mapping[str, int]) -> str:
    """Libpq's `options`: what every session of Postgres starts with, times in milliseconds."""
    return " ".join(f"-c {name}={milliseconds}" for name, milliseconds in timeouts.items())
