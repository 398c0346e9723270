"""What browser tests share."""

import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from playwright.sync_api import Browser

    from tests.e2e.windows import Opened

SECONDS_TO_SETTLE = 10.0
# What a page asked for just before it was closed may take so long to reach the database.
SECONDS_OF_QUIET = 0.3

OTHERS_AT_WORK = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
"""


@pytest.fixture(autouse=True)
def settled_database(transactional_db: None) -> Iterator[None]:
    """The tables are emptied only when the server has finished what the closed pages had asked of it."""
    yield
    deadline = time.monotonic() + SECONDS_TO_SETTLE
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < SECONDS_OF_QUIET:
        assert time.monotonic() < deadline, "a request of a closed page does not end"
        if _is_at_work():
            quiet_since = time.monotonic()
        time.sleep(0.02)


@pytest.fixture
def opened(browser: "Browser", live_server: Any) -> "Iterator[Opened]":
    """Opens an address for a user or a visitor; no page may have had an error of its own."""
    from tests.e2e.windows import Windows  # models are there only when this file has been read

    windows = Windows(browser, live_server.url, forgives=("Failed to load resource",))
    yield windows.open
    windows.close()
    assert windows.complaints == []


@pytest.fixture
def opened_by_staff(browser: "Browser", live_server: Any, boss: "User") -> "Iterator[Opened]":
    """Opens an address as a superuser; no page may have had an error, nor lacked anything it asked for."""
    from tests.e2e.windows import Windows

    windows = Windows(browser, live_server.url)
    yield partial(windows.open, user=boss)
    windows.close()
    assert windows.complaints == []


@pytest.fixture
def ada() -> "User":
    from tests.annotations.factories import make_user

    return make_user("ada")


@pytest.fixture
def boss() -> "User":
    from tests.annotations.factories import make_user

    return make_user("boss", is_staff=True, is_superuser=True)


def _is_at_work() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(OTHERS_AT_WORK)
        return bool(cursor.fetchone()[0])
