"""The pages of runs and models in a real browser: live, readable by everyone, on a phone too."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.utils import timezone
from playwright.sync_api import expect

from tests.e2e.windows import DESKTOP, PHONE, Opened
from tests.worker.test_runs import make_run, make_running
from tests.worker.test_training import estimate
from tests.worker.test_versions import register, write_artefact
from worker.models import Run, RunEvent
from worker.services.versions import promote_version

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


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


def test_the_page_of_a_run_follows_it_and_stops_asking_when_it_ends(opened_by_staff: Opened) -> None:
    run = make_busy()
    page = opened_by_staff(run.get_absolute_url())
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
    assert asked == []


def test_a_run_is_opened_and_cancelled_with_the_keyboard_and_without_javascript(opened_by_staff: Opened) -> None:
    page = opened_by_staff("/runs/", java_script_enabled=False)

    page.get_by_role("button", name="Retrain classifier").press("Enter")
    expect(page.get_by_role("heading", name="Classifier training")).to_be_visible()
    page.locator("summary", has_text="Cancel…").press("Enter")
    page.get_by_role("button", name="Cancel this run").press("Enter")

    expect(page.get_by_text("Run cancelled.")).to_be_visible()
    assert Run.objects.get().state == "cancelled"


def test_a_version_is_rolled_back_by_its_button(opened_by_staff: Opened, files: Path) -> None:
    make_done(files)
    page = opened_by_staff("/versions/")

    page.get_by_role("button", name="Roll back to hps-1").click()

    expect(page.get_by_text("hps-1 is in use again.")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_pages_can_be_read_by_everyone(
    opened_by_staff: Opened, files: Path, size: tuple[int, int], scheme: str
) -> None:
    done = make_done(files)
    failed = make_run(
        kind="adapter", state="failed", error_code="no_space", error_text="Full.", finished_at=timezone.now()
    )
    busy = make_busy()
    version = done.version
    addresses = ["/runs/", "/versions/", *(thing.get_absolute_url() for thing in (done, failed, busy, version))]

    for address in addresses:
        page = opened_by_staff(address, size=size, color_scheme=scheme)
        found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]})
        width = page.evaluate("document.documentElement.scrollWidth")
        assert (address, found.generate_report() if found.violations_count else "") == (address, "")
        assert (address, width) == (address, size[0])
