"""The pages of runs and model versions."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.base import ContentFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.annotations.factories import make_campaign, make_user, picture_bytes
from tests.worker.test_runs import make_run, make_running
from tests.worker.test_training import estimate
from tests.worker.test_versions import register, write_artefact
from tests.worker.worlds import make_voted_campaign
from worker.models import ModelVersion, Run, RunEvent, RunSample
from worker.services.presence import report_presence
from worker.services.versions import promote_version
from worker.snapshots import take_training_snapshot

HTMX = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture
def cleo(db: None, client: Client) -> Client:
    """Logged in, without rights."""
    client.force_login(make_user("cleo"))
    return client


@pytest.fixture
def ben(db: None) -> User:
    return make_user("ben", is_staff=True)


@pytest.fixture
def staff(ben: User, client: Client) -> Client:
    """Staff that may open, cancel and promote, and see snapshots."""
    ben.user_permissions.set(
        Permission.objects.filter(codename__in=["add_run", "change_run", "change_modelversion", "view_snapshot"])
    )
    client.force_login(ben)
    return client


@pytest.fixture
def reader(ben: User, client: Client) -> Client:
    """Staff without any permission."""
    client.force_login(ben)
    return client


@pytest.fixture
def versions(db: None, files: Path) -> list[ModelVersion]:
    return [register(write_artefact(files / "artefacts" / name)) for name in ("one", "two")]


def make_failed(**fields: Any) -> Run:
    of_a_full_disk = {"error_code": "no_space", "error_text": "The disk is full."}
    return make_run(**{"state": "failed", "finished_at": timezone.now(), **of_a_full_disk, **fields})


def test_runs_lists_the_newest_first(staff: Client) -> None:
    old = make_failed()
    new = make_run(campaign=make_campaign(tasks=0, name="Cats"), is_synthetic=True)

    page = staff.get("/runs/").content.decode()

    assert page.index(new.get_absolute_url()) < page.index(old.get_absolute_url())
    assert ("The disk is full." in page, "Cats" in page, "synthetic" in page) == (True, True, True)
    assert "No GPU worker is online" in page


def test_runs_asks_as_often_for_three_as_for_one(staff: Client, django_assert_num_queries: Any) -> None:
    staff.get("/runs/")
    for count in (1, 2):
        for _ in range(count):
            make_failed(campaign=make_campaign(tasks=0), requested_by=make_user())
        with django_assert_num_queries(8):
            staff.get("/runs/")


def test_runs_with_a_worker_online_has_no_warning(staff: Client) -> None:
    report_presence(queues=["gpu"])

    assert "No GPU worker" not in staff.get("/runs/").content.decode()


@pytest.mark.parametrize("address", ["/runs/", "/versions/", "/runs/open/", "/runs/{run}/", "/runs/{run}/cancel/"])
def test_pages_are_for_staff_alone(cleo: Client, address: str) -> None:
    run = make_run()
    address = address.format(run=run.public_id)
    ask = cleo.post if address.endswith(("open/", "cancel/")) else cleo.get

    assert ask(address).status_code == 403
    cleo.logout()
    assert ask(address).headers["Location"] == f"/accounts/login/?next={address}"
    run.refresh_from_db()
    assert run.state == "queued"


def test_open_run_opens_one_and_goes_to_its_page(staff: Client, ben: User) -> None:
    campaign = make_campaign(tasks=0)

    response = staff.post("/runs/open/", {"kind": "classifier", "preset": "tiny", "campaign": campaign.slug})

    run = Run.objects.get()
    assert (response.status_code, response.headers["Location"]) == (302, f"/runs/{run.public_id}/")
    assert (run.kind, run.preset, run.campaign, run.requested_by) == ("classifier", "tiny", campaign, ben)


@pytest.mark.parametrize(
    ("kind", "config"), [("classifier", {"weigh_by_reliability": True}), ("aesthetic", {})], ids=str
)
def test_open_run_weighs_people_in_trainings_of_the_classifier(
    staff: Client, kind: str, config: dict[str, bool]
) -> None:
    assert 'name="weigh_by_reliability"' in staff.get("/runs/").content.decode()

    staff.post("/runs/open/", {"kind": kind, "preset": "tiny", "weigh_by_reliability": "on"})

    assert Run.objects.get().config == config


def test_open_run_twice_goes_to_the_same_run(staff: Client) -> None:
    first = staff.post("/runs/open/", {"kind": "adapter"}).headers["Location"]

    second = staff.post("/runs/open/", {"kind": "adapter"}, follow=True)

    assert second.redirect_chain == [(first, 302)]
    assert "active already" in second.content.decode()
    assert Run.objects.count() == 1


@pytest.mark.parametrize(
    "wish", [{"kind": "dreaming"}, {"kind": "classifier", "preset": "huge"}, {"kind": "classifier", "campaign": "none"}]
)
def test_open_run_with_nonsense_opens_nothing(staff: Client, wish: dict[str, str]) -> None:
    response = staff.post("/runs/open/", wish, follow=True)

    assert (response.status_code, Run.objects.count()) == (200, 0)
    assert "notice--error" in response.content.decode()


@pytest.mark.parametrize("act", ["open", "cancel", "retry", "promote", "roll_back"])
def test_acts_need_their_permission(reader: Client, versions: list[ModelVersion], act: str) -> None:
    promote_version(version=versions[0])
    promote_version(version=versions[1])
    run = make_run()
    address = {
        "open": "/runs/open/",
        "cancel": f"/runs/{run.public_id}/cancel/",
        "retry": f"/runs/{run.public_id}/retry/",
        "promote": f"/versions/{versions[0].public_id}/promote/",
        "roll_back": "/versions/roll-back/hps/",
    }[act]

    assert reader.post(address, {"kind": "adapter"}).status_code == 403
    assert list(Run.objects.values_list("state", flat=True)) == ["queued"]
    assert ModelVersion.objects.current().get() == versions[1]


@pytest.mark.parametrize("act", ["/runs/open/", "/versions/roll-back/hps/"])
def test_acts_are_posts_with_a_token(staff: Client, act: str) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = staff.cookies

    assert staff.get(act).status_code == 405
    assert strict.post(act, {"kind": "classifier"}).status_code == 403


def test_run_that_is_running_asks_for_itself_every_two_seconds(staff: Client) -> None:
    run = make_running(lease_seconds=30, step=30, total_steps=120, stage="training")
    RunEvent.objects.create(run=run, attempt=1, text="18 choices <b>to</b> train on")

    page = staff.get(run.get_absolute_url()).content.decode()

    assert f'hx-get="{run.get_absolute_url()}" hx-trigger="every 2s"' in page
    assert 'value="30" max="120"' in page
    assert "18 choices &lt;b&gt;to&lt;/b&gt; train on" in page
    assert f"/runs/{run.public_id}/cancel/" in page


def test_run_fragment_is_the_live_part_alone(staff: Client) -> None:
    run = make_running(lease_seconds=30)

    response = staff.get(run.get_absolute_url(), **HTMX)

    fragment = response.content.decode().strip()
    assert fragment.startswith('<div class="stack" hx-get=')
    assert ("<html" in fragment, "HX-Refresh" in response.headers) == (False, False)


def test_run_fragment_of_a_run_that_ended_reloads_the_page_and_asks_no_more(staff: Client) -> None:
    run = make_failed()

    response = staff.get(run.get_absolute_url(), **HTMX)

    assert response.headers["HX-Refresh"] == "true"
    assert "hx-trigger" not in response.content.decode()
    assert "hx-trigger" not in staff.get(run.get_absolute_url()).content.decode()


def test_run_that_failed_says_why_and_can_be_tried_again(staff: Client) -> None:
    run = make_failed(preset="tiny")

    page = staff.get(run.get_absolute_url()).content.decode()
    response = staff.post(f"/runs/{run.public_id}/retry/")

    again = Run.objects.latest("id")
    assert "The disk is full." in page
    assert (again.state, again.preset, response.headers["Location"]) == ("queued", "tiny", again.get_absolute_url())


@pytest.mark.parametrize(
    ("language", "shown"),
    [("en", "26 Nov 2026, 14:05"), ("fr", "26/11/2026 14:05"), ("hi", "26 नव 2026, 14:05")],
)
def test_run_writes_times_as_the_language_does_and_never_as_americans(staff: Client, language: str, shown: str) -> None:
    run = make_failed()
    Run.objects.update(created_at=datetime(2026, 11, 26, 14, 5, tzinfo=UTC))

    page = staff.get(run.get_absolute_url(), HTTP_ACCEPT_LANGUAGE=language).content.decode()

    assert f">{shown}</time>" in page


AGAIN, WITHOUT, MENDED = "Try again", "Import without the bad rows", "Upload a mended file"


@pytest.mark.parametrize(
    ("source", "error_code", "offers"),
    [
        ("upload", "bad_rows", [WITHOUT, MENDED]),
        ("upload", "unable_to_import", [MENDED]),
        ("upload", "upload_incomplete", [MENDED]),
        ("upload", "no_space", [AGAIN]),
        ("upload", "worker_lost", [AGAIN]),
        ("bucket", "bad_rows", [AGAIN, WITHOUT]),
        ("library", "unable_to_deal", [AGAIN]),
    ],
)
def test_import_that_failed_offers_what_may_help_on_both_its_pages(
    staff: Client, ben: User, source: str, error_code: str, offers: list[str]
) -> None:
    ben.user_permissions.add(Permission.objects.get(codename="change_campaign"))
    campaign = make_campaign(tasks=0)
    run = make_failed(kind=Run.Kind.IMPORT, campaign=campaign, config={"source": source}, error_code=error_code)

    pages = [run.get_absolute_url(), reverse("dashboard:campaign-page", args=[campaign.slug])]
    shown = [staff.get(page).content.decode() for page in pages]

    assert [[words for words in (AGAIN, WITHOUT, MENDED) if f">{words}<" in page] for page in shown] == [offers] * 2


def test_import_without_the_bad_rows_is_one_press(staff: Client) -> None:
    campaign = make_campaign(tasks=0)
    config = {"source": "upload", "upload": "x"}
    run = make_failed(kind=Run.Kind.IMPORT, campaign=campaign, config=config, error_code="bad_rows")

    response = staff.post(f"/runs/{run.public_id}/retry/", {"without": "bad_rows"})

    again = Run.objects.latest("id")
    assert (again.config, again.campaign) == ({**config, "skips_bad": True}, campaign)
    assert response.headers["Location"] == again.get_absolute_url()


def test_run_that_succeeded_shows_its_figures_and_version(staff: Client, files: Path) -> None:
    metrics = {"top_one": estimate(0.725, 0.7, 0.75), "chance": estimate(0.5), "verdict": "Better than base CLIP."}
    run = make_run(state="succeeded", metrics=metrics, finished_at=timezone.now())
    version = register(write_artefact(files / "artefacts" / "one"), run=run)

    page = staff.get(run.get_absolute_url()).content.decode()

    assert ("72.5 %" in page, "70.0 % to 75.0 %" in page, "Better than base CLIP." in page) == (True, True, True)
    assert version.get_absolute_url() in page


def test_run_folds_long_settings(staff: Client) -> None:
    prompts = [f"a fox, number {number}" for number in range(100)]
    run = make_run(config={"prompts": prompts, "per_prompt": 1})

    page = staff.get(run.get_absolute_url()).content.decode()

    assert page.count('<details class="long-value">') == 1
    assert "<code>per_prompt</code> 1" in page


def make_samples(run: Run, steps: Sequence[int] = (0, 175), prompts: Sequence[str] = ("a <fox>", "an owl")) -> None:
    for step in steps:
        for place, prompt in enumerate(prompts):
            sample = RunSample(run=run, step=step, place=place, prompt=prompt)
            sample.file.save("", ContentFile(picture_bytes(size=(16, 16))))


def test_run_shows_samples_side_by_side_a_row_for_each_prompt(staff: Client, files: Path) -> None:
    run = make_running(lease_seconds=30)
    make_samples(run)

    page = " ".join(staff.get(run.get_absolute_url(), **HTMX).content.decode().split())

    assert '<th scope="col">base model</th> <th scope="col">step 175</th>' in page.replace("</th><th", "</th> <th")
    assert 'id="samples-4" hx-preserve="true"' in page
    assert [part.split('"')[0] for part in page.split('<img src="')[1:]] == [
        f"/runs/{run.public_id}/samples/{step}/{place}/" for place in (0, 1) for step in (0, 175)
    ]
    assert "a &lt;fox&gt;" in page


def test_run_without_samples_shows_none(staff: Client) -> None:
    assert 'id="samples' not in staff.get(make_run().get_absolute_url()).content.decode()


def test_run_asks_as_often_for_many_samples_as_for_few(
    staff: Client, files: Path, django_assert_num_queries: Any
) -> None:
    few, many = make_failed(), make_failed()
    make_samples(few, steps=(0,))
    make_samples(many, steps=range(5))
    staff.get(few.get_absolute_url())

    for run in (few, many):
        with django_assert_num_queries(10):
            staff.get(run.get_absolute_url())


def test_sample_gives_the_picture_to_staff_alone(staff: Client, files: Path) -> None:
    run = make_run()
    make_samples(run)
    sample = run.samples.get(step=175, place=1)

    response = staff.get(sample.get_absolute_url())

    assert (response.status_code, response["Content-Type"]) == (200, "image/png")
    assert b"".join(response.streaming_content) == (files / "media" / sample.file.name).read_bytes()
    assert response["Cache-Control"] == "private, max-age=31536000, immutable"
    staff.force_login(make_user("cleo"))
    assert staff.get(sample.get_absolute_url()).status_code == 403
    staff.logout()
    assert staff.get(sample.get_absolute_url()).status_code == 302


def test_sample_behind_nginx_is_handed_out_by_it(staff: Client, files: Path, settings: Any) -> None:
    run = make_run()
    make_samples(run)
    settings.MEDIA_ACCEL_PREFIX = "/protected-media/"

    response = staff.get(f"/runs/{run.public_id}/samples/0/1/")

    assert response["X-Accel-Redirect"] == f"/protected-media/samples/{run.public_id}/000000-01.png"


def test_sample_that_is_not_there_is_not_found(staff: Client, files: Path) -> None:
    run = make_run()
    make_samples(run)
    run.samples.get(step=0, place=0).file.delete(save=False)

    assert staff.get(f"/runs/{run.public_id}/samples/0/0/").status_code == 404
    assert staff.get(f"/runs/{run.public_id}/samples/5/0/").status_code == 404


def test_run_that_waits_for_a_broker_says_so(staff: Client) -> None:
    run = make_run()

    assert "No message has reached the broker yet" in staff.get(run.get_absolute_url()).content.decode()


def test_cancel_run_ends_one_that_waits(staff: Client) -> None:
    run = make_run()

    response = staff.post(f"/runs/{run.public_id}/cancel/", follow=True)

    run.refresh_from_db()
    assert (run.state, "Run cancelled." in response.content.decode()) == ("cancelled", True)


def test_cancel_run_that_has_ended_says_so(staff: Client) -> None:
    response = staff.post(f"/runs/{make_failed().public_id}/cancel/", follow=True)

    assert "This run has ended already" in response.content.decode()


def test_snapshot_file_gives_the_choices_a_run_saw(staff: Client) -> None:
    snapshot = take_training_snapshot(campaign=make_voted_campaign())
    run = make_run(snapshot=snapshot)

    response = staff.get(f"/runs/{run.public_id}/snapshot/")

    assert b"".join(response.streaming_content) == Path(snapshot.file.path).read_bytes()
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert staff.get(f"/runs/{make_failed().public_id}/snapshot/").status_code == 404


def test_versions_shows_which_is_in_use_and_promotes_and_rolls_back(
    staff: Client, versions: list[ModelVersion]
) -> None:
    one, two = versions
    staff.post(f"/versions/{one.public_id}/promote/")
    staff.post(f"/versions/{two.public_id}/promote/", {"reason": "better"})

    page = staff.get("/versions/").content.decode()
    assert ("Roll back to hps-1" in page, "Put hps-1 into use" in page, "Put hps-2 into use" in page) == (
        True,
        True,
        False,
    )

    response = staff.post("/versions/roll-back/hps/", follow=True)
    assert "hps-1 is in use again." in response.content.decode()
    assert ModelVersion.objects.current().get() == one


def test_roll_back_with_nothing_before_says_so(staff: Client, versions: list[ModelVersion]) -> None:
    response = staff.post("/versions/roll-back/hps/", follow=True)

    assert "No other version of this family was in use before." in response.content.decode()
    assert staff.post("/versions/roll-back/nonsense/").status_code == 404


def test_promote_version_that_is_damaged_says_so(staff: Client, versions: list[ModelVersion], files: Path) -> None:
    (files / "artefacts" / "two" / "weights.safetensors").write_bytes(b"")

    response = staff.post(f"/versions/{versions[1].public_id}/promote/", follow=True)

    assert "is not what its manifest says" in response.content.decode()
    assert not ModelVersion.objects.current().exists()


def test_version_shows_manifest_figures_and_when_it_was_in_use(staff: Client, versions: list[ModelVersion]) -> None:
    promote_version(version=versions[0])
    promote_version(version=versions[1], reason="a <script> of reasons")

    page = staff.get(f"/versions/{versions[1].public_id}/").content.decode()

    assert ("in place of hps-1" in page, "&lt;script&gt; of reasons" in page) == (True, True)
    assert "&quot;kind&quot;: &quot;hps&quot;" in page


def test_pages_have_no_inline_style_or_script(staff: Client, versions: list[ModelVersion]) -> None:
    run = make_running(lease_seconds=30)
    RunEvent.objects.create(run=run, attempt=1, step=3, metrics={"loss": 0.5})

    for address in ("/runs/", run.get_absolute_url(), "/versions/", versions[0].get_absolute_url()):
        page = staff.get(address).content.decode()
        assert ("style=" in page, "onclick" in page, "<script>" in page) == (False, False, False)
