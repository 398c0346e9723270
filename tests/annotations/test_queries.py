"""What a person may vote on, what they hold, how far they have come."""

import pytest
from django.contrib.auth.models import AnonymousUser
from pytest_django import DjangoAssertNumQueries

from annotations.models import Annotator, Campaign
from annotations.queries import voting as queries
from annotations.queries.voting import Collected, Progress
from annotations.services.voting import claim_slots, undo_vote
from tests.annotations.factories import make_annotator, make_campaign, make_invite, make_user
from tests.annotations.test_voting import run_out, vote_on

pytestmark = pytest.mark.django_db


def test_annotator_of_finds_the_profile_or_none() -> None:
    ada = make_annotator()

    assert queries.annotator_of(ada.user) == ada
    assert queries.annotator_of(make_user()) is None
    assert queries.annotator_of(AnonymousUser()) is None


def test_progress_of_counts_what_was_answered_and_what_is_left() -> None:
    campaign, ada, ben = make_campaign(tasks=5), make_annotator(), make_annotator()
    mine = claim_slots(annotator=ada, campaign=campaign, count=3)
    claim_slots(annotator=ben, campaign=campaign, count=1)
    vote_on(mine[0])
    vote_on(mine[1], "skip")

    assert queries.progress_of(ada, campaign) == Progress(voted=2, left=2)
    assert queries.progress_of(ben, campaign) == Progress(voted=0, left=3)
    assert queries.progress_of(None, campaign) == Progress(voted=0, left=2)


def test_progress_of_counts_leases_of_others_that_ran_out() -> None:
    campaign = make_campaign(tasks=1)
    run_out(*claim_slots(annotator=make_annotator(), campaign=campaign, count=1))

    assert queries.progress_of(make_annotator(), campaign) == Progress(voted=0, left=1)


def test_progress_of_leaves_out_undone_votes() -> None:
    campaign, ada = make_campaign(tasks=2), make_annotator()
    vote = vote_on(claim_slots(annotator=ada, campaign=campaign, count=1)[0]).vote

    undo_vote(annotator=ada, vote=vote)

    assert queries.progress_of(ada, campaign) == Progress(voted=0, left=2)


def test_collected_in_counts_judgements_of_everybody() -> None:
    campaign = make_campaign(tasks=2, votes_per_task=2)
    for person in (make_annotator(), make_annotator()):
        vote_on(claim_slots(annotator=person, campaign=campaign, count=1)[0])
    vote_on(claim_slots(annotator=make_annotator(), campaign=campaign, count=1)[0], "skip")

    collected = queries.collected_in(campaign)

    assert collected == Collected(judgements=2, wanted=4)
    assert (collected.percent, Collected(judgements=0, wanted=0).percent) == (50, 0)


def test_offers_for_lists_what_somebody_may_enter_with_work_left_first() -> None:
    ada = make_annotator()
    done = make_campaign(name="A done", tasks=0)
    work = make_campaign(name="B with work", tasks=2)
    invited = make_campaign(name="C by invitation", access=Campaign.Access.INVITED)
    make_campaign(name="D draft", state=Campaign.State.DRAFT)
    make_invite(work)
    make_invite(work)
    friend = make_annotator(invite=make_invite(invited))

    assert [offer.campaign for offer in queries.offers_for(None)] == [work, done]
    assert [offer.campaign for offer in queries.offers_for(ada)] == [work, done]
    assert [offer.campaign for offer in queries.offers_for(friend)] == [work, invited, done]


def test_offers_for_asks_the_database_as_often_for_three_as_for_one(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    ada = make_annotator()
    make_campaign()
    with django_assert_num_queries(6):
        assert len(queries.offers_for(ada)) == 1

    make_campaign()
    make_campaign()
    with django_assert_num_queries(6):
        assert len(queries.offers_for(ada)) == 3


def test_may_enter_lets_in_who_has_worked_there() -> None:
    campaign, ada = make_campaign(), make_annotator()
    claim_slots(annotator=ada, campaign=campaign, count=1)
    campaign.access = Campaign.Access.INVITED

    assert queries.may_enter(ada, campaign)
    assert not queries.may_enter(make_annotator(), campaign)
    assert not queries.may_enter(None, campaign)


def test_may_enter_agrees_with_offers_for() -> None:
    invited = make_campaign(access=Campaign.Access.INVITED)
    synthetic = make_campaign(access=Campaign.Access.INVITED, is_synthetic=True)
    opened = make_campaign()
    people = [
        None,
        make_annotator(),
        make_annotator(invite=make_invite(invited)),
        make_annotator(source=Annotator.Source.SIMULATED),
    ]

    for person in people:
        offered = {offer.campaign for offer in queries.offers_for(person)}
        assert offered == {c for c in (invited, synthetic, opened) if queries.may_enter(person, c)}


def test_images_in_order_follows_each_slot_in_one_query(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    slots = claim_slots(annotator=make_annotator(), campaign=make_campaign(images=4), count=3)

    with django_assert_num_queries(1):
        images = queries.images_in_order(slots)

    assert {key: [image.pk for image in row] for key, row in images.items()} == {slot.pk: slot.order for slot in slots}


def test_latest_vote_is_the_last_that_stands() -> None:
    campaign, ada = make_campaign(), make_annotator()
    assert queries.latest_vote(ada, campaign) is None
    first, second = (vote_on(slot).vote for slot in claim_slots(annotator=ada, campaign=campaign, count=2))

    assert queries.latest_vote(ada, campaign) == second
    undo_vote(annotator=ada, vote=second)
    assert queries.latest_vote(ada, campaign) == first
