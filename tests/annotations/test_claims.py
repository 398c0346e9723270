"""What is dealt to whom: policies, caps, heartbeats, the order of images, and fifty people at once."""

import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import combinations
from uuid import uuid4

import numpy as np
import pytest
from django.db import connection
from django.db.models import Count, F, Q
from django.utils import timezone

from annotations.models import Annotator, Campaign, Generator, Outcome, Slot, Task, Vote
from annotations.policies import Standing
from annotations.queries import voting as queries
from annotations.queries.standings import standing_of
from annotations.services import draws
from annotations.services.claims import CLAIM_IN_MATCHUPS, CLAIM_IN_QUEUE
from annotations.services.draws import Chances, draw_matchups
from annotations.services.tasks import CandidateSet, create_tasks, tell_planner
from annotations.services.voting import (
    CapReached,
    ClaimLost,
    RecordedVote,
    claim_slots,
    extend_claims,
    record_vote,
    release_claims,
    undo_vote,
)
from tests.annotations.factories import (
    make_annotator,
    make_annotators,
    make_campaign,
    make_generator,
    make_image,
    make_prompt,
    make_task,
)
from tests.annotations.races import at_once
from tests.annotations.test_voting import run_out, vote_on

pytestmark = pytest.mark.django_db


def make_matchups(*, generators: int, prompts: int, **fields: object) -> tuple[Campaign, list[Generator]]:
    """A campaign that compares every two of so many generators on so many prompts."""
    campaign = make_campaign(tasks=0, **fields)
    makers = [make_generator() for _ in range(generators)]
    sets = []
    for _ in range(prompts):
        prompt = make_prompt()
        images = [make_image(prompt=prompt, generator=maker, has_file=False) for maker in makers]
        sets += [CandidateSet(prompt, list(pair)) for pair in combinations(images, 2)]
    create_tasks(campaign=campaign, sets=sets)
    return campaign, makers


def name_of(*makers: Generator) -> str:
    return "-".join(str(maker.pk) for maker in makers)


def claim_one(campaign: Campaign, person: Annotator | None = None) -> Slot | None:
    slots = claim_slots(annotator=person or make_annotator(user=None), campaign=campaign, count=1)
    return slots[0] if slots else None


def choose(slot: Slot, maker: Generator) -> None:
    image = slot.task.images.get(generator=maker)
    record_vote(
        annotator=slot.annotator, token=slot.token, outcome="choice", image=image.public_id, idempotency_key=uuid4()
    )


# What a campaign knows


def test_standing_of_counts_answers_and_what_is_left() -> None:
    campaign, (a, b, c) = make_matchups(generators=3, prompts=2, votes_per_task=2)
    people = make_annotators(4)
    of_ab = Task.objects.filter(campaign=campaign, matchup=name_of(a, b))
    Slot.objects.exclude(task__in=of_ab).update(sort_key=F("sort_key") + 2**30)
    slots = [claim_one(campaign, person) for person in people]
    choose(slots[0], b)
    vote_on(slots[1], "tie")
    vote_on(slots[2], "all_bad")

    standing = standing_of(campaign)

    assert standing.matchups == (name_of(a, b), name_of(a, c), name_of(b, c))
    assert standing.shown.tolist() == [[1, 1, 0], [1, 0, 1], [0, 1, 1]]
    assert standing.answers.tolist() == [[0.5, 1.5, 0], [0, 0, 0], [0, 0, 0]]
    assert standing.out.tolist() == [1, 0, 0]
    assert standing.free.tolist() == [0, 4, 4]


def test_standing_of_leaves_out_what_does_not_count() -> None:
    campaign, (a, b) = make_matchups(generators=2, prompts=1, votes_per_task=3)
    [task] = campaign.tasks.all()
    make_task(campaign=campaign, images=[*task.images.all()], prompt=task.prompt, purpose=Task.Purpose.GOLD)
    excluded, undone, skipped = make_annotators(3)
    choose(claim_one(campaign, excluded), a)
    Annotator.objects.filter(pk=excluded.pk).update(state=Annotator.State.EXCLUDED)
    undo_vote(annotator=undone, vote=vote_on(claim_one(campaign, undone)).vote)
    vote_on(claim_one(campaign, skipped), "skip")

    standing = standing_of(campaign)

    assert (standing.matchups, standing.answers.tolist()) == ((name_of(a, b),), [[0, 0]])
    assert (standing.out.tolist(), standing.free.tolist()) == ([1], [1])


def test_standing_of_knows_sets_of_unknown_origin_as_one_without_generators() -> None:
    standing = standing_of(make_campaign(tasks=2))

    assert (standing.matchups, standing.shown.shape, standing.free.tolist()) == (("",), (1, 0), [2])


# Draws


def use_chances(monkeypatch: pytest.MonkeyPatch, **likely: float) -> None:
    fixed = Chances(list(likely), np.array([*likely.values()]), stale_at=0)
    monkeypatch.setattr(draws, "_chances", lambda _campaign: fixed)


def test_draw_matchups_gives_the_probability_of_each_among_those_left(monkeypatch: pytest.MonkeyPatch) -> None:
    likely = {"a": 0.5, "b": 0.3, "c": 0.2}
    use_chances(monkeypatch, **likely)
    campaign = Campaign(pair_policy="focused")

    for _ in range(20):
        draw = draw_matchups(campaign)
        first, second, _third = draw.matchups
        assert draw.propensities == pytest.approx([likely[first], likely[second] / (1 - likely[first]), 1])


def test_draw_matchups_draws_by_these_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    use_chances(monkeypatch, a=0.5, b=0.3, c=0.2)
    campaign = Campaign(pair_policy="focused")

    orders = Counter(tuple(draw_matchups(campaign).matchups) for _ in range(4000))

    # Six orders, each within five standard errors of the product of its propensities.
    for first, second, third in ("abc", "acb", "bac", "bca", "cab", "cba"):
        likely = {"a": 0.5, "b": 0.3, "c": 0.2}
        expected = likely[first] * likely[second] / (1 - likely[first])
        share = orders[first, second, third] / 4000
        assert abs(share - expected) < 5 * (expected * (1 - expected) / 4000) ** 0.5


@pytest.mark.parametrize("matchups", [1, 3])
def test_draw_matchups_leaves_it_to_the_queue_where_there_is_no_choice(matchups: int) -> None:
    campaign, _ = make_matchups(generators=matchups + 1 if matchups == 1 else 3, prompts=1)
    campaign.pair_policy = "focused" if matchups == 1 else "uniform"

    assert draw_matchups(campaign).matchups == []


def test_chances_are_worked_out_anew_only_when_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    campaign, _ = make_matchups(generators=3, prompts=1, pair_policy="focused")
    reads: list[Campaign] = []
    clock = [1000.0]

    def read(asked: Campaign) -> Standing:
        reads.append(asked)
        clock[0] += 2  # it takes two seconds
        return standing_of(asked)

    monkeypatch.setattr(draws, "standing_of", read)
    monkeypatch.setattr(draws.time, "time", lambda: clock[0])
    for _ in range(3):
        draw_matchups(campaign)
    assert len(reads) == 1

    clock[0] += draws.AGE_PER_COST * 2 + 1
    draw_matchups(campaign)

    assert len(reads) == 2


# Which slot a claim gives


def test_claim_slots_keeps_the_policy_and_the_probability_of_its_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    campaign, (a, b, c) = make_matchups(generators=3, prompts=40, pair_policy="focused")
    likely = {name_of(a, b): 0.7, name_of(a, c): 0.2, name_of(b, c): 0.1}
    use_chances(monkeypatch, **likely)

    slots = [claim_one(campaign) for _ in range(30)]

    assert {slot.policy for slot in slots} == {"focused"}
    assert [slot.propensity for slot in slots] == pytest.approx([likely[slot.matchup] for slot in slots])
    assert Counter(slot.matchup for slot in slots).most_common(1)[0][0] == name_of(a, b)


def test_claim_slots_goes_on_to_the_next_matchup_where_one_has_nothing_for_this_person(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    campaign, (a, b, c) = make_matchups(generators=3, prompts=1, votes_per_task=3, pair_policy="focused")
    use_chances(monkeypatch, **{name_of(a, b): 0.98, name_of(a, c): 0.01, name_of(b, c): 0.01})
    ada = make_annotator()

    slots = claim_slots(annotator=ada, campaign=campaign, count=5)

    assert {slot.matchup for slot in slots} == {name_of(a, b), name_of(a, c), name_of(b, c)}
    assert [slot.policy for slot in slots] == ["focused"] * 3
    assert all(0 < slot.propensity <= 1 for slot in slots)


def test_claim_slots_falls_back_to_the_queue_for_work_that_no_draw_knows_of(monkeypatch: pytest.MonkeyPatch) -> None:
    campaign, _ = make_matchups(generators=2, prompts=1, pair_policy="focused")
    use_chances(monkeypatch, x=0.5, y=0.5)

    slot = claim_one(campaign)

    assert (slot.policy, slot.propensity) == ("uniform", None)


def test_claim_slots_of_a_uniform_campaign_follows_the_queue() -> None:
    campaign, _ = make_matchups(generators=3, prompts=2)

    slots = [claim_one(campaign) for _ in range(6)]

    assert [slot.pk for slot in slots] == list(campaign.slots.order_by("sort_key").values_list("pk", flat=True))
    assert {(slot.policy, slot.propensity) for slot in slots} == {("uniform", None)}


@pytest.mark.parametrize("policy", ["focused", "coverage"])
def test_claim_slots_deals_all_there_is_under_every_policy(policy: str) -> None:
    campaign, _ = make_matchups(generators=3, prompts=2, votes_per_task=2, pair_policy=policy, random_share=0)

    given = [
        slot for person in make_annotators(3) for slot in claim_slots(annotator=person, campaign=campaign, count=5)
    ]

    assert {slot.pk for slot in given} == set(campaign.slots.values_list("pk", flat=True))


def test_claim_slots_deals_the_sets_of_one_matchup_breadth_first() -> None:
    campaign, _ = make_matchups(generators=2, prompts=4, votes_per_task=2, pair_policy="focused")

    assert [claim_one(campaign).number for _ in range(8)] == [0] * 4 + [1] * 4


@pytest.mark.parametrize("purpose", [Task.Purpose.GOLD, Task.Purpose.PROBE, Task.Purpose.PRACTICE])
def test_claim_slots_never_takes_checks_for_regular_work(purpose: Task.Purpose) -> None:
    campaign = make_campaign(tasks=0)
    make_task(campaign=campaign, purpose=purpose)

    assert claim_one(campaign) is None


def test_create_tasks_spreads_matchups_evenly_over_the_queue() -> None:
    campaign, makers = make_matchups(generators=4, prompts=10)

    shown: Counter[int] = Counter()
    for number, slot in enumerate(campaign.slots.order_by("sort_key").prefetch_related("task__images"), start=1):
        shown.update(image.generator_id for image in slot.task.images.all())
        # Each of six matchups is within two of its share, and each generator is in three of them.
        assert all(abs(shown[maker.pk] - number / 2) <= 6 for maker in makers)
    assert [shown[maker.pk] for maker in makers] == [30] * 4


def test_claims_show_each_image_as_often_at_each_side() -> None:
    campaign = make_campaign(tasks=6, votes_per_task=2)

    slots = [
        slot for person in make_annotators(4) for slot in claim_slots(annotator=person, campaign=campaign, count=5)
    ]

    orders = {(slot.task_id, slot.number): slot.order for slot in slots}
    assert len(orders) == 12
    assert all(orders[task, 1] == orders[task, 0][::-1] for task, _number in orders)


def test_claims_show_neither_image_first_by_rule() -> None:
    campaign = make_campaign(tasks=1, votes_per_task=100)
    first_image = campaign.tasks.get().images.order_by("candidacies__position").first()

    firsts = [claim_one(campaign, person).order[0] == first_image.pk for person in make_annotators(100)]

    even = firsts[::2]
    assert sum(firsts) == 50
    assert 8 <= sum(even) <= 42  # of 50 coins, fails once in a million


@pytest.mark.parametrize(
    ("statement", "index", "drawn"),
    [
        (CLAIM_IN_QUEUE, "slot_not_done", {}),
        (CLAIM_IN_MATCHUPS, "slot_not_done_by_matchup", {"matchups": ["1-2", "1-3"], "propensities": [0.5, 1.0]}),
    ],
)
def test_claims_read_the_partial_indexes_and_lock_one_slot(
    statement: str, index: str, drawn: dict[str, object]
) -> None:
    campaign = make_campaign(tasks=0)
    person, *others = make_annotators(800)
    for matchup in ("1-2", "1-3"):
        task = make_task(campaign=campaign, votes=0)
        Slot.objects.bulk_create(
            Slot(campaign=campaign, task=task, number=number, sort_key=number, matchup=matchup, **state)
            for number, state in enumerate(
                [{}, {}] + [{"state": "done", "annotator": other, "order": [1, 2]} for other in others]
            )
        )
    wanted = {"campaign": campaign.pk, "annotator": person.pk, "lease_seconds": 60, "policy": "x", **drawn}
    tell_planner()
    with connection.cursor() as cursor:
        # What the tests before left behind makes a small table look large or small; asked is what the index can do.
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off")
        cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, BUFFERS OFF) {statement}", wanted)
        plan = [row[0].strip() for row in cursor.fetchall()]

    assert any(f"using {index} " in line for line in plan)
    assert [line.split("(actual ")[1] for line in plan if "LockRows" in line] == ["rows=1.00 loops=1)"]


# The cap


def test_claim_slots_gives_no_more_than_the_cap_and_then_says_so() -> None:
    campaign, ada = make_campaign(tasks=9, votes_per_person=3), make_annotator()

    slots = claim_slots(annotator=ada, campaign=campaign, count=5)
    assert len(slots) == 3
    votes = [vote_on(slot, "tie").vote for slot in slots]
    with pytest.raises(CapReached, match="all the votes that we take of one person"):
        claim_slots(annotator=ada, campaign=campaign, count=1)

    undone = undo_vote(annotator=ada, vote=votes[-1])
    assert claim_slots(annotator=ada, campaign=campaign, count=5) == [undone]
    assert claim_one(campaign) is not None


def test_cap_counts_checks_as_the_work_they_look_like_and_not_practice() -> None:
    campaign, ada = make_campaign(tasks=5, votes_per_person=3), make_annotator()
    for purpose in (Task.Purpose.GOLD, Task.Purpose.PRACTICE):
        slot = make_task(campaign=campaign, purpose=purpose).slots.get()
        lease(slot, ada)
        vote_on(slot, "tie")

    assert len(claim_slots(annotator=ada, campaign=campaign, count=5)) == 2


def lease(slot: Slot, person: Annotator) -> None:
    slot.annotator, slot.state, slot.token = person, Slot.State.LEASED, uuid4()
    slot.order = [image.pk for image in slot.task.images.all()]
    slot.leased_at, slot.lease_until = timezone.now(), timezone.now() + timedelta(minutes=3)
    slot.save()


def test_progress_shows_checks_as_work_that_gets_done() -> None:
    campaign, ada = make_campaign(tasks=2, votes_per_person=4), make_annotator()
    gold = make_task(campaign=campaign, purpose=Task.Purpose.GOLD).slots.get()
    make_task(campaign=campaign, purpose=Task.Purpose.PRACTICE)
    assert queries.progress_of(ada, campaign) == queries.Progress(voted=0, left=2)

    lease(gold, ada)
    assert queries.progress_of(ada, campaign) == queries.Progress(voted=0, left=3)
    vote_on(gold, "tie")

    assert queries.progress_of(ada, campaign) == queries.Progress(voted=1, left=2)
    assert queries.collected_in(campaign) == queries.Collected(judgements=0, wanted=2)


def test_progress_ends_at_the_cap() -> None:
    campaign, ada = make_campaign(tasks=9, votes_per_person=2), make_annotator()
    vote_on(claim_one(campaign, ada))

    assert queries.progress_of(ada, campaign) == queries.Progress(voted=1, left=1)


# Leases


def test_leases_last_three_minutes_unless_the_campaign_says_otherwise() -> None:
    slot = claim_one(make_campaign())

    assert (slot.lease_until - slot.leased_at).total_seconds() == pytest.approx(180)


def test_heartbeats_keep_work_for_half_an_hour_and_no_longer() -> None:
    campaign, ada = make_campaign(tasks=2), make_annotator()
    old, new = claim_slots(annotator=ada, campaign=campaign, count=2)
    Slot.objects.filter(pk=old.pk).update(leased_at=timezone.now() - timedelta(minutes=31))
    run_out(old, new)

    assert extend_claims(annotator=ada, campaign=campaign) == 1
    assert [*queries.live_slots(ada, campaign)] == [new]
    assert claim_one(campaign).pk == old.pk


def test_heartbeats_of_excluded_people_keep_nothing() -> None:
    campaign, ada = make_campaign(), make_annotator()
    claim_one(campaign, ada)
    ada.state = Annotator.State.EXCLUDED

    assert extend_claims(annotator=ada, campaign=campaign) == 0


def test_release_forgets_the_draw() -> None:
    campaign, _ = make_matchups(generators=3, prompts=1, pair_policy="focused")
    ada = make_annotator()
    slot = claim_one(campaign, ada)
    assert (slot.policy, slot.propensity is None) == ("focused", False)

    release_claims(annotator=ada)

    slot.refresh_from_db()
    assert (slot.state, slot.policy, slot.propensity) == ("open", "", None)


# Fifty at once, with threads at a barrier on a real Postgres

PEOPLE = 50


def caught_up(results: list[object], expected: tuple[type[Exception], ...] = ()) -> list[object]:
    """The results, if nothing but the expected errors was raised."""
    surprises = [result for result in results if isinstance(result, Exception) and not isinstance(result, expected)]
    assert surprises == []
    return results


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("policy", ["uniform", "focused"])
def test_fifty_at_once_get_exactly_the_wanted_slots(policy: str) -> None:
    """With leases that ran out, claims given back, skips and late votes at the same moment."""
    campaign, _ = make_matchups(generators=3, prompts=4, votes_per_task=5, pair_policy=policy)
    wanted = {task.pk: 5 for task in campaign.tasks.all()}  # 12 tasks, 60 votes
    away, leaving, skipping = (make_annotators(5) for _ in range(3))
    late = [claim_one(campaign, person) for person in away]
    run_out(*late)
    held = [claim_one(campaign, person) for person in [*leaving, *skipping]]
    new = make_annotators(PEOPLE)
    calls: list[Callable[[], object]] = [
        *(partial(vote_on, slot, "tie") for slot in late),
        *(partial(release_claims, annotator=person) for person in leaving),
        *(partial(vote_on, slot, "skip") for slot in held[5:]),
        *(partial(claim_slots, annotator=person, campaign=campaign, count=1) for person in new),
    ]

    caught_up(at_once(calls), (ClaimLost,))
    for person in new:  # whoever came before something was given back asks once more
        claim_slots(annotator=person, campaign=campaign, count=1)
    results = caught_up(at_once([partial(vote_on_all, person, campaign) for person in new]))
    drain(campaign)

    assert sum(results) <= 60
    judged = Vote.objects.standing().filter(outcome__in=Outcome.judgements())
    assert dict(judged.order_by().values_list("task").annotate(Count("pk"))) == wanted
    assert all_slots_are_sound(campaign)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("policy", ["uniform", "focused"])
def test_fifty_at_once_claim_every_slot_once(policy: str) -> None:
    campaign, _ = make_matchups(generators=3, prompts=2, votes_per_task=8, pair_policy=policy)
    people = make_annotators(PEOPLE)

    results = caught_up(at_once([partial(claim_one, campaign, person) for person in people]))

    given = [slot for slot in results if slot is not None]
    assert len(given) == 48
    assert {slot.pk for slot in given} == set(campaign.slots.values_list("pk", flat=True))
    assert all(slot.annotator_id == person.pk for slot, person in zip(results, people, strict=True) if slot)


@pytest.mark.django_db(transaction=True)
def test_fifty_who_vote_skip_leave_and_vanish_never_exceed_what_is_wanted() -> None:
    campaign, _ = make_matchups(generators=3, prompts=4, votes_per_task=4, pair_policy="focused")
    wanted = {task.pk: 4 for task in campaign.tasks.all()}

    def wander(person: Annotator) -> None:
        choice = random.Random(person.pk)
        for _ in range(3):
            for slot in claim_slots(annotator=person, campaign=campaign, count=2):
                what = choice.choices(["tie", "skip", "leave", "vanish"], [6, 1, 2, 2])[0]
                if what == "leave":
                    release_claims(annotator=person, campaign=campaign)
                elif what == "vanish":
                    mine = Slot.objects.filter(token=slot.token, state="leased")
                    mine.update(lease_until=timezone.now() - timedelta(seconds=1))
                else:
                    try_to_vote(slot, what)

    caught_up(at_once([partial(wander, person) for person in make_annotators(PEOPLE)]))
    assert all_slots_are_sound(campaign)
    Slot.objects.filter(state="leased").update(lease_until=timezone.now() - timedelta(seconds=1))
    drain(campaign)

    judged = Vote.objects.standing().filter(outcome__in=Outcome.judgements())
    assert dict(judged.order_by().values_list("task").annotate(Count("pk"))) == wanted
    assert all_slots_are_sound(campaign)


@pytest.mark.django_db(transaction=True)
def test_claims_and_votes_of_one_person_at_once_stay_within_the_cap() -> None:
    campaign, ada = make_campaign(tasks=40, votes_per_person=12), make_annotator()

    def work(_number: int) -> None:
        try:
            for slot in claim_slots(annotator=ada, campaign=campaign, count=5):
                try_to_vote(slot, "tie")
        except CapReached:
            pass

    caught_up(at_once([partial(work, number) for number in range(12)]))

    assert campaign.slots.filter(annotator=ada).count() <= 12


def vote_on_all(person: Annotator, campaign: Campaign) -> int:
    return sum(vote_on(slot, "tie").is_new for slot in queries.held_slots(person, campaign))


def try_to_vote(slot: Slot, outcome: str) -> RecordedVote | None:
    try:
        return vote_on(slot, outcome)
    except ClaimLost:
        return None


def drain(campaign: Campaign) -> None:
    """Let new people do what is left, one after the other."""
    for person in make_annotators(30):
        if not campaign.slots.exclude(state="done").exists():
            break
        while slots := claim_slots(annotator=person, campaign=campaign, count=5):
            for slot in slots:
                vote_on(slot, "tie")


def all_slots_are_sound(campaign: Campaign) -> bool:
    """No task twice at one person, no more leases and judgements on a task than wanted, each done slot with a vote."""
    leased, judged = Q(slots__state="leased"), Q(slots__votes__withdrawn_at=None, slots__votes__outcome="tie")
    tasks = campaign.tasks.annotate(taken=Count("slots", filter=leased | judged, distinct=True))
    twice = Slot.objects.exclude(annotator=None).values("task", "annotator").annotate(times=Count("pk"))
    done = campaign.slots.filter(state="done")
    return (
        not tasks.filter(taken__gt=campaign.votes_per_task).exists()
        and not twice.filter(times__gt=1).exists()
        and done.count() == Vote.objects.standing().filter(slot__in=done).count()
    )
