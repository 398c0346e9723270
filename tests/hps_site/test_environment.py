"""Values of the environment, and what is said of the wrong ones."""

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from hps_site import environment


@pytest.mark.parametrize(
    ("redis_url", "broker", "cache"),
    [
        (
            "unix:///var/lib/site/run/redis.sock?db=0",
            "redis+socket:///var/lib/site/run/redis.sock?virtual_host=0",
            "unix:///var/lib/site/run/redis.sock?db=1",
        ),
        ("redis://:secret@redis:6379/2", "redis://:secret@redis:6379/2", "redis://:secret@redis:6379?db=3"),
        ("rediss://redis:6379", "rediss://redis:6379", "rediss://redis:6379?db=1"),
    ],
)
def test_the_cache_is_the_database_after_the_queue(redis_url: str, broker: str, cache: str) -> None:
    assert (environment.broker_url(redis_url), environment.next_redis_database(redis_url)) == (broker, cache)


def test_database_with_host_and_password() -> None:
    assert environment.database("postgresql://ada:p%40ss@db.example:5433/hps?sslmode=require") == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "hps",
        "USER": "ada",
        "PASSWORD": "p@ss",
        "HOST": "db.example",
        "PORT": "5433",
        "OPTIONS": {"sslmode": "require"},
    }


def test_database_on_a_socket() -> None:
    assert environment.database("postgres://ada@/hps?host=/var/lib/my%20site/run") == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "hps",
        "USER": "ada",
        "PASSWORD": "",
        "HOST": "/var/lib/my site/run",
        "PORT": "5432",
        "OPTIONS": {},
    }


@pytest.mark.parametrize("url", ["mysql://ada@db/hps", "postgresql://ada@db", "hps"])
def test_database_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL must look like postgresql://"):
        environment.database(url)


def test_secret_key_is_required_beside_a_database_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SECRET_KEY")
    monkeypatch.setenv("DATABASE_URL", "postgresql://db/hps")

    with pytest.raises(ImproperlyConfigured, match=r"Set SECRET_KEY.*python3 -c"):
        environment.secret_key(tmp_path)


def test_secret_key_is_made_once_and_kept_for_its_owner_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SECRET_KEY")
    monkeypatch.delenv("DATABASE_URL", raising=False)

    first, second = environment.secret_key(tmp_path / "home"), environment.secret_key(tmp_path / "home")

    assert first == second
    assert len(first) >= 50
    assert [(path.name, oct(path.stat().st_mode & 0o777)) for path in (tmp_path / "home").iterdir()] == [
        ("secret_key", "0o600")
    ]


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("True", True), ("off", False), ("", False)])
def test_truth(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
    monkeypatch.setenv("DEBUG", value)

    assert environment.truth("DEBUG") is expected


def test_truth_refuses_what_it_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEBUG", "maybe")

    with pytest.raises(ImproperlyConfigured, match="DEBUG is 'maybe': set it to 1 or 0"):
        environment.truth("DEBUG")


def test_whole_number_refuses_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_POOL_SIZE", "many")

    with pytest.raises(ImproperlyConfigured, match="DATABASE_POOL_SIZE is 'many'"):
        environment.whole_number("DATABASE_POOL_SIZE", 16)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("https://hps.example.org/start", "https://hps.example.org"), ("", "http://127.0.0.1:8000")],
)
def test_origin(monkeypatch: pytest.MonkeyPatch, value: str, expected: str) -> None:
    monkeypatch.setenv("SITE_URL", value)

    assert environment.origin("SITE_URL", "http://127.0.0.1:8000") == expected


def test_origin_refuses_a_bare_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE_URL", "hps.example.org")

    with pytest.raises(ImproperlyConfigured, match=r"SITE_URL is 'hps\.example\.org'"):
        environment.origin("SITE_URL")
