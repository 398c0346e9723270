"""How a part begins, and the codes with which it ends."""

from functools import partial
from uuid import uuid4

import pytest

from annotations.models import Annotator, Campaign, Participation, Recruitment, Slot, Task, Vote
from annotations.queries import people as people_queries
from annotations.queries import voting as queries
from annotations.services.participations import UnableToFinish, finish, give_back, participation_of
from annotations.services.recruiting import Arrival, enter
from annotations.services.voting import UndoRefused, claim_slots, record_vote, undo_vote
from tests.annotations.factories import make_annotator, make_campaign, make_recruitment, make_task
from tests.annotations.races import at_once
from tests.annotations.test_voting import vote_on

pytestmark = pytest.mark.django_db


def recruited(campaign: Campaign, person: str = "5f3a", **fields: object) -> Participation:
    return enter(recruitment=make_recruitment(campaign, **fields), arrival=Arrival(person, "study1", "session1"))


def vote(part: Participation, outcome: str = "choice") -> Vote:
    return vote_on(claim_slots(annotator=part.annotator, campaign=part.campaign, count=1)[0], outcome).vote


def answer_gold(part: Participation, *, is_right: bool, purpose: Task.Purpose = Task.Purpose.GOLD) -> None:
    """A gold task dealt by hand and answered."""
    task = make_task(campaign=part.campaign, votes=1, purpose=purpose)
    slot = task.slots.get()
    images = list(task.images.all())
    wrong = next(image for image in images if image != task.expected)
    token = uuid4()
    Slot.objects.filter(pk=slot.pk).update(
        state="leased",
        annotator=part.annotator,
        token=token,
        order=[image.pk for image in images],
        lease_until=part.created_at,
    )
    record_vote(
        annotator=part.annotator,
        token=token,
        outcome="choice",
        image=(task.expected if is_right else wrong).public_id,
        idempotency_key=uuid4(),
    )


def test_participation_of_is_begun_once() -> None:
    annotator, campaign = make_annotator(), make_campaign(tasks=0)

    first = participation_of(annotator=annotator, campaign=campaign)
    again = participation_of(annotator=annotator, campaign=campaign)

    assert again == first
    assert list(Participation.objects.values_list("annotator", "campaign", "state")) == [
        (annotator.pk, campaign.pk, Participation.State.ACTIVE)
    ]


# Completion


def test_the_last_vote_that_was_wanted_completes_with_the_code() -> None:
    part = recruited(make_campaign(tasks=6), votes_wanted=3)
    for outcome in ("choice", "skip", "tie"):
        vote(part, outcome)
    part.refresh_from_db()
    assert (part.state, part.code) == ("active", "")

    vote(part, "all_bad")

    part.refresh_from_db()
    assert (part.state, part.code, part.finished_at is not None) == ("completed", "C0DE", True)


def test_who_has_completed_gets_no_more_work_and_holds_none() -> None:
    campaign = make_campaign(tasks=6)
    part = recruited(campaign, votes_wanted=3)
    first, *_others = claim_slots(annotator=part.annotator, campaign=campaign, count=3)
    Recruitment.objects.update(votes_wanted=1)

    vote_on(first)

    assert Slot.objects.filter(state="leased").count() == 0
    assert claim_slots(annotator=part.annotator, campaign=campaign, count=3) == []
    assert queries.progress_of(part.annotator, campaign) == queries.Progress(voted=1, left=0)


def test_nobody_is_given_more_work_than_is_wanted_of_them() -> None:
    campaign = make_campaign(tasks=9)
    part = recruited(campaign, votes_wanted=3)

    assert len(claim_slots(annotator=part.annotator, campaign=campaign, count=5)) == 3
    vote(part)
    vote(part, "skip")
    assert len(claim_slots(annotator=part.annotator, campaign=campaign, count=5)) == 2


def test_progress_counts_up_to_what_was_asked_for() -> None:
    campaign = make_campaign(tasks=20)
    part = recruited(campaign, votes_wanted=5)
    vote(part)
    vote(part, "skip")

    [mine] = people_queries.parts_of(part.annotator)

    assert queries.progress_of(part.annotator, campaign) == queries.Progress(voted=2, left=4)
    assert (mine.judged, mine.wanted, mine.voted) == (1, 5, 2)


def test_a_completed_part_cannot_be_undone_vote_by_vote() -> None:
    part = recruited(make_campaign(), votes_wanted=1)
    last = vote(part)

    with pytest.raises(UndoRefused, match="finished"):
        undo_vote(annotator=part.annotator, vote=last)
    assert Vote.objects.standing().count() == 1


def test_codes_of_their_own_are_different_for_each_person() -> None:
    campaign = make_campaign(tasks=3, votes_per_task=9)
    recruitment = make_recruitment(campaign, panel="mturk", codes="unique", completion_code="", votes_wanted=1)
    parts = [enter(recruitment=recruitment, arrival=Arrival(f"W{n}", "H", f"A{n}")) for n in range(5)]

    for part in parts:
        vote(part)

    codes = list(Participation.objects.values_list("code", flat=True))
    assert len({*codes}) == 5
    assert {len(code) for code in codes} == {12}


@pytest.mark.django_db(transaction=True)
def test_last_votes_from_two_tabs_at_once_complete_with_one_code() -> None:
    for _round in range(5):
        campaign = make_campaign(tasks=4)
        part = recruited(campaign, panel="mturk", codes="unique", completion_code="", votes_wanted=2)
        slots = claim_slots(annotator=part.annotator, campaign=campaign, count=2)

        results = at_once([partial(vote_on, slot) for slot in slots])

        assert [result for result in results if isinstance(result, Exception)] == []
        part.refresh_from_db()
        assert (part.state, len(part.code)) == ("completed", 12)
        assert Vote.objects.standing().filter(annotator=part.annotator, task__campaign=campaign).count() == 2


@pytest.mark.django_db(transaction=True)
def test_finishing_from_many_tabs_at_once_gives_one_code() -> None:
    campaign = make_campaign(tasks=1)
    part = recruited(campaign, panel="mturk", codes="unique", completion_code="", votes_wanted=9)
    vote(part)

    results = at_once([partial(finish, participation=part)] * 10)

    part.refresh_from_db()
    assert part.code
    assert {result.code for result in results} == {part.code}


# The end without all votes


def test_finish_gives_the_code_when_nothing_is_left() -> None:
    part = recruited(make_campaign(tasks=1), votes_wanted=9)
    vote(part)

    assert finish(participation=part).code == finish(participation=part).code == "C0DE"


def test_finish_of_a_closed_campaign_pays_for_what_was_done() -> None:
    part = recruited(make_campaign(tasks=9), votes_wanted=9)
    vote(part)
    Campaign.objects.update(state=Campaign.State.CLOSED)

    assert finish(participation=part).state == "completed"


def test_finish_is_refused_while_there_is_work() -> None:
    part = recruited(make_campaign(tasks=2), votes_wanted=9)
    with pytest.raises(UnableToFinish, match="not voted yet"):
        finish(participation=part)
    vote(part)
    with pytest.raises(UnableToFinish, match="still images"):
        finish(participation=part)


def test_finish_is_refused_to_who_was_promised_no_code() -> None:
    campaign, ada = make_campaign(tasks=0), make_annotator()

    with pytest.raises(UnableToFinish, match="No code"):
        finish(participation=participation_of(annotator=ada, campaign=campaign))


def test_give_back_frees_the_place_and_keeps_the_votes() -> None:
    part = recruited(make_campaign())
    vote(part)

    assert give_back(participation=part).state == "returned"
    assert (Participation.objects.get().code, Vote.objects.standing().count()) == ("", 1)


# Screening out


def test_too_few_right_gold_tasks_screen_a_person_out() -> None:
    campaign = make_campaign(tasks=3, screen_out_after=3, screen_out_below=0.6)
    part = recruited(campaign)
    claim_slots(annotator=part.annotator, campaign=campaign, count=2)
    answer_gold(part, is_right=True)
    answer_gold(part, is_right=False)
    part.refresh_from_db()
    assert part.state == "active"

    answer_gold(part, is_right=False)

    part.refresh_from_db()
    assert (part.state, part.code) == ("screened_out", "0UT")
    assert claim_slots(annotator=part.annotator, campaign=campaign, count=1) == []
    assert Slot.objects.filter(state="leased").count() == 0
    assert people_queries.places_taken(part.recruitment) == 0


def test_enough_right_gold_tasks_keep_a_person() -> None:
    part = recruited(make_campaign(screen_out_after=2, screen_out_below=0.5), votes_wanted=9)

    for is_right in (True, False, True, False):
        answer_gold(part, is_right=is_right)

    part.refresh_from_db()
    assert part.state == "active"


def test_who_came_by_themselves_is_screened_out_without_a_code() -> None:
    campaign, ada = make_campaign(screen_out_after=1, screen_out_below=0.5), make_annotator()

    answer_gold(Participation(annotator=ada, campaign=campaign, created_at=ada.created_at), is_right=False)

    part = Participation.objects.get()
    assert (part.annotator, part.state, part.code) == (ada, "screened_out", "")
    assert claim_slots(annotator=ada, campaign=campaign, count=1) == []


def test_gold_tasks_count_as_what_they_look_like() -> None:
    campaign = make_campaign()
    part = recruited(campaign, votes_wanted=2)

    answer_gold(part, is_right=True)

    assert queries.progress_of(part.annotator, campaign) == queries.Progress(voted=1, left=1)
    vote(part)
    part.refresh_from_db()
    assert part.state == "completed"


def test_practice_is_not_counted_towards_completion() -> None:
    part = recruited(make_campaign(), votes_wanted=1)

    answer_gold(part, is_right=True, purpose=Task.Purpose.PRACTICE)

    part.refresh_from_db()
    assert part.state == "active"


def test_votes_of_people_without_a_part_need_none() -> None:
    campaign, ada = make_campaign(), make_annotator()

    vote_on(claim_slots(annotator=ada, campaign=campaign, count=1)[0])

    assert Participation.objects.count() == 0
    assert Annotator.objects.get() == ada
