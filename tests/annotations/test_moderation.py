"""Pausing, excluding, restoring: what leaves, what is collected anew, and that all of it can be taken back."""

from functools import partial
from uuid import uuid4

import pytest

from annotations.models import Annotator, Campaign, Slot, StateChange, Vote
from annotations.services.claims import AnnotatorExcluded, AnnotatorPaused, claim_slots
from annotations.services.moderation import (
    FIRST_REPLACEMENT_NUMBER,
    UnableToModerate,
    exclude_person,
    pause_person,
    restore_person,
)
from annotations.services.voting import record_vote
from tests.annotations.factories import make_annotator, make_annotators, make_campaign, make_user
from tests.annotations.races import at_once

pytestmark = pytest.mark.django_db


def vote_on_everything(annotator: Annotator, campaign: Campaign, outcome: str = "tie") -> int:
    votes = 0
    while slots := claim_slots(annotator=annotator, campaign=campaign, count=5):
        for slot in slots:
            record_vote(annotator=annotator, token=slot.token, outcome=outcome, idempotency_key=uuid4())
        votes += len(slots)
    return votes


def open_slots(campaign: Campaign) -> list[int]:
    return sorted(Slot.objects.filter(campaign=campaign, state="open").values_list("number", flat=True))


def counted() -> int:
    return Vote.objects.counted().count()


def test_paused_people_get_no_work_and_their_votes_count():
    campaign = make_campaign(tasks=2)
    ada, ben = make_annotator(), make_user("ben")
    vote_on_everything(ada, campaign)

    change = pause_person(annotator=ada, by=ben, reason=" on holiday ")

    assert (change.to, change.by, change.reason, change.effect) == ("paused", ben, "on holiday", {})
    assert counted() == 2
    with pytest.raises(AnnotatorPaused):
        claim_slots(annotator=ada, campaign=campaign, count=1)


def test_excluded_people_lose_their_votes_and_others_are_asked_instead():
    campaign = make_campaign(tasks=3, votes_per_task=1)
    ada, ben = make_annotators(2)
    vote_on_everything(ada, campaign)
    assert vote_on_everything(ben, campaign) == 0

    change = exclude_person(annotator=ada, by=None, reason="guesses", effect={"rankings": []})

    assert change.effect == {"rankings": [], "votes": -3, "slots_opened": 3}
    assert (counted(), open_slots(campaign)) == (0, [FIRST_REPLACEMENT_NUMBER] * 3)
    assert vote_on_everything(ben, campaign) == 3
    assert (counted(), open_slots(campaign)) == (3, [])


def test_restored_people_get_their_votes_back_and_what_stood_in_for_them_goes():
    campaign = make_campaign(tasks=3, votes_per_task=2)
    ada = make_annotator()
    vote_on_everything(ada, campaign)
    before = open_slots(campaign)
    exclude_person(annotator=ada, by=None, reason="guesses")

    change = restore_person(annotator=ada, by=None, reason="it was another person")

    assert change.effect == {"votes": 3, "slots_closed": 3}
    assert (counted(), open_slots(campaign)) == (3, before)
    assert Annotator.objects.get(pk=ada.pk).state == "active"


def test_votes_that_stood_in_stay_when_the_person_is_restored():
    campaign = make_campaign(tasks=3)
    ada, ben = make_annotators(2)
    vote_on_everything(ada, campaign)
    exclude_person(annotator=ada, by=None, reason="guesses")
    (slot,) = claim_slots(annotator=ben, campaign=campaign, count=1)
    record_vote(annotator=ben, token=slot.token, outcome="tie", idempotency_key=uuid4())

    assert restore_person(annotator=ada, by=None, reason="sorry").effect == {"votes": 3, "slots_closed": 2}
    assert (counted(), open_slots(campaign)) == (4, [])
    # Excluded once more: one of the three has a vote that stands in for hers.
    assert exclude_person(annotator=ada, by=None, reason="again").effect == {"votes": -3, "slots_opened": 2}


def test_people_excluded_one_after_the_other_are_all_replaced():
    campaign = make_campaign(tasks=1, votes_per_task=1)
    ada, ben, cleo = make_annotators(3)
    for person in (ada, ben):
        vote_on_everything(person, campaign)
        exclude_person(annotator=person, by=None, reason="guesses")
    assert open_slots(campaign) == [FIRST_REPLACEMENT_NUMBER + 1]

    assert vote_on_everything(cleo, campaign) == 1
    restore_person(annotator=ada, by=None, reason="sorry")

    assert (counted(), open_slots(campaign)) == (2, [])


def test_exclusion_gives_back_what_the_person_holds():
    campaign = make_campaign(tasks=2)
    ada = make_annotator()
    slot, _other = claim_slots(annotator=ada, campaign=campaign, count=2)

    exclude_person(annotator=ada, by=None, reason="guesses")

    assert set(Slot.objects.values_list("state", "annotator")) == {("open", None)}
    with pytest.raises(AnnotatorExcluded):
        claim_slots(annotator=ada, campaign=campaign, count=1)
    with pytest.raises(Exception, match="no longer"):
        record_vote(annotator=ada, token=slot.token, outcome="tie", idempotency_key=uuid4())


def test_exclusion_asks_for_nothing_anew_where_nothing_was_said_or_the_campaign_is_closed():
    skipped, closed = make_campaign(tasks=1), make_campaign(tasks=2)
    ada = make_annotator()
    vote_on_everything(ada, skipped, outcome="skip")
    vote_on_everything(ada, closed)
    before = open_slots(skipped)
    Campaign.objects.filter(pk=closed.pk).update(state="closed")

    assert exclude_person(annotator=ada, by=None, reason="guesses").effect == {"votes": -2, "slots_opened": 0}
    assert (open_slots(skipped), open_slots(closed)) == (before, [])


def test_a_vote_on_its_way_finds_the_person_excluded():
    campaign = make_campaign(tasks=1)
    ada = make_annotator()
    (slot,) = claim_slots(annotator=ada, campaign=campaign, count=1)
    as_it_was = Annotator.objects.get(pk=ada.pk)
    Annotator.objects.filter(pk=ada.pk).update(state="excluded")

    with pytest.raises(AnnotatorExcluded):
        record_vote(annotator=as_it_was, token=slot.token, outcome="tie", idempotency_key=uuid4())


@pytest.mark.parametrize("reason", ["", "  ", "x" * 301])
def test_a_change_needs_a_reason_and_without_one_nothing_changes(reason):
    ada = make_annotator()

    for change in (pause_person, exclude_person):
        with pytest.raises(UnableToModerate, match="Say why"):
            change(annotator=ada, by=None, reason=reason)

    assert Annotator.objects.get(pk=ada.pk).state == "active"
    assert not StateChange.objects.exists()


def test_a_change_to_what_is_already_so_is_refused():
    ada, ben, cleo = make_annotator(), make_annotator(state="paused"), make_annotator(state="excluded")

    for change, annotator in [
        (restore_person, ada),
        (pause_person, ben),
        (pause_person, cleo),
        (exclude_person, cleo),
    ]:
        with pytest.raises(UnableToModerate, match="already"):
            change(annotator=annotator, by=None, reason="why not")
    assert restore_person(annotator=ben, by=None, reason="back again").effect == {}


@pytest.mark.django_db(transaction=True)
def test_two_who_exclude_at_once_ask_for_each_vote_anew_once():
    campaign = make_campaign(tasks=8, votes_per_task=2)
    ada, ben = make_annotators(2)
    for person in (ada, ben):
        vote_on_everything(person, campaign)

    calls = [
        partial(exclude_person, annotator=Annotator.objects.get(pk=person.pk), by=None, reason="guesses")
        for person in (ada, ada, ben, ben)
    ]
    results = at_once(calls)

    assert sorted(type(result).__name__ for result in results) == ["StateChange"] * 2 + ["UnableToModerate"] * 2
    assert len(open_slots(campaign)) == 16


@pytest.mark.django_db(transaction=True)
def test_votes_and_an_exclusion_at_once_leave_no_vote_unreplaced():
    campaign = make_campaign(tasks=5)
    ada = make_annotator()
    slots = claim_slots(annotator=ada, campaign=campaign, count=5)

    def vote(slot: Slot) -> object:
        return record_vote(annotator=ada, token=slot.token, outcome="tie", idempotency_key=uuid4())

    exclude = partial(exclude_person, annotator=Annotator.objects.get(pk=ada.pk), by=None, reason="guesses")
    at_once([exclude, *(partial(vote, slot) for slot in slots)])

    assert Slot.objects.filter(campaign=campaign, state="open").count() == 5
