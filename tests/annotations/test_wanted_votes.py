"""Another number of votes per task: what is asked again, what goes, what stays, and everybody at once."""

from collections.abc import Callable
from functools import partial

import pytest
from django.db.models import Count
from django.utils import timezone

from annotations.models import Annotator, Campaign, Outcome, Slot, Task, Vote
from annotations.services.campaigns import change_settings
from annotations.services.moderation import exclude_person
from annotations.services.tasks import CandidateSet, create_tasks
from annotations.services.voting import claim_slots, undo_vote
from annotations.services.wanted_votes import settle_slots
from hps_site.dashboard.queries.forecasts import pace_of
from tests.annotations.factories import (
    make_annotator,
    make_annotators,
    make_campaign,
    make_image,
    make_prompt,
    make_task,
    make_user,
)
from tests.annotations.races import at_once
from tests.annotations.test_claims import all_slots_are_sound, caught_up, drain, try_to_vote
from tests.annotations.test_voting import vote_on

pytestmark = pytest.mark.django_db


def want(campaign: Campaign, votes: int) -> None:
    change_settings(campaign=Campaign.objects.get(pk=campaign.pk), settings={"votes_per_task": votes})
    campaign.refresh_from_db()


def vote_on_all(person: Annotator, campaign: Campaign, outcome: str = "tie") -> None:
    while slots := claim_slots(annotator=person, campaign=campaign, count=5):
        for slot in slots:
            vote_on(slot, outcome)


def judged(campaign: Campaign) -> dict[int, int]:
    votes = Vote.objects.counted().filter(task__campaign=campaign).order_by().values_list("task")
    return dict(votes.annotate(Count("pk")))


def open_slots(campaign: Campaign) -> list[int]:
    """The numbers of the slots that are free, by task."""
    slots = campaign.slots.filter(state="open").order_by("task", "number")
    return list(slots.values_list("number", flat=True))


def missing(campaign: Campaign) -> int:
    return pace_of(campaign, now=timezone.now()).missing


def test_more_votes_reopen_finished_tasks_for_people_who_have_not_voted_on_them() -> None:
    campaign, (ada, ben) = make_campaign(tasks=3, votes_per_task=1), make_annotators(2)
    vote_on_all(ada, campaign)
    assert (missing(campaign), claim_slots(annotator=ben, campaign=campaign, count=1)) == (0, [])

    want(campaign, 3)

    assert (missing(campaign), open_slots(campaign)) == (6, [1, 2] * 3)
    assert claim_slots(annotator=ada, campaign=campaign, count=1) == []
    drain(campaign)
    assert judged(campaign) == {task.pk: 3 for task in campaign.tasks.all()}


def test_new_slots_come_in_their_round_of_the_queue() -> None:
    campaign = make_campaign(tasks=0, votes_per_task=1)
    for _ in range(2):
        prompt = make_prompt()
        images = [make_image(prompt=prompt, has_file=False) for _ in range(2)]
        create_tasks(campaign=campaign, sets=[CandidateSet(prompt, images)])

    want(campaign, 3)

    assert list(campaign.slots.order_by("sort_key").values_list("number", flat=True)) == [0, 0, 1, 1, 2, 2]


def test_fewer_votes_take_away_what_is_free_and_leave_what_is_given_or_held() -> None:
    campaign, (ada, ben) = make_campaign(tasks=1, votes_per_task=4), make_annotators(2)
    vote_on_all(ada, campaign)
    [held] = claim_slots(annotator=ben, campaign=campaign, count=1)

    want(campaign, 1)

    assert sorted(campaign.slots.values_list("state", flat=True)) == ["done", "leased"]
    assert vote_on(held, "tie").is_new
    assert (Vote.objects.standing().count(), missing(campaign)) == (2, 0)


def test_votes_that_are_there_are_never_taken_away() -> None:
    campaign = make_campaign(tasks=2, votes_per_task=3)
    drain(campaign)
    before = list(Vote.objects.order_by("pk").values())

    want(campaign, 1)
    want(campaign, 3)

    assert list(Vote.objects.order_by("pk").values()) == before
    assert missing(campaign) == 0


def test_skips_and_exclusions_are_made_up_for_once() -> None:
    campaign, (ada, ben, cleo) = make_campaign(tasks=1, votes_per_task=3), make_annotators(3)
    vote_on_all(ada, campaign, "skip")
    for person in (ben, cleo):
        vote_on_all(person, campaign)
    exclude_person(annotator=cleo, by=make_user(), reason="guesses")
    assert missing(campaign) == 2

    want(campaign, 5)
    assert missing(campaign) == 4
    want(campaign, 2)
    assert missing(campaign) == 1
    want(campaign, 3)
    drain(campaign)

    assert list(judged(campaign).values()) == [3]


def test_a_slot_that_was_voted_on_and_undone_stays() -> None:
    campaign, ada = make_campaign(tasks=1, votes_per_task=2), make_annotator()
    [slot] = claim_slots(annotator=ada, campaign=campaign, count=1)
    undo_vote(annotator=ada, vote=vote_on(slot, "tie").vote)
    Slot.objects.filter(pk=slot.pk).update(state="open", annotator=None, token=None, order=None, lease_until=None)

    want(campaign, 1)

    assert campaign.slots.get().pk == slot.pk


def test_gold_practice_and_repeats_keep_their_slots() -> None:
    campaign = make_campaign(tasks=1, votes_per_task=1)
    checks = [make_task(campaign=campaign, votes=0, purpose=purpose) for purpose in ("gold", "practice")]

    want(campaign, 2)

    assert not Slot.objects.filter(task__in=checks).exists()


def test_settling_again_changes_nothing() -> None:
    campaign, ada = make_campaign(tasks=2, votes_per_task=1), make_annotator()
    vote_on_all(ada, campaign, "skip")
    want(campaign, 3)
    before = list(Slot.objects.order_by("pk").values())

    assert settle_slots(campaign=campaign) == 0
    assert list(Slot.objects.order_by("pk").values()) == before


def test_tasks_made_by_who_read_the_campaign_earlier_want_the_new_number() -> None:
    earlier = make_campaign(tasks=0, votes_per_task=1)
    want(Campaign.objects.get(pk=earlier.pk), 3)
    prompt = make_prompt()

    create_tasks(
        campaign=earlier, sets=[CandidateSet(prompt, [make_image(prompt=prompt, has_file=False) for _ in range(2)])]
    )

    assert Task.objects.get().slots.count() == 3


@pytest.mark.parametrize("tasks", [1, 4])
def test_settling_takes_the_same_statements_for_one_task_and_four(tasks: int, django_assert_num_queries) -> None:
    campaign = make_campaign(tasks=tasks, votes_per_task=1)
    Campaign.objects.update(votes_per_task=3)

    with django_assert_num_queries(9):
        settle_slots(campaign=campaign)


@pytest.mark.django_db(transaction=True)
def test_eight_who_settle_at_once_open_each_slot_once() -> None:
    campaign = make_campaign(tasks=6, votes_per_task=1)
    Campaign.objects.update(votes_per_task=4)

    results = caught_up(at_once([partial(settle_slots, campaign=campaign)] * 8))

    assert sorted(results) == [*[0] * 7, 18]
    assert open_slots(campaign) == [0, 1, 2, 3] * 6


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("before", "after"), [(2, 5), (5, 2)])
def test_votes_and_skips_while_the_number_changes_are_counted_and_made_up_for(before: int, after: int) -> None:
    """Thirty people claim, vote, skip and leave while the wish of the campaign changes."""
    campaign = make_campaign(tasks=6, votes_per_task=before)

    def work(person: Annotator) -> list[object]:
        return [
            try_to_vote(slot, "skip" if (person.pk + place) % 4 == 0 else "tie")
            for place, slot in enumerate(claim_slots(annotator=person, campaign=campaign, count=3))
        ]

    calls: list[Callable[[], object]] = [partial(work, person) for person in make_annotators(30)]
    calls.insert(15, partial(want, campaign, after))

    given = caught_up(at_once(calls))
    drain(campaign)

    said = sum(recorded is not None for votes in given if votes for recorded in votes)
    assert Vote.objects.standing().count() >= said
    counts = set(judged(campaign).values())
    assert counts == {after} if after > before else min(counts) >= after
    assert max(counts) <= max(before, after)
    assert not campaign.slots.exclude(state="done").exists()
    if after > before:
        assert all_slots_are_sound(campaign)
    assert Vote.objects.filter(outcome=Outcome.SKIP).exists()
