"""The admin of the worker room."""

from pathlib import Path

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import Client

from tests.annotations.factories import make_user
from tests.worker.test_runs import make_run
from tests.worker.test_versions import register, write_artefact
from tests.worker.worlds import make_voted_campaign
from worker.models import ModelVersion, Run, RunEvent
from worker.services.versions import promote_version
from worker.snapshots import take_training_snapshot


@pytest.fixture
def boss(db: None, client: Client) -> Client:
    client.force_login(make_user("boss", is_staff=True, is_superuser=True))
    return client


def test_every_record_of_the_room_is_registered() -> None:
    assert {
        model for model in apps.get_app_config("worker").get_models() if not admin.site.is_registered(model)
    } == set()


@pytest.mark.parametrize("model", ["run", "modelversion", "runevent", "promotion", "imagescore", "study", "runsample"])
def test_lists_open_and_nothing_can_be_added(boss: Client, model: str) -> None:
    assert boss.get(f"/admin/worker/{model}/").status_code == 200
    assert boss.get(f"/admin/worker/{model}/add/").status_code == 403


@pytest.mark.parametrize("model", ["run", "modelversion"])
def test_lists_have_the_buttons_that_open_runs(boss: Client, model: str) -> None:
    page = boss.get(f"/admin/worker/{model}/").content.decode()

    assert ("Retrain classifier" in page, "Train adapter" in page, 'action="/runs/open/"' in page) == (True, True, True)
    assert "csrfmiddlewaretoken" in page


def test_lists_have_no_buttons_for_who_may_not_open_runs(db: None, client: Client) -> None:
    ben = make_user("ben", is_staff=True)
    ben.user_permissions.set(Permission.objects.filter(codename="view_run"))
    client.force_login(ben)

    assert "Retrain classifier" not in client.get("/admin/worker/run/").content.decode()


def test_a_run_shows_its_log_and_cannot_be_changed(boss: Client) -> None:
    run = make_run()
    RunEvent.objects.create(run=run, attempt=1, text="18 choices to train on")

    page = boss.get(f"/admin/worker/run/{run.pk}/change/").content.decode()
    answer = boss.post(f"/admin/worker/run/{run.pk}/change/", {"state": "succeeded"})

    assert "18 choices to train on" in page
    assert answer.status_code == 403
    assert boss.post(f"/admin/worker/run/{run.pk}/delete/", {"post": "yes"}).status_code == 403
    assert Run.objects.get().state == "queued"


def test_a_snapshot_opens(boss: Client) -> None:
    snapshot = take_training_snapshot(campaign=make_voted_campaign())

    assert snapshot.sha256 in boss.get(f"/admin/annotations/snapshot/{snapshot.pk}/change/").content.decode()


def test_a_version_is_put_into_use_and_rolled_back_by_its_buttons(boss: Client, files: Path) -> None:
    one, two = (register(write_artefact(files / "artefacts" / name)) for name in ("one", "two"))
    promote_version(version=one)

    promoted = boss.post(f"/admin/worker/modelversion/{two.pk}/promote/", follow=True).content.decode()
    assert ("In use now: hps-2." in promoted, "Roll back to the version before" in promoted) == (True, True)

    boss.post(f"/admin/worker/modelversion/{two.pk}/roll-back/")
    assert ModelVersion.objects.current().get() == one


def test_a_version_is_not_put_into_use_by_following_a_link_or_without_permission(
    boss: Client, files: Path, client: Client
) -> None:
    version = register(write_artefact(files / "artefacts" / "one"))
    boss.get(f"/admin/worker/modelversion/{version.pk}/promote/")
    assert not ModelVersion.objects.current().exists()

    client.force_login(make_user("ben", is_staff=True))
    client.post(f"/admin/worker/modelversion/{version.pk}/promote/")
    assert not ModelVersion.objects.current().exists()


def test_a_version_that_is_damaged_is_not_put_into_use(boss: Client, files: Path) -> None:
    version = register(write_artefact(files / "artefacts" / "one"))
    (files / "artefacts" / "one" / "weights.safetensors").write_bytes(b"")

    page = boss.post(f"/admin/worker/modelversion/{version.pk}/promote/", follow=True).content.decode()

    assert "is not what its manifest says" in page
    assert boss.post("/admin/worker/modelversion/999999/promote/").status_code == 404
