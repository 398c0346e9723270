"""Every key of the voting screen, as it is at first, as people choose it, and switched off."""

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect
from pytest_django import Settings

from annotations.models import Vote
from tests.annotations.factories import make_campaign
from tests.e2e.voting import images_of, press, settled, shown, vote_page, wait_for_images
from tests.e2e.windows import DESKTOP, PHONE, Opened

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


def caps(page: Page) -> dict[str, str]:
    """What stands on the key caps, by what they do; those of the tiles and of the buttons."""
    return page.eval_on_selector_all(
        "[data-form] [data-cap]", "caps => Object.fromEntries(caps.map(cap => [cap.dataset.cap, cap.textContent]))"
    )


def change_key(page: Page, action: str, key: str) -> str:
    """Ask for another key in the list of keys, press it, and give what the list says of it."""
    page.get_by_role("button", name=f"Change the key: {action}", exact=True).click()
    page.keyboard.press(key)
    return page.locator("[data-keys-said]").inner_text()


def test_each_digit_chooses_its_image(opened: Opened, ada: User) -> None:
    page = vote_page(opened, make_campaign(images=9, tasks=9, has_files=True, candidates=9), ada)

    for digit in "123456789":
        press(page, digit)

    votes = settled(page, 9)
    assert [shown(vote).index(vote.image.get_absolute_url()) + 1 for vote in votes] == [*range(1, 10)]


def test_each_answer_has_its_keys(opened: Opened, ada: User) -> None:
    page = vote_page(opened, make_campaign(tasks=7, has_files=True), ada)

    for key in ["t", "T", "0", "ArrowDown", "b"]:
        press(page, key)
    page.keyboard.press("s")
    press(page, "s")
    press(page, "1")

    votes = settled(page, 7)
    assert [vote.outcome for vote in votes] == ["tie", "tie", "tie", "tie", "all_bad", "skip", "choice"]
    assert {vote.client["input"] for vote in votes} == {"key"}


def test_each_reason_of_a_skip_has_its_digit(opened: Opened, ada: User) -> None:
    page = vote_page(opened, make_campaign(tasks=4, has_files=True), ada)

    for key in "1234":
        page.keyboard.press("s")
        press(page, key)

    assert [(vote.outcome, vote.reason) for vote in settled(page, 4)] == [
        ("skip", "cannot_decide"), ("skip", "image_broken"), ("skip", "offensive"), ("skip", "prompt_unclear"),
    ]  # fmt: skip


def test_each_reason_of_a_flag_has_its_digit(opened: Opened, ada: User) -> None:
    page = vote_page(opened, make_campaign(tasks=4, has_files=True), ada)

    for key in "1234":
        page.keyboard.press("f")
        press(page, key)

    assert [(vote.outcome, vote.reason) for vote in settled(page, 4)] == [
        ("flag", "image_broken"), ("flag", "offensive"), ("flag", "prompt_unclear"), ("flag", "other"),
    ]  # fmt: skip


def test_each_key_of_undo_brings_the_images_back(opened: Opened, ada: User) -> None:
    page = vote_page(opened, make_campaign(has_files=True), ada)
    before = images_of(page)

    for count, key in enumerate(["z", "Backspace", "Control+z", "Meta+z"], start=1):
        press(page, "1")
        settled(page, count)
        press(page, key)
        assert images_of(page) == before

    assert Vote.objects.standing().count() == 0


def test_arrows_leave_scrolling_alone_where_there_are_more_than_two(opened: Opened, ada: User) -> None:
    page = vote_page(opened, make_campaign(images=3, candidates=3, has_files=True), ada)

    for key in ["ArrowDown", "ArrowLeft", "ArrowRight"]:
        page.keyboard.press(key)
    page.wait_for_timeout(200)

    assert Vote.objects.count() == 0


def test_question_mark_shows_the_keys_and_escape_hides_them(opened: Opened, ada: User) -> None:
    page = vote_page(opened, make_campaign(has_files=True), ada)

    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("1")
    page.keyboard.press("Escape")

    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
    assert Vote.objects.count() == 0


def test_each_button_bears_its_key(opened: Opened, ada: User) -> None:
    page = vote_page(opened, make_campaign(has_files=True), ada)

    assert caps(page) == {
        "1": "1", "2": "2", "3": "3", "4": "4", "left": "←", "right": "→", "tie": "T", "all_bad": "B",
        "undo": "Z", "skip": "S", "flag": "F", "zoom": "X", "flicker": "C", "help": "?",
    }  # fmt: skip


def test_keyboards_of_other_scripts_work_by_the_place_of_the_key(opened: Opened, ada: User) -> None:
    page = vote_page(opened, make_campaign(tasks=3, has_files=True), ada)

    for voted, (key, code) in enumerate([("ف", "KeyT"), ("٢", "Digit2"), ("é", "Digit2")]):
        wait_for_images(page)
        page.evaluate(
            "([key, code]) => document.body.dispatchEvent(new KeyboardEvent('keydown', {key, code, bubbles: true}))",
            [key, code],
        )
        settled(page, voted + 1)

    tie, first, second = settled(page, 3)
    assert tie.outcome == "tie"
    assert [shown(vote).index(vote.image.get_absolute_url()) for vote in (first, second)] == [1, 1]


def test_the_left_arrow_chooses_what_is_seen_on_the_left(opened: Opened, ada: User, settings: Settings) -> None:
    settings.LANGUAGES = [("en", "English"), ("ar", "Arabic")]
    page = vote_page(opened, make_campaign(has_files=True), ada, locale="ar")
    left, right = sorted(page.locator(".tile").all(), key=lambda tile: tile.bounding_box()["x"])
    assert page.evaluate("document.documentElement.dir") == "rtl"
    assert (left.locator("kbd").all_inner_texts(), right.locator("kbd").all_inner_texts()) == (["2", "←"], ["1", "→"])
    seen_left = left.get_attribute("value")
    press(page, "ArrowLeft")
    seen_right = right.get_attribute("value")
    press(page, "ArrowRight")

    assert [str(vote.image.public_id) for vote in settled(page, 2)] == [seen_left, seen_right]
    for size in (DESKTOP, PHONE):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_another_key_is_chosen_shown_and_remembered(opened: Opened, ada: User) -> None:
    page = vote_page(opened, make_campaign(has_files=True), ada)
    page.keyboard.press("?")

    assert change_key(page, "No clear winner", "k") == "No clear winner: K"
    assert change_key(page, "Choose image 2", "j") == "Choose image 2: J"
    page.keyboard.press("Escape")
    assert (caps(page)["tie"], caps(page)["2"]) == ("K", "J")
    page.keyboard.press("t")
    page.keyboard.press("2")
    page.wait_for_timeout(200)
    assert Vote.objects.count() == 0
    press(page, "k")
    page.reload()
    wait_for_images(page)
    assert caps(page)["tie"] == "K"
    press(page, "j")

    tie, second = settled(page, 2)
    assert tie.outcome == "tie"
    assert second.image.get_absolute_url() == shown(second)[1]


def test_a_key_that_is_taken_or_needed_is_told_and_not_given(opened: Opened, ada: User) -> None:
    page = vote_page(opened, make_campaign(has_files=True), ada)
    page.keyboard.press("?")

    assert change_key(page, "Skip", "b") == (
        "B is used already: All bad. Choose another key, or change that one first."
    )
    assert change_key(page, "Skip", "9") == (
        "9 is used already: Image 9. Choose another key, or change that one first."
    )
    for key, name in [("Enter", "ENTER"), ("ArrowUp", "↑"), ("Control+s", "S"), ("F5", "F5")]:
        assert change_key(page, "Skip", key) == f"{name} is needed by the browser. Choose another key."
    assert change_key(page, "Skip", "Escape") == ""

    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    assert caps(page)["skip"] == "S"


def test_all_keys_are_set_back(opened: Opened, ada: User) -> None:
    page = vote_page(opened, make_campaign(has_files=True), ada)
    page.keyboard.press("?")
    change_key(page, "Skip", "k")
    change_key(page, "All bad", "s")

    page.get_by_role("button", name="Reset all keys").click()
    page.keyboard.press("Escape")
    page.keyboard.press("b")

    assert (caps(page)["skip"], caps(page)["all_bad"]) == ("S", "B")
    assert settled(page, 1)[0].outcome == "all_bad"


def test_switched_off_no_cap_is_shown_and_undo_by_control_still_works(opened: Opened, ada: User) -> None:
    page = vote_page(opened, make_campaign(has_files=True), ada)
    page.keyboard.press("?")
    page.get_by_label("Single-key shortcuts are on").uncheck()
    page.keyboard.press("Escape")

    assert page.locator("[data-form] kbd:visible").count() == 0
    for key in "12tbsfxcz?":
        page.keyboard.press(key)
    page.wait_for_timeout(200)
    assert Vote.objects.count() == 0
    assert page.locator("dialog[open]").count() == 0
    page.get_by_role("button", name="Image 1").click()
    settled(page, 1)
    press(page, "Control+z")
    assert Vote.objects.standing().count() == 0
