"""What machines are told of the site."""

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError
from django.test import Client
from pytest_django import Settings

from hps_site import health
from worker.models import Run


def test_healthz_answers_without_a_database(client: Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}


@pytest.mark.django_db
def test_readyz_when_everything_is_there(client: Client) -> None:
    response = client.get("/readyz")

    assert (response.status_code, response.json()) == (200, {"status": "ok", "database": "ok", "redis": "ok"})


@pytest.mark.django_db
def test_readyz_without_redis_still_takes_votes(client: Client, settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    response = client.get("/readyz")

    assert (response.status_code, response.json()) == (200, {"status": "ok", "database": "ok", "redis": "away"})


@pytest.mark.django_db
def test_readyz_while_a_migration_is_missing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health.MigrationExecutor, "migration_plan", lambda _self, _targets: ["0002_later"])

    response = client.get("/readyz")

    assert response.status_code == 503
    assert response.json()["database"] == "migrations are missing"


def test_readyz_while_the_database_is_away(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_connection: object) -> None:
        raise DatabaseError

    monkeypatch.setattr(health, "MigrationExecutor", refuse)

    response = client.get("/readyz")

    assert (response.status_code, response.json()["database"]) == (503, "away")


@pytest.mark.django_db
def test_metrics_for_staff(client: Client) -> None:
    client.force_login(User.objects.create_user("ada", is_staff=True))
    Run.objects.create(kind=Run.Kind.CLASSIFIER)

    response = client.get("/metrics")

    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert response.text.splitlines() == [
        "# HELP hps_site_votes Votes that were not undone, by outcome.",
        "# TYPE hps_site_votes gauge",
        "# HELP hps_site_slots Wanted votes, by state.",
        "# TYPE hps_site_slots gauge",
        "# HELP hps_site_images Images, by format.",
        "# TYPE hps_site_images gauge",
        "# HELP hps_site_runs Runs, by kind and state.",
        "# TYPE hps_site_runs gauge",
        'hps_site_runs{kind="classifier",state="queued"} 1',
        "# HELP hps_site_versions Model versions, by family.",
        "# TYPE hps_site_versions gauge",
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("token", "header", "status"),
    [("secret", "Bearer secret", 200), ("secret", "Bearer guess", 403), ("secret", "", 403), ("", "Bearer ", 403)],
)
def test_metrics_by_token(client: Client, settings: Settings, token: str, header: str, status: int) -> None:
    settings.METRICS_TOKEN = token

    assert client.get("/metrics", headers={"Authorization": header}).status_code == status


@pytest.mark.django_db
def test_metrics_are_not_for_annotators(client: Client) -> None:
    client.force_login(User.objects.create_user("ben"))

    assert client.get("/metrics").status_code == 403


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/api/docs/", "/api/schema/"])
def test_the_pages_of_the_api_need_nothing_from_elsewhere(client: Client, address: str) -> None:
    response = client.get(address)

    assert response.status_code == 200
    assert "https://" not in response.text or "/api/schema/" in address
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    assert "<style" not in response.text
