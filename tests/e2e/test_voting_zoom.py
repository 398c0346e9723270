"""The enlarged view: all images together, by key, mouse, wheel and finger."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from annotations.models import Campaign, Vote
from tests.annotations.factories import make_campaign, make_image, make_prompt, make_task, picture_bytes
from tests.e2e.voting import images_of, settled, vote_page, wait_for_other_images
from tests.e2e.windows import PHONE, Opened, violations

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]

SIZE = (640, 480)


@pytest.fixture
def campaign() -> Campaign:
    """Sets of three images larger than their tiles."""
    campaign = make_campaign(tasks=0, images=3, candidates=3)
    for _ in range(2):
        prompt = make_prompt()
        images = [make_image(prompt=prompt, content=picture_bytes(size=SIZE)) for _ in range(3)]
        make_task(campaign=campaign, prompt=prompt, images=images)
    return campaign


def places(page: Page) -> list[list[int]]:
    """Of each image in the enlarged view: x and y within its pane, width and height, in whole pixels."""
    return page.eval_on_selector_all(
        ".zoom__pane",
        """panes => panes.map(pane => {
            const [outer, inner] = [pane, pane.querySelector('img')].map(each => each.getBoundingClientRect());
            return [inner.x - outer.x, inner.y - outer.y, inner.width, inner.height].map(Math.round);
        })""",
    )


def on_top(page: Page) -> list[str]:
    return page.locator(".zoom__pane.is-on-top figcaption").all_inner_texts()


def is_open(page: Page) -> bool:
    return page.locator("dialog[data-zoom]").evaluate("dialog => dialog.open")


class Fingers:
    """Fingers on the glass of a phone."""

    def __init__(self, page: Page) -> None:
        self.client: Any = page.context.new_cdp_session(page)

    def down(self, *points: tuple[float, float]) -> None:
        self._send("touchStart", points)

    def move(self, *points: tuple[float, float]) -> None:
        self._send("touchMove", points)

    def up(self) -> None:
        self._send("touchEnd", ())

    def _send(self, kind: str, points: tuple[tuple[float, float], ...]) -> None:
        touches = [{"x": x, "y": y, "id": index} for index, (x, y) in enumerate(points)]
        self.client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})


def test_x_opens_and_closes_and_escape_closes(opened: Opened, ada: User, campaign: Campaign) -> None:
    page = vote_page(opened, campaign, ada)

    for opens, closes in [("x", "x"), ("+", "Escape"), ("x", "Escape")]:
        page.keyboard.press(opens)
        assert is_open(page)
        assert len(places(page)) == 3
        page.keyboard.press(closes)
        assert not is_open(page)

    assert Vote.objects.count() == 0


def test_the_view_opens_where_the_mouse_points(opened: Opened, ada: User, campaign: Campaign) -> None:
    page = vote_page(opened, campaign, ada)
    box = page.locator(".tile").nth(2).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.keyboard.press("x")
    in_the_middle = places(page)
    page.keyboard.press("x")
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + box["height"] / 2)
    page.keyboard.press("x")

    assert places(page)[0][0] < in_the_middle[0][0] - 50


def test_held_down_x_shows_the_view_for_as_long(opened: Opened, ada: User, campaign: Campaign) -> None:
    page = vote_page(opened, campaign, ada)

    page.keyboard.down("x")
    page.wait_for_timeout(500)
    page.keyboard.down("x")  # what a keyboard repeats
    assert is_open(page)
    page.keyboard.up("x")

    assert not is_open(page)


def test_wheel_drag_and_keys_move_all_images_alike(opened: Opened, ada: User, campaign: Campaign) -> None:
    page = vote_page(opened, campaign, ada)
    page.get_by_role("button", name="Zoom").click()
    seen = [places(page)]

    box = page.locator(".zoom__pane").nth(1).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.wheel(0, -300)
    seen.append(places(page))
    page.mouse.down()
    page.mouse.move(x - 80, y - 40, steps=4)
    page.mouse.up()
    seen.append(places(page))
    for key in ["ArrowRight", "ArrowUp", "-", "+"]:
        page.keyboard.press(key)
        seen.append(places(page))

    for first, *others in seen:
        assert others == [first, first]
    widths = [first[2] for first, *_ in seen]
    assert widths[1] > widths[0]
    assert seen[2][0][:2] == [seen[1][0][0] - 80, seen[1][0][1] - 40]
    assert (seen[3][0][0], seen[4][0][1]) == (seen[2][0][0] - 60, seen[3][0][1] + 60)
    assert widths[5] < widths[4] < widths[6] + 2


def test_whole_image_and_pixel_by_pixel(opened: Opened, ada: User, campaign: Campaign) -> None:
    page = vote_page(opened, campaign, ada, device_scale_factor=2)
    page.keyboard.press("x")

    page.keyboard.press("p")
    assert [place[2:] for place in places(page)] == [[320, 240]] * 3
    expect(page.locator("[data-zoom-scale]")).to_have_text("100 %")
    page.keyboard.press("w")
    pane = page.locator(".zoom__pane").first.bounding_box()
    assert all(place[2] == round(min(pane["width"], pane["height"] / 480 * 640)) for place in places(page))


def test_flicker_shows_one_image_after_the_other_at_the_same_place(
    opened: Opened, ada: User, campaign: Campaign
) -> None:
    page = vote_page(opened, campaign, ada)
    page.keyboard.press("c")
    first = places(page)
    assert (on_top(page), [place[2:] for place in first]) == (["1"], [[*SIZE]] * 3)

    for key, shows in [("c", ["2"]), ("c", ["3"]), ("c", ["1"]), ("3", ["3"]), ("Shift+C", ["2"]), ("0", [])]:
        page.keyboard.press(key)
        assert on_top(page) == shows
        if shows:
            assert places(page) == first
    assert page.get_by_role("button", name="Side by side").get_attribute("aria-pressed") == "true"


def test_that_the_view_was_used_is_kept_with_the_vote(opened: Opened, ada: User, campaign: Campaign) -> None:
    page = vote_page(opened, campaign, ada)
    before = images_of(page)
    page.keyboard.press("x")
    page.keyboard.press("2")
    page.keyboard.press("Escape")
    page.keyboard.press("3")
    wait_for_other_images(page, than=before)
    page.keyboard.press("1")

    first, second = settled(page, 2)
    assert (first.client["zoomed"], first.client["flickered"]) == (True, True)
    assert (second.client["zoomed"], second.client["flickered"]) == (False, False)


def test_a_finger_that_rests_opens_the_view_there_and_chooses_nothing(
    opened: Opened, ada: User, campaign: Campaign
) -> None:
    page = vote_page(opened, campaign, ada, size=PHONE, has_touch=True, is_mobile=True)
    box = page.locator(".tile__image").first.bounding_box()
    point = (box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"])

    fingers = Fingers(page)
    fingers.down(point)
    page.wait_for_timeout(600)
    fingers.up()
    page.wait_for_timeout(200)

    assert is_open(page)
    first, *others = places(page)
    pane = page.locator(".zoom__pane").first.bounding_box()
    assert others == [first, first]
    assert abs(first[0] - (pane["width"] / 2 - 0.3 * first[2])) < 3
    assert Vote.objects.count() == 0
    page.locator("[data-zoom-close]").tap()
    page.locator(".tile").nth(1).tap()
    [vote] = settled(page, 1)
    assert (vote.client["input"], vote.client["zoomed"], vote.client["viewport"]) == ("touch", True, [*PHONE])


def test_two_fingers_enlarge_all_and_one_tap_changes_the_image(opened: Opened, ada: User, campaign: Campaign) -> None:
    page = vote_page(opened, campaign, ada, size=PHONE, has_touch=True, is_mobile=True)
    page.get_by_role("button", name="Zoom").tap()
    before = places(page)

    fingers = Fingers(page)
    fingers.down((60, 100), (120, 100))
    for spread in (10, 20, 30):
        fingers.move((60 - spread, 100), (120 + spread, 100))
    fingers.up()
    after = places(page)
    assert abs(after[0][2] / before[0][2] - 2) < 0.1
    assert after[1:] == [after[0], after[0]]

    page.locator("[data-zoom-picks]").get_by_role("button", name="Image 1").tap()
    page.locator(".zoom__panes").tap(position={"x": 100, "y": 100})
    assert on_top(page) == ["2"]


def test_a_swipe_across_the_images_votes_for_none(opened: Opened, ada: User, campaign: Campaign) -> None:
    page = vote_page(opened, campaign, ada, size=PHONE, has_touch=True, is_mobile=True)

    fingers = Fingers(page)
    for start, end in [(300, 60), (60, 300)]:
        fingers.down((start, 400))
        for step in range(1, 9):
            fingers.move((start + (end - start) * step / 8, 400))
        fingers.up()
    page.wait_for_timeout(300)

    assert Vote.objects.count() == 0
    assert not is_open(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_view_is_accessible(opened: Opened, ada: User, campaign: Campaign, scheme: str) -> None:
    page = vote_page(opened, campaign, ada, color_scheme=scheme)

    page.keyboard.press("x")
    assert violations(page) == []
    page.keyboard.press("2")
    assert violations(page) == []
