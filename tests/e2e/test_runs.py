"""The pages of runs and models in a real browser: live, readable by everyone, on a phone too."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from tests.annotations.factories import make_user
from tests.worker.test_runs import make_run, make_running
from tests.worker.test_training import estimate
from tests.worker.test_versions import register, write_artefact
from worker.models import Run, RunEvent
from worker.services.versions import promote_version

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]

DESKTOP, PHONE = (1280, 800), (390, 844)

Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, live_server: Any) -> Iterator[Open]:
    """Opens an address as a superuser; what the console says is gathered in `page.complaints`."""
    client = Client()
    client.force_login(make_user("boss", is_staff=True, is_superuser=True))
    cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
    contexts = []

    def open_one(address: str, *, size: tuple[int, int] = DESKTOP, **options: Any) -> Page:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, base_url=live_server.url, **options
        )
        contexts.append(context)
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": live_server.url}])
        page = context.new_page()
        page.complaints = []  # type: ignore[attr-defined]
        page.on("console", lambda message: page.complaints.append(message.text))  # type: ignore[attr-defined]
        page.on("pageerror", lambda error: page.complaints.append(str(error)))  # type: ignore[attr-defined]
        page.goto(address)
        return page

    yield open_one
    for context in contexts:
        context.close()


def make_busy() -> Run:
    """A training in the middle, with a curve and a log."""
    run = make_running(lease_seconds=600, step=30, total_steps=120, stage="training", is_synthetic=True)
    RunEvent.objects.create(run=run, attempt=1, text="18 choices to train on")
    for step in range(1, 31):
        RunEvent.objects.create(run=run, attempt=1, step=step, metrics={"loss": 1 / step})
    return run


def make_done(files: Path) -> Run:
    """A training that made a version, which is in use."""
    metrics = {"top_one": estimate(0.725, 0.7, 0.75), "chance": estimate(0.5), "verdict": "Better than base CLIP."}
    run = make_run(state="succeeded", metrics=metrics, started_at=timezone.now(), finished_at=timezone.now())
    for name in ("one", "two"):
        version = register(
            write_artefact(files / "artefacts" / name), run=run if name == "two" else None, metrics=metrics
        )
        promote_version(version=version)
    return run


def test_the_page_of_a_run_follows_it_and_stops_asking_when_it_ends(open_page: Open) -> None:
    run = make_busy()
    page = open_page(run.get_absolute_url())
    expect(page.get_by_text("step 30 of 120")).to_be_visible()

    Run.objects.update(step=90)
    RunEvent.objects.create(run=run, attempt=1, text="Half of it is done.")
    expect(page.get_by_text("step 90 of 120")).to_be_visible(timeout=10_000)
    expect(page.get_by_text("Half of it is done.")).to_be_visible()

    ended = {"state": "failed", "error_code": "no_space", "error_text": "The disk is full."}
    Run.objects.update(**ended, lease_until=None, finished_at=timezone.now())
    expect(page.get_by_role("button", name="Try again")).to_be_visible(timeout=10_000)
    expect(page.get_by_text("The disk is full.")).to_be_visible()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(3_000)
    assert (asked, page.complaints) == ([], [])  # type: ignore[attr-defined]


def test_a_run_is_opened_and_cancelled_with_the_keyboard_and_without_javascript(open_page: Open) -> None:
    page = open_page("/runs/", java_script_enabled=False)

    page.get_by_role("button", name="Retrain classifier").press("Enter")
    expect(page.get_by_role("heading", name="Classifier training")).to_be_visible()
    page.locator("summary", has_text="Cancel…").press("Enter")
    page.get_by_role("button", name="Cancel this run").press("Enter")

    expect(page.get_by_text("Run cancelled.")).to_be_visible()
    assert Run.objects.get().state == "cancelled"


def test_a_version_is_rolled_back_by_its_button(open_page: Open, files: Path) -> None:
    make_done(files)
    page = open_page("/versions/")

    page.get_by_role("button", name="Roll back to hps-1").click()

    expect(page.get_by_text("hps-1 is in use again.")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_pages_can_be_read_by_everyone(open_page: Open, files: Path, size: tuple[int, int], scheme: str) -> None:
    done = make_done(files)
    failed = make_run(
        kind="adapter", state="failed", error_code="no_space", error_text="Full.", finished_at=timezone.now()
    )
    busy = make_busy()
    version = done.version
    addresses = ["/runs/", "/versions/", *(thing.get_absolute_url() for thing in (done, failed, busy, version))]

    for address in addresses:
        page = open_page(address, size=size, color_scheme=scheme)
        found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]})
        width = page.evaluate("document.documentElement.scrollWidth")
        complaints = page.complaints  # type: ignore[attr-defined]
        assert (address, found.generate_report() if found.violations_count else "", complaints) == (address, "", [])
        assert (address, width) == (address, size[0])
