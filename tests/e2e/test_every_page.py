"""Every page of the site in a real browser: axe finds nothing, nothing is wider than the window, the policy is kept.

The pages are those of the site's own addresses: a new address is walked too, or is named as no page.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.urls import URLPattern, get_resolver, reverse
from playwright.sync_api import Page

from annotations.models import Annotator, Campaign
from tests.annotations.factories import (
    make_annotator,
    make_campaign,
    make_generator,
    make_image,
    make_invite,
    make_prompt,
    make_recruitment,
)
from tests.e2e.test_quality import moderated_campaign
from tests.e2e.test_runs import make_done
from tests.e2e.windows import DESKTOP, PHONE, Opened
from tests.hps_site.dashboard import test_stored as stored
from tests.worker.labels import make_labelling

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]

# Answers to forms, parts of pages, files and data.
NO_PAGES = {
    "dashboard": {
        *("found-images", "begin-upload", "upload", "upload-part", "campaign-state", "preview-undo", "preview-claims"),
        *("preview-votes", "preview-undo-vote", "preview-heartbeat", "preview-release", "preview-progress"),
        *("gold-made", "gold-of-one-mind", "gold-by-hand", "gold-retire", "export", "score"),
        *("strike-out", "unstrike", "train-on-labelling"),
    },
    "worker": {
        *("open-run", "cancel-run", "retry-run", "snapshot-file", "roll-back", "promote-version"),
        *("sample", "prove-adapter", "reject-version"),
    },
    "annotations": {"undo", "finish", "leave", "my-data", "image"},
}
FOR_VISITORS = {"register", "join", "recruit", "mturk", "erased"}
PROLIFIC = urlencode({"PROLIFIC_PID": "5f3a", "STUDY_ID": "study1", "SESSION_ID": "session1"})
MTURK = urlencode({"workerId": "W1", "hitId": "H1", "assignmentId": "A1"})


def names_of(room: str) -> Iterator[str]:
    """The names of a room's pages."""
    _prefix, resolver = get_resolver().namespace_dict[room]
    for pattern in resolver.url_patterns:
        assert isinstance(pattern, URLPattern)
        if pattern.name not in NO_PAGES[room]:
            yield str(pattern.name)


@pytest.fixture
def addresses(boss: User, files: Path) -> dict[str, str]:
    """Each page's address by its name, in a world in which each has something to show."""
    careless = moderated_campaign()
    prompt = make_prompt()
    for name in ("cedar", "dogwood"):
        make_image(prompt=prompt, generator=make_generator(name))
    run = make_done(files)
    birds = Campaign.objects.get(slug="birds")
    stored.make_done(birds, "leave_out", stored.left_out_metrics())
    stored.make_done(birds, "sets", stored.set_report(stored.difference(-0.25, 0.5)).to_record())
    draft = make_campaign(slug="draft", tasks=2, state=Campaign.State.DRAFT, has_files=True, gold_share=0.1)
    draft.manifest_rows.create(source="x", number=7, file="a.png", problem="file: it is not there")
    open_to_all = make_campaign(slug="open", tasks=3, has_files=True, is_synthetic=True, instructions="Look closely.")
    asking = make_campaign(slug="asking", has_files=True, consent="We keep your choices.", asks_about_people=True)
    make_annotator(user=boss)
    paused = make_annotator()
    Annotator.objects.filter(pk=paused.pk).update(state=Annotator.State.PAUSED)

    groups: list[tuple[str, list[Any]]] = [
        ("campaign-page campaign-settings campaign-instructions campaign-images campaign-clone preview", [draft.slug]),
        ("person pause exclude", [careless.public_id]),
        ("restore", [paused.public_id]),
        ("quality gold agreement dashboard:campaign", ["birds"]),
        ("labelling", [make_labelling().public_id]),
        ("run", [run.public_id]),
        ("version", [run.version.public_id]),
        ("annotations:campaign vote done", [open_to_all.slug]),
        ("consent goodbye about-you", [asking.slug]),
        ("join", [open_to_all.slug, make_invite(open_to_all).code]),
        ("recruit", [asking.slug, make_recruitment(asking).code]),
        ("mturk", [asking.slug, make_recruitment(asking, panel="mturk").code]),
    ]
    args = {name: values for names, values in groups for name in names.split()}
    named = {
        name: reverse(f"{room}:{name}", args=args.get(f"{room}:{name}", args.get(name, [])))
        for room in ("annotations", "worker")
        for name in names_of(room)
    }
    for name in names_of("dashboard"):
        key = "report" if name == "campaign" else name
        named[key] = reverse(f"dashboard:{name}", args=args.get(f"dashboard:{name}", args.get(name, [])))
    with_ids = {"recruit": f"{named['recruit']}?{PROLIFIC}", "mturk": f"{named['mturk']}?{MTURK}"}
    return named | with_ids | {"login": reverse("login")}


def faults(page: Page, address: str, width: int) -> list[str]:
    """What is wrong with a page."""
    answer = page.goto(address)
    assert answer is not None
    if answer.status != 200 or urlsplit(page.url).path != urlsplit(address).path:
        return [f"{address}: {answer.status}, {page.url}"]
    page.evaluate("document.querySelectorAll('details.more').forEach((each) => (each.open = true))")
    found = Axe().run(page).response["violations"]
    told = [f"{address} {rule['id']}: {node['html']}" for rule in found for node in rule["nodes"]]
    if page.evaluate("document.documentElement.scrollWidth") > width:
        told.append(f"{address}: it is wider than the window")
    return told


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
def test_every_page_can_be_read_by_everyone(
    opened: Opened, boss: User, addresses: dict[str, str], size: tuple[int, int], scheme: str
) -> None:
    visitor = opened(size=size, color_scheme=scheme)
    staff = opened(size=size, color_scheme=scheme, user=boss)

    told = [
        fault
        for name, address in addresses.items()
        for fault in faults(visitor if name in {*FOR_VISITORS, "login"} else staff, address, size[0])
    ]

    assert told == []
