"""Voting in a real browser: keyboard, mouse, finger, without a network, without a script."""

import re
from itertools import combinations

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from playwright.sync_api import Route, expect

from annotations.models import Annotator, Campaign, Vote
from annotations.services.instructions import Example, revise_instructions, store_example_image
from tests.annotations.factories import make_campaign, make_invite, make_recruitment, make_user, picture_bytes
from tests.e2e.voting import (
    images_of,
    let_pass,
    press,
    settled,
    shown,
    still_page,
    vote_page,
    wait_for_images,
    wait_for_other_images,
)
from tests.e2e.windows import DESKTOP, NARROWEST, PHONE, Opened, violations

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


def test_a_whole_campaign_by_keyboard_alone(opened: Opened, ada: User) -> None:
    campaign = make_campaign(images=4, tasks=6, has_files=True, too_fast_ms=50)
    page = opened(f"/c/{campaign.slug}/", user=ada)
    page.get_by_role("button", name="Start").focus()
    page.keyboard.press("Enter")
    wait_for_images(page)
    seen = []

    for key in "3tbs0":
        seen.append(images_of(page))
        if key == "s":
            page.keyboard.press(key)  # opens the reasons; again, it says none
        press(page, key)
    seen.append(images_of(page))
    page.keyboard.press("f")
    page.keyboard.press("2")
    page.wait_for_url(f"**/c/{campaign.slug}/done/")

    votes = settled(page, 6)
    assert [(vote.outcome, vote.reason) for vote in votes] == [
        ("choice", ""), ("tie", ""), ("all_bad", ""), ("skip", ""), ("tie", ""), ("flag", "offensive"),
    ]  # fmt: skip
    assert [shown(vote) for vote in votes] == seen
    assert votes[0].image.get_absolute_url() == seen[0][2]
    assert all(vote.shown_ms >= 120 and not vote.is_too_fast for vote in votes)
    expect(page.get_by_role("heading", level=1)).to_have_text("All done, thank you!")


def test_arrows_choose_between_two(opened: Opened, ada: User) -> None:
    campaign = make_campaign(tasks=4, has_files=True)
    page = vote_page(opened, campaign, ada)

    press(page, "ArrowRight")
    press(page, "ArrowLeft")
    press(page, "ArrowDown")

    first, second, third = settled(page, 3)
    assert first.image.get_absolute_url() == shown(first)[1]
    assert second.image.get_absolute_url() == shown(second)[0]
    assert third.outcome == "tie"


def test_keys_that_mean_nothing_here(opened: Opened, ada: User) -> None:
    page = vote_page(opened, make_campaign(has_files=True), ada)
    before = images_of(page)

    for key in ["9", "x", "Control+b", "Alt+1", "Meta+1", "ArrowUp"]:
        page.keyboard.press(key)
    page.evaluate("document.dispatchEvent(new KeyboardEvent('keydown', {key: '1', repeat: true, bubbles: true}))")
    page.wait_for_timeout(300)

    assert images_of(page) == before
    assert Vote.objects.count() == 0


def test_shortcuts_can_be_switched_off_and_stay_so(opened: Opened, ada: User) -> None:
    page = vote_page(opened, make_campaign(has_files=True), ada)
    page.keyboard.press("?")
    page.get_by_label("Single-key shortcuts are on").uncheck()
    page.keyboard.press("1")
    page.get_by_role("button", name="Close").click()

    page.keyboard.press("1")
    page.reload()
    wait_for_images(page)
    page.keyboard.press("1")
    page.wait_for_timeout(300)
    assert Vote.objects.count() == 0

    page.get_by_role("button", name="Image 2").focus()
    page.keyboard.press("Enter")
    assert settled(page, 1)[0].outcome == "choice"


def test_click_records_the_tile_and_says_so(opened: Opened, ada: User) -> None:
    campaign = make_campaign(images=4, has_files=True)
    page = vote_page(opened, campaign, ada)
    before = images_of(page)

    page.get_by_role("button", name="Image 4").click()

    [vote] = settled(page, 1)
    assert vote.image.get_absolute_url() == before[3]
    expect(page.locator("[data-progress]")).to_have_text("1 voted, 2 left")
    expect(page.locator("[data-live]")).to_contain_text("Recorded: image 4. 1 voted, 2 left")


def test_double_click_is_one_vote(opened: Opened, ada: User) -> None:
    page = still_page(opened, make_campaign(has_files=True), ada)
    before = images_of(page)
    let_pass(page, 1000)

    page.get_by_role("button", name="Image 1").dblclick(delay=10)
    wait_for_other_images(page, than=before)
    settled(page, 1)
    page.wait_for_timeout(300)

    assert Vote.objects.count() == 1


@pytest.mark.parametrize(("passed", "votes"), [(119, 1), (120, 2)])
def test_what_is_pressed_before_anybody_can_have_looked_is_no_vote(
    opened: Opened, ada: User, passed: int, votes: int
) -> None:
    page = still_page(opened, make_campaign(has_files=True), ada)
    before = images_of(page)
    let_pass(page, 1000)
    page.keyboard.press("1")
    wait_for_other_images(page, than=before)

    let_pass(page, passed)
    page.keyboard.press("1")
    settled(page, votes)
    page.wait_for_timeout(300)

    assert Vote.objects.count() == votes


@pytest.mark.parametrize(("passed", "votes"), [(140, 1), (499, 1), (500, 2)])
def test_the_second_click_of_a_slow_double_click_does_not_vote_on_the_next_set(
    opened: Opened, ada: User, passed: int, votes: int
) -> None:
    page = still_page(opened, make_campaign(has_files=True), ada)
    before = images_of(page)
    box = page.get_by_role("button", name="Image 1").bounding_box()
    x, y = box["x"] + 50, box["y"] + 50
    let_pass(page, 1000)

    page.mouse.click(x, y)
    wait_for_other_images(page, than=before)
    let_pass(page, passed)
    page.mouse.move(x, y)
    page.mouse.down(click_count=2)
    page.mouse.up(click_count=2)
    settled(page, votes)
    page.wait_for_timeout(300)

    assert Vote.objects.count() == votes


def test_undo_brings_the_same_order_back_and_the_new_vote_counts(opened: Opened, ada: User) -> None:
    campaign = make_campaign(images=4, tasks=4, has_files=True)
    page = vote_page(opened, campaign, ada)
    first = images_of(page)
    press(page, "1")
    second = images_of(page)
    settled(page, 1)

    press(page, "z")
    assert images_of(page) == first
    press(page, "2")
    assert images_of(page) == second

    votes = settled(page, 2)
    assert [vote.withdrawn_at is None for vote in votes] == [False, True]
    assert votes[1].image.get_absolute_url() == first[1]
    expect(page.locator("[data-progress]")).to_have_text("1 voted, 3 left")


def test_undo_goes_back_several_votes_and_past_a_reload(opened: Opened, ada: User) -> None:
    campaign = make_campaign(tasks=5, has_files=True)
    page = vote_page(opened, campaign, ada)
    seen = []
    for count in (1, 2, 3):
        seen.append(images_of(page))
        press(page, "1")
        settled(page, count)
    page.wait_for_timeout(200)
    page.reload()
    wait_for_images(page)

    for expected in reversed(seen):
        press(page, "Backspace")
        assert images_of(page) == expected

    assert Vote.objects.standing().count() == 0
    expect(page.locator("[data-progress]")).to_have_text("0 voted, 5 left")


def test_two_tabs_show_the_same_work_and_the_second_vote_gives_way(opened: Opened, ada: User) -> None:
    campaign = make_campaign(tasks=4, has_files=True)
    one = vote_page(opened, campaign, ada)
    other = vote_page(opened, campaign, ada)
    assert images_of(one) == images_of(other)

    press(one, "1")
    settled(one, 1)
    press(other, "2")

    expect(other.locator("[data-toast]")).to_contain_text("given to somebody else")
    assert Vote.objects.count() == 1
    assert images_of(one) == images_of(other)


def test_votes_wait_for_the_network_and_are_sent_later(opened: Opened, ada: User) -> None:
    campaign = make_campaign(tasks=4, has_files=True)
    page = vote_page(opened, campaign, ada)
    page.wait_for_load_state("networkidle")

    page.context.set_offline(True)
    press(page, "1")
    press(page, "2")
    expect(page.locator("[data-banner]")).to_have_text("2 votes waiting to be sent")
    assert Vote.objects.count() == 0
    assert page.evaluate("Object.keys(localStorage).filter(name => name.startsWith('hps-vote:')).length") == 2
    page.context.set_offline(False)

    assert [vote.outcome for vote in settled(page, 2)] == ["choice", "choice"]
    expect(page.locator("[data-banner]")).to_be_hidden()
    assert page.evaluate("Object.keys(localStorage).filter(name => name.startsWith('hps-vote:')).length") == 0


def test_an_unsent_vote_is_undone_without_the_network(opened: Opened, ada: User) -> None:
    page = vote_page(opened, make_campaign(tasks=4, has_files=True), ada)
    page.wait_for_load_state("networkidle")
    first = images_of(page)

    page.context.set_offline(True)
    press(page, "1")
    press(page, "z")
    assert images_of(page) == first
    press(page, "t")
    page.context.set_offline(False)

    assert [vote.outcome for vote in settled(page, 1)] == ["tie"]


def test_votes_left_behind_are_sent_after_a_reload(opened: Opened, ada: User) -> None:
    campaign = make_campaign(tasks=4, has_files=True)
    page = vote_page(opened, campaign, ada)
    page.route("**/api/v1/votes", lambda route: route.abort())
    first = images_of(page)
    press(page, "1")

    page.unroute("**/api/v1/votes")
    page.reload()
    wait_for_images(page)

    [vote] = settled(page, 1)
    assert shown(vote) == first
    assert images_of(page) != first


def test_an_answer_that_was_lost_on_the_way_counts_once(opened: Opened, ada: User) -> None:
    page = vote_page(opened, make_campaign(tasks=4, has_files=True), ada)
    lost = []

    def lose_the_first_answer(route: Route) -> None:
        if lost:
            route.continue_()
        else:
            lost.append(route.fetch())
            route.abort()

    page.route("**/api/v1/votes", lose_the_first_answer)
    press(page, "1")
    with page.expect_response(lambda response: response.url.endswith("/votes") and response.status == 200):
        pass

    assert lost[0].status == 201
    assert Vote.objects.count() == 1


def test_an_image_that_fails_can_be_reported(opened: Opened, ada: User) -> None:
    campaign = make_campaign(tasks=2, has_files=True)
    page = opened(user=ada)
    broken = campaign.tasks.order_by("pk").first().images.first()
    page.route(f"**{broken.get_absolute_url()}", lambda route: route.abort())

    page.goto(f"/c/{campaign.slug}/vote/")
    for voted in range(2):
        expect(page.locator("[data-progress]")).to_have_text(f"{voted} voted, {2 - voted} left")
        page.wait_for_selector("[data-state=shown], [data-state=failed]")
        if page.locator("[data-state=failed]").count():
            page.get_by_role("button", name="Report it and go on").click()
        else:
            wait_for_images(page)
            page.keyboard.press("1")
    page.wait_for_url("**/done/")

    assert {vote.outcome: vote.reason for vote in settled(page, 2)} == {"choice": "", "flag": "image_broken"}


def test_finger_on_a_phone(opened: Opened, ada: User) -> None:
    for images in (2, 4):
        campaign = make_campaign(images=images, has_files=True)
        page = vote_page(opened, campaign, ada, size=PHONE, has_touch=True, is_mobile=True)

        assert page.evaluate("document.documentElement.scrollHeight <= innerHeight") is (images == 2)
        for button in page.locator(".vote__form button:visible, .vote__form summary, .vote__form a").all():
            box = button.bounding_box()
            assert box is not None
            assert min(box["width"], box["height"]) >= 48
        tie = page.get_by_role("button", name="No clear winner").bounding_box()
        assert tie is not None
        assert tie["y"] + tie["height"] <= PHONE[1]
        page.get_by_role("button", name=f"Image {images}").tap()
        page.wait_for_timeout(300)
        assert page.evaluate("scrollY") == 0

    assert len(settled(page, 2)) == 2


def test_four_are_in_a_square_and_two_side_by_side_on_a_desk_all_stacked_on_a_phone(opened: Opened, ada: User) -> None:
    page = vote_page(opened, make_campaign(images=4, has_files=True), ada)
    one, two, three, four = (tile.bounding_box() for tile in page.locator(".tile").all())
    assert one["y"] == two["y"] < three["y"] == four["y"]
    assert one["x"] == three["x"] < two["x"] == four["x"]

    stacked = [
        tile.bounding_box()
        for tile in vote_page(opened, make_campaign(images=4, has_files=True), ada, size=PHONE).locator(".tile").all()
    ]
    assert len({box["x"] for box in stacked}) == 1
    assert [box["y"] for box in stacked] == sorted({box["y"] for box in stacked})

    pair = make_campaign(images=2, has_files=True)
    for size, is_side_by_side in [(DESKTOP, True), (PHONE, False)]:
        left, right = (tile.bounding_box() for tile in vote_page(opened, pair, ada, size=size).locator(".tile").all())
        assert (left["y"] == right["y"]) is is_side_by_side


def test_nothing_scrolls_sideways_on_the_narrowest_phone(opened: Opened, ada: User) -> None:
    campaign = make_campaign(images=9, has_files=True, is_synthetic=True)
    examples = [Example(store_example_image(content=picture_bytes(size=(400, 300))), "A tail") for _ in range(2)]
    revise_instructions(campaign=campaign, question="Which?", examples=examples)
    invite, recruitment = make_invite(campaign), make_recruitment(campaign, panel="mturk")
    page = opened(user=ada, size=NARROWEST)

    paths = ["/", f"/c/{campaign.slug}/", f"/c/{campaign.slug}/vote/", f"/c/{campaign.slug}/done/"]
    of_a_panel = [f"{recruitment.get_absolute_url()}{end}?workerId=W&hitId=H&assignmentId=A" for end in ("", "mturk/")]
    for path in [*paths, invite.get_absolute_url(), *of_a_panel, "/accounts/register/"]:
        page.goto(path)
        if path.endswith("/vote/"):
            wait_for_images(page)
            page.locator("[data-skip] > summary").click()
            assert page.evaluate("document.documentElement.scrollWidth") <= 320
            page.locator("[data-flag] > summary").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_the_head_of_the_screen_has_room_on_a_phone_in_every_language(opened: Opened, ada: User) -> None:
    question = "Which of the two images do you like better?"
    campaign = make_campaign(tasks=9, has_files=True, is_synthetic=True, question=question)
    for language, _name in settings.LANGUAGES:
        page = vote_page(opened, campaign, ada, size=PHONE, locale=language)
        before = page.locator(".vote__line").bounding_box()
        page.keyboard.press("t")
        page.locator("[data-said]").wait_for()

        assert page.locator(".vote__question").bounding_box()["width"] == before["width"], language
        assert page.locator("[data-progress]").bounding_box()["height"] < 30, language  # one line
        assert page.locator(".vote__line").bounding_box() == before, language


def test_in_a_narrow_window_with_keys_no_action_lies_on_another(opened: Opened, ada: User) -> None:
    page = vote_page(opened, make_campaign(has_files=True), ada, size=PHONE)
    page.locator("[data-flag] > summary").click()
    shown = page.locator(".vote__more").locator("button:visible, summary:visible, a:visible").all()
    boxes = [box for each in shown if (box := each.bounding_box())]

    assert len(boxes) == 10  # six actions and four reasons
    for one, other in combinations(boxes, 2):
        apart_x = max(one["x"], other["x"]) - min(one["x"] + one["width"], other["x"] + other["width"])
        apart_y = max(one["y"], other["y"]) - min(one["y"] + one["height"], other["y"] + other["height"])
        assert max(apart_x, apart_y) > -1
    for action in page.locator(".vote__more > :visible").all():
        assert action.evaluate("each => each.scrollWidth <= each.clientWidth + 1")


def test_everything_works_without_a_script(opened: Opened, ada: User) -> None:
    campaign = make_campaign(images=4, tasks=3, has_files=True)
    page = opened(f"/c/{campaign.slug}/", user=ada, java_script_enabled=False)
    page.get_by_role("button", name="Start").click()
    first = page.locator(".tile").first.get_attribute("value")

    page.get_by_role("button", name="Image 2").click()
    page.get_by_role("button", name="Undo").click()
    assert page.locator(".tile").first.get_attribute("value") == first
    page.get_by_role("button", name="Image 3").click()
    page.get_by_role("button", name="No clear winner").click()
    page.locator("[data-flag] > summary").click()
    page.get_by_role("button", name="Something else").click()

    assert page.url.endswith(f"/c/{campaign.slug}/done/")
    assert [vote.outcome for vote in Vote.objects.standing().order_by("pk")] == ["choice", "tie", "flag"]


def test_registration_leads_to_the_first_vote(opened: Opened) -> None:
    campaign = make_campaign(has_files=True)
    page = opened(f"/c/{campaign.slug}/")

    page.get_by_role("link", name="Register to start").click()
    page.get_by_label("Username").fill("ben")
    page.get_by_label("Password", exact=True).fill("tall-ships-9")
    page.get_by_label("Password confirmation").fill("tall-ships-9")
    page.locator("main").get_by_role("button", name="Register").click()
    page.get_by_role("button", name="Start").click()
    wait_for_images(page)
    page.keyboard.press("1")

    assert settled(page, 1)[0].annotator.user.username == "ben"


def test_an_invite_leads_to_the_first_vote(opened: Opened) -> None:
    campaign = make_campaign(access=Campaign.Access.INVITED, has_files=True)
    page = opened(make_invite(campaign, max_uses=1).get_absolute_url())

    page.get_by_role("button", name="Join").click()
    page.get_by_role("button", name="Start").click()
    wait_for_images(page)
    page.keyboard.press("1")

    assert settled(page, 1)[0].annotator.source == "invited"
    expect(opened(campaign.invites.get().get_absolute_url()).get_by_role("heading", level=1)).to_have_text(
        "This link does not work any more"
    )


def test_who_is_logged_out_meanwhile_is_asked_to_log_in_and_loses_nothing(opened: Opened, ada: User) -> None:
    page = vote_page(opened, make_campaign(has_files=True), ada)
    page.context.clear_cookies()

    page.keyboard.press("1")

    link = page.get_by_role("link", name="You are logged out. Log in again to send your votes.")
    expect(link).to_be_visible()
    assert re.search(r"/accounts/login/\?next=/c/[^/]+/vote/$", link.get_attribute("href") or "")
    assert page.evaluate("Object.keys(localStorage).filter(name => name.startsWith('hps-vote:')).length") == 1


def test_stop_gives_the_work_back(opened: Opened, ada: User) -> None:
    campaign = make_campaign(has_files=True)
    page = vote_page(opened, campaign, ada)
    assert campaign.slots.filter(state="leased").count() == 3

    # The request outlives the page, so what it does is looked for where it does it.
    page.get_by_role("link", name="Stop").click()
    for _ in range(100):
        if not campaign.slots.filter(state="leased").exists():
            break
        page.wait_for_timeout(50)

    assert campaign.slots.filter(state="open").count() == 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_accessible(opened: Opened, scheme: str) -> None:
    campaign = make_campaign(images=4, tasks=3, has_files=True, is_synthetic=True, instructions="Look closely.")
    invite = make_invite(campaign)
    ada = make_user("ada")
    visitor = opened(color_scheme=scheme)
    for path in ["/", "/accounts/register/", "/accounts/login/", invite.get_absolute_url(), f"/c/{campaign.slug}/"]:
        visitor.goto(path)
        assert violations(visitor) == []

    page = opened(user=ada, color_scheme=scheme)
    for path in ["/", f"/c/{campaign.slug}/", f"/c/{campaign.slug}/done/"]:
        page.goto(path)
        assert violations(page) == []
    page.goto(f"/c/{campaign.slug}/vote/")
    wait_for_images(page)
    assert violations(page) == []
    page.keyboard.press("f")
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert violations(page) == []
    assert Annotator.objects.count() == 1
