"""The voting screen in a browser: how tests open it, wait for it, press its keys and read what came of it."""

from collections.abc import Callable
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, Page
from playwright.sync_api import Error as PlaywrightError

from annotations.models import Campaign, Slot, Task, Vote
from annotations.queries import voting as queries
from tests.annotations.factories import make_campaign, make_task

DESKTOP, PHONE, NARROWEST = (1280, 800), (390, 844), (320, 640)

Opened = Callable[..., Page]


def leave(page: Page) -> None:
    """Ends what a page still loads: a window that is closed meanwhile may hang."""
    try:
        page.goto("about:blank")
    except PlaywrightError:  # it was on its way to another page
        page.wait_for_load_state()
        page.goto("about:blank")


class Windows:
    """Opens addresses, each in a window of its own; errors of the pages themselves are gathered."""

    def __init__(self, browser: Browser, base_url: str) -> None:
        self.browser, self.base_url = browser, base_url
        self.contexts: list[Any] = []
        self.complaints: list[str] = []

    def open(
        self, address: str = "", *, user: User | None = None, size: tuple[int, int] = DESKTOP, **options: Any
    ) -> Page:
        context = self.browser.new_context(
            viewport={"width": size[0], "height": size[1]}, base_url=self.base_url, **options
        )
        context.set_default_timeout(10_000)
        self.contexts.append(context)
        if user is not None:
            client = Client()
            client.force_login(user)
            cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
            context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": self.base_url}])
        page = context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self._listen(message.text))
        if address:
            page.goto(address)
        return page

    def close(self) -> None:
        for context in self.contexts:
            for page in context.pages:
                leave(page)
            context.close()

    def _listen(self, text: str) -> None:
        if "Content Security Policy" in text:
            self.complaints.append(text)


def vote_page(opened: Opened, campaign: Campaign, user: User, **options: Any) -> Page:
    page = opened(f"/c/{campaign.slug}/vote/", user=user, **options)
    wait_for_images(page)
    return page


def wait_for_images(page: Page) -> None:
    """Until all images are in sight, and for as long as nobody could have decided."""
    page.wait_for_selector("[data-vote][data-state=shown]")
    page.wait_for_timeout(140)


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
    page.wait_for_timeout(140)


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


def violations(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{page.url} {rule['id']}: {node['html']}" for rule in found for node in rule["nodes"]]
