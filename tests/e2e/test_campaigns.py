"""Making a campaign in a real browser: from an upload whose connection breaks, from a folder, to its start."""

import io
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import Page, Route, expect

from annotations.imports.containers import open_archive, read_file
from annotations.models import Campaign, Slot, Upload, UploadPart, Vote
from annotations.services import uploads
from annotations.services.uploads import open_upload
from tests.annotations.factories import make_campaign, make_generator, make_image, make_prompt, picture_bytes
from tests.annotations.packages import two_generators, zip_of
from tests.e2e.voting import wait_for_images
from tests.e2e.windows import DESKTOP, PHONE, Opened
from worker.models import Run
from worker.services.execution import execute_run

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]

NEW = "/dashboard/campaigns/new/"


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch) -> None:
    from worker.services import runs

    monkeypatch.setattr(runs, "_send", lambda _run_id: None)
    monkeypatch.setattr(uploads, "PART_BYTES", 200)


def run_import() -> None:
    execute_run(run_id=Run.objects.get(kind=Run.Kind.IMPORT).pk, worker="test")


def choose_upload(page: Page, file: Path) -> None:
    page.get_by_label("An upload: a ZIP file").check()
    page.get_by_label("A ZIP or TAR file").set_input_files(file)


def test_a_campaign_from_an_upload_whose_connection_broke_until_it_runs(
    opened: Opened, boss: User, tmp_path: Path
) -> None:
    file = tmp_path / "foxes.zip"
    file.write_bytes(zip_of(two_generators(prompts=3)))
    page = opened(NEW, user=boss)
    sent: list[str] = []

    def break_after_three(route: Route) -> None:
        if len(sent) >= 3:
            route.abort("connectionreset")
        else:
            sent.append(route.request.url)
            route.continue_()

    page.route("**/uploads/*/*/", break_after_three)
    page.get_by_label("Name").fill("Foxes")
    choose_upload(page, file)
    expect(page.get_by_text("No connection. The upload goes on by itself")).to_be_visible()
    page.get_by_role("button", name="Make the draft").click()
    expect(page.get_by_text("Please wait until the file is sent.")).to_be_visible()
    assert UploadPart.objects.count() == 3

    # The page is left in the middle and opened anew; what is there is not sent again.
    again = opened(NEW, user=boss)
    put: list[str] = []
    again.on("request", lambda request: put.append(request.url) if request.method == "PUT" else None)
    again.get_by_label("Name").fill("Foxes")
    choose_upload(again, file)
    expect(again.get_by_text("foxes.zip is sent.")).to_be_visible()
    upload = Upload.objects.get()
    assert len(put) == upload.part_count - 3
    assert open_upload(upload).read() == file.read_bytes()

    again.get_by_role("button", name="Make the draft").click()
    expect(again.get_by_text("Not ready yet")).to_be_visible()
    expect(again.get_by_role("button", name="Start")).to_be_disabled()
    run_import()
    expect(again.get_by_text("3 tasks were made.")).to_be_visible()
    expect(again.get_by_role("heading", name="Ready to start")).to_be_visible()
    again.get_by_role("button", name="Start").click()
    expect(again.get_by_text("Foxes is now running.")).to_be_visible()
    assert (Campaign.objects.get().state, Slot.objects.count()) == ("running", 9)


def test_an_upload_goes_on_by_itself_when_the_connection_is_back(opened: Opened, boss: User, tmp_path: Path) -> None:
    file = tmp_path / "foxes.zip"
    file.write_bytes(zip_of(two_generators()))
    page = opened(NEW, user=boss)
    failed: set[str] = set()

    def fail_once(route: Route) -> None:
        if route.request.url in failed:
            route.continue_()
        else:
            failed.add(route.request.url)
            route.abort("connectionreset")

    page.route("**/uploads/*/*/", fail_once)
    choose_upload(page, file)

    expect(page.get_by_text("foxes.zip is sent.")).to_be_visible(timeout=15_000)
    assert len(failed) == Upload.objects.get().part_count


def test_a_file_that_changed_is_sent_anew(opened_by_staff: Opened, tmp_path: Path) -> None:
    file = tmp_path / "foxes.zip"
    file.write_bytes(b"a" * 1000)
    page = opened_by_staff(NEW)
    choose_upload(page, file)
    expect(page.get_by_text("foxes.zip is sent.")).to_be_visible()
    file.write_bytes(b"b" * 1000)

    page = opened_by_staff(NEW)
    choose_upload(page, file)
    expect(page.get_by_text("foxes.zip is sent.")).to_be_visible()

    assert open_upload(Upload.objects.get()).read() == b"b" * 1000


def test_a_folder_is_sent_as_a_tar(opened_by_staff: Opened, tmp_path: Path) -> None:
    long_name = f"{'deep/' * 20}{'x' * 60}-é.png"
    files = two_generators() | {long_name: picture_bytes()}
    folder = tmp_path / "set"
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    page = opened_by_staff(NEW)

    page.get_by_label("An upload: a ZIP file").check()
    page.get_by_label("or a folder", exact=True).set_input_files(folder)
    expect(page.get_by_text("set.tar is sent.")).to_be_visible()

    archive = open_archive("set.tar", io.BytesIO(open_upload(Upload.objects.get()).read()))
    assert {name: read_file(archive, name) for name in archive.sizes} == {
        f"set/{name}": content for name, content in files.items()
    }


def test_the_page_shows_what_belongs_to_the_source(opened_by_staff: Opened) -> None:
    prompt = make_prompt()
    for name in ("alder", "birch"):
        make_image(prompt=prompt, generator=make_generator(name))
    page = opened_by_staff(NEW)
    expect(page.get_by_text("Choose at least two generators to compare.")).to_be_visible()
    expect(page.get_by_label("A ZIP or TAR file")).to_be_hidden()

    page.get_by_label("alder").check()
    page.get_by_label("birch").check()
    expect(page.get_by_text("1 prompt with 2 images fits.")).to_be_visible()
    page.get_by_label("An upload: a ZIP file").check()
    expect(page.get_by_label("alder")).to_be_hidden()
    expect(page.get_by_label("A ZIP or TAR file")).to_be_visible()


def vote(page: Page, key: str, progress: str) -> str:
    """Presses a key once the images may be chosen; gives the prompt that was voted on."""
    wait_for_images(page)
    prompt = page.locator("[data-prompt]").inner_text()
    page.keyboard.press(key)
    expect(page.locator("[data-progress]")).to_have_text(progress)
    return prompt


def wait_for_the_next(page: Page, *, after: str) -> None:
    expect(page.locator("[data-prompt]")).not_to_have_text(after)
    wait_for_images(page)


def test_a_preview_is_voted_in_and_undone_and_nothing_is_counted(opened_by_staff: Opened) -> None:
    campaign = make_campaign(slug="foxes", tasks=3, has_files=True, state=Campaign.State.DRAFT)
    before = list(Slot.objects.order_by("pk").values())
    page = opened_by_staff(reverse("dashboard:preview", args=["foxes"]))
    expect(page.get_by_text("Preview: nothing is counted.")).to_be_visible()
    expect(page.locator("[data-vote][data-state=shown]")).to_be_visible()

    first = vote(page, "1", "1 voted, 2 left")
    wait_for_the_next(page, after=first)
    page.keyboard.press("z")
    expect(page.locator("[data-progress]")).to_have_text("0 voted, 3 left")
    expect(page.locator("[data-prompt]")).to_have_text(first)
    second = vote(page, "2", "1 voted, 2 left")
    wait_for_the_next(page, after=second)
    third = vote(page, "2", "2 voted, 1 left")
    wait_for_the_next(page, after=third)
    page.keyboard.press("2")

    page.wait_for_url(f"**{reverse('dashboard:campaign-page', args=['foxes'])}")
    assert list(Slot.objects.order_by("pk").values()) == before
    assert not Vote.objects.exists()
    assert not hasattr(campaign.created_by, "annotator")


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")])
def test_pages_are_accessible_fit_and_keep_to_the_policy(
    opened_by_staff: Opened, size: tuple[int, int], scheme: str
) -> None:
    prompt = make_prompt()
    for name in ("alder", "birch"):
        make_image(prompt=prompt, generator=make_generator(name))
    campaign = make_campaign(tasks=2, state=Campaign.State.DRAFT, has_files=True, gold_share=0.1)
    campaign.manifest_rows.create(source="x", number=7, file="a.png", problem="file: it is not there")
    names = ["campaign-page", "campaign-instructions", "preview"]

    page = opened_by_staff(NEW, size=size, color_scheme=scheme)
    for address in [NEW, *(reverse(f"dashboard:{name}", args=[campaign.slug]) for name in names)]:
        page.goto(address)
        page.evaluate("document.querySelectorAll('details.more').forEach((each) => (each.open = true))")
        results = Axe().run(page)

        assert results.response["violations"] == [], f"{address}: {results.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0], address
