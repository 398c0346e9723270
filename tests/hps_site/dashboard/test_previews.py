"""A preview behaves as the voting screen does, and leaves nothing behind but a line in the session."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client
from django.urls import reverse

from annotations.models import Annotator, Campaign, Slot, Task, Vote
from annotations.views import voting
from hps_site.dashboard.views import previews
from tests.annotations.factories import make_campaign, make_task, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(make_user("ada", is_staff=True))
    return client


@pytest.fixture
def campaign() -> Campaign:
    return make_campaign(tasks=3, state=Campaign.State.DRAFT, slug="foxes")


def ask(client: Client, name: str, body: dict[str, Any] | None = None, *more: object) -> Any:
    return client.post(
        reverse(f"dashboard:preview-{name}", args=["foxes", *more]), body or {}, content_type="application/json"
    )


def claimed(client: Client, count: int = 5) -> list[dict[str, Any]]:
    return ask(client, "claims", {"count": count}).json()["claims"]


def said(claim: dict[str, Any], **changes: Any) -> dict[str, Any]:
    choice = {"token": claim["token"], "outcome": "choice", "image": claim["images"][0]["id"], "shown_ms": 900}
    return choice | changes


def snapshot() -> list[Any]:
    return [list(model.objects.order_by("pk").values()) for model in (Slot, Vote, Task, Annotator)]


@pytest.mark.usefixtures("campaign")
def test_a_preview_claims_votes_undoes_and_stores_nothing(staff: Client) -> None:
    before = snapshot()
    claims = claimed(staff)

    vote = ask(staff, "votes", said(claims[0]))
    progress = staff.get(reverse("dashboard:preview-progress", args=["foxes"])).json()
    left = claimed(staff)
    undone = ask(staff, "undo-vote", None, vote.json()["id"])
    released = ask(staff, "release")

    assert len(claims) == 3
    assert (vote.status_code, vote.json()["image"]) == (201, claims[0]["images"][0]["id"])
    assert progress == {"voted": 1, "left": 2, "last_vote": vote.json()["id"]}
    assert [claim["token"] for claim in left] == [claim["token"] for claim in claims[1:]]
    again = undone.json()
    assert again.pop("claims")[0]["images"] == claims[0]["images"]
    assert again == {"voted": 0, "left": 3, "last_vote": None}
    assert released.json() == {"released": 0}
    assert snapshot() == before


@pytest.mark.usefixtures("campaign")
def test_claims_are_those_of_the_api_and_tell_nothing_more(staff: Client) -> None:
    [claim, *_others] = claimed(staff)

    assert {"token", "expires_at", "task", "prompt", "images", "outcomes"} <= claim.keys()
    assert [sorted(image) for image in claim["images"]] == [["height", "id", "url", "width"]] * 2
    assert claim["outcomes"] == ["choice", "tie", "all_bad", "skip", "flag"]


def test_a_preview_has_an_address_for_all_that_the_screen_asks(campaign: Campaign) -> None:
    real = voting._addresses(campaign)

    assert previews.addresses(campaign).keys() == real.keys()
    shared = {"campaign", "done", "stop", "login"}
    assert not {real[name] for name in real.keys() - shared} & set(previews.addresses(campaign).values())


@pytest.mark.usefixtures("campaign")
def test_the_page_is_marked_and_sends_nothing_to_the_real_addresses(staff: Client) -> None:
    page = staff.get(reverse("dashboard:preview", args=["foxes"]))

    screen = page.context["screen"]
    assert "Preview: nothing is counted." in page.content.decode()
    assert page.templates[0].name == "dashboard/campaigns/preview.html"
    assert "annotations/vote.html" in [template.name for template in page.templates]
    assert all("/preview/" in screen["addresses"][name] for name in ("claims", "votes", "undo", "release", "progress"))
    assert reverse("annotations:undo", args=["foxes"]) not in page.content.decode()
    # Votes that wait on the device for the real campaign belong to another person's name.
    assert screen["person"] != page.wsgi_request.user.pk


def test_it_works_without_javascript_and_begins_anew_at_the_end(staff: Client, campaign: Campaign) -> None:
    address = reverse("dashboard:preview", args=["foxes"])
    seen = []

    for _ in range(3):
        claim = staff.get(address).context["claim"]
        seen.append(claim.token)
        staff.post(address, {"token": claim.token, "key": uuid4(), "outcome": "tie"})
    staff.post(reverse("dashboard:preview-undo", args=["foxes"]))
    last = staff.get(address).context["claim"].token
    staff.post(address, {"token": last, "key": uuid4(), "outcome": "tie"})
    anew = staff.get(address).context

    assert set(seen) == set(campaign.tasks.values_list("public_id", flat=True))
    assert last == seen[-1]
    assert (anew["claim"].token, anew["progress"].voted) == (seen[0], 0)


def test_gold_and_hidden_images_are_not_shown(staff: Client, campaign: Campaign) -> None:
    make_task(campaign=campaign, purpose=Task.Purpose.GOLD)
    spoilt = campaign.tasks.filter(purpose="regular")[0]
    spoilt.images.update(is_hidden=True)

    assert {claim["task"] for claim in claimed(staff)} == {
        str(task.public_id) for task in campaign.tasks.filter(purpose="regular").exclude(pk=spoilt.pk)
    }


@pytest.mark.usefixtures("campaign")
@pytest.mark.parametrize(
    ("changes", "status"), [({"token": str(UUID(int=1))}, 404), ({"outcome": "best"}, 400), ({"token": "x"}, 400)]
)
def test_nonsense_is_refused_as_by_the_api(staff: Client, changes: dict[str, Any], status: int) -> None:
    answer = ask(staff, "votes", said(claimed(staff)[0], **changes))

    assert (answer.status_code, sorted(answer.json())) == (status, ["code", "detail"])


def test_a_campaign_without_tasks_leads_back_to_its_page(staff: Client) -> None:
    make_campaign(tasks=0, slug="empty")

    response = staff.get(reverse("dashboard:preview", args=["empty"]), follow=True)

    assert response.redirect_chain == [(reverse("dashboard:campaign-page", args=["empty"]), 302)]
    assert "There is nothing to try yet" in response.content.decode()


@pytest.mark.usefixtures("campaign")
def test_previews_are_for_staff(client: Client) -> None:
    names = ["preview-claims", "preview-votes", "preview-release"]
    client.force_login(make_user("cleo"))

    assert client.get(reverse("dashboard:preview", args=["foxes"])).status_code == 403
    assert [ask(client, name.removeprefix("preview-")).status_code for name in names] == [403] * 3
