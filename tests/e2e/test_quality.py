"""The pages of people, quality and gold in a real browser: readable by everyone, on a phone too."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import reverse

from annotations.models import Annotator, Outcome, Task
from annotations.services.gold import make_gold
from tests.annotations.factories import (
    make_annotators,
    make_campaign,
    make_generator,
    make_image,
    make_prompt,
    make_task,
)
from tests.e2e.windows import DESKTOP, NARROWEST, PHONE, Opened
from tests.hps_site.dashboard.worlds import cast

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


def moderated_campaign() -> Annotator:
    """Every part of the pages has something; gives the person who got all gold wrong."""
    campaign = make_campaign(slug="birds", name="Birds", tasks=0, is_synthetic=True)
    generators = [make_generator("alder"), make_generator("birch")]
    *honest, careless = make_annotators(5)
    for number in range(8):
        prompt = make_prompt()
        images = [make_image(prompt=prompt, generator=generator) for generator in generators]
        task = make_task(campaign=campaign, images=images, prompt=prompt, votes=0)
        for person in honest:
            cast(task, person, Outcome.SKIP if number == 7 else number % 2, shown_ms=1800)
        cast(task, careless, 0, shown_ms=100, is_too_fast=True)
    for gold in make_gold(campaign=campaign, count=7, seed=1).tasks:
        for person in (*honest, careless):
            cast(gold, person, int(person == careless))
    return careless


def addresses(person: Annotator) -> list[str]:
    return [
        reverse("dashboard:people"),
        reverse("dashboard:person", args=[person.public_id]),
        reverse("dashboard:exclude", args=[person.public_id]),
        reverse("dashboard:quality", args=["birds"]),
        reverse("dashboard:gold", args=["birds"]),
    ]


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")])
def test_pages_are_accessible_and_keep_to_the_content_security_policy(
    opened_by_staff: Opened, size: tuple[int, int], scheme: str
) -> None:
    for address in addresses(moderated_campaign()):
        page = opened_by_staff(address, size=size, color_scheme=scheme)

        results = Axe().run(page)

        assert results.response["violations"] == [], f"{address}: {results.generate_report()}"


def test_pages_fit_the_narrowest_phone(opened_by_staff: Opened) -> None:
    for address in addresses(moderated_campaign()):
        page = opened_by_staff(address, size=NARROWEST)

        assert page.evaluate("document.documentElement.scrollWidth") <= NARROWEST[0], address


def test_somebody_is_found_looked_at_and_excluded(opened_by_staff: Opened) -> None:
    careless = moderated_campaign()
    page = opened_by_staff(reverse("dashboard:people"))

    page.locator(".suspicion").get_by_role("link", name=str(careless)).first.click()
    page.get_by_role("link", name="Exclude…").click()
    assert page.get_by_role("region", name="Ranking of Birds, before and after").is_visible()
    page.get_by_label("Why").fill("all gold wrong")
    page.get_by_role("button", name="Exclude").click()

    assert page.get_by_text("all gold wrong").is_visible()
    assert page.get_by_role("link", name="Restore…").is_visible()
    assert Annotator.objects.get(pk=careless.pk).state == "excluded"


def test_gold_is_made_by_hand(opened_by_staff: Opened) -> None:
    moderated_campaign()
    before = Task.objects.filter(purpose="gold").count()
    page = opened_by_staff(reverse("dashboard:gold", args=["birds"]))

    page.get_by_role("button", name="Image 2 is obvious").first.click()

    assert page.get_by_text("1 task made.").is_visible()
    assert Task.objects.filter(purpose="gold").count() == before + 1
