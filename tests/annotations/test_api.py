"""The API of this room: claims, votes, undo, and the lists of staff."""

from datetime import timedelta
from functools import partial
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from knox.models import AuthToken
from pytest_django import DjangoAssertNumQueries

from annotations.models import Annotator, Campaign, Slot, Task, Vote
from annotations.queries import voting as queries
from annotations.services.voting import claim_slots
from tests.annotations.factories import (
    make_annotator,
    make_campaign,
    make_generator,
    make_image,
    make_prompt,
    make_task,
    make_user,
)
from tests.annotations.races import at_once
from tests.annotations.test_voting import vote_on

pytestmark = pytest.mark.django_db


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def ada() -> Client:
    """Ada may vote."""
    return client_of(make_user("ada"))


@pytest.fixture
def cleo() -> Client:
    """Cleo is staff."""
    return client_of(make_user("cleo", is_staff=True))


def post(client: Client, path: str, body: Any = None, **headers: str) -> Any:
    return client.post(f"/api/v1/{path}", body if body is not None else {}, "application/json", headers=headers)


def claim(client: Client, campaign: Campaign, count: int = 1) -> list[dict[str, Any]]:
    return post(client, f"campaigns/{campaign.slug}/claims", {"count": count}).json()["claims"]


def give(client: Client, claim: dict[str, Any], key: str = "", /, **body: Any) -> Any:
    body = {"token": claim["token"], "outcome": "tie", **body}
    return post(client, "votes", body, **{"Idempotency-Key": key or str(uuid4())})


def test_claims_show_all_that_is_needed_and_nothing_else(ada: Client) -> None:
    campaign = make_campaign(tasks=0, allows_all_bad=False)
    prompt = make_prompt("a red cube")
    generator = make_generator("secret-model")
    images = [make_image(prompt=prompt, generator=generator, has_file=False, seed=77) for _ in range(2)]
    task = make_task(campaign=campaign, prompt=prompt, images=images)

    response = post(ada, f"campaigns/{campaign.slug}/claims", {"count": 3})

    slot = queries.held_slots(Annotator.objects.get(), campaign).get()
    by_id = {image.pk: image for image in images}
    assert response.status_code == 200
    assert response.json() == {
        "claims": [
            {
                "token": str(slot.token),
                "expires_at": slot.lease_until.isoformat().replace("+00:00", "Z"),
                "task": str(task.public_id),
                "prompt": "a red cube",
                "images": [
                    {
                        "id": str(by_id[image_id].public_id),
                        "url": f"/images/{by_id[image_id].public_id}",
                        "width": 24,
                        "height": 16,
                    }
                    for image_id in slot.order
                ],
                "outcomes": ["choice", "tie", "skip", "flag"],
                "is_practice": False,
            }
        ]
    }


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"count": 0}, "count: Ensure this value is greater than or equal to 1."),
        ({"count": 6}, "count: Ensure this value is less than or equal to 5."),
        ({"count": "many"}, "count: A valid integer is required."),
        ([1], "non_field_errors: Invalid data. Expected a dictionary, but got list."),
    ],
)
def test_claims_refuse_bodies_that_do_not_fit(ada: Client, body: Any, detail: str) -> None:
    response = post(ada, f"campaigns/{make_campaign().slug}/claims", body)

    assert (response.status_code, response.json()) == (400, {"code": "invalid", "detail": detail})


def test_claims_say_what_stands_in_the_way(ada: Client) -> None:
    paused = make_campaign(state=Campaign.State.PAUSED)
    invited = make_campaign(access=Campaign.Access.INVITED)

    for path, status, code in [
        (f"campaigns/{paused.slug}/claims", 409, "campaign_not_running"),
        (f"campaigns/{invited.slug}/claims", 403, "invite_needed"),
        ("campaigns/nowhere/claims", 404, "not_found"),
    ]:
        response = post(ada, path)
        assert (response.status_code, response.json()["code"]) == (status, code)

    Annotator.objects.update(state=Annotator.State.EXCLUDED)
    response = post(ada, f"campaigns/{make_campaign().slug}/claims")
    assert (response.status_code, response.json()["code"]) == (403, "annotator_excluded")


@pytest.mark.parametrize(
    "path",
    [
        "campaigns/x/claims",
        "campaigns/x/heartbeat",
        "campaigns/x/release",
        "votes",
        "votes/3f0a2c4e-8a51-4f0e-9d5b-0c6a8d1f2b77/undo",
    ],
)
def test_posts_need_a_login(path: str) -> None:
    response = post(Client(), path)

    assert (response.status_code, response.json()["code"]) == (403, "not_authenticated")


def test_posts_by_cookie_need_the_csrf_token() -> None:
    campaign, client = make_campaign(), Client(enforce_csrf_checks=True)
    client.force_login(make_user())

    response = post(client, f"campaigns/{campaign.slug}/claims")

    assert (response.status_code, response.json()["code"]) == (403, "permission_denied")
    assert campaign.slots.filter(state="leased").count() == 0


def test_a_token_works_like_a_login() -> None:
    _, token = AuthToken.objects.create(make_user())
    campaign = make_campaign()

    response = post(Client(), f"campaigns/{campaign.slug}/claims", Authorization=f"Token {token}")

    assert len(response.json()["claims"]) == 1


def test_votes_are_201_then_200_with_the_same_vote(ada: Client) -> None:
    [task] = claim(ada, make_campaign())
    key, image = str(uuid4()), task["images"][1]["id"]

    first = give(ada, task, key, outcome="choice", image=image, shown_ms=812)
    again = give(ada, task, key, outcome="choice", image=image, shown_ms=812)

    vote = Vote.objects.get()
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.json() == {
        "id": str(vote.public_id),
        "task": task["task"],
        "outcome": "choice",
        "image": image,
        "reason": "",
        "shown_ms": 812,
        "created_at": vote.created_at.isoformat().replace("+00:00", "Z"),
        "withdrawn_at": None,
        "feedback": None,
    }


def test_votes_keep_how_they_were_given(ada: Client) -> None:
    [task] = claim(ada, make_campaign())
    client = {"input": "touch", "zoomed": True, "viewport": [390, 844]}

    assert give(ada, task, shown_ms=900, hidden_ms=4000, client=client).status_code == 201

    vote = Vote.objects.get()
    assert (vote.shown_ms, vote.hidden_ms, vote.client) == (900, 4000, client)


def test_practice_votes_tell_what_was_right(ada: Client) -> None:
    campaign = make_campaign(tasks=0, practice_tasks=2)
    tasks = [make_task(campaign=campaign, purpose=Task.Purpose.PRACTICE) for _ in range(2)]
    expected = {str(task.public_id): str(task.expected.public_id) for task in tasks}
    claims = claim(ada, campaign, count=2)
    assert [shown["is_practice"] for shown in claims] == [True, True]

    right = expected[claims[0]["task"]]
    said = give(ada, claims[0], outcome="choice", image=right).json()
    unsaid = give(ada, claims[1], outcome="tie").json()

    assert said["feedback"] == {"is_right": True, "expected": right}
    assert unsaid["feedback"] == {"is_right": False, "expected": expected[claims[1]["task"]]}


def test_practice_is_not_undone(ada: Client) -> None:
    campaign = make_campaign(tasks=0, practice_tasks=1)
    make_task(campaign=campaign, purpose=Task.Purpose.PRACTICE)
    vote = give(ada, claim(ada, campaign)[0]).json()["id"]

    assert post(ada, f"votes/{vote}/undo").json()["code"] == "undo_refused"
    assert ada.get(f"/api/v1/campaigns/{campaign.slug}/progress").json()["last_vote"] is None


def test_votes_without_an_image_say_null(ada: Client) -> None:
    [task] = claim(ada, make_campaign())

    assert give(ada, task, outcome="flag", reason="image_broken").json()["image"] is None


def test_votes_refuse_another_body_under_the_same_key(ada: Client) -> None:
    [task] = claim(ada, make_campaign())
    key = str(uuid4())
    give(ada, task, key)

    response = give(ada, task, key, outcome="all_bad")

    assert (response.status_code, response.json()["code"]) == (422, "key_reused")


def test_votes_refuse_a_lost_claim(ada: Client) -> None:
    [task] = claim(ada, make_campaign())
    give(ada, task)

    response = give(ada, task)

    assert (response.status_code, response.json()["code"]) == (409, "claim_lost")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"outcome": "maybe"}, "invalid"),
        ({"token": "x"}, "invalid"),
        ({"image": "x"}, "invalid"),
        ({"shown_ms": -1}, "invalid"),
        ({"reason": "x" * 201}, "invalid"),
        ({"reason": "a\x00"}, "invalid"),
        ({"outcome": "flag", "reason": "\ud800"}, "invalid"),
        ({"outcome": "choice"}, "vote_rejected"),
        ({"outcome": "choice", "image": "3f0a2c4e-8a51-4f0e-9d5b-0c6a8d1f2b77"}, "vote_rejected"),
        ({"outcome": "flag"}, "vote_rejected"),
        ({"hidden_ms": -1}, "invalid"),
        ({"client": ["key"]}, "vote_rejected"),
        ({"client": {"input": "thought"}}, "vote_rejected"),
    ],
)
def test_votes_refuse_what_makes_no_sense(ada: Client, body: dict[str, Any], code: str) -> None:
    [task] = claim(ada, make_campaign())

    response = give(ada, task, **body)

    assert (response.status_code, response.json()["code"]) == (400, code)
    assert Vote.objects.count() == 0


@pytest.mark.parametrize("key", ["", "1234", "not-a-uuid"])
def test_votes_need_an_idempotency_key(ada: Client, key: str) -> None:
    [task] = claim(ada, make_campaign())

    response = post(ada, "votes", {"token": task["token"], "outcome": "tie"}, **{"Idempotency-Key": key})

    assert (response.status_code, response.json()["detail"]) == (
        400,
        "Send the header Idempotency-Key with a UUID, a new one for each vote.",
    )


def test_votes_take_nothing_from_the_body_but_what_was_said(ada: Client) -> None:
    [task] = claim(ada, make_campaign())
    other = make_annotator()

    give(ada, task, annotator=str(other.public_id), is_too_fast=True, created_at="1999-01-01T00:00:00Z", id=7)

    vote = Vote.objects.get()
    assert (vote.annotator.user.username, vote.is_too_fast, vote.created_at.year > 2000) == ("ada", False, True)


def test_votes_say_try_again_when_the_database_is_away(ada: Client) -> None:
    [task] = claim(ada, make_campaign())

    with patch("annotations.services.voting._record", side_effect=OperationalError("gone")):
        response = give(ada, task)

    assert (response.status_code, response["Retry-After"]) == (503, "2")
    assert response.json() == {
        "code": "try_again",
        "detail": "The database does not answer. Send the same request again in a moment.",
    }


def test_undo_gives_the_same_claim_first_with_a_new_token(ada: Client) -> None:
    campaign = make_campaign(images=4)
    before = claim(ada, campaign, count=3)
    first, second = (give(ada, task).json()["id"] for task in before[:2])

    answer = post(ada, f"votes/{second}/undo").json()

    assert [c["task"] for c in answer["claims"]] == [before[1]["task"], before[2]["task"]]
    assert answer["claims"][0]["images"] == before[1]["images"]
    assert answer["claims"][0]["token"] != before[1]["token"]
    assert (answer["voted"], answer["left"], answer["last_vote"]) == (1, 2, first)
    again = post(ada, f"votes/{first}/undo").json()
    assert (again["voted"], again["left"], again["last_vote"]) == (0, 3, None)


def test_undo_refuses_what_is_not_the_latest(ada: Client) -> None:
    first, second = claim(ada, make_campaign(), count=2)
    vote = give(ada, first).json()["id"]
    give(ada, second)

    response = post(ada, f"votes/{vote}/undo")

    assert (response.status_code, response.json()["code"]) == (409, "undo_refused")


def test_undo_does_not_tell_that_somebody_else_voted(ada: Client) -> None:
    [slot] = claim_slots(annotator=make_annotator(), campaign=make_campaign(), count=1)
    vote = vote_on(slot).vote

    theirs, nobodys = (post(ada, f"votes/{public_id}/undo") for public_id in (vote.public_id, uuid4()))

    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.json() == nobodys.json()
    assert Vote.objects.standing().count() == 1


def test_release_gives_claims_back(ada: Client) -> None:
    campaign = make_campaign()
    claim(ada, campaign, count=2)

    assert post(ada, f"campaigns/{campaign.slug}/release").json() == {"released": 2}
    assert campaign.slots.filter(state="open").count() == 3


def test_heartbeat_keeps_claims(ada: Client) -> None:
    campaign = make_campaign()
    claim(ada, campaign, count=2)
    Slot.objects.filter(campaign=campaign, state="leased").update(lease_until=timezone.now())

    assert post(ada, f"campaigns/{campaign.slug}/heartbeat").json() == {"kept": 2}
    assert campaign.slots.filter(lease_until__gt=timezone.now() + timedelta(minutes=2)).count() == 2


def test_claims_say_when_one_has_given_all_the_votes_that_are_taken(ada: Client) -> None:
    campaign = make_campaign(votes_per_person=1)
    give(ada, claim(ada, campaign)[0])

    response = post(ada, f"campaigns/{campaign.slug}/claims")

    assert (response.status_code, response.json()["code"]) == (403, "cap_reached")


def test_release_soon_keeps_the_work_for_half_a_minute(ada: Client) -> None:
    campaign = make_campaign(lease_seconds=600)
    before = claim(ada, campaign, count=2)

    assert post(ada, f"campaigns/{campaign.slug}/release", {"soon": True}).json() == {"released": 2}

    leases = [slot.lease_until - timezone.now() for slot in campaign.slots.filter(state="leased")]
    assert len(leases) == 2
    assert all(timedelta(seconds=20) < left <= timedelta(seconds=30) for left in leases)
    assert [task["token"] for task in claim(ada, campaign, count=2)] == [task["token"] for task in before]


def test_progress_tells_how_far_one_is(ada: Client) -> None:
    campaign = make_campaign(tasks=3)
    path = f"/api/v1/campaigns/{campaign.slug}/progress"
    assert ada.get(path).json() == {"voted": 0, "left": 3, "last_vote": None}

    vote = give(ada, claim(ada, campaign)[0]).json()["id"]

    assert ada.get(path).json() == {"voted": 1, "left": 2, "last_vote": vote}


def test_progress_hides_campaigns_that_one_may_not_enter(ada: Client) -> None:
    campaign = make_campaign(access=Campaign.Access.INVITED)

    assert ada.get(f"/api/v1/campaigns/{campaign.slug}/progress").status_code == 404


@pytest.mark.parametrize("path", ["votes", "images", "prompts", "generators"])
def test_lists_are_for_staff(ada: Client, cleo: Client, path: str) -> None:
    assert Client().get(f"/api/v1/{path}").status_code == 403
    assert ada.get(f"/api/v1/{path}").status_code == 403
    assert cleo.get(f"/api/v1/{path}").json() == {"next": None, "previous": None, "results": []}


def test_list_of_votes_shows_them_newest_first_with_public_ids(cleo: Client) -> None:
    campaign = make_campaign(slug="birds")
    slots = claim_slots(annotator=make_annotator(), campaign=campaign, count=2)
    first, second = (vote_on(slot).vote for slot in slots)

    results = cleo.get("/api/v1/votes").json()["results"]

    assert [row["id"] for row in results] == [str(second.public_id), str(first.public_id)]
    images = queries.images_in_order(slots)[slots[0].pk]
    assert results[1] | {"created_at": "", "served_at": ""} == {
        "id": str(first.public_id),
        "campaign": "birds",
        "task": str(first.task.public_id),
        "purpose": "regular",
        "prompt": first.task.prompt.text,
        "annotator": str(first.annotator.public_id),
        "outcome": "choice",
        "image": str(images[0].public_id),
        "reason": "",
        "order": [str(image.public_id) for image in images],
        "shown_ms": None,
        "hidden_ms": 0,
        "client": {},
        "is_too_fast": False,
        "instructions_version": 1,
        "served_at": "",
        "created_at": "",
        "withdrawn_at": None,
    }


def test_list_of_votes_can_be_narrowed(cleo: Client) -> None:
    campaigns = [make_campaign(slug="birds"), make_campaign(slug="boats")]
    for campaign in campaigns:
        first, second = claim_slots(annotator=make_annotator(), campaign=campaign, count=2)
        vote_on(first, "tie")
        vote_on(second, "skip")

    def outcomes(query: str) -> list[str]:
        return [f"{row['campaign']} {row['outcome']}" for row in cleo.get(f"/api/v1/votes?{query}").json()["results"]]

    assert outcomes("campaign=birds") == ["birds skip", "birds tie"]
    assert outcomes("outcome=tie") == ["boats tie", "birds tie"]
    assert outcomes("campaign=boats&outcome=skip&is_withdrawn=false") == ["boats skip"]
    assert outcomes("is_withdrawn=true") == []


def test_list_of_votes_is_cut_into_pages(cleo: Client) -> None:
    campaign = make_campaign(tasks=3)
    for slot in claim_slots(annotator=make_annotator(), campaign=campaign, count=3):
        vote_on(slot, "tie")

    page = cleo.get("/api/v1/votes?page_size=2").json()
    rest = cleo.get(page["next"]).json()

    assert (len(page["results"]), len(rest["results"]), rest["next"]) == (2, 1, None)


def test_lists_ask_the_database_as_often_for_three_rows_as_for_one(
    cleo: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for rows in (1, 3):
        campaign = make_campaign(tasks=rows)
        for slot in claim_slots(annotator=make_annotator(), campaign=campaign, count=rows):
            vote_on(slot)
        for path, count in [("votes", 4), ("images", 3), ("prompts", 3), ("generators", 3)]:
            with django_assert_num_queries(count):
                cleo.get(f"/api/v1/{path}")


def test_list_of_images_tells_staff_where_they_come_from(cleo: Client) -> None:
    image = make_image(generator=make_generator("toy"), has_file=False)
    make_image(has_file=False)

    [row] = cleo.get("/api/v1/images?generator=toy").json()["results"]

    assert (row["id"], row["generator"], row["prompt"]["text"], row["sha256"]) == (
        str(image.public_id), "toy", image.prompt.text, image.sha256,
    )  # fmt: skip


def test_list_of_images_tells_staff_why_some_are_hidden(cleo: Client) -> None:
    make_image(has_file=False)
    hidden = make_image(has_file=False, is_hidden=True, hidden_reason="broken")

    [row] = cleo.get("/api/v1/images?hidden_reason=broken").json()["results"]

    assert (row["id"], row["is_hidden"], row["hidden_reason"]) == (str(hidden.public_id), True, "broken")


def test_list_of_prompts_finds_words_and_tags(cleo: Client) -> None:
    make_prompt("a red cube", tags=["shape"])
    make_prompt("a blue bird", tags=["animal"])

    def texts(query: str) -> list[str]:
        return [row["text"] for row in cleo.get(f"/api/v1/prompts?{query}").json()["results"]]

    assert (texts("text=BIRD"), texts("tag=shape")) == (["a blue bird"], ["a red cube"])


@pytest.mark.django_db(transaction=True)
def test_votes_race_of_one_key_answers_201_once_and_200_otherwise() -> None:
    user = make_user()
    [task] = claim(client_of(user), make_campaign())
    clients, key = [client_of(user) for _ in range(12)], str(uuid4())

    answers = at_once([partial(give, client, task, key) for client in clients])

    assert sorted(answer.status_code for answer in answers) == [200] * 11 + [201]
    assert {answer.json()["id"] for answer in answers} == {str(Vote.objects.get().public_id)}
