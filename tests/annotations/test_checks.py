"""Practice, gold and repeats: who gets which, when, and that nothing tells them apart."""

import random
from datetime import timedelta
from functools import partial
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from annotations.models import Annotator, Campaign, Image, Participation, Slot, Task, Vote
from annotations.queries.voting import shown_claims
from annotations.services import checks
from annotations.services.checks import Feedback
from annotations.services.claims import claim_slots, release_claims
from annotations.services.gold import retire_gold
from annotations.services.leases import lock_claims
from annotations.services.voting import record_vote, undo_vote
from tests.annotations.factories import make_annotator, make_annotators, make_campaign, make_task
from tests.annotations.races import at_once

pytestmark = pytest.mark.django_db

Purpose = Task.Purpose


def make_checks(campaign: Campaign, count: int, purpose: Task.Purpose = Purpose.GOLD) -> list[Task]:
    return [make_task(campaign=campaign, votes=0, purpose=purpose) for _ in range(count)]


def answer(annotator: Annotator, slot: Slot, *, is_right: bool = True, outcome: str = "choice") -> Vote:
    """A vote for the obvious image, or for another; for the first image of a task without one."""
    expected = slot.task.expected_id or slot.order[0]
    wrong = next(image for image in slot.order if image != expected)
    image = Image.objects.get(pk=expected if is_right else wrong).public_id if outcome == "choice" else None
    vote = record_vote(annotator=annotator, token=slot.token, outcome=outcome, image=image, idempotency_key=uuid4())
    return vote.vote


def purposes(slots: list[Slot]) -> list[str]:
    return [slot.task.purpose for slot in slots]


def deal(annotator: Annotator, campaign: Campaign) -> bool:
    with transaction.atomic():
        lock_claims(annotator)
        return checks.deal_check(annotator=annotator, campaign=campaign)


def always(monkeypatch: pytest.MonkeyPatch, draw: float = 0.0) -> None:
    monkeypatch.setattr(random, "random", lambda: draw)


def test_practice_comes_first_and_only_so_many():
    campaign = make_campaign(tasks=3, practice_tasks=2, gold_share=0.5)
    make_checks(campaign, 5, Purpose.PRACTICE)
    make_checks(campaign, 5)

    slots = claim_slots(annotator=make_annotator(), campaign=campaign, count=4)

    assert purposes(slots) == ["practice", "practice", "regular", "regular"]


def test_practice_ends_with_as_many_votes_as_were_wanted():
    campaign = make_campaign(tasks=3, practice_tasks=2)
    make_checks(campaign, 3, Purpose.PRACTICE)
    ada = make_annotator()
    first, second = claim_slots(annotator=ada, campaign=campaign, count=2)

    answer(ada, first)
    assert Participation.objects.get(annotator=ada).practised_at is None
    answer(ada, second, outcome="skip")

    assert Participation.objects.get(annotator=ada).practised_at is not None
    assert purposes(claim_slots(annotator=ada, campaign=campaign, count=3)) == ["regular"] * 3


def test_practice_of_a_campaign_with_fewer_practice_tasks_than_wanted_ends_with_the_last_one():
    campaign = make_campaign(tasks=3, practice_tasks=4)
    make_checks(campaign, 1, Purpose.PRACTICE)
    ada = make_annotator()
    (slot,) = claim_slots(annotator=ada, campaign=campaign, count=1)

    answer(ada, slot)

    assert Participation.objects.get(annotator=ada).practised_at is not None


def test_practice_without_practice_tasks_holds_nobody_up(monkeypatch):
    always(monkeypatch)
    campaign = make_campaign(tasks=1, practice_tasks=2, gold_share=0.2)
    make_checks(campaign, 1)

    assert purposes(claim_slots(annotator=make_annotator(), campaign=campaign, count=2)) == ["gold", "regular"]


def test_feedback_is_on_practice_votes_only():
    campaign = make_campaign(tasks=1, practice_tasks=2)
    practice = make_checks(campaign, 2, Purpose.PRACTICE)
    ada = make_annotator()
    slots = claim_slots(annotator=ada, campaign=campaign, count=3)

    votes = [answer(ada, slots[0]), answer(ada, slots[1], is_right=False), answer(ada, slots[2])]

    expected = {task.pk: task.expected.public_id for task in practice}
    assert [checks.feedback_on(vote) for vote in votes] == [
        Feedback(is_right=True, expected=expected[slots[0].task_id]),
        Feedback(is_right=False, expected=expected[slots[1].task_id]),
        None,
    ]


def test_gold_is_never_the_same_twice_for_one_person(monkeypatch):
    always(monkeypatch)
    campaign = make_campaign(tasks=0, gold_share=0.2)
    gold = make_checks(campaign, 3)
    ada = make_annotator()

    dealt = []
    for _ in range(3):
        (slot,) = claim_slots(annotator=ada, campaign=campaign, count=1)
        dealt.append(slot.task_id)
        answer(ada, slot)

    assert sorted(dealt) == [task.pk for task in gold]
    assert not deal(ada, campaign)


def test_gold_that_was_promoted_is_not_for_those_who_voted_on_it(monkeypatch):
    always(monkeypatch)
    campaign = make_campaign(tasks=1, gold_share=0.2)
    task = campaign.tasks.get()
    images = list(task.images.all())
    ada, ben = make_annotators(2)
    Slot.objects.filter(task=task).update(state=Slot.State.DONE, annotator=ada, order=[image.pk for image in images])

    make_task(campaign=campaign, images=images, prompt=task.prompt, votes=0, purpose=Purpose.GOLD)

    assert (deal(ada, campaign), deal(ben, campaign)) == (False, True)


def test_gold_is_used_evenly(monkeypatch):
    always(monkeypatch)
    campaign = make_campaign(tasks=0, gold_share=0.2)
    gold = make_checks(campaign, 4)

    for person in make_annotators(8):
        assert deal(person, campaign)

    assert sorted(Slot.objects.values_list("task", flat=True)) == sorted([task.pk for task in gold] * 2)


def test_gold_given_back_is_given_out_again_in_the_same_slot(monkeypatch):
    always(monkeypatch)
    campaign = make_campaign(tasks=0, gold_share=0.2)
    make_checks(campaign, 1)
    ada, ben = make_annotators(2)
    assert deal(ada, campaign)
    release_claims(annotator=ada)

    assert deal(ben, campaign)

    assert list(Slot.objects.values_list("number", "annotator")) == [(0, ben.pk)]


def test_gold_of_others_is_never_claimed_as_a_regular_task(monkeypatch):
    always(monkeypatch)
    campaign = make_campaign(tasks=0, gold_share=0.2)
    make_checks(campaign, 2)
    ada, ben = make_annotators(2)
    assert deal(ada, campaign)
    Slot.objects.update(lease_until=timezone.now() - timedelta(hours=1))
    always(monkeypatch, draw=0.99)

    assert claim_slots(annotator=ben, campaign=campaign, count=1) == []


def test_gold_that_was_retired_or_hidden_is_not_dealt(monkeypatch):
    always(monkeypatch)
    campaign = make_campaign(tasks=0, gold_share=0.2)
    retired, hidden = make_checks(campaign, 2)
    retire_gold(task=retired)
    Image.objects.filter(tasks=hidden).update(is_hidden=True)

    assert not deal(make_annotator(), campaign)


def test_gold_skipped_opens_no_slot_for_others(monkeypatch):
    always(monkeypatch)
    campaign = make_campaign(tasks=0, gold_share=0.2)
    make_checks(campaign, 1)
    ada = make_annotator()
    (slot,) = claim_slots(annotator=ada, campaign=campaign, count=1)

    answer(ada, slot, outcome="skip")

    assert Slot.objects.count() == 1


@pytest.mark.parametrize(
    ("right", "wrong", "rate"),
    [(0, 0, 0.1 * 3**0.6), (12, 0, 0.1 / 3 * 3 ** (2 * 0.8**13)), (1, 9, 0.3)],
)
def test_gold_rate_falls_for_the_reliable_and_rises_for_the_doubtful(monkeypatch, right, wrong, rate):
    always(monkeypatch)
    campaign = make_campaign(tasks=0, gold_share=0.1)
    make_checks(campaign, right + wrong)
    ada = make_annotator()
    for number in range(right + wrong):
        (slot,) = claim_slots(annotator=ada, campaign=campaign, count=1)
        answer(ada, slot, is_right=number < right)

    assert checks.gold_rate(ada, campaign) == pytest.approx(rate, rel=0.01)


def test_gold_rate_keeps_to_its_bounds():
    ada = make_annotator()

    assert checks.gold_rate(ada, make_campaign(gold_share=0.5)) == 0.5
    assert checks.gold_rate(ada, make_campaign(gold_share=0)) == 0


def vote_on_all(annotator: Annotator, campaign: Campaign) -> list[Vote]:
    votes = []
    while slots := claim_slots(annotator=annotator, campaign=campaign, count=1):
        votes.append(answer(annotator, slots[0]))
    return votes


def test_repeat_shows_an_earlier_task_in_the_opposite_order(monkeypatch):
    campaign = make_campaign(tasks=checks.REPEAT_AFTER + 1, images=3)
    ada = make_annotator()
    first, *_later = vote_on_all(ada, campaign)
    Campaign.objects.update(probe_share=0.1)
    campaign.refresh_from_db()
    always(monkeypatch)

    (slot,) = claim_slots(annotator=ada, campaign=campaign, count=1)

    assert (slot.task.purpose, slot.task.repeats, slot.order) == ("probe", first.task, first.order[::-1])
    assert slot.task.candidates_hash == first.task.candidates_hash
    assert set(slot.task.images.all()) == set(first.task.images.all())
    answer(ada, slot)
    (next_one,) = claim_slots(annotator=ada, campaign=campaign, count=1)
    assert (next_one.task.purpose, next_one.task == slot.task) == ("probe", False)  # each task is repeated once


def test_repeat_comes_only_after_enough_other_votes(monkeypatch):
    campaign = make_campaign(tasks=checks.REPEAT_AFTER, probe_share=0.1)
    ada = make_annotator()
    vote_on_all(ada, campaign)
    always(monkeypatch)

    assert not deal(ada, campaign)


def test_repeat_of_one_task_serves_several_people(monkeypatch):
    campaign = make_campaign(tasks=checks.REPEAT_AFTER + 1, votes_per_task=2)
    ada, ben = make_annotator(), make_annotator()
    for person in (ada, ben):
        vote_on_all(person, campaign)
    Campaign.objects.update(probe_share=0.5)
    campaign.refresh_from_db()
    always(monkeypatch)
    monkeypatch.setattr(checks, "REPEAT_AFTER", 0)

    for person in (ada, ben):
        for _ in range(checks.REPEAT_WITHIN):
            deal(person, campaign)

    numbers = Slot.objects.filter(task__purpose=Purpose.PROBE).values_list("task", "number")
    assert len(numbers) == 2 * (checks.REPEAT_AFTER + campaign.tasks.filter(purpose="regular").count())
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize(("draw", "dealt"), [(0.19, "gold"), (0.2, "probe"), (0.49, "probe"), (0.5, "regular")])
def test_chance_decides_by_the_shares(monkeypatch, draw, dealt):
    campaign = make_campaign(tasks=checks.REPEAT_AFTER + 1)
    ada = make_annotator()
    vote_on_all(ada, campaign)
    make_task(campaign=campaign)
    make_checks(campaign, 1)
    Campaign.objects.update(probe_share=0.3)
    campaign.refresh_from_db()
    monkeypatch.setattr(checks, "gold_rate", lambda _annotator, _campaign: 0.2)
    always(monkeypatch, draw)

    assert purposes(claim_slots(annotator=ada, campaign=campaign, count=1)) == [dealt]


def test_checks_look_like_any_other_task(monkeypatch):
    campaign = make_campaign(tasks=checks.REPEAT_AFTER + 1)
    ada = make_annotator()
    vote_on_all(ada, campaign)
    make_task(campaign=campaign)
    make_checks(campaign, 1)
    Campaign.objects.update(gold_share=0.1, probe_share=0.4)
    campaign.refresh_from_db()
    for draw in (0.01, 0.3, 0.99):
        always(monkeypatch, draw)
        claim_slots(annotator=ada, campaign=campaign, count=Slot.objects.filter(state="leased").count() + 1)

    slots = claim_slots(annotator=ada, campaign=campaign, count=3)

    assert sorted(purposes(slots)) == ["gold", "probe", "regular"]
    names = [set(vars(claim)) for claim in shown_claims(slots)]
    assert names == [names[0]] * 3
    spans = [(slot.lease_until - slot.leased_at).total_seconds() for slot in slots]
    assert spans == [campaign.lease_seconds] * 3


def test_undone_gold_comes_again_to_the_same_person(monkeypatch):
    always(monkeypatch)
    campaign = make_campaign(tasks=0, gold_share=0.2)
    make_checks(campaign, 1)
    ada = make_annotator()
    (slot,) = claim_slots(annotator=ada, campaign=campaign, count=1)
    vote = answer(ada, slot, is_right=False)

    again = undo_vote(annotator=ada, vote=vote)

    assert (again.pk, again.order) == (slot.pk, slot.order)


@pytest.mark.django_db(transaction=True)
def test_gold_for_many_at_once_has_a_slot_of_its_own_for_each(monkeypatch):
    always(monkeypatch)
    campaign = make_campaign(tasks=0, gold_share=0.2)
    make_checks(campaign, 1)

    dealt = at_once([partial(deal, person, campaign) for person in make_annotators(12)])

    assert dealt == [True] * 12
    assert sorted(Slot.objects.values_list("number", flat=True)) == list(range(12))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("purpose", ["gold", "probe"])
def test_several_checks_for_many_at_once_never_make_them_wait_for_each_other(monkeypatch, purpose):
    campaign = make_campaign(tasks=16, votes_per_task=8, gold_share=0.2 if purpose == "gold" else 0, probe_share=0.5)
    make_checks(campaign, 6)
    people = make_annotators(8)
    always(monkeypatch, 0.99)
    for person in people:
        while slots := claim_slots(annotator=person, campaign=campaign, count=5):
            for slot in slots:
                answer(person, slot)
    always(monkeypatch)

    results = at_once([partial(claim_slots, annotator=person, campaign=campaign, count=5) for person in people])

    assert [type(result) for result in results] == [list] * 8
    assert [purposes(slots) for slots in results] == [[purpose] * 5] * 8
