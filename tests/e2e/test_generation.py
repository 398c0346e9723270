"""Having images made, in a real browser: the form, what is wrong with it, and the images as they come."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.utils import timezone
from playwright.sync_api import expect

from annotations.models import Image
from tests.annotations.factories import make_generator, make_image, make_prompt
from tests.e2e.windows import PHONE, Opened
from worker.models import Run
from worker.services.execution import claim_run

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


def test_a_generation_is_asked_for_and_its_images_appear_as_they_come(opened_by_staff: Opened) -> None:
    page = opened_by_staff("/runs/", size=PHONE)
    page.get_by_role("link", name="Generate images").click()
    page.get_by_label("Prompts, one per line").fill("a quiet harbour\na red kite")
    page.get_by_label("Name").fill("sd 1.4")
    page.get_by_label("Height in pixels").fill("500")
    page.get_by_role("button", name="Generate").click()
    expect(page.get_by_text("such as 496 or 504, not 500")).to_be_visible()
    assert Axe().run(page).response["violations"] == []

    page.get_by_label("Height in pixels").fill("512")
    page.get_by_role("button", name="Generate").click()
    expect(page.get_by_role("heading", name="Image generation")).to_be_visible()

    run = Run.objects.get()
    assert claim_run(run_id=run.pk, worker="test") is not None
    generator, prompt = make_generator("sd 1.4"), make_prompt("a quiet harbour at dawn")
    make_image(prompt=prompt, generator=generator)
    expect(page.get_by_role("img", name="a quiet harbour at dawn")).to_have_count(1)
    make_image(prompt=prompt, generator=generator, is_hidden=True, hidden_reason=Image.HiddenReason.UNSAFE)
    expect(page.get_by_text("blocked by a safety checker")).to_be_visible()
    Run.objects.filter(pk=run.pk).update(
        state="succeeded",
        lease_until=None,
        finished_at=timezone.now(),
        metrics={"made": 2, "kept": 0, "hidden": 1, "faults": {"unsafe": 1}},
    )
    expect(page.get_by_text("2 made, 0 there already; 1 of the new ones are hidden")).to_be_visible()
    assert Axe().run(page).response["violations"] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
