"""Claims and votes: every rule, and the races on a real Postgres."""

from collections import Counter
from datetime import timedelta
from functools import partial
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from annotations.models import Annotator, Campaign, Slot, Task, Vote
from annotations.queries import voting as queries
from annotations.services.voting import (
    AnnotatorExcluded,
    AnnotatorPaused,
    CampaignNotRunning,
    ClaimLost,
    InviteNeeded,
    KeyReused,
    RecordedVote,
    UndoRefused,
    VoteRejected,
    claim_slots,
    extend_claims,
    leave,
    record_vote,
    release_claims,
    undo_vote,
)
from tests.annotations.factories import (
    make_annotator,
    make_annotators,
    make_campaign,
    make_image,
    make_invite,
    make_prompt,
    make_task,
)
from tests.annotations.races import at_once

pytestmark = pytest.mark.django_db


def first_image(slot: Slot) -> UUID:
    return queries.images_in_order([slot])[slot.pk][0].public_id


def vote_on(slot: Slot, outcome: str = "choice", *, key: UUID | None = None, **fields: object) -> RecordedVote:
    """Answer a claimed slot as its own annotator would."""
    if outcome == "choice":
        fields.setdefault("image", first_image(slot))
    if outcome == "flag":
        fields.setdefault("reason", "image_broken")
    return record_vote(
        annotator=slot.annotator, token=slot.token, outcome=outcome, idempotency_key=key or uuid4(), **fields
    )


def run_out(*slots: Slot) -> None:
    """Let leases end a second ago."""
    Slot.objects.filter(pk__in=[slot.pk for slot in slots]).update(lease_until=timezone.now() - timedelta(seconds=1))


# Claims


def test_claim_slots_gives_leased_slots_with_all_images_of_their_tasks() -> None:
    campaign, ada = make_campaign(images=4, tasks=3, lease_seconds=600), make_annotator()

    slots = claim_slots(annotator=ada, campaign=campaign, count=2)

    assert [slot.state for slot in slots] == ["leased", "leased"]
    assert {slot.annotator_id for slot in slots} == {ada.pk}
    assert [sorted(slot.order) for slot in slots] == [
        sorted(slot.task.candidates.values_list("image_id", flat=True)) for slot in slots
    ]
    assert len({slot.token for slot in slots}) == 2
    assert [round((slot.lease_until - slot.leased_at).total_seconds()) for slot in slots] == [600, 600]


def test_claim_slots_shuffles_for_each_person() -> None:
    campaign = make_campaign(images=4, tasks=1, votes_per_task=40)

    orders = Counter(
        tuple(claim_slots(annotator=person, campaign=campaign, count=1)[0].order) for person in make_annotators(40)
    )

    # Of 24 orders, 40 people see fewer than 8 different ones in fewer than one of a million trials.
    assert len(orders) >= 8


def test_claim_slots_is_the_same_when_asked_again() -> None:
    campaign, ada = make_campaign(tasks=6), make_annotator()

    first = claim_slots(annotator=ada, campaign=campaign, count=3)
    again = claim_slots(annotator=ada, campaign=campaign, count=3)

    assert [(slot.pk, slot.token, slot.order) for slot in again] == [
        (slot.pk, slot.token, slot.order) for slot in first
    ]


def test_claim_slots_tops_up_what_was_answered() -> None:
    campaign, ada = make_campaign(tasks=6), make_annotator()
    first, second, third = claim_slots(annotator=ada, campaign=campaign, count=3)
    vote_on(first)

    slots = claim_slots(annotator=ada, campaign=campaign, count=3)

    assert [slot.pk for slot in slots[:2]] == [second.pk, third.pk]
    assert slots[2].pk not in {first.pk, second.pk, third.pk}


def test_claim_slots_gives_no_more_than_asked_for() -> None:
    campaign, ada = make_campaign(tasks=6), make_annotator()
    five = claim_slots(annotator=ada, campaign=campaign, count=5)

    assert claim_slots(annotator=ada, campaign=campaign, count=2) == five[:2]


@pytest.mark.parametrize("count", [0, 6, -1])
def test_claim_slots_refuses_other_counts(count: int) -> None:
    with pytest.raises(ValueError, match="Ask for 1 to 5 claims"):
        claim_slots(annotator=make_annotator(), campaign=make_campaign(), count=count)


def test_claim_slots_never_gives_a_task_twice_to_one_person() -> None:
    campaign, ada = make_campaign(tasks=2, votes_per_task=3), make_annotator()

    slots = claim_slots(annotator=ada, campaign=campaign, count=5)
    assert len({slot.task_id for slot in slots}) == len(slots) == 2

    for slot in slots:
        vote_on(slot)
    assert claim_slots(annotator=ada, campaign=campaign, count=5) == []


def test_claim_slots_takes_over_what_others_let_run_out() -> None:
    campaign, ada, ben = make_campaign(tasks=1), make_annotator(), make_annotator()
    [of_ada] = claim_slots(annotator=ada, campaign=campaign, count=1)
    assert claim_slots(annotator=ben, campaign=campaign, count=1) == []

    run_out(of_ada)
    [of_ben] = claim_slots(annotator=ben, campaign=campaign, count=1)

    assert (of_ben.pk, of_ben.annotator_id) == (of_ada.pk, ben.pk)
    assert of_ben.token != of_ada.token


def test_claim_slots_renews_ones_own_leases_that_ran_out() -> None:
    campaign, ada = make_campaign(tasks=6), make_annotator()
    first = claim_slots(annotator=ada, campaign=campaign, count=5)
    run_out(*first)

    again = claim_slots(annotator=ada, campaign=campaign, count=2)

    assert [(slot.pk, slot.token) for slot in again] == [(slot.pk, slot.token) for slot in first[:2]]
    assert queries.live_slots(ada, campaign).count() == 5


def test_claim_slots_leaves_out_tasks_with_a_hidden_image() -> None:
    campaign, ada = make_campaign(tasks=2), make_annotator()
    hidden, seen = campaign.tasks.order_by("pk")
    hidden.images.update(is_hidden=True)

    assert [slot.task_id for slot in claim_slots(annotator=ada, campaign=campaign, count=5)] == [seen.pk]
    assert queries.progress_of(make_annotator(), campaign).left == 0


@pytest.mark.parametrize("state", [Campaign.State.DRAFT, Campaign.State.PAUSED, Campaign.State.CLOSED])
def test_claim_slots_refuses_when_the_campaign_does_not_run(state: Campaign.State) -> None:
    campaign = make_campaign()
    Campaign.objects.update(state=state)

    with pytest.raises(CampaignNotRunning, match="takes no votes at the moment"):
        claim_slots(annotator=make_annotator(), campaign=campaign, count=1)


@pytest.mark.parametrize(
    ("state", "error"), [(Annotator.State.PAUSED, AnnotatorPaused), (Annotator.State.EXCLUDED, AnnotatorExcluded)]
)
def test_claim_slots_refuses_people_who_may_not_vote(state: Annotator.State, error: type[Exception]) -> None:
    campaign, ada = make_campaign(), make_annotator()
    Annotator.objects.update(state=state)

    with pytest.raises(error, match="write to the people who invited you"):
        claim_slots(annotator=ada, campaign=campaign, count=1)


def test_claim_slots_refuses_people_without_an_invite() -> None:
    campaign = make_campaign(access=Campaign.Access.INVITED)
    invited = make_annotator(invite=make_invite(campaign))

    with pytest.raises(InviteNeeded, match="by invitation"):
        claim_slots(annotator=make_annotator(), campaign=campaign, count=1)
    assert len(claim_slots(annotator=invited, campaign=campaign, count=1)) == 1


def test_claim_slots_lets_simulated_people_into_synthetic_campaigns_only() -> None:
    invited = {"access": Campaign.Access.INVITED}
    toy, real = make_campaign(is_synthetic=True, **invited), make_campaign(is_synthetic=False, **invited)
    robot = make_annotator(source=Annotator.Source.SIMULATED)

    assert len(claim_slots(annotator=robot, campaign=toy, count=1)) == 1
    with pytest.raises(InviteNeeded):
        claim_slots(annotator=robot, campaign=real, count=1)


def test_extend_claims_makes_leases_long_again() -> None:
    campaign, ada = make_campaign(tasks=2, lease_seconds=600), make_annotator()
    slots = claim_slots(annotator=ada, campaign=campaign, count=2)
    run_out(*slots)

    assert extend_claims(annotator=ada, campaign=campaign) == 2
    assert queries.live_slots(ada, campaign).count() == 2


def test_release_claims_gives_work_back_to_others() -> None:
    campaign, other, ada = make_campaign(tasks=2), make_campaign(tasks=1), make_annotator()
    claim_slots(annotator=ada, campaign=campaign, count=2)
    claim_slots(annotator=ada, campaign=other, count=1)

    assert release_claims(annotator=ada, campaign=campaign) == 2
    assert len(claim_slots(annotator=make_annotator(), campaign=campaign, count=2)) == 2
    assert queries.live_slots(ada, other).count() == 1
    assert release_claims(annotator=ada) == 1


# Votes


def test_record_vote_stores_what_was_said_and_seen() -> None:
    campaign = make_campaign(images=4, instructions_version=3, too_fast_ms=400)
    [slot] = claim_slots(annotator=make_annotator(), campaign=campaign, count=1)
    chosen = queries.images_in_order([slot])[slot.pk][2]
    key = uuid4()

    recorded = vote_on(slot, image=chosen.public_id, shown_ms=1234, key=key)

    vote = Vote.objects.get()
    assert recorded == RecordedVote(vote=vote, is_new=True)
    assert (vote.slot, vote.task, vote.annotator, vote.outcome, vote.image) == (
        slot, slot.task, slot.annotator, "choice", chosen,
    )  # fmt: skip
    assert (vote.order, vote.shown_ms, vote.is_too_fast, vote.instructions_version, vote.idempotency_key) == (
        slot.order, 1234, False, 3, key,
    )  # fmt: skip
    assert vote.served_at == slot.leased_at
    assert Slot.objects.get(pk=slot.pk).state == "done"


@pytest.mark.parametrize("outcome", ["tie", "all_bad", "skip", "flag"])
def test_record_vote_stores_the_other_outcomes_without_an_image(outcome: str) -> None:
    [slot] = claim_slots(annotator=make_annotator(), campaign=make_campaign(), count=1)

    vote = vote_on(slot, outcome).vote

    assert (vote.outcome, vote.image) == (outcome, None)


@pytest.mark.parametrize(("shown_ms", "is_too_fast"), [(None, False), (0, True), (399, True), (400, False)])
def test_record_vote_marks_votes_that_came_too_fast(shown_ms: int | None, is_too_fast: bool) -> None:
    [slot] = claim_slots(annotator=make_annotator(), campaign=make_campaign(too_fast_ms=400), count=1)

    assert vote_on(slot, shown_ms=shown_ms).vote.is_too_fast is is_too_fast


def test_record_vote_cuts_a_weekend_down_to_a_day_and_still_replays_it() -> None:
    [slot] = claim_slots(annotator=make_annotator(), campaign=make_campaign(), count=1)
    key = uuid4()

    first = vote_on(slot, shown_ms=10**12, key=key)

    assert first.vote.shown_ms == 24 * 60 * 60 * 1000
    assert vote_on(slot, shown_ms=10**12, key=key) == RecordedVote(vote=first.vote, is_new=False)


def test_record_vote_gives_the_same_vote_on_a_replay() -> None:
    [slot] = claim_slots(annotator=make_annotator(), campaign=make_campaign(), count=1)
    key = uuid4()
    first = vote_on(slot, key=key, shown_ms=900)

    again = vote_on(slot, key=key, shown_ms=900)

    assert again == RecordedVote(vote=first.vote, is_new=False)
    assert Vote.objects.count() == 1


@pytest.mark.parametrize("change", [{"outcome": "tie"}, {"shown_ms": 901}, {"outcome": "skip", "reason": "x"}])
def test_record_vote_refuses_another_body_under_the_same_key(change: dict[str, object]) -> None:
    [slot] = claim_slots(annotator=make_annotator(), campaign=make_campaign(), count=1)
    key = uuid4()
    vote_on(slot, key=key, shown_ms=900)

    with pytest.raises(KeyReused, match="belongs to another vote"):
        vote_on(slot, key=key, **{"shown_ms": 900, **change})


def test_record_vote_refuses_the_key_of_another_claim() -> None:
    first, second = claim_slots(annotator=make_annotator(), campaign=make_campaign(), count=2)
    key = uuid4()
    vote_on(first, "tie", key=key)

    with pytest.raises(KeyReused):
        vote_on(second, "tie", key=key)
    assert Vote.objects.count() == 1


def test_record_vote_lets_two_people_use_the_same_key() -> None:
    campaign, key = make_campaign(tasks=1, votes_per_task=2), uuid4()
    slots = [claim_slots(annotator=make_annotator(), campaign=campaign, count=1)[0] for _ in range(2)]

    assert [vote_on(slot, "tie", key=key).is_new for slot in slots] == [True, True]


def test_record_vote_refuses_a_second_vote_on_one_claim() -> None:
    [slot] = claim_slots(annotator=make_annotator(), campaign=make_campaign(), count=1)
    vote_on(slot, "tie")

    with pytest.raises(ClaimLost, match="no longer yours"):
        vote_on(slot, "tie")


def test_record_vote_accepts_a_late_vote_while_nobody_else_has_the_slot() -> None:
    [slot] = claim_slots(annotator=make_annotator(), campaign=make_campaign(), count=1)
    run_out(slot)

    assert vote_on(slot).is_new


def test_record_vote_refuses_a_late_vote_on_a_slot_given_to_somebody_else() -> None:
    campaign = make_campaign(tasks=1)
    [slot] = claim_slots(annotator=make_annotator(), campaign=campaign, count=1)
    run_out(slot)
    [taken] = claim_slots(annotator=make_annotator(), campaign=campaign, count=1)

    with pytest.raises(ClaimLost):
        vote_on(slot)
    assert vote_on(taken).is_new


def test_record_vote_refuses_the_token_of_somebody_else() -> None:
    [slot] = claim_slots(annotator=make_annotator(), campaign=make_campaign(), count=1)

    with pytest.raises(ClaimLost):
        record_vote(annotator=make_annotator(), token=slot.token, outcome="tie", idempotency_key=uuid4())


def test_record_vote_still_takes_what_was_held_when_the_campaign_or_the_person_was_paused() -> None:
    campaign, ada = make_campaign(), make_annotator()
    [slot] = claim_slots(annotator=ada, campaign=campaign, count=1)
    Campaign.objects.update(state=Campaign.State.PAUSED)
    Annotator.objects.update(state=Annotator.State.PAUSED)

    assert vote_on(slot).is_new


def test_record_vote_refuses_people_who_are_excluded() -> None:
    [slot] = claim_slots(annotator=make_annotator(), campaign=make_campaign(), count=1)
    Annotator.objects.update(state=Annotator.State.EXCLUDED)

    with pytest.raises(AnnotatorExcluded):
        vote_on(slot)
    assert Vote.objects.count() == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"outcome": "maybe"}, "must be one of choice, tie, all_bad, skip, flag"),
        ({"outcome": "choice"}, "needs the id of the chosen image"),
        ({"outcome": "choice", "image": uuid4()}, "not one of this task"),
        ({"outcome": "tie", "image": uuid4()}, "Only a choice names an image"),
        ({"outcome": "flag", "reason": "  "}, "A flag needs a reason"),
        ({"outcome": "flag", "reason": "x" * 201}, "at most 200 characters"),
        ({"outcome": "flag", "reason": "a\x00b"}, "plain text"),
        ({"outcome": "tie", "reason": "because"}, "Only a flag or a skip"),
        ({"outcome": "tie", "shown_ms": -1}, "cannot be negative"),
    ],
)
def test_record_vote_refuses_what_makes_no_sense(fields: dict[str, object], message: str) -> None:
    [slot] = claim_slots(annotator=make_annotator(), campaign=make_campaign(), count=1)

    with pytest.raises(VoteRejected, match=message):
        record_vote(annotator=slot.annotator, token=slot.token, idempotency_key=uuid4(), **fields)
    assert Slot.objects.get(pk=slot.pk).state == "leased"


@pytest.mark.parametrize("outcome", ["tie", "all_bad"])
def test_record_vote_refuses_an_outcome_that_the_campaign_does_not_take(outcome: str) -> None:
    campaign = make_campaign(allows_tie=False, allows_all_bad=False)
    [slot] = claim_slots(annotator=make_annotator(), campaign=campaign, count=1)

    with pytest.raises(VoteRejected, match="it takes choice, skip, flag"):
        vote_on(slot, outcome)


def test_record_vote_refuses_the_image_of_another_task() -> None:
    first, second = claim_slots(annotator=make_annotator(), campaign=make_campaign(), count=2)

    with pytest.raises(VoteRejected, match="not one of this task"):
        vote_on(first, image=first_image(second))


@pytest.mark.parametrize("outcome", ["skip", "flag"])
def test_record_vote_opens_one_more_slot_for_what_is_no_judgement(outcome: str) -> None:
    campaign = make_campaign(tasks=1, votes_per_task=2)
    [slot] = claim_slots(annotator=make_annotator(), campaign=campaign, count=1)

    vote_on(slot, outcome)

    assert Counter(campaign.slots.values_list("state", flat=True)) == {"done": 1, "open": 2}


def test_record_vote_stops_opening_slots_at_three_times_the_wanted_votes() -> None:
    campaign = make_campaign(tasks=1, votes_per_task=2)

    skips = 0
    for person in make_annotators(9):
        for slot in claim_slots(annotator=person, campaign=campaign, count=1):
            vote_on(slot, "skip")
            skips += 1

    assert (skips, campaign.slots.count()) == (6, 6)


# Undo


def test_undo_vote_gives_the_same_images_in_the_same_order_with_a_new_token() -> None:
    campaign, ada = make_campaign(images=4), make_annotator()
    [slot] = claim_slots(annotator=ada, campaign=campaign, count=1)
    vote = vote_on(slot).vote

    again = undo_vote(annotator=ada, vote=vote)

    assert (again.pk, again.order, again.state) == (slot.pk, slot.order, "leased")
    assert again.token != slot.token
    vote.refresh_from_db()
    assert vote.withdrawn_at is not None
    second = vote_on(again, "tie").vote
    assert [*Vote.objects.standing()] == [second]
    assert Vote.objects.count() == 2


def test_undo_vote_puts_its_task_first() -> None:
    campaign, ada = make_campaign(tasks=4), make_annotator()
    slots = claim_slots(annotator=ada, campaign=campaign, count=3)

    undone = undo_vote(annotator=ada, vote=vote_on(slots[0]).vote)

    assert claim_slots(annotator=ada, campaign=campaign, count=3)[0] == undone


def test_undo_vote_goes_further_back_when_asked_again() -> None:
    campaign, ada = make_campaign(), make_annotator()
    votes = [vote_on(slot).vote for slot in claim_slots(annotator=ada, campaign=campaign, count=3)]

    for vote in reversed(votes):
        undo_vote(annotator=ada, vote=vote)

    assert Vote.objects.standing().count() == 0
    assert queries.live_slots(ada, campaign).count() == 3


def test_undo_vote_is_the_same_when_asked_twice() -> None:
    ada = make_annotator()
    [slot] = claim_slots(annotator=ada, campaign=make_campaign(), count=1)
    vote = vote_on(slot).vote

    first = undo_vote(annotator=ada, vote=vote)
    second = undo_vote(annotator=ada, vote=vote)

    assert (first.pk, first.token) == (second.pk, second.token)


def test_undo_vote_refuses_all_but_the_latest() -> None:
    ada = make_annotator()
    votes = [vote_on(slot).vote for slot in claim_slots(annotator=ada, campaign=make_campaign(), count=2)]

    with pytest.raises(UndoRefused, match="latest vote"):
        undo_vote(annotator=ada, vote=votes[0])


def test_undo_vote_refuses_the_vote_of_somebody_else() -> None:
    [slot] = claim_slots(annotator=make_annotator(), campaign=make_campaign(), count=1)
    vote = vote_on(slot).vote

    with pytest.raises(UndoRefused):
        undo_vote(annotator=make_annotator(), vote=vote)
    assert Vote.objects.standing().count() == 1


def test_undo_vote_refuses_when_the_campaign_is_closed() -> None:
    campaign, ada = make_campaign(), make_annotator()
    [slot] = claim_slots(annotator=ada, campaign=campaign, count=1)
    vote = vote_on(slot).vote
    Campaign.objects.update(state=Campaign.State.CLOSED)

    with pytest.raises(UndoRefused, match="closed"):
        undo_vote(annotator=ada, vote=vote)


def test_undo_vote_refuses_people_who_are_excluded() -> None:
    ada = make_annotator()
    [slot] = claim_slots(annotator=ada, campaign=make_campaign(), count=1)
    vote = vote_on(slot).vote
    ada.state = Annotator.State.EXCLUDED

    with pytest.raises(AnnotatorExcluded):
        undo_vote(annotator=ada, vote=vote)


def test_undo_vote_never_leaves_more_than_five_claims() -> None:
    campaign, ada = make_campaign(tasks=8), make_annotator()
    vote = vote_on(claim_slots(annotator=ada, campaign=campaign, count=1)[0]).vote
    held = claim_slots(annotator=ada, campaign=campaign, count=5)

    undone = undo_vote(annotator=ada, vote=vote)

    assert [*queries.live_slots(ada, campaign)] == [undone, *held[:4]]


def test_undo_vote_takes_away_the_slot_that_a_skip_added() -> None:
    campaign, ada = make_campaign(tasks=1, votes_per_task=2), make_annotator()
    [slot] = claim_slots(annotator=ada, campaign=campaign, count=1)
    skip = vote_on(slot, "skip").vote

    undo_vote(annotator=ada, vote=skip)

    assert Counter(campaign.slots.values_list("state", flat=True)) == {"leased": 1, "open": 1}


def test_undo_vote_leaves_the_added_slot_to_those_who_have_it() -> None:
    campaign, ada, ben = make_campaign(tasks=1, votes_per_task=1), make_annotator(), make_annotator()
    [slot] = claim_slots(annotator=ada, campaign=campaign, count=1)
    skip = vote_on(slot, "skip").vote
    [of_ben] = claim_slots(annotator=ben, campaign=campaign, count=1)

    undo_vote(annotator=ada, vote=skip)

    assert {*campaign.slots.all()} == {slot, of_ben}
    assert vote_on(of_ben).is_new


def test_undo_vote_of_a_skip_that_added_nothing_takes_nothing_away() -> None:
    campaign = make_campaign(tasks=1, votes_per_task=1)
    people = make_annotators(3)
    skips = [vote_on(claim_slots(annotator=person, campaign=campaign, count=1)[0], "skip").vote for person in people]
    assert campaign.slots.count() == 3

    undo_vote(annotator=people[-1], vote=skips[-1])

    assert Counter(campaign.slots.values_list("state", flat=True)) == {"done": 2, "leased": 1}


def test_undo_vote_then_release_gives_the_task_to_others_only() -> None:
    campaign, ada, ben = make_campaign(tasks=1), make_annotator(), make_annotator()
    vote = vote_on(claim_slots(annotator=ada, campaign=campaign, count=1)[0]).vote
    undo_vote(annotator=ada, vote=vote)
    release_claims(annotator=ada)

    assert claim_slots(annotator=ada, campaign=campaign, count=1) == []
    assert vote_on(claim_slots(annotator=ben, campaign=campaign, count=1)[0]).is_new


# Races, with threads at a barrier on a real Postgres


@pytest.mark.django_db(transaction=True)
def test_record_vote_race_of_one_key_stores_one_vote_and_tells_one_that_it_is_new() -> None:
    [slot] = claim_slots(annotator=make_annotator(), campaign=make_campaign(), count=1)
    image, key = first_image(slot), uuid4()

    results = at_once([partial(vote_on, slot, image=image, key=key)] * 50)

    vote = Vote.objects.get()
    assert Counter(result.is_new for result in results) == {True: 1, False: 49}
    assert {result.vote for result in results} == {vote}


@pytest.mark.django_db(transaction=True)
def test_record_vote_race_of_many_keys_on_one_claim_stores_one_vote() -> None:
    [slot] = claim_slots(annotator=make_annotator(), campaign=make_campaign(), count=1)
    image = first_image(slot)

    results = at_once([partial(vote_on, slot, image=image) for _ in range(50)])

    assert Vote.objects.count() == 1
    assert Counter(type(result) for result in results) == {RecordedVote: 1, ClaimLost: 49}


@pytest.mark.django_db(transaction=True)
def test_record_vote_race_of_one_key_on_many_claims_stores_one_vote() -> None:
    slots = claim_slots(annotator=make_annotator(), campaign=make_campaign(tasks=5), count=5)
    key = uuid4()

    results = at_once([partial(vote_on, slot, "tie", key=key) for slot in slots])

    assert Vote.objects.count() == 1
    assert Counter(type(result) for result in results) == {RecordedVote: 1, KeyReused: 4}


@pytest.mark.django_db(transaction=True)
def test_claim_slots_race_gives_out_exactly_the_slots_there_are() -> None:
    campaign = make_campaign(tasks=1, votes_per_task=30)
    claims = [partial(claim_slots, annotator=person, campaign=campaign, count=1) for person in make_annotators(50)]

    results = at_once(claims)

    given = [slot for slots in results for slot in slots]
    assert len(given) == len({slot.pk for slot in given}) == 30
    assert campaign.slots.filter(state="leased").count() == 30


@pytest.mark.django_db(transaction=True)
def test_claim_and_vote_race_stores_exactly_the_wanted_votes() -> None:
    campaign = make_campaign(tasks=1, votes_per_task=30)

    def work(person: Annotator) -> int:
        return sum(vote_on(slot).is_new for slot in claim_slots(annotator=person, campaign=campaign, count=1))

    results = at_once([partial(work, person) for person in make_annotators(50)])

    assert Counter(results) == {1: 30, 0: 20}
    assert Vote.objects.count() == 30


@pytest.mark.django_db(transaction=True)
def test_claim_slots_race_of_one_person_never_holds_more_than_five() -> None:
    campaign, ada = make_campaign(tasks=40), make_annotator()

    results = at_once([partial(claim_slots, annotator=ada, campaign=campaign, count=5)] * 20)

    assert campaign.slots.filter(annotator=ada, state="leased").count() == 5
    assert {tuple(slot.token for slot in slots) for slots in results} == {
        tuple(slot.token for slot in queries.held_slots(ada, campaign))
    }


@pytest.mark.django_db(transaction=True)
def test_claim_slots_race_for_what_ran_out_gives_it_to_one() -> None:
    campaign = make_campaign(tasks=1)
    [slot] = claim_slots(annotator=make_annotator(), campaign=campaign, count=1)
    run_out(slot)
    claims = [partial(claim_slots, annotator=person, campaign=campaign, count=1) for person in make_annotators(20)]

    results = at_once(claims)

    assert sorted(len(slots) for slots in results) == [0] * 19 + [1]


@pytest.mark.django_db(transaction=True)
def test_late_vote_race_against_a_new_claim_has_one_winner() -> None:
    for _round in range(10):
        campaign = make_campaign(tasks=1)
        [slot] = claim_slots(annotator=make_annotator(), campaign=campaign, count=1)
        run_out(slot)
        late, claim = (
            partial(vote_on, slot, "tie"),
            partial(claim_slots, annotator=make_annotator(), campaign=campaign, count=1),
        )

        voted, claimed = at_once([late, claim])

        assert isinstance(voted, RecordedVote) == (claimed == [])
        assert isinstance(voted, ClaimLost) == (claimed != [])


@pytest.mark.django_db(transaction=True)
def test_skip_race_opens_one_slot_for_each_skip() -> None:
    campaign = make_campaign(tasks=1, votes_per_task=20)
    people = make_annotators(20)
    slots = [claim_slots(annotator=person, campaign=campaign, count=1)[0] for person in people]

    results = at_once([partial(vote_on, slot, "skip") for slot in slots])

    assert all(result.is_new for result in results)
    assert Counter(campaign.slots.values_list("state", flat=True)) == {"done": 20, "open": 20}


@pytest.mark.django_db(transaction=True)
def test_undo_race_withdraws_one_vote_and_gives_one_claim() -> None:
    campaign, ada = make_campaign(tasks=3), make_annotator()
    votes = [vote_on(slot).vote for slot in claim_slots(annotator=ada, campaign=campaign, count=3)]

    results = at_once([partial(undo_vote, annotator=ada, vote=votes[-1])] * 10)

    assert {slot.token for slot in results} == {queries.held_slots(ada, campaign).get().token}
    assert [*Vote.objects.standing().order_by("pk")] == votes[:2]


@pytest.mark.django_db(transaction=True)
def test_claim_slots_skips_a_slot_that_somebody_is_looking_at() -> None:
    campaign = make_campaign(tasks=1, votes_per_task=1)
    other = make_task(campaign=campaign)
    Slot.objects.filter(task=other).update(sort_key=F("sort_key") + 1_000_000)
    first = campaign.slots.exclude(task=other).get()
    claim = partial(claim_slots, annotator=make_annotator(), campaign=campaign, count=1)

    with transaction.atomic():
        Slot.objects.select_for_update().get(pk=first.pk)
        [results] = at_once([claim])

    assert [slot.task_id for slot in results] == [other.pk]


# Flagged images


def claimable(campaign: Campaign, annotator: Annotator) -> set[int]:
    """The tasks that this person is given, one after the other, and skips."""
    seen = set()
    while slots := claim_slots(annotator=annotator, campaign=campaign, count=1):
        seen.add(slots[0].task_id)
        vote_on(slots[0], "skip")
    return seen


def tasks_that_share_an_image(campaign: Campaign) -> tuple[Task, Task, Task]:
    """Two tasks with one image in common, and a third one."""
    prompt = make_prompt()
    one, two, three = (make_image(prompt=prompt, has_file=False) for _ in range(3))
    return (
        make_task(campaign=campaign, prompt=prompt, images=[one, two]),
        make_task(campaign=campaign, prompt=prompt, images=[two, three]),
        make_task(campaign=campaign),
    )


def flag_first(campaign: Campaign, annotator: Annotator, task: Task, reason: str = "offensive") -> Vote:
    Slot.objects.filter(campaign=campaign, task=task).update(sort_key=-1)
    [slot] = claim_slots(annotator=annotator, campaign=campaign, count=1)
    assert slot.task == task
    return vote_on(slot, "flag", reason=reason).vote


def test_a_flagged_image_comes_in_no_other_task_of_the_person_who_flagged_it() -> None:
    campaign, ada, ben = make_campaign(tasks=0, votes_per_task=2), make_annotator(), make_annotator()
    flagged, sibling, other = tasks_that_share_an_image(campaign)
    flag_first(campaign, ada, flagged)

    assert queries.progress_of(ada, campaign).left == 1
    assert claimable(campaign, ada) == {other.pk}
    assert claimable(campaign, ben) == {flagged.pk, sibling.pk, other.pk}


def test_a_flagged_image_leaves_what_the_person_already_holds() -> None:
    campaign, ada = make_campaign(tasks=0), make_annotator()
    flagged, sibling, other = tasks_that_share_an_image(campaign)
    slots = {slot.task: slot for slot in claim_slots(annotator=ada, campaign=campaign, count=3)}

    vote_on(slots[flagged], "flag", reason="image_broken")

    assert [slot.task for slot in queries.held_slots(ada, campaign)] == [other]
    assert sibling.slots.get().state == "open"


def test_a_prompt_that_makes_no_sense_says_nothing_of_the_images() -> None:
    campaign, ada = make_campaign(tasks=0), make_annotator()
    flagged, sibling, other = tasks_that_share_an_image(campaign)
    flag_first(campaign, ada, flagged, reason="prompt_unclear")

    assert queries.progress_of(ada, campaign).left == 2
    assert claimable(campaign, ada) == {sibling.pk, other.pk}


def test_a_flag_that_was_undone_hides_nothing() -> None:
    campaign, ada = make_campaign(tasks=0), make_annotator()
    flagged, sibling, other = tasks_that_share_an_image(campaign)
    undo_vote(annotator=ada, vote=flag_first(campaign, ada, flagged))

    assert claimable(campaign, ada) == {flagged.pk, sibling.pk, other.pk}


# Leaving


def test_leave_lets_leases_end_soon_and_never_makes_them_longer() -> None:
    campaign, ada = make_campaign(lease_seconds=600), make_annotator()
    long, short = claim_slots(annotator=ada, campaign=campaign, count=2)
    Slot.objects.filter(pk=short.pk).update(lease_until=timezone.now() + timedelta(seconds=5))

    assert leave(annotator=ada, campaign=campaign) == 1

    lasts = {slot.pk: slot.lease_until - timezone.now() for slot in queries.held_slots(ada, campaign)}
    assert timedelta(seconds=20) < lasts[long.pk] <= timedelta(seconds=30)
    assert lasts[short.pk] <= timedelta(seconds=5)
