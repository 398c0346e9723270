"""The pages on which people choose, without a script."""

import re
from datetime import timedelta
from functools import partial
from unittest.mock import patch
from uuid import uuid4

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from knox.models import AuthToken

from annotations.models import Annotator, Campaign, Image, Invite, Participation, Slot, Task, Vote
from annotations.queries import voting as queries
from annotations.services.instructions import Example, revise_instructions
from annotations.services.participations import participation_of
from annotations.services.voting import VotingRefused, claim_slots
from tests.annotations.factories import (
    make_annotator,
    make_campaign,
    make_generator,
    make_image,
    make_invite,
    make_prompt,
    make_task,
    make_user,
    picture_bytes,
)
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


def text_of(response: object) -> str:
    """What a page says, without its tags and with single spaces."""
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def press(client: Client, campaign: Campaign, **button: str) -> object:
    """Press a button of the form that the voting page shows, and follow."""
    page = client.get(f"/c/{campaign.slug}/vote/").content.decode()
    token, key = (re.search(rf'name="{name}" value="([^"]+)"', page)[1] for name in ("token", "key"))
    return client.post(f"/c/{campaign.slug}/vote/", {"token": token, "key": key, **button}, follow=True)


# Home


def test_home_lists_campaigns_with_progress(ada: Client) -> None:
    make_campaign(name="Birds", tasks=3, is_synthetic=True)
    make_campaign(name="Secret", access=Campaign.Access.INVITED)

    text = text_of(ada.get("/"))

    assert "Birds" in text
    assert "3 sets for you" in text
    assert "0 of 3 votes from everybody" in text
    assert "Synthetic" in text
    assert "Secret" not in text


def test_home_says_when_there_is_nothing(ada: Client) -> None:
    assert "Nothing to vote on yet" in text_of(ada.get("/"))


def test_home_offers_registration_to_visitors() -> None:
    make_campaign(name="Birds")

    page = Client().get("/").content.decode()

    assert 'href="/accounts/register/"' in page
    assert "Birds" in page


# Accounts


def test_register_makes_an_account_and_logs_in() -> None:
    client = Client()
    campaign = make_campaign()
    form = {"username": "ben", "password1": "tall-ships-9", "password2": "tall-ships-9", "next": f"/c/{campaign.slug}/"}

    response = client.post("/accounts/register/", {**form, "is_staff": "1", "is_superuser": "1"})

    assert (response.status_code, response["Location"]) == (302, f"/c/{campaign.slug}/")
    ben = User.objects.get(username="ben")
    assert (ben.is_staff, ben.is_superuser, ben.annotator.source) == (False, False, "registered")
    assert client.get("/").wsgi_request.user == ben


@pytest.mark.parametrize("address", ["https://evil.example/", "//evil.example", "javascript:alert(1)", ""])
def test_register_never_leads_to_another_site(address: str) -> None:
    form = {"username": "ben", "password1": "tall-ships-9", "password2": "tall-ships-9", "next": address}

    assert Client().post("/accounts/register/", form)["Location"] == "/"


def test_register_explains_what_does_not_fit() -> None:
    make_user("ben")

    response = Client().post("/accounts/register/", {"username": "ben", "password1": "a", "password2": "b"})

    assert "A user with that username already exists." in text_of(response)
    assert "didn’t match" in text_of(response)


def test_login_and_logout() -> None:
    User.objects.create_user("ben", password="tall-ships-9")
    client = Client()

    entered = client.post("/accounts/login/", {"username": "ben", "password": "tall-ships-9", "next": "//evil.example"})
    left = client.post("/accounts/logout/")

    assert (entered["Location"], left["Location"]) == ("/", "/")
    assert "Log in" in text_of(client.get("/accounts/login/"))


# Invites


def test_join_welcomes_and_changes_nothing_before_the_button() -> None:
    invite, client = make_invite(make_campaign(name="Birds")), Client()

    response = client.get(invite.get_absolute_url())

    assert "You are invited Birds" in text_of(response)
    assert (Annotator.objects.count(), Invite.objects.get().uses) == (0, 0)


def test_join_makes_a_guest_who_may_vote() -> None:
    campaign = make_campaign(access=Campaign.Access.INVITED)
    client = Client()

    response = client.post(make_invite(campaign).get_absolute_url(), follow=True)

    assert response.redirect_chain == [(f"/c/{campaign.slug}/", 302)]
    assert "3 sets left for you" in text_of(response)
    assert Annotator.objects.get().user == response.wsgi_request.user


def test_join_keeps_the_account_of_who_is_logged_in(ada: Client) -> None:
    campaign = make_campaign(access=Campaign.Access.INVITED)

    ada.post(make_invite(campaign).get_absolute_url())

    assert Annotator.objects.get().user.username == "ada"
    assert "Start" in text_of(ada.get(f"/c/{campaign.slug}/"))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"is_active": False}, "was switched off"),
        ({"expires_at": timezone.now() - timedelta(days=1)}, "has expired"),
        ({"max_uses": 1, "uses": 1}, "As many people as this invite link is for"),
    ],
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_join_says_why_a_link_lets_nobody_in(fields: dict[str, object], says: str, method: str) -> None:
    invite = make_invite(make_campaign(), **fields)

    response = getattr(Client(), method)(invite.get_absolute_url())

    assert response.status_code == 410
    assert says in text_of(response)


def test_join_is_404_for_a_code_of_another_campaign() -> None:
    invite, other = make_invite(make_campaign()), make_campaign()

    assert Client().get(f"/c/{other.slug}/join/{invite.code}/").status_code == 404


# A campaign's entry


def test_campaign_shows_question_instructions_and_start(ada: Client) -> None:
    campaign = make_campaign(question="Which is calmer?", instructions="Take <b>your</b> time.")

    page = ada.get(f"/c/{campaign.slug}/")

    assert "Which is calmer?" in text_of(page)
    assert "Take &lt;b&gt;your&lt;/b&gt; time." in page.content.decode()
    assert "Start" in text_of(page)


def test_campaign_asks_visitors_to_register() -> None:
    assert "Register to start" in text_of(Client().get(f"/c/{make_campaign().slug}/"))


@pytest.mark.parametrize(("state", "says"), [("paused", "takes no votes at the moment"), ("closed", "has ended")])
def test_campaign_that_does_not_run_says_so(ada: Client, state: str, says: str) -> None:
    text = text_of(ada.get(f"/c/{make_campaign(state=state).slug}/"))

    assert says in text
    assert "Start" not in text


def test_campaign_by_invitation_is_403_for_others(ada: Client) -> None:
    response = ada.get(f"/c/{make_campaign(access=Campaign.Access.INVITED).slug}/")

    assert response.status_code == 403
    assert "By invitation" in text_of(response)


def test_campaign_says_that_practice_comes_first_until_it_is_over() -> None:
    annotator = make_annotator()
    ada = client_of(annotator.user)
    campaign, plain = make_campaign(practice_tasks=3), make_campaign()
    says = "First come 3 sets for practice"

    assert says in text_of(ada.get(f"/c/{campaign.slug}/"))
    assert "for practice" not in text_of(ada.get(f"/c/{plain.slug}/"))

    part = participation_of(annotator=annotator, campaign=campaign)
    Participation.objects.filter(pk=part.pk).update(practised_at=timezone.now())

    assert says not in text_of(ada.get(f"/c/{campaign.slug}/"))


def test_login_tells_guests_that_their_link_lets_them_in() -> None:
    page = text_of(Client().get(f"/c/{make_campaign().slug}/vote/", follow=True))

    assert "Open its link again: you need no password." in page
    assert "Username Password" in page


def test_page_for_staff_offers_a_login_only_to_who_is_logged_out(ada: Client) -> None:
    page = ada.get("/dashboard/")

    assert page.status_code == 403
    assert "log out first" in text_of(page)
    assert "?next=/dashboard/" not in page.content.decode()


def test_campaign_in_draft_is_for_staff(ada: Client) -> None:
    path = f"/c/{make_campaign(state=Campaign.State.DRAFT).slug}/"

    assert ada.get(path).status_code == 404
    assert client_of(make_user(is_staff=True)).get(path).status_code == 200


# Voting without a script


def test_vote_by_plain_form_goes_on_to_the_end(ada: Client) -> None:
    campaign = make_campaign(tasks=3, images=4)
    ada.post(f"/c/{campaign.slug}/vote/")
    slot = queries.held_slots(Annotator.objects.get(), campaign).get()
    third = queries.images_in_order([slot])[slot.pk][2]

    press(ada, campaign, image=str(third.public_id))
    press(ada, campaign, outcome="tie")
    end = press(ada, campaign, flag="image_broken")

    assert [(v.outcome, v.reason) for v in Vote.objects.order_by("pk")] == [
        ("choice", ""), ("tie", ""), ("flag", "image_broken"),
    ]  # fmt: skip
    assert Vote.objects.earliest("pk").image == third
    assert end.redirect_chain[-1] == (f"/c/{campaign.slug}/done/", 302)
    assert "3 sets answered" in text_of(end)


def test_vote_sent_twice_by_plain_form_is_one_vote(ada: Client) -> None:
    campaign = make_campaign()
    ada.post(f"/c/{campaign.slug}/vote/")
    slot = Slot.objects.get(state="leased")
    form = {"token": slot.token, "key": uuid4(), "outcome": "tie"}

    for _ in range(2):
        ada.post(f"/c/{campaign.slug}/vote/", form)

    assert Vote.objects.count() == 1


def test_vote_shows_images_in_the_order_of_the_slot_and_tells_nothing_else(ada: Client) -> None:
    campaign = make_campaign(tasks=0, images=4)
    prompt, generator = make_prompt("a red cube"), make_generator("secret-model")
    images = [make_image(prompt=prompt, generator=generator, has_file=False, seed=987_654) for _ in range(4)]
    make_task(campaign=campaign, prompt=prompt, images=images)

    page = ada.post(f"/c/{campaign.slug}/vote/", follow=True).content.decode()

    slot = Slot.objects.get()
    in_order = queries.images_in_order([slot])[slot.pk]
    assert re.findall(r'<img class="tile__image" src="([^"]+)" alt="([^"]+)"', page) == [
        (f"/images/{image.public_id}", f"Image {n}") for n, image in enumerate(in_order, start=1)
    ]
    assert "a red cube" in page
    for secret in ["secret-model", "987654", *(image.sha256 for image in images)]:
        assert secret not in page


def test_vote_page_escapes_the_prompt_in_text_and_in_data(ada: Client) -> None:
    campaign = make_campaign(tasks=0)
    make_task(campaign=campaign, prompt=make_prompt("</script><script>alert(1)</script>"))

    page = ada.post(f"/c/{campaign.slug}/vote/", follow=True).content.decode()

    assert "alert(1)" in page
    assert "<script>alert(1)" not in page


def test_looking_at_pages_changes_nothing(ada: Client) -> None:
    campaign = make_campaign()

    for path in ["/", f"/c/{campaign.slug}/", f"/c/{campaign.slug}/vote/", f"/c/{campaign.slug}/done/"]:
        assert ada.get(path).status_code == 200
        assert ada.head(path).status_code == 200

    assert campaign.slots.exclude(state="open").count() == 0
    assert Annotator.objects.count() == 0


def test_vote_says_when_the_task_is_lost(ada: Client) -> None:
    campaign = make_campaign()
    ada.post(f"/c/{campaign.slug}/vote/")
    form = {"token": uuid4(), "key": uuid4(), "outcome": "tie"}

    assert "This set is no longer yours" in text_of(ada.post(f"/c/{campaign.slug}/vote/", form, follow=True))


@pytest.mark.parametrize("form", [{"token": "x", "key": "y"}, {"token": str(uuid4()), "key": str(uuid4())}])
def test_vote_says_when_it_cannot_be_read(ada: Client, form: dict[str, str]) -> None:
    campaign = make_campaign()

    assert "could not be read" in text_of(ada.post(f"/c/{campaign.slug}/vote/", form, follow=True))


def test_vote_sends_people_who_may_not_vote_back_to_the_campaign(ada: Client) -> None:
    campaign = make_campaign(access=Campaign.Access.INVITED)

    assert ada.get(f"/c/{campaign.slug}/vote/")["Location"] == f"/c/{campaign.slug}/"
    assert "by invitation" in text_of(ada.post(f"/c/{campaign.slug}/vote/", follow=True))


@pytest.mark.parametrize(
    ("code", "leads_to"),
    [("consent_needed", "/c/birds/consent/"), ("cap_reached", "/c/birds/done/"), ("x", "/c/birds/")],
)
def test_vote_that_is_refused_leads_to_where_something_can_be_done(ada: Client, code: str, leads_to: str) -> None:
    make_campaign(slug="birds")
    refusal = type("Refusal", (VotingRefused,), {"code": code})("Please do this first.")

    with patch("annotations.views.voting.voting.claim_slots", side_effect=refusal):
        response = ada.post("/c/birds/vote/")

    assert (response.status_code, response["Location"]) == (302, leads_to)


def test_vote_in_practice_tells_what_was_right(ada: Client) -> None:
    campaign = make_campaign(tasks=0, practice_tasks=2)
    for _ in range(2):
        make_task(campaign=campaign, purpose=Task.Purpose.PRACTICE)
    ada.post(f"/c/{campaign.slug}/vote/")

    for outcome in ("right", "wrong"):
        slot = queries.held_slots(Annotator.objects.get(), campaign).get()
        images = queries.images_in_order([slot])[slot.pk]
        n = images.index(slot.task.expected) + 1
        chosen = images[n - 1 if outcome == "right" else 2 - n]
        text = text_of(press(ada, campaign, image=str(chosen.public_id)))
        assert f"{'Right: image' if outcome == 'right' else 'Nearly everybody would choose image'} {n} " in text
    assert "Now the real ones. From here on there is no right answer" in text


def test_vote_needs_a_login() -> None:
    path = f"/c/{make_campaign().slug}/vote/"

    assert Client().get(path)["Location"] == f"/accounts/login/?next={path}"


def test_undo_shows_the_same_images_in_the_same_order(ada: Client) -> None:
    campaign = make_campaign(images=4)
    ada.post(f"/c/{campaign.slug}/vote/")
    before = re.findall(r'src="(/images/[^"]+)"', ada.get(f"/c/{campaign.slug}/vote/").content.decode())
    press(ada, campaign, outcome="tie")

    page = ada.post(f"/c/{campaign.slug}/undo/", follow=True).content.decode()

    assert re.findall(r'src="(/images/[^"]+)"', page) == before
    assert Vote.objects.standing().count() == 0


def test_undo_says_when_there_is_nothing(ada: Client) -> None:
    campaign = make_campaign()

    assert "There is no vote to undo." in text_of(ada.post(f"/c/{campaign.slug}/undo/", follow=True))


def test_done_offers_other_campaigns(ada: Client) -> None:
    over, more = make_campaign(tasks=0), make_campaign(name="More birds")

    text = text_of(ada.get(f"/c/{over.slug}/done/"))

    assert "All done, thank you!" in text
    assert more.name in text


def test_pages_are_never_cached(ada: Client) -> None:
    campaign = make_campaign()

    for path in ["/", f"/c/{campaign.slug}/", f"/c/{campaign.slug}/vote/", "/accounts/register/"]:
        assert "no-store" in ada.get(path)["Cache-Control"]


def test_pages_bear_no_inline_script_or_style(ada: Client) -> None:
    campaign = make_campaign()
    ada.post(f"/c/{campaign.slug}/vote/")

    for path in ["/", f"/c/{campaign.slug}/", f"/c/{campaign.slug}/vote/", f"/c/{campaign.slug}/done/"]:
        page = ada.get(path).content.decode()
        assert not re.search(r'<[^>]+ (style|on[a-z]+)="', page)
        assert not re.search(r"<style|<script(?![^>]*(src=|application/json))", page)


# Images


def test_image_is_what_its_record_says(ada: Client) -> None:
    content = picture_bytes()
    image = make_image(content=content)

    response = ada.get(f"/images/{image.public_id}")

    assert b"".join(response.streaming_content) == content
    assert {name: response[name] for name in (
        "Content-Type", "X-Content-Type-Options", "Cache-Control", "Content-Security-Policy", "Content-Disposition",
    )} == {
        "Content-Type": "image/png",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, max-age=31536000, immutable",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Content-Disposition": f'inline; filename="{image.public_id}.png"',
    }  # fmt: skip


def test_image_is_sent_by_the_front_server_where_there_is_one(ada: Client, settings: LazySettings) -> None:
    settings.MEDIA_ACCEL_PREFIX = "/protected/"
    image = make_image()

    response = ada.get(f"/images/{image.public_id}")

    assert (response.content, response["X-Accel-Redirect"]) == (b"", f"/protected/{image.file.name}")
    assert response["Content-Type"] == "image/png"


def test_image_is_404_without_a_login_and_for_what_is_not_there(ada: Client) -> None:
    image = make_image()

    assert Client().get(f"/images/{image.public_id}").status_code == 404
    assert Client().get(f"/images/{image.public_id}", headers={"Authorization": "Token wrong"}).status_code == 404
    assert ada.get(f"/images/{uuid4()}").status_code == 404


def status_of(client: Client, path: str, **headers: str) -> int:
    """The status alone; a file is read to its end, which closes it."""
    response = client.get(path, headers=headers)
    assert not response.streaming or b"".join(response.streaming_content)
    return response.status_code


def test_image_is_there_for_a_token() -> None:
    _, token = AuthToken.objects.create(make_user())

    assert status_of(Client(), f"/images/{make_image().public_id}", Authorization=f"Token {token}") == 200


def test_image_in_instructions_that_anyone_may_read_is_there_for_visitors() -> None:
    shown, earlier, of_draft, by_invitation = images = [make_image() for _ in range(4)]
    campaign = make_campaign()
    show = partial(revise_instructions, question="Which?")
    show(campaign=campaign, examples=[Example(earlier, "Sharp.")])
    show(campaign=campaign, examples=[Example(shown, "Sharp.")])
    show(campaign=make_campaign(state=Campaign.State.DRAFT), examples=[Example(of_draft, "Sharp.")])
    show(campaign=make_campaign(access=Campaign.Access.INVITED), examples=[Example(by_invitation, "Sharp.")])

    assert f"/images/{shown.public_id}" in Client().get(f"/c/{campaign.slug}/").content.decode()
    assert [status_of(Client(), f"/images/{image.public_id}") for image in images] == [200, 404, 404, 404]

    Image.objects.filter(pk=shown.pk).update(is_hidden=True)

    assert status_of(Client(), f"/images/{shown.public_id}") == 404


def test_image_that_is_hidden_is_there_for_staff_only(ada: Client) -> None:
    path = f"/images/{make_image(is_hidden=True).public_id}"

    assert status_of(ada, path) == 404
    assert status_of(client_of(make_user(is_staff=True)), path) == 200


def test_image_whose_file_is_lost_is_404(ada: Client) -> None:
    image = make_image()
    image.file.storage.delete(image.file.name)

    assert ada.get(f"/images/{image.public_id}").status_code == 404


def test_image_addresses_tell_nothing(ada: Client) -> None:
    image = make_image(generator=make_generator("secret-model"))

    assert image.get_absolute_url() == f"/images/{image.public_id}"
    assert Image.objects.get().sha256 not in image.get_absolute_url()


def test_done_of_a_closed_campaign_offers_no_undo(ada: Client) -> None:
    campaign, annotator = make_campaign(), make_annotator(user=User.objects.get(username="ada"))
    vote_on(claim_slots(annotator=annotator, campaign=campaign, count=1)[0])
    assert "Undo my last vote" in text_of(ada.get(f"/c/{campaign.slug}/done/"))

    Campaign.objects.update(state=Campaign.State.CLOSED)

    assert "Undo my last vote" not in text_of(ada.get(f"/c/{campaign.slug}/done/"))
