"""The dashboard in a real browser: readable by everyone, on a phone too, and within the Content-Security-Policy."""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import reverse
from pytest_django import Settings

from annotations.models import Campaign
from tests.annotations.factories import make_annotators, make_campaign, make_generator, make_image, make_task
from tests.e2e.windows import DESKTOP, NARROWEST, PHONE, Opened
from tests.hps_site.dashboard.worlds import cast, empty_campaign, give_scores, held_out_prompt, make_version
from worker.models import Run, Study

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


def voted_campaign(**fields: Any) -> Campaign:
    """A study on held-out prompts, judged by three people and two metrics: every part of the page has something."""
    campaign = empty_campaign(slug="birds", name="Birds", is_synthetic=True, **fields)
    original, adapted = make_generator("original"), make_generator("adapted")
    Study.objects.create(campaign=campaign, original=original, adapted=adapted, version=make_version("adapter"))
    clip, hps = make_version("clip", is_current=True), make_version("hps", 2, is_current=True, is_synthetic=True)
    people = make_annotators(3)
    for number in range(4):
        prompt = held_out_prompt()
        images = [make_image(prompt=prompt, generator=generator) for generator in (original, adapted)]
        task = make_task(campaign=campaign, images=images, prompt=prompt, votes=0)
        for person in people:
            cast(task, person, int(number > 0), shown_ms=1800)
        give_scores(clip, task, [number % 2, 0.5])
        give_scores(hps, task, [0, 1])
    return campaign


def addresses() -> list[str]:
    voted_campaign()
    make_campaign(slug="waiting")
    Run.objects.create(kind=Run.Kind.CLASSIFIER)
    index = reverse("dashboard:index")
    campaigns = [reverse("dashboard:campaign", args=[slug]) for slug in ("birds", "waiting")]
    return [index, *campaigns, reverse("dashboard:agreement", args=["birds"]), "/there-is-nothing/"]


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (DESKTOP, "dark"), (PHONE, "light"), (PHONE, "dark")])
def test_pages_are_accessible(opened_by_staff: Opened, size: tuple[int, int], scheme: str) -> None:
    for address in addresses():
        results = Axe().run(opened_by_staff(address, size=size, color_scheme=scheme))

        assert results.response["violations"] == [], f"{address}: {results.generate_report()}"


def test_pages_fit_the_narrowest_phone(opened_by_staff: Opened) -> None:
    for address in addresses():
        page = opened_by_staff(address, size=NARROWEST)

        assert page.evaluate("document.documentElement.scrollWidth") <= NARROWEST[0], address


def test_campaign_draws_its_charts_without_javascript(opened_by_staff: Opened) -> None:
    voted_campaign()

    page = opened_by_staff(reverse("dashboard:campaign", args=["birds"]), java_script_enabled=False)

    chart = page.get_by_role("img", name="Agreement of each metric with people")
    box = chart.bounding_box()
    assert box is not None
    assert box["width"] > 300
    assert box["height"] > 100
    assert chart.get_by_text("hps-2").is_visible()
    assert page.get_by_role("img", name="Votes over time").is_visible()


def test_campaign_brings_the_metrics_in_detail_by_itself(opened_by_staff: Opened) -> None:
    voted_campaign()

    page = opened_by_staff(reverse("dashboard:campaign", args=["birds"]), size=PHONE)
    for words in ("By slice", "Pairwise accuracy by convention", "Correlations with the votes", "Calibration: are"):
        page.locator("summary", has_text=words).click()

    assert page.get_by_role("img", name="Calibration of hps-2").is_visible()
    assert (
        page.get_by_text("disagrees with people").or_(page.get_by_text("not told apart from chance")).first.is_visible()
    )
    assert Axe().run(page).response["violations"] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]


def test_campaign_shows_the_pictures_of_a_study(opened_by_staff: Opened) -> None:
    voted_campaign()

    page = opened_by_staff(reverse("dashboard:campaign", args=["birds"]))
    pictures = page.locator(".pair img")
    pictures.last.scroll_into_view_if_needed()
    page.wait_for_load_state("networkidle")

    assert pictures.count() == 8
    assert pictures.evaluate_all("images => images.every(image => image.naturalWidth > 0)")


def test_header_leads_from_page_to_page(opened_by_staff: Opened) -> None:
    voted_campaign()
    page = opened_by_staff(reverse("dashboard:index"))

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.get_by_role("link", name="Birds").click()
    assert page.get_by_role("heading", level=1).inner_text() == "Birds"
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Runs").click()
    assert page.url.endswith(reverse("worker:runs"))


def test_language_form_changes_the_direction_of_the_page(opened_by_staff: Opened, settings: Settings) -> None:
    settings.LANGUAGES = [("en", "English"), ("ar", "Arabic")]
    page = opened_by_staff(reverse("dashboard:index"))

    page.get_by_label("Language").select_option("ar")
    page.get_by_role("button", name="Change").click()

    assert page.locator("html").get_attribute("dir") == "rtl"
    assert page.evaluate("document.documentElement.scrollWidth") <= DESKTOP[0]
