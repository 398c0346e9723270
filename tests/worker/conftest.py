"""Fixtures of the machine's room."""

import pytest


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Ids of the runs for which the doorbell rang; nothing reaches a broker."""
    from worker.services import runs

    ids: list[int] = []
    monkeypatch.setattr(runs, "_send", ids.append)
    return ids
