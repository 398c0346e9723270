"""Runs and model versions for programs."""

from pathlib import Path

import pytest
from django.contrib.auth.models import Permission
from rest_framework.test import APIClient

from tests.annotations.factories import make_campaign, make_user
from tests.worker.test_runs import make_run, make_running
from tests.worker.test_versions import register, write_artefact
from worker.models import Run
from worker.services.versions import promote_version


@pytest.fixture
def api(db: None) -> APIClient:
    """Staff with the permissions to open and cancel."""
    ben = make_user("ben", is_staff=True)
    ben.user_permissions.set(Permission.objects.filter(codename__in=["add_run", "change_run"]))
    client = APIClient()
    client.force_authenticate(ben)
    return client


def test_post_runs_opens_a_run(api: APIClient) -> None:
    campaign = make_campaign(tasks=0)

    response = api.post("/api/v1/runs", {"kind": "classifier", "preset": "tiny", "campaign": campaign.slug})

    run = Run.objects.get()
    assert response.status_code == 201
    assert response.json() == {
        "id": str(run.public_id),
        "kind": "classifier",
        "state": "queued",
        "preset": "tiny",
        "config": {},
        "campaign": campaign.slug,
        "snapshot": None,
        "version": None,
        "requested_by": "ben",
        "attempt": 0,
        "max_attempts": 3,
        "worker": "",
        "step": 0,
        "total_steps": 0,
        "stage": "",
        "metrics": {},
        "error_code": "",
        "error_text": "",
        "cancel_requested_at": None,
        "is_synthetic": False,
        "created_at": response.json()["created_at"],
        "started_at": None,
        "finished_at": None,
    }


def test_post_runs_while_one_is_active_gives_that_one(api: APIClient) -> None:
    active = make_run()

    response = api.post("/api/v1/runs", {"kind": "classifier"})

    assert (response.status_code, response.json()["id"]) == (200, str(active.public_id))
    assert Run.objects.count() == 1


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({}, "invalid"),
        ({"kind": "dreaming"}, "invalid"),
        ({"kind": "classifier", "campaign": "nowhere"}, "invalid"),
        ({"kind": "classifier", "preset": "huge"}, "unknown_preset"),
    ],
)
def test_post_runs_with_nonsense_is_refused(api: APIClient, wish: dict[str, str], code: str) -> None:
    response = api.post("/api/v1/runs", wish)

    assert (response.status_code, response.json()["code"], Run.objects.count()) == (400, code, 0)


def test_get_runs_lists_and_filters_them(api: APIClient) -> None:
    waiting, running = make_run(), make_running(lease_seconds=30, kind="adapter")

    everything = api.get("/api/v1/runs").json()["results"]
    running_ones = api.get("/api/v1/runs", {"state": "running"}).json()["results"]

    assert [run["id"] for run in everything] == [str(running.public_id), str(waiting.public_id)]
    assert [run["id"] for run in running_ones] == [str(running.public_id)]
    assert api.get(f"/api/v1/runs/{running.public_id}").json() == running_ones[0]


def test_cancel_of_a_run_that_waits_ends_it(api: APIClient) -> None:
    run = make_run()

    first = api.post(f"/api/v1/runs/{run.public_id}/cancel")
    second = api.post(f"/api/v1/runs/{run.public_id}/cancel")

    assert (first.status_code, first.json()["state"]) == (200, "cancelled")
    assert (second.status_code, second.json()["code"]) == (409, "run_has_ended")


def test_get_model_versions_gives_manifest_and_which_is_in_use(api: APIClient, files: Path) -> None:
    one = register(write_artefact(files / "artefacts" / "one"), metrics={"verdict": "fine"})
    two = register(write_artefact(files / "artefacts" / "two"))
    promote_version(version=one)

    listed = api.get("/api/v1/model-versions").json()["results"]

    assert [(version["name"], version["is_current"]) for version in listed] == [("hps-2", False), ("hps-1", True)]
    assert (listed[0]["id"], listed[1]["metrics"]) == (str(two.public_id), {"verdict": "fine"})
    assert listed[1]["manifest"]["kind"] == "hps"


@pytest.mark.parametrize("rights", [{}, {"is_staff": True}], ids=["annotator", "staff without permissions"])
def test_api_refuses_who_may_not(db: None, rights: dict[str, bool]) -> None:
    run = make_run()
    client = APIClient()
    client.force_authenticate(make_user("cleo", **rights))

    opened = client.post("/api/v1/runs", {"kind": "adapter"}).status_code
    cancelled = client.post(f"/api/v1/runs/{run.public_id}/cancel").status_code

    assert (opened, cancelled) == (403, 403)
    assert client.get("/api/v1/runs").status_code == (200 if rights else 403)
    assert list(Run.objects.values_list("state", flat=True)) == ["queued"]


@pytest.mark.parametrize("address", ["/api/v1/runs", "/api/v1/model-versions"])
def test_api_refuses_strangers(db: None, address: str) -> None:
    assert APIClient().get(address).status_code in {401, 403}
