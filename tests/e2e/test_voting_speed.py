"""How long people wait from one set to the next, on a slow line and with large images."""

import io
from typing import Any

import numpy as np
import PIL.Image
import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page

from tests.annotations.factories import make_campaign, make_image, make_prompt, make_task
from tests.e2e.voting import settled
from tests.e2e.windows import Opened

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]

LATENCY_MS = 150
VOTES = 22
SECONDS_PER_VOTE = 0.9
SIDE = 600  # pixels; as noise, which no format makes smaller, a little more than 1 MB

# From the key to the frame after the one that shows the next images; only then is it certain that they were painted.
MEASURE = """
    window.waits = [];
    document.addEventListener("keydown", () => {
        const start = performance.now();
        const before = document.querySelector(".tile__image").src;
        const look = () => {
            const image = document.querySelector(".tile__image");
            const isNext = document.querySelector("[data-vote]").dataset.state === "shown" && image.src !== before;
            const isWhole = [...document.querySelectorAll(".tile__image")].every((each) => each.complete);
            if (isNext && isWhole) {
                requestAnimationFrame(() => window.waits.push(performance.now() - start));
            } else {
                requestAnimationFrame(look);
            }
        };
        look();
    }, {capture: true});
"""


def noise(seed: int) -> bytes:
    """A PNG of more than a megabyte."""
    pixels = np.random.default_rng(seed).integers(0, 256, size=(SIDE, SIDE, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, format="PNG", compress_level=0)
    return buffer.getvalue()


def slow_down(page: Page) -> None:
    """Let each answer take as long as on a line to another continent."""
    client: Any = page.context.new_cdp_session(page)
    client.send("Network.enable")
    client.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": LATENCY_MS, "downloadThroughput": -1, "uploadThroughput": -1},
    )


def test_the_next_set_is_there_in_a_tenth_of_a_second(opened: Opened, ada: User) -> None:
    campaign = make_campaign(tasks=0, too_fast_ms=50, break_after=0)
    for task in range(VOTES + 4):
        prompt = make_prompt()
        images = [make_image(prompt=prompt, content=noise(2 * task + side)) for side in range(2)]
        assert all(image.file.size > 1_000_000 for image in images)
        make_task(campaign=campaign, prompt=prompt, images=images)
    page = opened(user=ada)
    slow_down(page)
    page.add_init_script(MEASURE)
    page.goto(f"/c/{campaign.slug}/vote/")
    page.wait_for_selector("[data-vote][data-state=shown]")
    page.wait_for_load_state("networkidle")

    for vote in range(VOTES):
        page.wait_for_timeout(1000 * SECONDS_PER_VOTE)
        page.keyboard.press("12"[vote % 2])
    page.wait_for_function("votes => waits.length === votes", arg=VOTES)

    waits = page.evaluate("waits")
    print(f"median {np.median(waits):.0f} ms, 95th percentile {np.quantile(waits, 0.95):.0f} ms")
    assert len(settled(page, VOTES)) == VOTES
    assert np.median(waits) < 100
    assert np.quantile(waits, 0.95) < 250
