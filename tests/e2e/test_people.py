"""The whole way of a recruited person in a real browser, on a phone."""

from urllib.parse import urlencode

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from annotations.models import Demographics, Participation, Vote
from tests.annotations.factories import make_campaign, make_recruitment
from tests.e2e.voting import wait_for_images
from tests.e2e.windows import PHONE, Opened

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]

IDS = {"PROLIFIC_PID": "5f3a", "STUDY_ID": "study1", "SESSION_ID": "session1"}


@pytest.fixture
def phone(opened: Opened) -> Page:
    return opened(size=PHONE, has_touch=True, is_mobile=True, permissions=["clipboard-read", "clipboard-write"])


def check(page: Page) -> None:
    """Nothing that axe finds in the light or in the dark, and nothing wider than the phone."""
    for scheme, options in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
        page.emulate_media(color_scheme=scheme)
        found = Axe().run(page, options=options).response["violations"]
        assert [f"{page.url} {rule['id']}: {node['html']}" for rule in found for node in rule["nodes"]] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def tap_an_image(page: Page) -> str:
    """Chooses the first image after a look at all of them; gives its address. A quicker tap is half of a double one."""
    wait_for_images(page)
    page.wait_for_timeout(500)
    address = page.locator(".tile__image").first.get_attribute("src")
    page.locator(".tile").first.tap()
    return str(address)


def test_a_recruited_person_goes_from_the_link_to_the_code(phone: Page) -> None:
    campaign = make_campaign(tasks=4, has_files=True, too_fast_ms=50, consent="We keep it.", asks_about_people=True)
    recruitment = make_recruitment(campaign, votes_wanted=2)
    link = f"{recruitment.get_absolute_url()}?{urlencode(IDS)}"

    phone.goto(link)
    check(phone)
    phone.get_by_role("button", name="Begin").tap()
    expect(phone.get_by_role("heading", name="Before you begin")).to_be_visible()
    check(phone)
    phone.get_by_role("button", name="I agree").tap()
    expect(phone.get_by_role("heading", name="About you")).to_be_visible()
    check(phone)
    phone.get_by_label("Region").select_option("asia")
    phone.get_by_role("button", name="Go on").tap()
    expect(phone.get_by_text("0 of 2 votes from you")).to_be_visible()
    check(phone)
    phone.get_by_role("button", name="Start").tap()
    first = tap_an_image(phone)
    expect(phone.locator(".tile__image").first).not_to_have_attribute("src", first)
    tap_an_image(phone)

    phone.wait_for_url("**/done/")
    expect(phone.locator("#code")).to_have_text("C0DE")
    check(phone)
    phone.get_by_role("button", name="Copy").tap()
    expect(phone.locator("#code-said")).to_have_text("Copied")
    assert phone.evaluate("navigator.clipboard.readText()") == "C0DE"
    back = phone.get_by_role("link", name="Hand it in at Prolific")
    expect(back).to_have_attribute("href", "https://app.prolific.com/submissions/complete?cc=C0DE")
    phone.reload()
    expect(phone.locator("#code")).to_have_text("C0DE")
    phone.goto(link)
    phone.wait_for_url("**/done/")
    phone.goto("/me/")
    expect(phone.get_by_text("2 of 2")).to_be_visible()
    check(phone)
    assert (Participation.objects.get().state, Demographics.objects.get().region) == ("completed", "asia")
    assert Vote.objects.count() == 2


def test_a_person_is_forgotten_on_a_phone(phone: Page) -> None:
    campaign = make_campaign()
    phone.goto(f"{make_recruitment(campaign).get_absolute_url()}?{urlencode(IDS)}")
    phone.get_by_role("button", name="Begin").tap()
    phone.wait_for_url(f"**/c/{campaign.slug}/")
    phone.goto("/me/about-you/")
    phone.get_by_role("button", name="Save").tap()
    phone.wait_for_url("**/me/")
    phone.get_by_role("link", name="Change or delete").tap()
    expect(phone.get_by_role("button", name="Delete my answers")).to_be_visible()
    check(phone)

    phone.goto("/me/erase/")
    check(phone)
    phone.get_by_label("I understand").check()
    phone.get_by_role("button", name="Erase my identity").tap()

    expect(phone.get_by_role("heading", name="Your identity is erased")).to_be_visible()
    check(phone)
    assert Participation.objects.get().annotator.user is None


def test_the_goodbye_and_the_page_of_mturk_are_accessible(phone: Page) -> None:
    recruitment = make_recruitment(make_campaign(consent="We keep your choices."), panel="mturk")
    ids = urlencode({"workerId": "W1", "hitId": "H1", "assignmentId": "A1"})

    phone.goto(f"{recruitment.get_absolute_url()}mturk/?{ids}")
    expect(phone.get_by_role("link", name="Open the task in a new tab")).to_be_visible()
    check(phone)
    phone.goto(f"{recruitment.get_absolute_url()}?{ids}")
    phone.get_by_role("button", name="Begin").tap()
    phone.get_by_role("button", name="I do not agree").tap()
    expect(phone.get_by_role("heading", name="Thank you for your time")).to_be_visible()
    check(phone)
