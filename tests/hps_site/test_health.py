"""What machines are told of the site."""

import pytest
from django.test import Client


def test_healthz_answers_without_a_database(client: Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}


@pytest.mark.django_db
def test_readyz_when_everything_is_there(client: Client) -> None:
    response = client.get("/readyz")

    assert (response.status_code, response.json()) == (200, {"status": "ok", "database": "ok", "redis": "ok"})
