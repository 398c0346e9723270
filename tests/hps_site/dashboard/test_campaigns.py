"""Making campaigns and running them from the dashboard: who may, what comes of it, what is refused and why."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from annotations.models import Campaign, Image, Instructions, Task
from annotations.services.instructions import EXAMPLE_PROMPT, Example, revise_instructions, store_example_image
from tests.annotations.factories import (
    make_annotators,
    make_campaign,
    make_generator,
    make_image,
    make_prompt,
    make_user,
    picture_bytes,
)
from tests.hps_site.dashboard.worlds import cast, empty_campaign, task_of
from worker.models import Run
from worker.services.execution import execute_run

pytestmark = pytest.mark.django_db

NEW = "/dashboard/campaigns/new/"


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    from worker.services import runs

    monkeypatch.setattr(runs, "_send", lambda _run_id: None)


@pytest.fixture
def ada() -> User:
    return make_user("ada", is_staff=True, is_superuser=True)


@pytest.fixture
def staff(client: Client, ada: User) -> Client:
    client.force_login(ada)
    return client


def page_of(slug: str, name: str = "campaign-page") -> str:
    return reverse(f"dashboard:{name}", args=[slug])


def text_of(response: Any) -> str:
    assert response.status_code in {200, 422}
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def filled(**changes: Any) -> dict[str, Any]:
    """The page that makes campaigns, as a browser sends it."""
    values = {
        "name": "Foxes",
        "slug": "",
        "question": "Which fox is better drawn?",
        "instructions": "Look at the <b>tail</b>.\r\n\r\nThen choose.",
        "candidates": 2,
        "votes_per_task": 3,
        "allows_tie": "on",
        "pair_policy": "uniform",
        "random_share": 0.2,
        "too_fast_ms": 400,
        "tie_after_ms": 0,
        "lease_seconds": 600,
        "break_after": 50,
        "votes_per_person": "",
        "gold_share": 0,
        "probe_share": 0,
        "practice_tasks": 0,
        "screen_out_after": "",
        "screen_out_below": 0.5,
        "access": "open",
        "consent": "",
        "source": "later",
        "tag": "",
        "shown_in": "",
        "images_per_generator": 1,
        "pairing": "rounds",
        "upload": "",
        "examples-TOTAL_FORMS": 2,
        "examples-INITIAL_FORMS": 0,
        "examples-0-caption": "",
        "examples-1-caption": "",
    }
    return values | changes


def library(generators: int = 2, prompts: int = 3) -> list[str]:
    """One image of each generator for each prompt; gives the generators' names."""
    makers = [make_generator(f"maker {number}") for number in range(generators)]
    for _ in range(prompts):
        prompt = make_prompt(tags=["animal"])
        for maker in makers:
            make_image(prompt=prompt, generator=maker, has_file=False)
    return [maker.name for maker in makers]


def run_import() -> Run:
    run = Run.objects.get(kind=Run.Kind.IMPORT)
    execute_run(run_id=run.pk, worker="test")
    run.refresh_from_db()
    return run


def test_pages_are_for_staff_who_may_make_campaigns(client: Client) -> None:
    campaign = make_campaign()
    pages = [NEW, *(page_of(campaign.slug, f"campaign-{name}") for name in ("settings", "instructions", "images"))]
    ben = make_user("ben", is_staff=True)

    assert [client.get(page).status_code for page in pages] == [302] * 4
    client.force_login(ben)
    assert [client.get(page).status_code for page in pages] == [403] * 4
    assert client.get(page_of(campaign.slug)).status_code == 200
    ben.user_permissions.set(Permission.objects.filter(codename__in=["add_campaign", "change_campaign"]))
    assert [client.get(page).status_code for page in pages] == [200] * 4


def test_new_makes_a_draft_of_all_that_was_filled_in(staff: Client, ada: User) -> None:
    response = staff.post(NEW, filled(votes_per_person=40, tie_after_ms=1500, gold_share="0.1"))

    campaign = Campaign.objects.get()
    assert response["Location"] == page_of("foxes")
    assert (campaign.slug, campaign.name, campaign.state, campaign.created_by) == ("foxes", "Foxes", "draft", ada)
    assert (campaign.votes_per_person, campaign.tie_after_ms, campaign.gold_share) == (40, 1500, 0.1)
    assert (campaign.allows_tie, campaign.allows_all_bad) == (True, False)
    version = Instructions.objects.get()
    assert (version.number, version.question, version.text, version.created_by) == (
        1,
        "Which fox is better drawn?",
        "Look at the <b>tail</b>.\n\nThen choose.",
        ada,
    )
    assert not Run.objects.exists()


def test_new_with_example_pictures_keeps_them_with_the_first_version(staff: Client) -> None:
    picture = SimpleUploadedFile("fox.png", picture_bytes(), "image/png")

    staff.post(NEW, filled(**{"examples-0-file": picture, "examples-0-caption": "A tail", "examples-0-is_good": "on"}))

    [example] = Instructions.objects.get().examples.all()
    assert (example.caption, example.is_good, example.image.prompt.text) == ("A tail", True, EXAMPLE_PROMPT)


def kept_picture(response: Any) -> str:
    """The id of the first example's picture in a form that was sent back."""
    assert response.status_code == 422
    [found] = re.findall(r'name="examples-0-image" value="([^"]+)"', response.content.decode())
    return str(found)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [({"name": ""}, {}), ({"examples-0-caption": ""}, {}), ({"slug": "taken"}, {"slug": "foxes"})],
)
def test_new_that_is_sent_back_keeps_the_picture_that_was_chosen(
    staff: Client, wrong: dict[str, Any], right: dict[str, Any]
) -> None:
    make_campaign(slug="taken", tasks=0)
    example = {"examples-0-caption": "A tail", "examples-0-is_good": "on"}
    picture = SimpleUploadedFile("fox.png", picture_bytes(), "image/png")

    sent_back = staff.post(NEW, filled(**{**example, **wrong, "examples-0-file": picture}))
    kept = kept_picture(sent_back)
    again = kept_picture(staff.post(NEW, filled(**{**example, **wrong, "examples-0-image": kept})))
    staff.post(NEW, filled(**{**example, **right, "examples-0-image": kept}))

    assert f'src="{reverse("annotations:image", args=[kept])}"' in sent_back.content.decode()
    assert again == kept
    [shown] = Instructions.objects.get(campaign__slug="foxes").examples.all()
    assert (str(shown.image.public_id), shown.caption) == (kept, "A tail")


def test_a_kept_picture_can_be_taken_away(staff: Client) -> None:
    picture = SimpleUploadedFile("fox.png", picture_bytes(), "image/png")
    example = {"examples-0-caption": "A tail", "examples-0-is_good": "on"}
    kept = kept_picture(staff.post(NEW, filled(**{**example, "name": "", "examples-0-file": picture})))

    staff.post(NEW, filled(**{**example, "examples-0-image": kept, "examples-0-DELETE": "on"}))

    assert not Instructions.objects.get().examples.exists()


def test_new_from_generators_makes_the_tasks_in_the_background(staff: Client) -> None:
    names = library()

    staff.post(NEW, filled(source="matchups", generators=names))
    run = run_import()

    assert (run.state, run.metrics) == ("succeeded", {"tasks": 3, "prompts": 3, "without": 0})
    assert Campaign.objects.get().slots.count() == 9
    assert "3 tasks were made." in text_of(staff.get(page_of("foxes")))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, "This field is required."),
        ({"slug": "campaigns"}, "is the address of a page of the dashboard"),
        ({"name": "New"}, "is the address of a page of the dashboard"),
        ({"name": "???"}, "The name gives no slug"),
        ({"slug": "taken"}, "There is a campaign &#x27;taken&#x27; already"),
        ({"candidates": 10}, "less than or equal to 9"),
        ({"gold_share": 0.6}, "less than or equal to 0.5"),
        ({"source": "matchups", "generators": ["alone"]}, "Choose at least two generators"),
        ({"source": "library", "tag": "nothing"}, "No image fits."),
        ({"source": "upload"}, "Choose a file or a folder, and wait until it is sent."),
        ({"source": "bucket"}, "No bucket is open to imports"),
        ({"examples-0-caption": "A tail"}, "Choose a picture for this caption"),
    ],
)
def test_new_says_what_is_wrong_and_makes_nothing(staff: Client, changes: dict[str, Any], words: str) -> None:
    make_campaign(slug="taken", tasks=0)
    make_image(generator=make_generator("alone"), has_file=False)

    response = staff.post(NEW, filled(**changes))

    assert response.status_code == 422
    assert words in text_of(response)
    assert (Campaign.objects.count(), Run.objects.count()) == (1, 0)


def test_new_refuses_an_example_that_is_no_picture(staff: Client) -> None:
    file = SimpleUploadedFile("fox.png", b"no picture", "image/png")

    response = staff.post(NEW, filled(**{"examples-0-file": file, "examples-0-caption": "A tail"}))

    assert "It is refused: it is not a JPEG, PNG or WebP file." in text_of(response)
    assert (Campaign.objects.count(), Image.objects.count()) == (0, 0)


def test_found_tells_how_many_images_a_selection_finds(staff: Client) -> None:
    names = library(prompts=2)
    address = reverse("dashboard:found-images")

    assert "2 prompts with 4 images fit." in text_of(
        staff.get(address, {"source": "matchups", "generators": names, "tag": "animal"})
    )
    assert "Choose at least two generators" in text_of(staff.get(address, {"source": "matchups"}))


def test_page_shows_what_stands_in_the_way_before_start_is_pressed(staff: Client) -> None:
    campaign = make_campaign(tasks=0, state=Campaign.State.DRAFT, gold_share=0.1, practice_tasks=2)

    page = staff.get(page_of(campaign.slug))

    text = text_of(page)
    assert "Not ready yet" in text
    assert "It has no tasks. Import or generate images for it first." in text
    assert "The settings promise gold tasks. Make some, or set their share to 0." in text
    assert "People practise on 2 tasks. Make 2 more, or let them practise on fewer." in text
    assert "Nothing can be said before there are tasks." in text
    assert re.search(r'value="start" disabled', page.content.decode())


@pytest.mark.parametrize(
    ("state", "heading"),
    [("draft", "Ready to start"), ("running", "Running"), ("paused", "Ready to go on"), ("closed", "Closed")],
)
def test_page_says_how_the_campaign_stands_and_leads_to_all_that_belongs_to_it(
    staff: Client, state: str, heading: str
) -> None:
    campaign = make_campaign(state=state)

    page = staff.get(page_of(campaign.slug)).content.decode()

    assert f'<h2 id="ready">{heading}</h2>' in page
    for name in ("preview", "campaign", "quality", "gold", "campaign-clone", "campaign-settings"):
        assert f'href="{page_of(campaign.slug, name)}"' in page
    for record in ("invite", "recruitment"):
        address = f"{reverse(f'admin:annotations_{record}_changelist')}?campaign__id__exact={campaign.pk}"
        assert f'href="{address}"' in page
        assert staff.get(address).status_code == 200


def test_buttons_start_pause_and_close(staff: Client) -> None:
    campaign = make_campaign(state=Campaign.State.DRAFT)
    states = []

    for step in ("start", "pause", "start", "close"):
        staff.post(page_of(campaign.slug, "campaign-state"), {"step": step})
        campaign.refresh_from_db()
        states.append(campaign.state)

    assert states == ["running", "paused", "running", "closed"]


def test_start_of_what_is_not_ready_says_why(staff: Client) -> None:
    campaign = make_campaign(tasks=0, state=Campaign.State.DRAFT, name="Empty")

    response = staff.post(page_of(campaign.slug, "campaign-state"), {"step": "start"}, follow=True)

    assert "Empty: It has no tasks. Import or generate images for it first." in text_of(response)
    campaign.refresh_from_db()
    assert campaign.state == "draft"


def test_instructions_are_shown_as_text_and_their_versions_are_kept(staff: Client) -> None:
    campaign = make_campaign(tasks=0, instructions="First.", question="Which?")
    address = page_of(campaign.slug, "campaign-instructions")
    sent = {"question": "Which one?", "text": "<script>x</script>", "examples-TOTAL_FORMS": 0}

    staff.post(address, sent | {"examples-INITIAL_FORMS": 0})

    campaign.refresh_from_db()
    assert (campaign.instructions_version, campaign.instructions) == (2, "<script>x</script>")
    assert [(version.number, version.text) for version in campaign.instruction_texts.order_by("number")] == [
        (1, "First."),
        (2, "<script>x</script>"),
    ]
    page = staff.get(page_of(campaign.slug)).content.decode()
    assert "&lt;script&gt;x&lt;/script&gt;" in page
    assert "<script>x" not in page


def test_instructions_that_are_sent_back_keep_the_pictures_of_both_kinds(staff: Client) -> None:
    there = store_example_image(content=picture_bytes(colour=(1, 2, 3)))
    campaign = make_campaign(tasks=0)
    revise_instructions(campaign=campaign, question="Which?", examples=[Example(there, "A tail")])
    sent = {
        "question": "",
        "examples-TOTAL_FORMS": 3,
        "examples-INITIAL_FORMS": 1,
        "examples-0-image": str(there.public_id),
        "examples-0-caption": "A tail",
        "examples-1-caption": "An ear",
        "examples-1-file": SimpleUploadedFile("fox.png", picture_bytes(), "image/png"),
    }

    page = staff.post(page_of(campaign.slug, "campaign-instructions"), sent).content.decode()

    assert 'name="examples-1-caption" value="An ear"' in page
    new = Image.objects.exclude(pk=there.pk).get()
    assert re.findall(r'name="examples-\d-image" value="([^"]+)"', page) == [str(there.public_id), str(new.public_id)]
    assert page.count("take it away") == 2


def test_settings_change_but_not_the_facts_of_the_tasks(staff: Client) -> None:
    campaign = make_campaign(candidates=2)
    values = {name: value for name, value in filled().items() if name not in {"name", "slug"}}

    shown = text_of(staff.get(page_of(campaign.slug, "campaign-settings")))
    staff.post(page_of(campaign.slug, "campaign-settings"), values | {"candidates": 4, "votes_per_task": 7})

    assert "More: every task is asked about again, finished ones too." in shown
    campaign.refresh_from_db()
    assert (campaign.candidates, campaign.votes_per_task, campaign.slots.count()) == (2, 7, 21)


def test_settings_that_are_wrong_are_told_above_the_form(staff: Client) -> None:
    campaign = make_campaign()
    values = {name: value for name, value in filled().items() if name not in {"name", "slug"}}

    text = text_of(staff.post(page_of(campaign.slug, "campaign-settings"), values | {"gold_share": 7}))

    assert "Nothing is saved yet: some fields need another look." in text


def test_images_for_a_campaign_that_is_there_are_added_now_or_not_at_all(staff: Client) -> None:
    campaign = make_campaign(tasks=0)

    assert "I add them later" not in text_of(staff.get(page_of(campaign.slug, "campaign-images")))
    answer = staff.post(page_of(campaign.slug, "campaign-images"), filled(source="later"))
    assert (answer.status_code, Run.objects.count()) == (422, 0)


def test_clone_takes_settings_instructions_and_tasks(staff: Client) -> None:
    original = make_campaign(tasks=2, question="Which?", votes_per_task=4, state=Campaign.State.RUNNING)

    response = staff.post(
        page_of(original.slug, "campaign-clone"), {"name": "Again", "slug": "again", "with_tasks": "on"}
    )
    run_import()

    clone = Campaign.objects.get(slug="again")
    assert response["Location"] == page_of("again")
    assert (clone.state, clone.question, clone.votes_per_task, clone.instructions_version) == ("draft", "Which?", 4, 1)
    hashes = [sorted(each.tasks.values_list("candidates_hash", flat=True)) for each in (original, clone)]
    assert hashes[0] == hashes[1]
    assert clone.slots.count() == 8


def test_clone_under_a_taken_slug_makes_nothing(staff: Client) -> None:
    original = make_campaign(tasks=0)

    response = staff.post(page_of(original.slug, "campaign-clone"), {"name": "Again", "slug": original.slug})

    assert "already; choose another slug" in text_of(response)
    assert Campaign.objects.count() == 1


def test_images_added_twice_at_once_are_one_import(staff: Client) -> None:
    names, campaign = library(), make_campaign(tasks=0)
    sent = filled(source="matchups", generators=names)

    for _ in range(2):
        staff.post(page_of(campaign.slug, "campaign-images"), sent)

    assert Run.objects.filter(campaign=campaign).count() == 1


def test_imports_of_two_campaigns_wait_side_by_side(staff: Client) -> None:
    names = library()

    for _ in range(2):
        campaign = make_campaign(tasks=0)
        staff.post(page_of(campaign.slug, "campaign-images"), filled(source="matchups", generators=names))

    assert Run.objects.active().count() == 2


def test_import_shows_itself_until_it_has_ended(staff: Client) -> None:
    staff.post(NEW, filled(source="matchups", generators=library()))
    address, asked = page_of("foxes"), {"HTTP_HX_REQUEST": "true"}

    waiting = staff.get(address, **asked)
    run_import()
    ended = staff.get(address, **asked)

    assert (waiting.headers.get("HX-Refresh"), ended.headers.get("HX-Refresh")) == (None, "true")
    assert "No worker is online" in text_of(waiting)


def test_page_lists_bad_rows(staff: Client) -> None:
    campaign = make_campaign(tasks=0)
    campaign.manifest_rows.create(source="x", number=7, file="a.png", problem="file: it is not there")

    text = text_of(staff.get(page_of(campaign.slug)))

    assert "1 row of the manifest is bad" in text
    assert "7 file: it is not there" in text


def test_page_forecasts_votes_hours_and_precision(staff: Client) -> None:
    campaign = empty_campaign(slug="birds", votes_per_task=5)
    people = make_annotators(4)
    for _ in range(6):
        task = task_of(campaign, ["alder", "birch"])
        for number, person in enumerate(people):
            cast(task, person, int(number == 3), shown_ms=3000)
    make_campaign_open(campaign, slots=48)

    text = text_of(staff.get(page_of("birds"), {"first": "alder", "second": "birch", "width": 10}))

    assert "48 votes are still wanted." in text
    assert "At the pace of the last 24 hours, 24 votes, that takes 2 days." in text
    assert "It is 3 minutes of people's time, at 3.0 s a vote." in text.replace("&#x27;", "'")
    assert "alder has 75.0 % of 24 votes against birch (95 % interval " in text
    assert "For an interval 10 points wide" in text


def make_campaign_open(campaign: Campaign, *, slots: int) -> None:
    """So many wanted votes more, on tasks that nobody has done."""
    for task in Task.objects.filter(campaign=campaign):
        for number in range(slots // 6):
            task.slots.create(campaign=campaign, number=100 + number, sort_key=number)


@pytest.mark.parametrize("tasks", [1, 3])
def test_page_takes_the_same_statements_for_one_task_and_three(
    staff: Client, tasks: int, django_assert_num_queries: Any
) -> None:
    campaign = make_campaign(tasks=tasks)
    staff.get(page_of(campaign.slug))

    with django_assert_num_queries(22):
        staff.get(page_of(campaign.slug))


def test_pages_hold_no_inline_style_or_script(staff: Client) -> None:
    campaign = make_campaign()
    pages = [NEW, page_of(campaign.slug), *(page_of(campaign.slug, f"campaign-{name}") for name in ("images", "clone"))]

    for address in pages:
        page = staff.get(address).content.decode()

        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*(\ssrc=|application/json))", page), address
