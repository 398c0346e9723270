"""A person forgotten, their votes kept."""

import json
import random
from uuid import uuid4

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from knox.models import AuthToken

from annotations.models import Annotator, Demographics, Participation, StateChange, Vote
from annotations.queries.people import own_data
from annotations.services.demographics import tell
from annotations.services.erasure import UnableToErase, erase_identity
from annotations.services.recruiting import Arrival, enter
from annotations.services.voting import claim_slots, record_vote
from tests.annotations.factories import (
    make_annotator,
    make_campaign,
    make_generator,
    make_image,
    make_invite,
    make_prompt,
    make_recruitment,
    make_task,
    make_user,
)
from tests.annotations.test_voting import vote_on

pytestmark = pytest.mark.django_db


def counted() -> list[tuple[object, ...]]:
    return list(Vote.objects.counted().order_by("pk").values_list("pk", "outcome", "image", "order", "annotator"))


def test_erase_identity_forgets_the_person_and_keeps_what_is_counted() -> None:
    campaign = make_campaign()
    part = enter(recruitment=make_recruitment(campaign, votes_wanted=1), arrival=Arrival("5f3a", "study1", "session1"))
    ada, account = part.annotator, part.annotator.user
    tell(annotator=ada, region="asia")
    vote_on(claim_slots(annotator=ada, campaign=campaign, count=1)[0])
    Vote.objects.update(client={"viewport": [390, 844]})
    AuthToken.objects.create(account)
    client = Client()
    client.force_login(account)
    before, pseudonym = counted(), ada.public_id

    change = erase_identity(annotator=ada)

    assert counted() == before
    ada.refresh_from_db()
    assert (ada.user, ada.external_id, ada.invite, ada.public_id == pseudonym) == (None, None, None, False)
    assert list(Participation.objects.values_list("study_id", "session_id", "code", "state")) == [
        ("", "", "", "completed")
    ]
    assert (Demographics.objects.count(), User.objects.count(), AuthToken.objects.count()) == (0, 0, 0)
    assert Vote.objects.get().client == {}
    assert (change.to, change.by, change.effect) == ("erased", None, {"votes_kept": 1})
    assert client.get("/me/")["Location"] == "/accounts/login/?next=/me/"


def test_erase_identity_gives_held_work_back() -> None:
    campaign, ada = make_campaign(), make_annotator()
    claim_slots(annotator=ada, campaign=campaign, count=3)

    erase_identity(annotator=ada)

    assert campaign.slots.filter(state="leased").count() == 0


def test_erase_identity_says_which_admin_did_it_and_cleans_the_admins_log() -> None:
    admin, ada = make_user("boss", is_staff=True), make_annotator("ada", invite=make_invite(make_campaign()))
    log = LogEntry.objects
    for row in (ada, ada.user, make_user("ben")):
        log.create(
            user=admin,
            content_type=ContentType.objects.get_for_model(row),
            object_id=str(row.pk),
            object_repr=str(row),
            action_flag=CHANGE,
        )

    change = erase_identity(annotator=ada, by=admin, reason="asked by letter")

    assert (change.by, change.reason) == (admin, "asked by letter")
    assert list(log.values_list("object_repr", flat=True)) == ["ben"]


def test_erase_identity_of_an_excluded_person_leaves_them_excluded() -> None:
    ada = make_annotator(state=Annotator.State.EXCLUDED)

    erase_identity(annotator=ada)

    ada.refresh_from_db()
    assert ada.state == "excluded"


def test_erase_identity_is_refused_for_those_who_run_the_site() -> None:
    boss = make_annotator(user=make_user(is_staff=True))

    with pytest.raises(UnableToErase, match="staff"):
        erase_identity(annotator=boss)
    assert (User.objects.count(), StateChange.objects.count()) == (1, 0)


def test_own_data_tells_all_of_one_person_and_nothing_of_others_or_of_machines(monkeypatch) -> None:
    monkeypatch.setattr(random, "random", lambda: 0.0)  # so that gold is dealt
    campaign = make_campaign(tasks=0, consent="We keep your choices.", gold_share=0.5)
    prompt, generator = make_prompt("a red cube"), make_generator("secret-model")
    images = [make_image(prompt=prompt, generator=generator, has_file=False) for _ in range(2)]
    make_task(campaign=campaign, prompt=prompt, images=images, purpose="gold", expected=images[1], votes=2)
    ada, ben = make_annotator("ada"), make_annotator("ben")
    tell(annotator=ada, region="asia")
    Participation.objects.create(annotator=ada, campaign=campaign)
    campaign.consent = ""
    for person in (ada, ben):
        [slot] = claim_slots(annotator=person, campaign=campaign, count=1)
        record_vote(
            annotator=person, token=slot.token, outcome="choice", image=images[0].public_id, idempotency_key=uuid4()
        )

    told = own_data(ada)

    mine = Vote.objects.get(annotator=ada)
    assert set(told) == {"profile", "about_you", "participations", "votes"}
    assert told["profile"]["user_name"] == "ada"
    assert told["about_you"]["region"] == "asia"
    assert [part["campaign"] for part in told["participations"]] == [campaign.slug]
    assert [(vote["id"], vote["prompt"], vote["chosen_image"]) for vote in told["votes"]] == [
        (str(mine.public_id), "a red cube", str(images[0].public_id))
    ]
    text = json.dumps(told, default=str)
    for secret in ("secret-model", "ben", str(ben.public_id), "gold", "expected", images[0].sha256):
        assert secret not in text


def test_own_data_takes_as_many_queries_for_three_votes_as_for_one(django_assert_num_queries) -> None:
    campaign, ada = make_campaign(), make_annotator()
    for _vote in range(2):
        vote_on(claim_slots(annotator=ada, campaign=campaign, count=1)[0])
        ada = Annotator.objects.get(pk=ada.pk)
        with django_assert_num_queries(5):
            own_data(ada)
