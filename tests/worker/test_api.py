"""Runs and model versions for programs."""

from pathlib import Path
from typing import Any

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


def test_post_runs_opens_a_generation_with_its_settings(api: APIClient) -> None:
    config = {
        "generator": "sd",
        "pipeline": "stable-diffusion-v1-4",
        "scheduler": "unipc",
        "steps": 20,
        "guidance": 5.5,
        "width": 512,
        "height": 768,
        "negative_prompt": "Weird image. ",
        "adapter_scale": 0.5,
        "per_prompt": 2,
        "prompts": ["a cat", {"prompt": "a shop sign", "tags": ["text"]}],
    }

    response = api.post("/api/v1/runs", {"kind": "generation", "config": config}, format="json")

    assert (response.status_code, response.json()["config"], response.json()["preset"]) == (201, config, "")
    assert Run.objects.get().config == config


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"steps": 0}, "steps: it must be a whole number from 1 to 1,000, not 0."),
        ({"height": 500}, "height: it must be a multiple of 8, such as 496 or 504, not 500."),
        ({"tag": "text"}, "prompts: say one of three: prompts, a tag, or a campaign with tasks."),
        ({"adapter": "adapter-9"}, "adapter: there is no adapter 'adapter-9'."),
        ({"scheduler": ["ddim"]}, "scheduler: there is no ['ddim']; choose one of: ddim,"),
    ],
)
def test_post_runs_names_the_setting_of_a_generation_that_is_no_good(
    api: APIClient, changes: dict[str, Any], detail: str
) -> None:
    config = {"generator": "sd", "pipeline": "stable-diffusion-v1-4", "prompts": ["a cat"]} | changes

    response = api.post("/api/v1/runs", {"kind": "generation", "config": config}, format="json")

    assert (response.status_code, response.json()["code"], Run.objects.count()) == (400, "invalid", 0)
    assert response.json()["detail"].startswith(detail)


@pytest.mark.parametrize(
    ("kind", "config", "words"),
    [
        ("proof", {}, "version is missing."),
        ("proof", {"version": "adapter-1", "count": "many"}, "count must be a whole number, not 'many'."),
        ("study", {"slug": "a"}, "original is missing."),
        ("adapter", {"steps": 2.5}, "steps must be a whole number"),
        ("adapter", {"generator": "nobody", "labels_from": "people"}, "There is no generator 'nobody'."),
        ("labelling", {"drops_blurred": "no"}, "drops_blurred must be true or false, not 'no'."),
        ("labelling", {"steps": 5}, "No settings of a labelling: steps."),
    ],
)
@pytest.mark.django_db
def test_post_runs_names_the_setting_that_is_no_good(
    api: APIClient, kind: str, config: dict[str, Any], words: str
) -> None:
    response = api.post("/api/v1/runs", {"kind": kind, "config": config}, format="json")

    assert (response.status_code, Run.objects.count()) == (400, 0)
    assert words in response.content.decode().replace("\\'", "'")


def test_post_runs_opens_a_proof(api: APIClient) -> None:
    response = api.post("/api/v1/runs", {"kind": "proof", "config": {"version": "adapter-1"}}, format="json")

    assert response.status_code == 201
    assert (Run.objects.get().preset, Run.objects.get().config) == ("", {"version": "adapter-1"})


def test_post_runs_with_a_config_that_is_no_object_is_refused(api: APIClient) -> None:
    response = api.post("/api/v1/runs", {"kind": "adapter", "config": [1]}, format="json")

    assert (response.status_code, Run.objects.count()) == (400, 0)
    assert response.json()["detail"].startswith("config:")


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
