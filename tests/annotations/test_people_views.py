"""A person's own pages, the links of panels, and that nobody gets to see another's."""

import json
import re
from datetime import timedelta
from urllib.parse import urlencode, urljoin, urlsplit

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.db.models.functions import Now
from django.test import Client
from django.utils.html import escape

from annotations.models import Annotator, Campaign, Demographics, Participation, Recruitment, Vote, text_sha256
from annotations.services.consent import agree
from annotations.services.demographics import tell
from annotations.services.instructions import Example, revise_instructions, store_example_image
from annotations.services.participations import participation_of
from annotations.services.recruiting import Arrival, enter
from annotations.services.voting import claim_slots
from tests.annotations.factories import make_annotator, make_campaign, make_recruitment, make_user, picture_bytes
from tests.annotations.test_views import client_of, text_of
from tests.annotations.test_voting import vote_on

pytestmark = pytest.mark.django_db

IDS = {"PROLIFIC_PID": "5f3a", "STUDY_ID": "study1", "SESSION_ID": "session1"}
MTURK = {"workerId": "W1", "hitId": "H1", "assignmentId": "A1"}
TEXT = "We keep <b>your</b> choices."


@pytest.fixture
def ada() -> Client:
    """Ada may vote."""
    return client_of(make_user("ada"))


def address(recruitment: Recruitment, page: str = "", **ids: str) -> str:
    given = ids or {"prolific": IDS, "mturk": MTURK}[recruitment.panel]
    return f"{recruitment.get_absolute_url()}{page}?{urlencode(given)}"


def answer(client: Client, campaign: Campaign, said: str, text: str = "") -> object:
    return client.post(f"/c/{campaign.slug}/consent/", {"answer": said, "text": text or text_sha256(campaign.consent)})


# The links of panels


def test_recruit_welcomes_and_changes_nothing_before_the_button() -> None:
    recruitment, client = make_recruitment(make_campaign(question="Which is calmer?")), Client()

    page = client.get(address(recruitment))

    assert "Which is calmer?" in text_of(page)
    assert "3 times" in text_of(page)
    assert "Begin" in text_of(page)
    assert (Annotator.objects.count(), Participation.objects.count(), User.objects.count()) == (0, 0, 0)


@pytest.mark.parametrize("page", ["", "mturk/"])
def test_the_ids_in_the_address_are_told_to_nobody(page: str) -> None:
    recruitment = make_recruitment(make_campaign(), panel="mturk")

    assert Client().get(address(recruitment, page))["Referrer-Policy"] == "strict-origin"


def test_recruit_lets_in_without_a_password_and_is_safe_on_reload_and_on_another_device() -> None:
    campaign = make_campaign(access=Campaign.Access.INVITED)
    recruitment = make_recruitment(campaign, places=1)
    laptop, phone = Client(), Client()

    came = laptop.post(address(recruitment))
    again = laptop.get(address(recruitment))
    moved = phone.post(address(recruitment), follow=True)

    assert came["Location"] == again["Location"] == f"/c/{campaign.slug}/"
    assert "Start" in text_of(moved)
    assert laptop.session["_auth_user_id"] == phone.session["_auth_user_id"]
    assert Participation.objects.count() == 1


def test_recruit_leaves_an_account_that_was_logged_in(ada: Client) -> None:
    recruitment = make_recruitment(make_campaign())
    before = ada.session.session_key

    assert "You are logged in as" not in text_of(ada.get(address(recruitment)))
    User.objects.get(username="ada").set_password("tall-ships-9")
    ada.post(address(recruitment))

    assert ada.session.session_key != before
    assert User.objects.get(pk=ada.session["_auth_user_id"]).annotator.source == "recruited"
    assert not Participation.objects.filter(annotator__user__username="ada").exists()


@pytest.mark.parametrize("method", ["get", "post"])
def test_recruit_says_what_is_wrong_with_the_ids(method: str) -> None:
    recruitment = make_recruitment(make_campaign())

    response = getattr(Client(), method)(address(recruitment, **{**IDS, "PROLIFIC_PID": "{{%PROLIFIC_PID%}}"}))

    assert response.status_code == 400
    assert "PROLIFIC_PID in the address is no id" in text_of(response)
    assert User.objects.count() == 0


@pytest.mark.parametrize("method", ["get", "post"])
def test_recruit_says_when_nobody_is_wanted_any_longer(method: str) -> None:
    response = getattr(Client(), method)(address(make_recruitment(make_campaign(), is_active=False)))

    assert (response.status_code, "Nobody is wanted" in text_of(response)) == (410, True)


@pytest.mark.parametrize("page", ["", "mturk/"])
def test_a_full_study_says_so_before_anybody_begins(page: str) -> None:
    recruitment = make_recruitment(make_campaign(), panel="mturk", places=1)
    first, preview = Client(), {**MTURK, "assignmentId": "ASSIGNMENT_ID_NOT_AVAILABLE"}
    first.post(address(recruitment))

    refused = [Client().get(address(recruitment, page, **ids)) for ids in ({**MTURK, "workerId": "W2"}, preview)]

    assert [response.status_code for response in refused] == [410, 410]
    for response in refused:
        assert "All places of this study are taken at the moment." in text_of(response)
        assert "Begin" not in text_of(response)
    assert first.get(address(recruitment, page)).status_code in {200, 302}


def test_a_place_that_was_left_counts_as_free_for_who_comes_next() -> None:
    recruitment = make_recruitment(make_campaign(), places=1)
    Client().post(address(recruitment))
    Participation.objects.update(seen_at=Now() - timedelta(minutes=recruitment.minutes + 1))
    other = {**IDS, "PROLIFIC_PID": "6b2c"}

    welcome = Client().get(address(recruitment, **other))

    assert (welcome.status_code, Participation.objects.get().state) == (200, "active")
    assert Client().post(address(recruitment, **other)).status_code == 302


@pytest.mark.parametrize("page", ["", "mturk/"])
def test_visitors_from_a_panel_see_the_examples_in_the_instructions(page: str) -> None:
    campaign = make_campaign(access=Campaign.Access.INVITED)
    picture = picture_bytes()
    example = Example(store_example_image(content=picture), "A tail")
    revise_instructions(campaign=campaign, question="Which?", text="Look at the tail.", examples=[example])
    recruitment, visitor = make_recruitment(campaign, panel="mturk"), Client()

    welcome = visitor.get(address(recruitment, page))

    assert re.search("Look at the tail.*Rather this A tail", text_of(welcome))
    assert f'src="{example.image.get_absolute_url()}"' in welcome.content.decode()
    assert b"".join(visitor.get(example.image.get_absolute_url()).streaming_content) == picture
    Recruitment.objects.update(is_active=False)
    assert visitor.get(example.image.get_absolute_url()).status_code == 404


def test_recruit_says_when_all_places_are_taken() -> None:
    recruitment = make_recruitment(make_campaign(), places=1)
    Client().post(address(recruitment))

    response = Client().post(address(recruitment, **{**IDS, "PROLIFIC_PID": "6b2c"}))

    assert (response.status_code, "All places" in text_of(response)) == (410, True)


def test_recruit_is_404_for_a_code_of_another_campaign() -> None:
    recruitment, other = make_recruitment(make_campaign()), make_campaign()

    assert Client().get(f"/c/{other.slug}/recruit/{recruitment.code}/?{urlencode(IDS)}").status_code == 404


def test_recruit_shows_a_preview_of_mturk_without_letting_in() -> None:
    recruitment = make_recruitment(make_campaign(question="Which is calmer?"), panel="mturk")
    ids = {"hitId": "H1", "assignmentId": "ASSIGNMENT_ID_NOT_AVAILABLE"}

    for response in (
        Client().get(address(recruitment, **ids)),
        Client().post(address(recruitment, **ids)),
        Client().get(address(recruitment, "mturk/", **ids)),
    ):
        text = text_of(response)
        assert "Which is calmer?" in text
        assert "accept the task to begin" in text
        assert "Begin" not in text
        assert "new tab" not in text
    assert User.objects.count() == 0


def test_the_frame_of_mturk_leads_to_a_tab_and_hands_in_at_the_end(settings: LazySettings) -> None:
    settings.SITE_URL = "https://hps.example"
    campaign = make_campaign()
    recruitment = make_recruitment(campaign, panel="mturk", votes_wanted=1)
    frame = address(recruitment, "mturk/", **MTURK, turkSubmitTo="https://workersandbox.mturk.com")

    before = Client().get(frame).content.decode()
    part = enter(recruitment=recruitment, arrival=Arrival("W1", "H1", "A1"))
    vote_on(claim_slots(annotator=part.annotator, campaign=campaign, count=1)[0])
    after = Client().get(frame).content.decode()
    another = Client().get(address(recruitment, "mturk/", **{**MTURK, "assignmentId": "A2"}))

    link = f"https://hps.example{recruitment.get_absolute_url()}?{urlencode(MTURK)}".replace("&", "&amp;")
    assert f'href="{link}" target="_blank" rel="noopener"' in before
    assert "<form" not in before
    assert '<form method="post" action="https://workersandbox.mturk.com/mturk/externalSubmit">' in after
    assert 'name="assignmentId" value="A1"' in after
    assert 'name="code" value="C0DE"' in after
    assert "You have taken part in this study before" in text_of(another)
    assert "C0DE" not in text_of(another)


def test_the_frame_of_mturk_may_be_framed_by_mturk_and_no_other_page_by_anybody() -> None:
    recruitment = make_recruitment(make_campaign(), panel="mturk")

    frame, page = Client().get(address(recruitment, "mturk/")), Client().get(address(recruitment))

    sites = "https://www.mturk.com https://workersandbox.mturk.com"
    policy = frame["Content-Security-Policy"]
    assert {f"frame-ancestors {sites}", f"form-action {sites}", "default-src 'self'"} <= {*policy.split("; ")}
    assert "X-Frame-Options" not in frame
    assert page["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in page["Content-Security-Policy"]


def test_the_frame_of_mturk_never_hands_in_elsewhere() -> None:
    campaign = make_campaign()
    recruitment = make_recruitment(campaign, panel="mturk", votes_wanted=1)
    part = enter(recruitment=recruitment, arrival=Arrival("W1", "H1", "A1"))
    vote_on(claim_slots(annotator=part.annotator, campaign=campaign, count=1)[0])

    page = Client().get(address(recruitment, "mturk/", **MTURK, turkSubmitTo="https://evil.example"))

    assert "evil" not in re.findall(r'<form[^>]*action="([^"]+)"', page.content.decode())[0]


def test_the_frame_is_for_mturk_alone() -> None:
    recruitment = make_recruitment(make_campaign())

    response = Client().get(address(recruitment, "mturk/"))

    assert response["Location"] == recruitment.get_absolute_url()


# Consent and what people tell of themselves


def test_the_whole_way_in_asks_for_consent_then_about_the_person() -> None:
    campaign = make_campaign(consent=TEXT, asks_about_people=True)
    client = Client()

    came = client.post(address(make_recruitment(campaign)))
    shown = client.get(came["Location"])
    agreed = answer(client, campaign, "agree")
    told = client.post(agreed["Location"], {"region": "asia", "gender": ""})

    assert came["Location"] == f"/c/{campaign.slug}/consent/"
    assert "We keep &lt;b&gt;your&lt;/b&gt; choices." in shown.content.decode()
    assert agreed["Location"] == f"/c/{campaign.slug}/about-you/"
    assert told["Location"] == f"/c/{campaign.slug}/"
    assert Participation.objects.get().consent_hash == text_sha256(TEXT)
    assert list(Demographics.objects.values_list("region", "gender", "age_band")) == [("asia", "", "")]


def test_who_does_not_agree_says_goodbye_and_frees_their_place() -> None:
    campaign = make_campaign(consent=TEXT)
    client = Client()
    client.post(address(make_recruitment(campaign, places=1)))

    page = client.get(answer(client, campaign, "decline")["Location"])

    assert "Please return your submission at Prolific" in text_of(page)
    assert Participation.objects.get().state == "returned"
    assert Client().post(address(Recruitment.objects.get(), **{**IDS, "PROLIFIC_PID": "6b2c"})).status_code == 302


def test_voting_leads_to_what_has_to_be_agreed_to(ada: Client) -> None:
    campaign = make_campaign(consent=TEXT)
    to_consent = f"/c/{campaign.slug}/consent/"

    assert ada.get(f"/c/{campaign.slug}/vote/")["Location"] == to_consent
    assert ada.post(f"/c/{campaign.slug}/vote/")["Location"] == to_consent
    assert f'href="{to_consent}"' in ada.get(f"/c/{campaign.slug}/").content.decode()
    refused = ada.post(f"/api/v1/campaigns/{campaign.slug}/claims", {"count": 1}, content_type="application/json")
    assert (refused.status_code, refused.json()["code"]) == (403, "consent_needed")


def test_a_text_that_changed_while_it_was_read_is_shown_anew(ada: Client) -> None:
    campaign = make_campaign(consent=TEXT)

    response = answer(ada, campaign, "agree", text=text_sha256("Something milder."))

    assert "The text has changed meanwhile" in text_of(ada.get(response["Location"]))
    assert not Participation.objects.filter(consented_at__isnull=False).exists()


def test_consent_is_shown_later_and_can_be_taken_back(ada: Client) -> None:
    campaign = make_campaign(consent=TEXT)
    answer(ada, campaign, "agree")

    assert "You agreed to this on" in text_of(ada.get(f"/c/{campaign.slug}/consent/"))
    answer(ada, campaign, "decline")
    assert Participation.objects.get().consented_at is None


def test_answers_about_oneself_are_changed_and_deleted(ada: Client) -> None:
    ada.post("/me/about-you/", {"region": "asia", "gender": "woman"})
    assert '<option value="asia" selected>' in ada.get("/me/about-you/").content.decode()
    ada.post("/me/about-you/", {"region": "europe"})
    assert list(Demographics.objects.values_list("region", "gender")) == [("europe", "")]

    ada.post("/me/about-you/", {"delete": "1", "region": "asia"})

    assert Demographics.objects.count() == 0


def test_answers_that_were_not_offered_are_refused(ada: Client) -> None:
    assert "valid choice" in text_of(ada.post("/me/about-you/", {"region": "atlantis"}))
    assert Demographics.objects.count() == 0


# The end


def test_done_shows_the_code_and_the_way_back_and_again_on_reload() -> None:
    campaign, client = make_campaign(tasks=4), Client()
    client.post(address(make_recruitment(campaign, votes_wanted=1)))
    vote_on(claim_slots(annotator=Annotator.objects.get(), campaign=campaign, count=1)[0])

    pages = [client.get(f"/c/{campaign.slug}/done/").content.decode() for _look in range(2)]

    for page in pages:
        assert '<output id="code" aria-label="Your code">C0DE</output>' in page
        assert 'href="https://app.prolific.com/submissions/complete?cc=C0DE" rel="noreferrer"' in page
        assert "Undo" not in page
    assert client.get(f"/c/{campaign.slug}/vote/")["Location"] == f"/c/{campaign.slug}/done/"
    assert "Show my code" in text_of(client.get(f"/c/{campaign.slug}/"))


def test_done_does_not_thank_for_all_who_gave_their_place_back() -> None:
    campaign, client = make_campaign(), Client()
    client.post(address(make_recruitment(campaign)))
    client.post(f"/c/{campaign.slug}/leave/")

    page = client.get(f"/c/{campaign.slug}/vote/", follow=True)

    assert page.redirect_chain[-1][0] == f"/c/{campaign.slug}/goodbye/"
    assert "open the link that brought you" in text_of(page)


def test_done_gives_who_was_screened_out_their_own_code() -> None:
    campaign, client = make_campaign(), Client()
    client.post(address(make_recruitment(campaign)))
    part = Participation.objects.get()
    Participation.objects.update(state="screened_out", code="0UT", finished_at=part.created_at)

    text = text_of(client.get(f"/c/{campaign.slug}/done/"))

    assert "nothing more is asked of you" in text
    assert "0UT" in text
    assert "C0DE" not in text


def test_who_has_nothing_left_finishes_and_gets_the_code() -> None:
    campaign, client = make_campaign(tasks=1), Client()
    client.post(address(make_recruitment(campaign, votes_wanted=5)))
    vote_on(claim_slots(annotator=Annotator.objects.get(), campaign=campaign, count=1)[0])
    assert "Finish and get my code" in text_of(client.get(f"/c/{campaign.slug}/done/"))

    page = client.post(f"/c/{campaign.slug}/finish/", follow=True)

    assert "C0DE" in text_of(page)


def test_a_place_is_given_back_from_the_campaigns_page() -> None:
    campaign, client = make_campaign(), Client()
    client.post(address(make_recruitment(campaign)))
    assert "Give my place back" in text_of(client.get(f"/c/{campaign.slug}/"))

    client.post(f"/c/{campaign.slug}/leave/")

    assert Participation.objects.get().state == "returned"
    assert "Your place was given back" in text_of(client.get(f"/c/{campaign.slug}/"))


# One's own page


def test_me_shows_how_far_one_is_and_compares_nobody(ada: Client) -> None:
    birds, ships = make_campaign(name="Birds", votes_per_person=12), make_campaign(name="Ships")
    annotator = make_annotator(user=User.objects.get(username="ada"))
    for campaign in (birds, ships):
        vote_on(claim_slots(annotator=annotator, campaign=campaign, count=1)[0])
    vote_on(claim_slots(annotator=make_annotator("ben"), campaign=birds, count=1)[0])

    text = text_of(ada.get("/me/"))

    assert "Birds 1 of 12" in text
    assert "Ships 1 set answered" in text
    assert "ben" not in text
    assert not re.search(r"rank|fast|per minute|seconds|leader", text, re.IGNORECASE)


def test_me_is_there_for_who_has_not_voted_yet(ada: Client) -> None:
    assert "No votes yet" in text_of(ada.get("/me/"))
    assert ada.get("/me/data.json").json() == {"profile": {"user_name": "ada"}}
    assert Annotator.objects.count() == 0


def test_me_asks_the_database_as_often_for_three_campaigns_as_for_one(ada: Client, django_assert_num_queries) -> None:
    annotator = make_annotator(user=User.objects.get(username="ada"))
    for _campaign in range(2):
        campaign = make_campaign()
        vote_on(claim_slots(annotator=annotator, campaign=campaign, count=1)[0])
        participation_of(annotator=annotator, campaign=campaign)
        with django_assert_num_queries(8):
            ada.get("/me/")


def test_nobody_sees_or_changes_what_belongs_to_another() -> None:
    campaign = make_campaign(tasks=1, votes_per_task=2, consent=TEXT)
    recruitment = make_recruitment(campaign, votes_wanted=1)
    ada, ben = Client(), Client()
    for client, person in ((ada, "ada1"), (ben, "ben1")):
        client.post(address(recruitment, **{**IDS, "PROLIFIC_PID": person, "SESSION_ID": f"session-of-{person}"}))
        answer(client, campaign, "agree")
    of_ada = Annotator.objects.get(user=ada.session["_auth_user_id"])
    tell(annotator=of_ada, region="oceania")
    vote_on(claim_slots(annotator=of_ada, campaign=campaign, count=1)[0])
    secrets = ["session-of-ada1", str(of_ada.public_id), "C0DE", str(Vote.objects.get().public_id)]
    asked = f"?annotator={of_ada.pk}&user={of_ada.user_id}&id={of_ada.public_id}"

    for path in ("/me/", "/me/data.json", "/me/about-you/", f"/c/{campaign.slug}/done/", f"/c/{campaign.slug}/"):
        page = ben.get(path + asked).content.decode().replace(escape(asked), "")  # the form of languages comes back
        assert [secret for secret in secrets if secret in page] == []
        assert '"oceania" selected' not in page
    for path in ("/me/about-you/", f"/c/{campaign.slug}/leave/", f"/c/{campaign.slug}/finish/"):
        ben.post(path + asked, {"annotator": of_ada.pk, "delete": "1", "region": "asia"})
    ben.post(f"/c/{campaign.slug}/consent/", {"annotator": of_ada.pk, "answer": "decline"})
    ben.post("/me/erase/" + asked, {"is_sure": "on", "annotator": of_ada.pk, "id": of_ada.public_id})

    part = Participation.objects.get(annotator=of_ada)
    assert (part.state, part.consented_at is not None, part.code) == ("completed", True, "C0DE")
    assert Demographics.objects.get(annotator=of_ada).region == "oceania"
    assert User.objects.filter(pk=of_ada.user_id).exists()


@pytest.mark.parametrize("path", ["/me/", "/me/data.json", "/me/about-you/", "/me/erase/"])
def test_own_pages_need_a_login_and_are_never_cached(ada: Client, path: str) -> None:
    assert Client().get(path)["Location"] == f"/accounts/login/?next={path}"
    assert "no-store" in ada.get(path)["Cache-Control"]


def test_my_data_is_a_file_of_all_that_is_kept(ada: Client) -> None:
    campaign = make_campaign(consent=TEXT)
    annotator = make_annotator(user=User.objects.get(username="ada"))
    agree(annotator=annotator, campaign=campaign, text_hash=text_sha256(TEXT))
    vote_on(claim_slots(annotator=annotator, campaign=campaign, count=1)[0])

    response = ada.get("/me/data.json")

    assert re.fullmatch(r'attachment; filename="my-data-[\d-]+\.json"', response["Content-Disposition"])
    told = json.loads(response.content)
    assert [vote["outcome"] for vote in told["votes"]] == ["choice"]
    assert told["participations"][0]["sha256_of_what_was_agreed_to"] == text_sha256(TEXT)


def test_an_identity_is_erased_by_its_owner_after_a_tick(ada: Client) -> None:
    annotator = make_annotator(user=User.objects.get(username="ada"))
    vote_on(claim_slots(annotator=annotator, campaign=make_campaign(), count=1)[0])
    assert "required" in text_of(ada.post("/me/erase/"))
    assert User.objects.count() == 1

    page = ada.post("/me/erase/", {"is_sure": "on"}, follow=True)

    assert "Your identity is erased" in text_of(page)
    assert (User.objects.count(), Vote.objects.counted().count()) == (0, 1)
    assert ada.get("/me/").status_code == 302


def test_an_identity_that_runs_the_site_is_not_erased() -> None:
    boss = client_of(make_user("boss", is_staff=True))

    assert "staff status" in text_of(boss.post("/me/erase/", {"is_sure": "on"}))
    assert User.objects.count() == 1


@pytest.mark.parametrize("path", ["recruit", "consent", "about", "me", "answers", "erase", "leave", "finish"])
def test_forms_need_their_csrf_token(path: str) -> None:
    campaign = make_campaign(consent=TEXT, asks_about_people=True)
    recruitment = make_recruitment(campaign)
    part = enter(recruitment=recruitment, arrival=Arrival("5f3a", "study1", "session1"))
    client = Client(enforce_csrf_checks=True)
    client.force_login(part.annotator.user)
    paths = {
        "recruit": address(recruitment),
        "consent": f"/c/{campaign.slug}/consent/",
        "about": f"/c/{campaign.slug}/about-you/",
        "me": "/accounts/logout/",
        "answers": "/me/about-you/",
        "erase": "/me/erase/",
        "leave": f"/c/{campaign.slug}/leave/",
        "finish": f"/c/{campaign.slug}/finish/",
    }

    assert client.post(paths[path], {"is_sure": "on", "answer": "decline", "delete": "1"}).status_code == 403
    part.refresh_from_db()
    assert part.state == "active"


@pytest.mark.parametrize(
    "address_given",
    ["//evil.example", "/\\evil.example", "https:evil.example", "http:///evil.example", "javascript:alert(1)",
     "%2f%2fevil.example", "\t//evil.example", "//testserver@evil.example", "/%0d%0aLocation:evil"],
)  # fmt: skip
def test_no_page_leads_to_another_site_by_what_an_address_says(address_given: str) -> None:
    campaign = make_campaign(consent=TEXT)
    client = Client()
    recruitment = make_recruitment(campaign)
    query = urlencode({**IDS, "next": address_given, "return": address_given, "return_address": address_given})

    locations = [
        client.post(f"{recruitment.get_absolute_url()}?{query}")["Location"],
        client.post(f"/c/{campaign.slug}/consent/?{query}", {"answer": "decline", "next": address_given})["Location"],
        client.post(f"/c/{campaign.slug}/finish/?{query}", {"next": address_given})["Location"],
        client.post(f"/me/about-you/?{query}", {"next": address_given})["Location"],
    ]

    assert locations == [
        f"/c/{campaign.slug}/consent/", f"/c/{campaign.slug}/goodbye/", f"/c/{campaign.slug}/done/", "/me/",
    ]  # fmt: skip
    User.objects.create_user("ben", password="tall-ships-9")
    entered = Client().post("/accounts/login/", {"username": "ben", "password": "tall-ships-9", "next": address_given})
    assert urlsplit(urljoin("http://testserver/accounts/login/", entered["Location"])).netloc == "testserver"
