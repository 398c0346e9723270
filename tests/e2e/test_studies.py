"""An adapter's page in a real browser: one button puts it before people; its proof can be read by everyone."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect

from annotations.models import Split
from tests.annotations.factories import make_image, make_prompt, picture_bytes
from tests.e2e.windows import DESKTOP, PHONE, Opened
from tests.hps_site.dashboard.worlds import make_version
from tests.worker.test_study_views import proof_of
from worker.models import ModelVersion, Run
from worker.services.recipes import Recipe, make_generator
from worker.services.versions import reject_version

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def adapter(files: Path) -> ModelVersion:
    """An adapter that was measured, with forty held-out prompts to put it before people."""
    make_generator(name="original", recipe=Recipe(pipeline="somewhere"))
    for _ in range(40):
        make_prompt(split=Split.TEST)
    version = make_version("adapter")
    version.manifest, version.metrics = {"mark": "Weird image. "}, {"generator": "original"}
    version.save()
    drawn = make_prompt("a lighthouse in a storm", split=Split.TRAIN)
    image = make_image(prompt=drawn, content=picture_bytes(size=(64, 64)))
    Run.objects.create(
        kind=Run.Kind.PROOF,
        state=Run.State.SUCCEEDED,
        finished_at=timezone.now(),
        config={"version": str(version)},
        metrics=proof_of(image),
    )
    return version


def test_one_button_starts_the_blind_study(
    opened: Opened, boss: User, adapter: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.services.runs._send", lambda _run_id: None)
    page = opened(adapter.get_absolute_url(), user=boss)
    expect(page.get_by_text("40 prompts with 21 votes on each pair")).to_be_visible()

    page.get_by_label("Smallest share of votes worth finding").select_option("0.7")
    expect(page.get_by_text("30 prompts with 5 votes on each pair: 150 votes")).to_be_visible()
    page.get_by_role("button", name="Start the blind study").click()

    expect(page.get_by_role("heading", level=1, name="Blind study")).to_be_visible()
    run = Run.objects.get(kind=Run.Kind.STUDY)
    assert (run.config["version"], run.config["prompts"], run.config["votes_per_task"]) == ("adapter-1", 30, 5)


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
def test_the_pages_of_studies_can_be_read_by_everyone(
    opened: Opened, boss: User, adapter: ModelVersion, size: tuple[int, int], scheme: str
) -> None:
    reject_version(version=adapter, reason="people see no difference")
    page = opened(adapter.get_absolute_url(), user=boss, size=size, color_scheme=scheme)
    asked = f"?version={adapter.public_id}&original=original"

    for address in (adapter.get_absolute_url(), reverse("worker:new-study") + asked):
        page.goto(address)
        assert Axe().run(page).response["violations"] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
