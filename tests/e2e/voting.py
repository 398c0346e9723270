"""The voting screen in a browser: how tests open it, wait for it, press its keys and read what came of it."""

from typing import Any

from django.contrib.auth.models import User
from playwright.sync_api import Page

from annotations.models import Campaign, Slot, Task, Vote
from annotations.queries import voting as queries
from tests.annotations.factories import make_campaign, make_task
from tests.e2e.windows import Opened

# How long images have been in sight is counted by the page from a frame after they were shown: this is measured there
# too, since the test may learn of it late, and its own waiting is no measure of what the page saw pass.
UNTIL_LOOKED_AT = "() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 130)))"
STILL_STANDING = "window.passed = 1000; performance.now = () => window.passed;"


def vote_page(opened: Opened, campaign: Campaign, user: User, **options: Any) -> Page:
    page = opened(f"/c/{campaign.slug}/vote/", user=user, **options)
    wait_for_images(page)
    return page


def still_page(opened: Opened, campaign: Campaign, user: User) -> Page:
    """A voting page for which no time passes but what `let_pass` lets pass, however slow the machine."""
    page = opened(user=user)
    page.add_init_script(STILL_STANDING)
    page.goto(f"/c/{campaign.slug}/vote/")
    wait_for_images(page)
    return page


def let_pass(page: Page, milliseconds: int) -> None:
    page.evaluate("milliseconds => { window.passed += milliseconds; }", milliseconds)


def wait_for_images(page: Page) -> None:
    """Until all images are in sight, and for as long as nobody could have decided."""
    page.wait_for_selector("[data-vote][data-state=shown]")
    page.evaluate(UNTIL_LOOKED_AT)


def wait_for_other_images(page: Page, *, than: list[str]) -> None:
    page.wait_for_function(
        "before => document.querySelector('.tile__image')?.src.endsWith(before) === false", arg=than[0]
    )
    wait_for_images(page)


def images_of(page: Page) -> list[str]:
    return page.eval_on_selector_all(".tile__image", "images => images.map(image => new URL(image.src).pathname)")


def press(page: Page, key: str) -> None:
    """One key, and the next set (or the end) after it."""
    before = images_of(page)
    page.keyboard.press(key)
    page.wait_for_function(
        """before => !document.querySelector('[data-vote]')
            || ['waiting', 'failed', 'paused', 'feedback'].includes(document.querySelector('[data-vote]').dataset.state)
            || document.querySelector('[data-vote]').dataset.state === 'shown'
               && document.querySelector('.tile__image')?.src.endsWith(before) === false""",
        arg=before[0],
    )
    if page.locator("[data-vote][data-state=shown]").count():
        page.evaluate(UNTIL_LOOKED_AT)


def settled(page: Page, count: int) -> list[Vote]:
    """The votes in the database as soon as there are `count`."""
    for _ in range(100):
        if Vote.objects.count() >= count:
            break
        page.wait_for_timeout(50)
    return [*Vote.objects.select_related("image").order_by("pk")]


def shown(vote: Vote) -> list[str]:
    """The addresses of the images of a vote in the order in which they were shown."""
    slot = Slot.objects.get(pk=vote.slot_id)
    return [image.get_absolute_url() for image in queries.images_in_order([slot])[slot.pk]]


def make_practice(*, practice: int = 2, tasks: int = 2, **fields: Any) -> Campaign:
    """A campaign in which the practice tasks come first."""
    campaign = make_campaign(tasks=tasks, has_files=True, practice_tasks=practice, **fields)
    for _ in range(practice):
        task = make_task(campaign=campaign, purpose=Task.Purpose.PRACTICE, has_files=True)
        task.slots.update(sort_key=-1)
    return campaign
