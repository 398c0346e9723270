"""What those who run campaigns see and may do in the admin."""

import hashlib
import re
from typing import Any

import pytest
from django.contrib.admin import site
from django.contrib.auth.models import Permission, User
from django.core.files.storage import default_storage
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from annotations.models import (
    Annotator,
    Campaign,
    Demographics,
    Generator,
    Image,
    Invite,
    Participation,
    Prompt,
    Recruitment,
    Slot,
    Snapshot,
    Task,
    Upload,
    Vote,
)
from annotations.services.demographics import tell
from annotations.services.recruiting import Arrival, enter
from annotations.services.snapshots import take_snapshot
from annotations.services.uploads import store_part
from annotations.services.voting import claim_slots, record_vote
from tests.annotations.factories import (
    make_annotator,
    make_campaign,
    make_generator,
    make_image,
    make_invite,
    make_prompt,
    make_recruitment,
    make_user,
    number,
)

pytestmark = pytest.mark.django_db

REGISTERED: list[type[Model]] = [
    *(Annotator, Campaign, Generator, Image, Invite, Participation, Prompt, Recruitment, Slot, Snapshot, Task),
    *(Upload, Vote),
]
FACTS: list[type[Model]] = [Participation, Slot, Snapshot, Vote]


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(make_user("Ada", is_staff=True, is_superuser=True))
    return client


def list_url(model: type[Model]) -> str:
    return reverse(f"admin:annotations_{model._meta.model_name}_changelist")


def change_url(row: Model) -> str:
    return reverse(f"admin:annotations_{row._meta.model_name}_change", args=[row.pk])


def delete_url(row: Model) -> str:
    return reverse(f"admin:annotations_{row._meta.model_name}_delete", args=[row.pk])


def make_voted_campaign(**fields: Any) -> Campaign:
    """A running campaign with two tasks, one of them voted on, made by a generator, an invite and a snapshot."""
    campaign = make_campaign(tasks=2, **fields)
    Image.objects.filter(tasks__campaign=campaign).update(generator=make_generator())
    person = make_annotator(f"person-{number()}")
    [slot] = claim_slots(annotator=person, campaign=campaign, count=1)
    record_vote(
        annotator=person,
        token=slot.token,
        outcome="choice",
        image=slot.task.images.all()[0].public_id,
        idempotency_key=f"00000000-0000-0000-0000-{number():012}",
    )
    make_invite(campaign, label="friends")
    Upload.objects.create(name="foxes.zip", size=9, part_size=4, created_by=person.user)
    enter(recruitment=make_recruitment(campaign), arrival=Arrival(f"person{number()}", "study1", "session1"))
    take_snapshot(campaign=campaign)
    return campaign


def test_every_record_is_in_the_admin() -> None:
    registered = {model for model in site._registry if model._meta.app_label == "annotations"}

    assert registered == set(REGISTERED)


@pytest.mark.parametrize("model", REGISTERED)
def test_list_asks_the_database_no_more_for_three_rows(admin: Client, model: type[Model]) -> None:
    counts = []
    for campaigns in (1, 2):
        for _ in range(campaigns):
            make_voted_campaign()
        admin.get(list_url(model))
        with CaptureQueriesContext(connection) as queries:
            response = admin.get(list_url(model))
        assert response.context["cl"].result_count == model._default_manager.count()
        counts.append(len(queries))

    assert counts[0] == counts[1]


@pytest.mark.parametrize("model", REGISTERED)
def test_pages_carry_no_inline_script_or_style(admin: Client, model: type[Model]) -> None:
    make_voted_campaign()
    row = model._default_manager.all()[0]

    for url in (list_url(model), change_url(row)):
        html = admin.get(url).content.decode()
        assert re.findall(r"<script(?![^>]*\bsrc=)(?![^>]*type=\"(?:module|application/json)\")", html) == []
        assert re.findall(r"<style|\sstyle=|\son\w+=", html) == []


@pytest.mark.parametrize("model", REGISTERED)
def test_search_takes_any_text(admin: Client, model: type[Model]) -> None:
    make_voted_campaign()

    for text in ("harbour", "%' OR 1=1", "00000000-0000-0000-0000-000000000000", "ü\U0001f600", "\x00"):
        assert admin.get(list_url(model), {"q": text}).status_code == 200


def test_search_finds_an_image_by_its_public_id(admin: Client) -> None:
    image, _other = make_image(), make_image()

    response = admin.get(list_url(Image), {"q": str(image.public_id)})

    assert list(response.context["cl"].result_list) == [image]


@pytest.mark.parametrize("model", FACTS)
def test_facts_are_shown_and_never_edited_added_or_deleted(admin: Client, model: type[Model]) -> None:
    make_voted_campaign()
    row = model._default_manager.all()[0]

    assert admin.get(change_url(row)).status_code == 200
    assert admin.post(change_url(row), {"state": "open"}).status_code == 403
    assert admin.post(delete_url(row), {"post": "yes"}).status_code == 403
    assert admin.get(reverse(f"admin:annotations_{model._meta.model_name}_add")).status_code == 403
    admin.post(list_url(model), {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})
    assert model._default_manager.filter(pk=row.pk).exists()


def test_claim_tokens_are_not_shown(admin: Client) -> None:
    [slot] = claim_slots(annotator=make_annotator(), campaign=make_campaign(), count=1)

    assert str(slot.token) not in admin.get(change_url(slot)).content.decode()
    assert str(slot.token) not in admin.get(list_url(Slot)).content.decode()


@pytest.mark.parametrize("model", [Annotator, Campaign, Generator, Image, Prompt, Task])
def test_what_others_refer_to_cannot_be_deleted(admin: Client, model: type[Model]) -> None:
    make_voted_campaign()
    row = Vote.objects.get().task if model is Task else model._default_manager.all()[0]

    assert admin.post(delete_url(row), {"post": "yes"}).status_code == 403
    admin.post(list_url(model), {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})
    assert model._default_manager.filter(pk=row.pk).exists()


def test_what_nothing_refers_to_can_be_deleted(admin: Client) -> None:
    image = make_image()
    rows = [image, image.prompt, make_generator(), make_annotator(), make_campaign(tasks=0)]

    for row in rows:
        assert admin.post(delete_url(row), {"post": "yes"}).status_code == 302
        assert not type(row)._default_manager.filter(pk=row.pk).exists()


def test_a_task_without_votes_is_deleted_with_its_slots(admin: Client) -> None:
    task = make_campaign(tasks=1, votes_per_task=2).tasks.get()

    assert admin.post(delete_url(task), {"post": "yes"}).status_code == 302
    assert (Task.objects.count(), Slot.objects.count()) == (0, 0)


def act(admin: Client, model: type[Model], action: str, *rows: Model) -> list[str]:
    """Messages that an action leaves."""
    data = {"action": action, "_selected_action": [row.pk for row in rows]}
    response = admin.post(list_url(model), data, follow=True)
    return [str(message) for message in response.context["messages"]]


def test_campaign_actions_start_pause_and_close(admin: Client) -> None:
    campaign = make_campaign(name="Piers", state=Campaign.State.DRAFT)

    told = []
    for action, state in (("start", "running"), ("pause", "paused"), ("start", "running"), ("close", "closed")):
        told += act(admin, Campaign, action, campaign)
        campaign.refresh_from_db()
        assert campaign.state == state

    assert told == [f"Piers is now {state}." for state in ("running", "paused", "running", "closed")]


def test_campaign_actions_tell_what_cannot_be_done_and_do_the_rest(admin: Client) -> None:
    empty = make_campaign(tasks=0, name="Empty", state=Campaign.State.DRAFT)
    ready = make_campaign(name="Ready", state=Campaign.State.DRAFT)

    told = act(admin, Campaign, "start", empty, ready)

    assert sorted(told) == ["Empty: It has no tasks. Import or generate images for it first.", "Ready is now running."]
    assert dict(Campaign.objects.values_list("name", "state")) == {"Empty": "draft", "Ready": "running"}


def test_campaign_actions_need_the_permission_to_change(client: Client) -> None:
    user = make_user("Cleo", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_campaign"))
    client.force_login(User.objects.get(pk=user.pk))
    campaign = make_campaign(state=Campaign.State.DRAFT)

    client.post(list_url(Campaign), {"action": "start", "_selected_action": [campaign.pk]})

    campaign.refresh_from_db()
    assert campaign.state == "draft"


def campaign_form(**changes: Any) -> dict[str, Any]:
    return {
        "name": "Piers",
        "slug": "piers",
        "question": "Which image do you prefer?",
        "instructions": "Look well.",
        "candidates": 4,
        "votes_per_task": 3,
        "access": "open",
        "lease_seconds": 600,
        "too_fast_ms": 400,
        "invites-TOTAL_FORMS": 0,
        "invites-INITIAL_FORMS": 0,
        **changes,
    }


def test_a_new_campaign_is_a_draft_of_its_maker(admin: Client) -> None:
    response = admin.post(reverse("admin:annotations_campaign_add"), campaign_form(state="running"))

    assert response.status_code == 302
    campaign = Campaign.objects.get()
    assert (campaign.state, campaign.created_by and campaign.created_by.username) == ("draft", "Ada")


@pytest.mark.parametrize(
    ("changes", "version"),
    [({}, 1), ({"name": "Bridges"}, 1), ({"instructions": "Look twice."}, 2), ({"question": "Which is best?"}, 2)],
)
def test_changed_instructions_get_a_new_version(admin: Client, changes: dict[str, Any], version: int) -> None:
    campaign = make_campaign(tasks=0, instructions="Look well.")

    assert admin.post(change_url(campaign), campaign_form(**changes)).status_code == 302

    campaign.refresh_from_db()
    assert campaign.instructions_version == version


def test_a_campaign_with_tasks_keeps_its_number_of_images(admin: Client) -> None:
    campaign = make_campaign(images=2)

    assert admin.post(change_url(campaign), campaign_form(candidates=4, is_synthetic="on")).status_code == 302

    campaign.refresh_from_db()
    assert (campaign.name, campaign.candidates, campaign.is_synthetic) == ("Piers", 2, False)


def test_campaign_page_shows_progress_and_invite_links(admin: Client, settings: Any) -> None:
    settings.SITE_URL = "https://hps.example"
    campaign = make_voted_campaign()
    invite = Invite.objects.get()

    html = admin.get(change_url(campaign)).content.decode()

    assert '<progress max="2" value="1">50 %</progress> 1 of 2 judgements (50 %)' in html
    assert f"https://hps.example/c/{campaign.slug}/join/{invite.code}/" in html


def test_campaign_page_asks_the_database_no_more_for_three_invites(admin: Client) -> None:
    campaign = make_campaign()
    counts = []
    for invites in (1, 2):
        for _ in range(invites):
            make_invite(campaign)
        admin.get(change_url(campaign))
        with CaptureQueriesContext(connection) as queries:
            admin.get(change_url(campaign))
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_task_page_shows_its_images_in_as_many_queries_for_two_as_for_five(admin: Client) -> None:
    counts = []
    for images in (2, 5):
        task = make_campaign(tasks=1, images=images).tasks.get()
        Image.objects.filter(tasks=task).update(generator=make_generator())
        admin.get(change_url(task))
        with CaptureQueriesContext(connection) as queries:
            html = admin.get(change_url(task)).content.decode()
        assert html.count('loading="lazy"') == images
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_an_invite_is_made_on_the_campaign_page(admin: Client) -> None:
    campaign = make_campaign(tasks=0)
    form = campaign_form(**{"invites-TOTAL_FORMS": 1, "invites-0-label": "friends", "invites-0-is_active": "on"})

    assert admin.post(change_url(campaign), form).status_code == 302

    assert [(invite.label, invite.uses, len(invite.code)) for invite in campaign.invites.all()] == [("friends", 0, 22)]


def test_images_are_hidden_and_shown_again(admin: Client) -> None:
    images = [make_image(), make_image()]

    assert act(admin, Image, "hide", *images) == ["2 images changed."]
    assert Image.objects.filter(is_hidden=True).count() == 2
    assert act(admin, Image, "show", images[0]) == ["1 image changed."]
    assert list(Image.objects.filter(is_hidden=True)) == [images[1]]


def test_an_image_that_the_machine_hid_says_why_until_somebody_shows_it_again(admin: Client) -> None:
    hidden = {"is_hidden": True, "hidden_reason": Image.HiddenReason.UNSAFE}
    one, other = make_image(**hidden), make_image(**hidden)

    assert "blocked by a safety checker" in admin.get(list_url(Image)).content.decode()
    assert "blocked by a safety checker" in admin.get(change_url(one)).content.decode()
    assert act(admin, Image, "show", one) == ["1 image changed."]
    assert admin.post(change_url(other), {}).status_code == 302  # the tick at "hidden" taken away

    assert set(Image.objects.values_list("is_hidden", "hidden_reason")) == {(False, "")}


def test_image_list_shows_a_stamp_of_each(admin: Client) -> None:
    image = make_image()

    html = admin.get(list_url(Image)).content.decode()

    url = f"/images/{image.public_id}"
    alt = f"image {str(image.public_id)[:8]}"
    assert f'<a href="{url}"><img src="{url}" width="96" height="64" loading="lazy" alt="{alt}"></a>' in html


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a pier", "There is a prompt with this text already."),
        ("a" * 10_001, "This text is not taken: the prompt has 10,001 characters"),
    ],
)
def test_a_prompt_that_is_there_or_no_prompt_is_refused(admin: Client, text: str, reason: str) -> None:
    make_prompt("a pier")

    response = admin.post(reverse("admin:annotations_prompt_add"), {"text": text, "tags": "", "source": ""})

    assert response.status_code == 200
    assert reason in response.content.decode()
    assert Prompt.objects.count() == 1


def test_a_new_prompt_gets_its_split_and_keeps_its_text(admin: Client) -> None:
    admin.post(reverse("admin:annotations_prompt_add"), {"text": "a quay", "tags": "hands,text", "source": "hand"})
    prompt = Prompt.objects.get()
    assert (prompt.text, prompt.tags, prompt.split) == ("a quay", ["hands", "text"], "train")

    admin.post(change_url(prompt), {"text": "another", "tags": "hands", "source": "hand"})

    prompt.refresh_from_db()
    assert (prompt.text, prompt.tags) == ("a quay", ["hands"])


def test_text_from_outside_is_escaped(admin: Client) -> None:
    hostile = "<script>alert(1)</script>"
    campaign = make_voted_campaign(name=hostile)
    Prompt.objects.update(text=hostile)
    Generator.objects.update(name=hostile)
    Invite.objects.update(label=hostile)

    for model in REGISTERED:
        for url in (list_url(model), change_url(model._default_manager.all()[0])):
            assert hostile not in admin.get(url).content.decode()
    assert campaign.name == hostile


def test_people_are_neither_renamed_nor_excluded_without_a_preview(admin: Client) -> None:
    person = make_annotator()

    form = {"state": "excluded", "external_id": "mine", "source": "simulated"}
    assert admin.post(change_url(person), form).status_code == 302

    person.refresh_from_db()
    assert (person.state, person.external_id, person.source) == ("active", None, "registered")


@pytest.mark.parametrize("model", REGISTERED)
def test_pages_are_for_staff_only(client: Client, model: type[Model]) -> None:
    client.force_login(make_user("Ben"))

    assert client.get(list_url(model)).status_code == 302


def test_an_upload_is_taken_away_with_its_parts(admin: Client) -> None:
    upload = Upload.objects.create(name="foxes.zip", size=4, part_size=4)
    content = b"0123"
    part = store_part(upload=upload, number=0, content=content, sha256=hashlib.sha256(content).hexdigest())

    admin.post(delete_url(upload), {"post": "yes"})

    assert not Upload.objects.exists()
    assert not default_storage.exists(str(part.file.name))


def test_a_change_of_the_wording_in_the_admin_is_a_version(admin: Client) -> None:
    campaign = make_campaign(tasks=0, question="Which?", instructions="Look.")

    admin.post(change_url(campaign), campaign_form(slug=campaign.slug, question="Which one?", instructions="Look."))

    versions = campaign.instruction_texts.order_by("number").values_list("number", "question")
    assert list(versions) == [(1, "Which?"), (2, "Which one?")]


# People


@pytest.mark.parametrize(
    ("fields", "link"),
    [
        (
            {},
            "?PROLIFIC_PID={{%PROLIFIC_PID%}}&amp;STUDY_ID={{%STUDY_ID%}}&amp;SESSION_ID={{%SESSION_ID%}}",
        ),
        ({"panel": "mturk"}, "mturk/"),
        ({"panel": "other", "person_parameter": "pid", "session_parameter": "run"}, "?pid=…&amp;run=…"),
    ],
)
def test_a_recruitment_shows_the_link_as_its_panel_wants_it(
    admin: Client, settings: Any, fields: dict[str, str], link: str
) -> None:
    settings.SITE_URL = "https://hps.example"
    recruitment = make_recruitment(make_campaign(tasks=0), **fields)

    html = admin.get(change_url(recruitment)).content.decode()

    slug = recruitment.campaign.slug
    assert f"https://hps.example/c/{slug}/recruit/{recruitment.code}/{link}</div>" in html


def recruitment_form(campaign: Campaign, **changes: Any) -> dict[str, Any]:
    return {
        "campaign": campaign.pk,
        "panel": "prolific",
        "label": "first wave",
        "is_active": "on",
        "votes_wanted": 50,
        "places": 20,
        "minutes": 120,
        "codes": "shared",
        "completion_code": "C0DE",
        "person_parameter": "x",
        **changes,
    }


def test_a_recruitment_is_made_with_the_parameters_of_its_panel(admin: Client) -> None:
    add = reverse("admin:annotations_recruitment_add")

    assert "Created at" not in admin.get(add).content.decode()
    assert admin.post(add, recruitment_form(make_campaign(tasks=0))).status_code == 302

    assert Recruitment.objects.get().parameters == ["PROLIFIC_PID", "STUDY_ID", "SESSION_ID"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"completion_code": ""}, "Enter the code that everybody gets."),
        ({"return_address": "http://panel.example/{code}"}, "Enter a whole address that begins with https://."),
        ({"return_address": "https://panel.example/"}, "Write {code} once, where the code belongs."),
    ],
)
def test_a_recruitment_that_would_lead_people_astray_is_refused(
    admin: Client, changes: dict[str, str], says: str
) -> None:
    form = recruitment_form(make_campaign(tasks=0), **changes)

    response = admin.post(reverse("admin:annotations_recruitment_add"), form)

    assert (response.status_code, says in response.content.decode()) == (200, True)
    assert Recruitment.objects.count() == 0


def test_codes_are_downloaded_as_csv(admin: Client) -> None:
    campaign = make_campaign()
    part = enter(recruitment=make_recruitment(campaign), arrival=Arrival("5f3a", "study1", "session1"))
    Participation.objects.filter(pk=part.pk).update(
        state="completed", code="C0DE", finished_at=part.created_at, seen_at=part.created_at
    )
    alone = Participation.objects.create(annotator=make_annotator(), campaign=campaign)

    data = {"action": "download_codes", "_selected_action": [part.pk, alone.pk]}
    response = admin.post(list_url(Participation), data)

    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response.content.decode().splitlines() == [
        "panel,study_id,session_id,state,code,joined_at,finished_at",
        f"prolific,study1,session1,completed,C0DE,{part.created_at},{part.created_at}",
    ]


def test_places_are_given_back_by_hand(admin: Client) -> None:
    part = enter(recruitment=make_recruitment(make_campaign()), arrival=Arrival("5f3a", "study1", "session1"))

    assert act(admin, Participation, "give_back", part) == ["1 place is free again."]
    part.refresh_from_db()
    assert part.state == "returned"


def test_places_are_given_back_by_those_who_may_change_them_only(client: Client) -> None:
    user = make_user("Cleo", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_participation"))
    client.force_login(User.objects.get(pk=user.pk))
    part = enter(recruitment=make_recruitment(make_campaign()), arrival=Arrival("5f3a", "study1", "session1"))

    client.post(list_url(Participation), {"action": "give_back", "_selected_action": [part.pk]})

    part.refresh_from_db()
    assert part.state == "active"


def test_an_identity_is_erased_after_it_was_asked_once_more(admin: Client) -> None:
    person, boss = make_annotator("ben"), make_annotator(user=make_user("boss", is_staff=True))
    data = {"action": "erase", "_selected_action": [person.pk, boss.pk]}

    asked = admin.post(list_url(Annotator), data)
    assert "This cannot be undone." in asked.content.decode()
    assert User.objects.filter(username="ben").exists()
    done = admin.post(list_url(Annotator), {**data, "confirmed": "1"}, follow=True)

    told = sorted(str(message) for message in done.context["messages"])
    assert told == ["1 identity erased.", f"{boss}: This account runs the site. Take its staff status away first."]
    assert [*User.objects.order_by("username").values_list("username", flat=True)] == ["Ada", "boss"]
    assert person.state_changes.get().by.username == "Ada"


def test_a_person_is_found_by_the_id_that_a_panel_has_for_them(admin: Client) -> None:
    part = enter(recruitment=make_recruitment(make_campaign()), arrival=Arrival("5f3a", "study1", "session1"))
    make_annotator()

    response = admin.get(list_url(Annotator), {"q": " 5f3a "})

    assert list(response.context["cl"].result_list) == [part.annotator]


def test_what_people_told_of_themselves_is_on_no_page_of_the_admin(admin: Client) -> None:
    make_voted_campaign()
    for person in Annotator.objects.all():
        tell(annotator=person, region="oceania", gender="non_binary", age_band="65+", design_experience="hobby")

    assert Demographics not in site._registry
    for model in REGISTERED:
        for url in (list_url(model), change_url(model._default_manager.all()[0])):
            html = admin.get(url).content.decode().lower()
            assert [word for word in ("oceania", "non-binary", "65 or older", "as a hobby") if word in html] == []
