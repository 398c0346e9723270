"""What the voting screen does beyond taking choices: practice, breaks, late ties, refusals, discretion, telemetry."""

import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page, Response, Route, expect

from annotations.models import Annotator, Campaign, Vote
from tests.annotations.factories import make_campaign, make_generator, make_image, make_prompt, make_task
from tests.e2e.voting import (
    images_of,
    let_pass,
    make_practice,
    press,
    settled,
    still_page,
    vote_page,
    wait_for_images,
)
from tests.e2e.windows import PHONE, Opened, violations

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


def state(page: Page) -> str:
    return page.locator("[data-vote]").get_attribute("data-state") or ""


# Practice


def test_practice_tells_what_is_right_and_then_come_the_real_ones(opened: Opened, ada: User) -> None:
    campaign = make_practice(practice=2, tasks=2)
    expected = {str(task.expected.public_id) for task in campaign.tasks.filter(purpose="practice")}
    page = vote_page(opened, campaign, ada)

    for is_right in (True, False):
        wait_for_images(page)
        expect(page.get_by_text("Practice", exact=True)).to_be_visible()
        values = [tile.get_attribute("value") for tile in page.locator(".tile").all()]
        right = next(n for n, value in enumerate(values, start=1) if value in expected)
        page.keyboard.press(str(right if is_right else 3 - right))
        text = f"Right: image {right} is" if is_right else f"Nearly everybody would choose image {right}"
        expect(page.locator("[data-feedback]")).to_contain_text(text)
        assert page.locator(".tile.is-expected").get_attribute("value") == values[right - 1]
        assert violations(page) == []
        page.keyboard.press("1")  # no vote while the answer is told
        page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Now the real ones")).to_be_visible()
    expect(page.locator("[data-progress]")).to_contain_text("0 voted")
    assert violations(page) == []
    page.keyboard.press("Enter")
    wait_for_images(page)
    expect(page.get_by_text("Practice", exact=True)).to_be_hidden()
    press(page, "1")

    votes = settled(page, 3)
    assert [vote.task.purpose for vote in votes] == ["practice", "practice", "regular"]
    expect(page.locator("[data-progress]")).to_contain_text("1 voted")


def test_practice_without_a_script_tells_the_same(opened: Opened, ada: User) -> None:
    campaign = make_practice(practice=1, tasks=1)
    expected = str(campaign.tasks.get(purpose="practice").expected.public_id)
    page = opened(f"/c/{campaign.slug}/", user=ada, java_script_enabled=False)
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("Practice", exact=True)).to_be_visible()

    values = [tile.get_attribute("value") for tile in page.locator(".tile").all()]
    wrong = next(n for n, value in enumerate(values, start=1) if value != expected)
    page.get_by_role("button", name=f"Image {wrong}").click()

    expect(page.get_by_text(f"Nearly everybody would choose image {3 - wrong} here.")).to_be_visible()
    expect(page.get_by_text("Now the real ones. From here on there is no right answer")).to_be_visible()


# Breaks and late ties


def test_a_break_is_offered_after_so_many_votes(opened: Opened, ada: User) -> None:
    page = still_page(opened, make_campaign(tasks=5, has_files=True, break_after=2), ada)
    let_pass(page, 300)
    press(page, "1")

    let_pass(page, 300)
    page.keyboard.press("1")
    expect(page.get_by_role("heading", name="You have done 2. Take a moment.")).to_be_visible()
    assert violations(page) == []
    settled(page, 2)
    page.keyboard.press("1")
    page.keyboard.press("z")
    page.wait_for_timeout(300)
    assert (state(page), Vote.objects.standing().count()) == ("paused", 2)
    let_pass(page, 60_000)
    page.get_by_role("button", name="Continue").click()
    wait_for_images(page)
    let_pass(page, 300)
    press(page, "2")

    votes = settled(page, 3)
    assert votes[2].shown_ms == 300  # the clock rested too
    expect(page.locator("[data-progress]")).to_have_text("3 voted, 2 left")


def test_a_tie_waits_until_the_images_were_looked_at(opened: Opened, ada: User) -> None:
    page = still_page(opened, make_campaign(has_files=True, tie_after_ms=2500), ada)
    tie, bad = page.get_by_role("button", name="No clear winner"), page.get_by_role("button", name="All bad")
    for button in (tie, bad):
        expect(button).to_have_attribute("aria-disabled", "true")
        expect(button.locator("[data-late-count]")).to_have_text("3 s")
    assert violations(page) == []

    let_pass(page, 2499)
    page.keyboard.press("t")
    bad.click(force=True)
    expect(page.locator("[data-toast]")).to_contain_text("Please look a little longer")
    expect(tie.locator("[data-late-count]")).to_have_text("1 s")
    assert Vote.objects.count() == 0
    let_pass(page, 1)
    expect(page.locator("[data-live]")).to_have_text("That there is no clear winner can be said now.")
    expect(tie).not_to_have_attribute("aria-disabled", "true")
    page.keyboard.press("t")

    [vote] = settled(page, 1)
    assert (vote.outcome, vote.client["tie_after_ms"], vote.shown_ms) == ("tie", 2500, 2500)


# How a vote was given


def test_time_out_of_sight_is_told_apart(opened: Opened, ada: User) -> None:
    page = still_page(opened, make_campaign(has_files=True), ada)
    let_pass(page, 200)

    for is_hidden in ("true", "false"):
        page.evaluate(f"Object.defineProperty(document, 'hidden', {{value: {is_hidden}, configurable: true}})")
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        let_pass(page, 700 if is_hidden == "true" else 150)
    page.evaluate("window.dispatchEvent(new Event('blur'))")
    page.get_by_role("button", name="Image 1").click()

    [vote] = settled(page, 1)
    assert (vote.shown_ms, vote.hidden_ms) == (350, 700)
    assert vote.client == {
        "input": "pointer", "zoomed": False, "flickered": False, "viewport": [1280, 800], "blurs": 1,
    }  # fmt: skip


# Work that is kept, given back and found again


def test_who_leaves_keeps_the_work_for_half_a_minute_and_finds_it_on_another_device(opened: Opened, ada: User) -> None:
    campaign = make_campaign(images=4, has_files=True, lease_seconds=600)
    page = vote_page(opened, campaign, ada)
    seen = images_of(page)

    def leases() -> list[timedelta]:
        return [slot.lease_until - timezone.now() for slot in campaign.slots.filter(state="leased")]

    page.goto("/")
    wait_until(page, lambda: max(leases()) <= timedelta(seconds=30))
    assert len(leases()) == 3

    other = vote_page(opened, campaign, ada, size=PHONE, has_touch=True, is_mobile=True)
    assert images_of(other) == seen
    wait_until(page, lambda: min(leases()) > timedelta(seconds=500))
    assert len(leases()) == 3


def test_votes_left_behind_are_counted_from_the_start(opened: Opened, ada: User) -> None:
    page = vote_page(opened, make_campaign(tasks=5, has_files=True), ada)
    page.route("**/api/v1/votes", lambda route: route.abort())
    press(page, "1")
    press(page, "2")
    page.reload()
    wait_for_images(page)

    expect(page.locator("[data-progress]")).to_have_text("2 voted, 3 left")
    expect(page.locator("[data-banner]")).to_have_text("2 votes waiting to be sent")
    assert violations(page) == []
    third = images_of(page)
    page.unroute("**/api/v1/votes")
    settled(page, 2)
    press(page, "z")
    assert images_of(page) != third
    expect(page.locator("[data-progress]")).to_have_text("1 voted, 4 left")


@pytest.mark.parametrize("answered_first", ["undo", "progress"])
def test_the_count_is_right_however_its_answer_and_that_of_an_undo_cross(
    opened: Opened, ada: User, answered_first: str
) -> None:
    page = vote_page(opened, make_campaign(tasks=5, has_files=True), ada)
    page.route("**/api/v1/votes", lambda route: route.abort())
    press(page, "1")
    press(page, "2")
    page.reload()
    wait_for_images(page)
    progress, undo = held(page, "**/progress"), held(page, "**/undo")

    page.unroute("**/api/v1/votes")
    wait_until(page, lambda: progress)
    if answered_first == "undo":
        counted_before = progress[0].fetch()
        page.keyboard.press("z")
        wait_until(page, lambda: undo)
        undo[0].continue_()
        expect(page.locator("[data-progress]")).to_have_text("1 voted, 4 left")
        progress[0].fulfill(response=counted_before)
    else:
        page.keyboard.press("z")
        wait_until(page, lambda: undo)
        undone = undo[0].fetch()
        progress[0].continue_()
        expect(page.locator("[data-progress]")).to_have_text("1 voted, 4 left")
        undo[0].fulfill(response=undone)

    page.wait_for_timeout(500)
    expect(page.locator("[data-progress]")).to_have_text("1 voted, 4 left")


def held(page: Page, address: str) -> list[Route]:
    """Where the next request to this address comes to lie instead of being sent; those after it pass."""
    routes: list[Route] = []
    page.route(address, lambda route: route.continue_() if routes else routes.append(route))
    return routes


def wait_until(page: Page, has_come: Callable[[], object]) -> None:
    for _ in range(100):
        if has_come():
            return
        page.wait_for_timeout(50)
    pytest.fail("it did not come within five seconds")


def test_two_tabs_send_what_was_left_behind_once(opened: Opened, ada: User) -> None:
    campaign = make_campaign(tasks=5, has_files=True)
    page = vote_page(opened, campaign, ada)
    page.context.route("**/api/v1/votes", lambda route: route.abort())
    press(page, "1")
    other = page.context.new_page()
    other.goto(f"/c/{campaign.slug}/vote/")
    wait_for_images(other)
    page.context.unroute("**/api/v1/votes")

    settled(page, 1)
    for tab in (page, other):
        expect(tab.locator("[data-banner]")).to_be_hidden(timeout=20_000)
        expect(tab.locator("[data-toast]")).to_be_hidden()
        expect(tab.locator("[data-progress]")).to_have_text("1 voted, 4 left")
    assert Vote.objects.count() == 1


def test_flagged_images_leave_the_sets_that_are_already_here(opened: Opened, ada: User) -> None:
    campaign = make_campaign(tasks=0)
    prompt = make_prompt()
    one, two, three, four, five = (make_image(prompt=prompt) for _ in range(5))
    for place, images in enumerate([[one, two], [two, three], [four, five]]):
        make_task(campaign=campaign, prompt=prompt, images=images).slots.update(sort_key=place)
    page = vote_page(opened, campaign, ada)

    page.keyboard.press("f")
    press(page, "2")

    assert set(images_of(page)) == {four.get_absolute_url(), five.get_absolute_url()}
    press(page, "1")
    page.wait_for_url("**/done/")
    assert [vote.outcome for vote in settled(page, 2)] == ["flag", "choice"]


# Refusals


def test_each_refusal_says_what_can_be_done(opened: Opened, ada: User) -> None:
    make_campaign(slug="birds", tasks=2, has_files=True)
    page = opened(user=ada)

    for code, title, link, address in [
        ("consent_needed", "One thing before you go on", "Read and agree", "/c/birds/consent/"),
        ("cap_reached", "That is all we ask of one person", "See how it went", "/c/birds/done/"),
        ("campaign_not_running", "The campaign is resting", "Other campaigns", "/"),
        ("annotator_paused", "Your voting is paused", "Other campaigns", "/"),
        ("annotator_excluded", "You can no longer vote here", "Back to the start", "/"),
        ("invite_needed", "By invitation", "About this campaign", "/c/birds/"),
        ("place_given_back", "Your place was given to somebody else", "Back to the start", "/"),
        ("something_new", "This does not go on just now", "About this campaign", "/c/birds/"),
    ]:
        body = json.dumps({"code": code, "detail": f"So says the server: {code}."})
        page.unroute_all()
        page.route("**/claims", partial(Route.fulfill, status=403, content_type="application/json", body=body))
        page.goto("/c/birds/vote/")
        expect(page.get_by_role("heading", name=title)).to_be_visible()
        expect(page.get_by_text(f"So says the server: {code}.")).to_be_visible()
        expect(page.get_by_role("link", name=link, exact=True)).to_have_attribute("href", address)
        expect(page.get_by_role("button", name="Try again")).to_be_visible(visible=code != "cap_reached")
    assert violations(page) == []


def test_a_campaign_that_pauses_lets_people_finish_what_they_hold(opened: Opened, ada: User) -> None:
    campaign = make_campaign(tasks=3, has_files=True)
    page = vote_page(opened, campaign, ada)
    page.wait_for_load_state("networkidle")
    Campaign.objects.update(state=Campaign.State.PAUSED)

    for _ in range(3):
        press(page, "1")
    expect(page.get_by_role("heading", name="The campaign is resting")).to_be_visible()
    assert len(settled(page, 3)) == 3

    campaign = Campaign.objects.get()
    make_task(campaign=campaign, has_files=True)
    Campaign.objects.update(state=Campaign.State.RUNNING)
    page.get_by_role("button", name="Try again").click()
    wait_for_images(page)


def test_a_person_who_is_excluded_is_told(opened: Opened, ada: User) -> None:
    page = vote_page(opened, make_campaign(tasks=6, has_files=True), ada)
    page.wait_for_load_state("networkidle")
    Annotator.objects.update(state=Annotator.State.EXCLUDED)

    page.keyboard.press("1")

    expect(page.get_by_role("heading", name="You can no longer vote here")).to_be_visible()
    assert Vote.objects.count() == 0


# Discretion and long texts


def test_nothing_that_reaches_the_browser_tells_where_an_image_comes_from(opened: Opened, ada: User) -> None:
    campaign = make_campaign(tasks=0)
    secrets = []
    for number in range(5):
        prompt = make_prompt(tags=["secret-tag"], source="secret-source.json")
        names = [f"secret-model-{number}-{side}" for side in "ab"]
        generators = [make_generator(name, settings={"lora": "secret-lora"}) for name in names]
        images = [
            make_image(prompt=prompt, generator=generator, seed=987_654_321, settings={"sampler": "secret-sampler"})
            for generator in generators
        ]
        make_task(campaign=campaign, prompt=prompt, images=images)
        secrets += [name for image in images for name in (image.sha256, image.file.name)]
    page = opened(user=ada)
    sent: list[str] = []

    def keep(response: Response) -> None:
        sent.extend([response.url, json.dumps(response.headers)])
        if response.request.resource_type in {"document", "fetch", "xhr"} and response.status < 300:
            sent.append(response.text())

    page.on("response", keep)
    page.goto(f"/c/{campaign.slug}/vote/")
    wait_for_images(page)
    press(page, "1")
    page.keyboard.press("f")
    press(page, "1")
    press(page, "z")
    page.wait_for_load_state("networkidle")
    sent.append(page.content())

    everything = "\n".join(sent)
    assert everything.count("/images/") > 10
    for secret in ["secret", "987654321", *secrets]:
        assert secret not in everything


def test_a_long_prompt_is_folded_with_a_button_that_says_so(opened: Opened, ada: User) -> None:
    campaign = make_campaign(tasks=0)
    text = "a very long description of a market in the rain " * 30
    make_task(campaign=campaign, prompt=make_prompt(text.strip()), has_files=True)
    page = vote_page(opened, campaign, ada)
    prompt = page.locator("[data-prompt]")
    folded = prompt.bounding_box()["height"]

    page.get_by_role("button", name="Show the whole text").click()
    whole = prompt.bounding_box()["height"]
    page.get_by_role("button", name="Show less").click()

    assert folded == prompt.bounding_box()["height"] < whole
    assert prompt.inner_text() == text.strip()
    without = opened(f"/c/{campaign.slug}/vote/", user=ada, java_script_enabled=False)
    assert without.locator("[data-prompt]").bounding_box()["height"] == whole


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_list_of_keys_is_accessible_while_a_key_is_awaited(opened: Opened, ada: User, scheme: str) -> None:
    page = vote_page(opened, make_campaign(has_files=True), ada, color_scheme=scheme)
    page.keyboard.press("?")
    page.get_by_role("button", name="Change the key: Skip", exact=True).click()

    assert violations(page) == []


def test_all_images_appear_in_one_frame_and_only_decoded(opened: Opened, ada: User) -> None:
    campaign = make_campaign(images=4, candidates=4, tasks=3, has_files=True)
    page = opened(user=ada)
    slow = campaign.tasks.order_by("pk").first().images.first().get_absolute_url()
    page.route(f"**{slow}", lambda route: (page.wait_for_timeout(500), route.continue_()))
    page.add_init_script(
        """
        window.frames_seen = [];
        const look = () => {
            const root = document.querySelector("[data-vote]");
            const images = [...document.querySelectorAll(".tile__image")].filter(each => each.checkVisibility());
            if (root?.dataset.state === "shown") frames_seen.push([images.length, images.every(each => each.complete)]);
            requestAnimationFrame(look);
        };
        look();
        """
    )
    page.goto(f"/c/{campaign.slug}/vote/")
    for _ in range(2):
        wait_for_images(page)
        press(page, "1")

    seen: list[Any] = page.evaluate("frames_seen")
    assert len(seen) > 5
    assert all(frame == [4, True] for frame in seen)
