"""Looking through what an adapter will learn from, in a real browser: by keyboard, on a phone, without JavaScript."""

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

from tests.e2e.windows import PHONE, Opened, violations
from tests.worker.labels import make_labelling

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


def test_images_are_struck_out_and_taken_back_by_keyboard_where_they_stand(opened: Opened, boss: User) -> None:
    labelling = make_labelling(3)
    label = labelling.labels.filter(kind="non_preferred").last()
    page = opened(f"/dashboard/labellings/{labelling.public_id}/", user=boss)
    button = page.locator(f"#mark-{label.pk}")

    button.focus()
    page.keyboard.press("Enter")

    expect(button).to_have_text(f"Undo image {label.pk}")
    expect(button).to_be_focused()
    expect(page.get_by_role("status")).to_contain_text("2 non-preferred; 1 struck out")
    label.refresh_from_db()
    assert label.struck_out_by == boss
    assert violations(page) == []
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("3 non-preferred; 0 struck out")
    expect(button).to_be_focused()


def test_images_are_struck_out_without_javascript_on_a_phone(opened: Opened, boss: User) -> None:
    labelling = make_labelling(14)
    page = opened(
        f"/dashboard/labellings/{labelling.public_id}/?kind=preferred",
        user=boss,
        size=PHONE,
        java_script_enabled=False,
    )
    page.get_by_role("link", name="Next").click()
    figure = page.locator("figure.label").first

    figure.get_by_role("button", name="Strike out").click()

    label = labelling.labels.get(struck_out_at__isnull=False)
    expect(page).to_have_url(
        f"{page.url.split('/dashboard')[0]}/dashboard/labellings/{labelling.public_id}/"
        f"?kind=preferred&page=2#label-{label.pk}"
    )
    expect(page.locator(f"#label-{label.pk}")).to_contain_text("struck out by")
