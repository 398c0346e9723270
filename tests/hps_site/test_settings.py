"""The settings of a real installation, read in a process of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

PRODUCTION = {
    "DATABASE_URL": "postgresql://hps_site:secret@postgres:5432/hps_site",
    "REDIS_URL": "redis://:secret@redis:6379/0",
    "SECRET_KEY": "Jq3vX0d-5tYw8mNn2bZr7LkP4sGfH1cV6uEaQ9oWiTxRyM-kD3fB7",
    "SITE_URL": "https://hps.example.org",
}


def run(home: Path, environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=kept | {"DJANGO_SETTINGS_MODULE": "hps_site.settings", "HPS_SITE_HOME": str(home)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def read(home: Path, environment: dict[str, str], *names: str) -> dict[str, Any]:
    values = f"{{name: getattr(settings, name) for name in {names}}}"
    program = f"import json; from django.conf import settings; print(json.dumps({values}, default=str))"
    result = run(home, environment, "-c", program)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_check_deploy_has_nothing_to_say_of_production(tmp_path: Path) -> None:
    result = run(tmp_path, PRODUCTION, "manage.py", "check", "--deploy", "--fail-level", "WARNING")

    assert (result.returncode, result.stdout) == (0, "System check identified no issues (2 silenced).\n"), result.stderr


def test_https_makes_cookies_and_redirects_safe(tmp_path: Path) -> None:
    assert read(
        tmp_path,
        PRODUCTION,
        *("SECURE_SSL_REDIRECT", "SECURE_HSTS_SECONDS", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE"),
        *("SECURE_PROXY_SSL_HEADER", "CSRF_TRUSTED_ORIGINS", "ALLOWED_HOSTS", "DEBUG"),
    ) == {
        "SECURE_SSL_REDIRECT": True,
        "SECURE_HSTS_SECONDS": 31_536_000,
        "SESSION_COOKIE_SECURE": True,
        "CSRF_COOKIE_SECURE": True,
        "SECURE_PROXY_SSL_HEADER": ["HTTP_X_FORWARDED_PROTO", "https"],
        "CSRF_TRUSTED_ORIGINS": ["https://hps.example.org"],
        "ALLOWED_HOSTS": ["hps.example.org", "localhost", "127.0.0.1", "[::1]"],
        "DEBUG": False,
    }


def test_http_does_not_lock_people_out(tmp_path: Path) -> None:
    names = ("SECURE_SSL_REDIRECT", "SECURE_HSTS_SECONDS", "SESSION_COOKIE_SECURE", "SECURE_PROXY_SSL_HEADER")

    assert read(tmp_path, {}, *names) == dict(zip(names, (False, 0, False, None), strict=True))


def test_without_a_database_the_sockets_are_under_the_home(tmp_path: Path) -> None:
    told = read(tmp_path, {}, "DATABASES", "REDIS_URL", "CELERY_BROKER_URL")

    assert (told["DATABASES"]["default"]["HOST"], told["REDIS_URL"], told["CELERY_BROKER_URL"]) == (
        f"{tmp_path}/run",
        f"unix://{tmp_path}/run/redis.sock?db=0",
        f"redis+socket://{tmp_path}/run/redis.sock?virtual_host=0",
    )


def test_sessions_of_postgres_give_up_waiting_for_locks(tmp_path: Path) -> None:
    environment = PRODUCTION | {"DATABASE_STATEMENT_TIMEOUT_MS": "15000"}
    (database,) = read(tmp_path, environment, "DATABASES")["DATABASES"].values()

    assert database["OPTIONS"]["options"] == (
        "-c statement_timeout=15000 -c lock_timeout=10000 -c idle_in_transaction_session_timeout=60000"
    )
    assert (database["CONN_MAX_AGE"], database["OPTIONS"]["pool"]) == (
        0,
        {"min_size": 1, "max_size": 16, "timeout": 10},
    )


def test_production_without_a_secret_key_says_how_to_make_one(tmp_path: Path) -> None:
    result = run(tmp_path, PRODUCTION | {"SECRET_KEY": ""}, "manage.py", "check")

    assert result.returncode == 1
    assert "Set SECRET_KEY" in result.stderr
    assert "secrets.token_urlsafe(50)" in result.stderr


def test_static_files_get_names_by_their_content_and_rights_for_everyone(tmp_path: Path) -> None:
    collected = tmp_path / "collected"
    environment = PRODUCTION | {"STATIC_ROOT": str(collected)}

    result = run(tmp_path, environment, "manage.py", "collectstatic", "--no-input", "--verbosity", "0")

    assert (result.returncode, result.stderr) == (0, "")
    names = json.loads((collected / "staticfiles.json").read_text())["paths"]
    assert names["css/base.css"] != "css/base.css"
    assert oct((collected / names["css/base.css"]).stat().st_mode & 0o777) == "0o644"
    assert not (collected / "rest_framework").exists()
