"""Windows of a real browser: opened for somebody, in some size, and listened to."""

from collections.abc import Callable
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, ConsoleMessage, Page
from playwright.sync_api import Error as PlaywrightError

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
    """Opens addresses, each in a window of its own; errors of the pages themselves are gathered.

    forgives: what an error may begin with to be left out, such as that of a line which the test itself breaks.
    """

    def __init__(self, browser: Browser, base_url: str, *, forgives: tuple[str, ...] = ()) -> None:
        self.browser, self.base_url, self.forgives = browser, base_url, forgives
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
        page.on("console", self._listen)
        if address:
            page.goto(address)
        return page

    def close(self) -> None:
        for context in self.contexts:
            for page in context.pages:
                leave(page)
            context.close()

    def _listen(self, message: ConsoleMessage) -> None:
        about, page = message.location["url"], message.page
        is_page_itself = page is not None and about == page.url  # such as one that says what isn't there
        is_forgiven = is_page_itself or message.text.startswith(self.forgives)
        if message.type in {"error", "warning"} and not is_forgiven:
            self.complaints.append(f"{about}: {message.text}")


def violations(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{page.url} {rule['id']}: {node['html']}" for rule in found for node in rule["nodes"]]
