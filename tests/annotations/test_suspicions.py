"""Figures of people and whom they make one look at."""

from datetime import UTC, datetime, timedelta

import pytest

from annotations.models import Annotator, Outcome, Task
from annotations.queries.quality import Said, gold_tally, people_figures, read_said, same_twice
from annotations.queries.suspicions import Kind, suspicions
from annotations.services.gold import retire_gold
from scoring.reliability import reliability, share
from tests.annotations.factories import make_annotator, make_annotators, make_campaign, make_task
from tests.hps_site.dashboard.worlds import cast, task_of

REGULAR, GOLD, PROBE = Task.Purpose.REGULAR, Task.Purpose.GOLD, Task.Purpose.PROBE


def said(person: str, task: int, answer: int | str, *, purpose: str = REGULAR, turned: bool = False, **fields) -> Said:
    """What one person said of a pair; image 0 is the expected one of gold, `turned` shows it on the right."""
    names = (f"{task}-0", f"{task}-1")
    shown = names[::-1] if turned else names
    return Said(
        **{
            "person": person,
            "purpose": purpose,
            "outcome": answer if isinstance(answer, str) else Outcome.CHOICE,
            "prompt": str(task),
            "images": shown,
            "image": None if isinstance(answer, str) else names[answer],
            "generators": (None, None),
            "expected": names[0] if purpose == GOLD else None,
            "shown_ms": 1000,
            "is_too_fast": False,
            "at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=task),
        }
        | fields
    )


def crowd(people: int = 8, tasks: int = 40, gold: int = 12) -> list[Said]:
    """People who all see the same, now and then something else (no two of them at the same task), and know gold."""
    votes = [
        said(f"p{person}", task, int((task + 3 * person) % 11 == 0), turned=(task + person) % 2 == 0)
        for task in range(tasks)
        for person in range(people)
    ]
    votes += [said(f"p{person}", 1000 + task, 0, purpose=GOLD) for task in range(gold) for person in range(people)]
    return votes


def named(votes: list[Said]) -> list[tuple[str, Kind]]:
    return [(one.person, one.kind) for one in suspicions(people_figures(votes), votes)]


def test_figures_of_one_person_by_hand():
    votes = [
        said("ada", 1, 0, shown_ms=1000),
        said("ada", 2, 1, shown_ms=3000, is_too_fast=True),
        said("ada", 3, Outcome.TIE, shown_ms=None),
        said("ada", 4, Outcome.SKIP, shown_ms=2000),
        said("ada", 5, 0, purpose=GOLD),
        said("ada", 6, 1, purpose=GOLD),
        said("ada", 7, Outcome.SKIP, purpose=GOLD),
        said("ada", 8, 0, purpose=Task.Purpose.PRACTICE),
        said("ada", 1, 0, purpose=PROBE, turned=True),
        said("ada", 2, 0, purpose=PROBE, turned=True),
        said("ada", 3, Outcome.TIE, purpose=PROBE, turned=True),
    ]

    figures = people_figures(votes)["ada"]

    assert (figures.said, figures.judgements, figures.median_ms) == (4, 3, 2000)
    assert figures.too_fast == share("too fast", 1, 4, "votes")
    assert figures.ties == share("ties", 1, 3, "judgements")
    assert figures.skips == share("skips and flags", 1, 4, "votes")
    assert figures.gold == share("gold", 1, 2, "gold tasks")
    assert figures.repeats == share("same answer to repeats", 2, 3, "repeats")
    assert figures.places.chosen == (1, 1)
    assert figures.reliability == reliability(1, 2)


def test_figures_without_a_judgement_on_a_regular_task_say_what_is_not_known():
    figures = people_figures([said("ada", 1, Outcome.SKIP)])["ada"]

    assert (figures.judgements, figures.skill, figures.places, figures.fit.value) == (0, None, None, None)
    assert people_figures([]) == {}


def test_excluded_people_are_held_against_the_crowd_and_are_no_part_of_it():
    votes = crowd() + [said("max", task, 1) for task in range(40)]

    without, with_max = people_figures(votes, excluded=["max"]), people_figures(votes)

    assert without["max"].fit.value < 0.2
    assert {person: without[person] for person in ("p0", "p7")} == {
        person: people_figures(crowd())[person] for person in ("p0", "p7")
    }
    assert with_max["p0"].fit != without["p0"].fit


def test_same_twice_needs_both_votes():
    votes = [said("ada", 1, 0), said("ada", 1, 0, purpose=PROBE), said("ben", 1, 0, purpose=PROBE)]

    assert same_twice(votes) == {"ada": (1, 1)}


def test_honest_people_are_not_named():
    assert named(crowd()) == []


def test_who_guesses_gold_is_named_with_the_reason():
    votes = crowd() + [said("max", 1000 + task, int(task % 2), purpose=GOLD) for task in range(12)]

    (one,) = suspicions(people_figures(votes), votes)

    assert (one.person, one.kind) == ("max", Kind.RANDOM)
    assert one.reason.startswith("6 of 12 gold tasks right: ")
    assert one.reason.endswith("times likelier from somebody who guesses than from one like the others.")


@pytest.mark.parametrize("tasks", [30, 40, 400, 4000])
def test_a_ratio_of_a_million_is_told_in_one_way(tasks: int) -> None:
    votes = [said("ada", task, 0, purpose=GOLD) for task in range(40)]
    votes += [said("max", 1000 + task, int(task % 2), purpose=GOLD) for task in range(tasks)]

    (one,) = suspicions(people_figures(votes), votes)

    assert ": a million or more times likelier from somebody who guesses" in one.reason


def test_who_differs_from_the_crowd_and_knows_gold_is_not_named():
    votes = crowd() + [said("mia", 1000 + task, 0, purpose=GOLD) for task in range(12)]
    votes += [said("mia", task, 1, turned=task % 2 == 0) for task in range(40)]

    assert people_figures(votes)["mia"].fit.value < 0.2
    assert named(votes) == []


def test_without_gold_the_decided_crowd_speaks():
    votes = crowd(gold=0) + [said("max", task, task // 2 % 2, turned=task % 2 == 0) for task in range(40)]

    assert named(votes) == [("max", Kind.RANDOM)]


def test_without_gold_the_crowd_says_nothing_of_a_taste_of_ones_own():
    by = {"generators": ("warm", "cool")}
    votes = [vote._replace(generators=("warm", "cool")) for vote in crowd(gold=0)]
    votes += [said("mia", task, 1, turned=False, **by) for task in range(40)]

    assert people_figures(votes)["mia"].is_of_other_taste
    assert ("mia", Kind.RANDOM) not in named(votes)


def test_the_taste_of_ones_own_is_left_out_of_the_reliability():
    votes = [vote._replace(generators=("warm", "cool")) for vote in crowd()]
    votes += [said("mia", task, 1, generators=("warm", "cool")) for task in range(40)]
    votes += [said("mia", 1000 + task, 0, purpose=GOLD) for task in range(12)]

    assert people_figures(votes)["mia"].reliability == reliability(12, 12)


def test_who_prefers_a_place_is_named_with_its_share():
    votes = crowd() + [said("lee", task, task % 2, turned=task % 2 == 1) for task in range(40)]

    found = {one.kind: one.reason for one in suspicions(people_figures(votes), votes) if one.person == "lee"}

    assert found[Kind.PLACE].startswith("place 1 chosen in 100 % of 40 choices (95 % interval 91 to 100 %)")


def test_people_who_share_their_answers_are_named_together():
    votes = crowd(people=10, tasks=80)
    copied = {task: int((task * 7 + task // 3) % 3 == 0) for task in range(80)}
    votes += [said(person, task, copied[task], turned=task % 2 == 0) for person in ("cat", "dog") for task in copied]

    found = [one for one in suspicions(people_figures(votes), votes) if one.kind == Kind.RING]

    assert [(one.person, one.others) for one in found] == [("cat", ("dog",)), ("dog", ("cat",))]
    assert "chose the same image in 80 of 80 cases" in found[0].reason


@pytest.mark.parametrize(
    ("answer", "fields", "kind", "words"),
    [
        (Outcome.TIE, {}, Kind.SAME_ANSWER, "a tie in 100 % of 40 judgements"),
        (Outcome.ALL_BAD, {}, Kind.SAME_ANSWER, "'all bad' in 100 % of 40 judgements"),
        (Outcome.SKIP, {}, Kind.SAME_ANSWER, "skipped or flagged 100 % of 40 tasks"),
        (0, {"is_too_fast": True}, Kind.TOO_FAST, "100 % of 40 votes came faster than one can look"),
    ],
)
def test_habits_are_named(answer, fields, kind, words):
    votes = crowd() + [said("kim", task, answer, turned=task % 2 == 0, **fields) for task in range(40)]

    reasons = [
        one.reason for one in suspicions(people_figures(votes), votes) if (one.person, one.kind) == ("kim", kind)
    ]

    assert len(reasons) == 1
    assert words in reasons[0]


@pytest.mark.django_db
def test_read_said_gives_every_standing_vote_with_what_is_known_of_it(django_assert_num_queries):
    campaign = make_campaign(tasks=0)
    task = task_of(campaign, ["alder", "birch"])
    gold, retired = (make_task(campaign=campaign, votes=0, purpose=GOLD) for _ in range(2))
    retire_gold(task=retired)
    ada = make_annotator(state="excluded")
    for one in (task, gold, retired):
        cast(one, ada, 1, order=[1, 0], shown_ms=900)
    cast(task, make_annotator(), 0, withdrawn_at=datetime.now(UTC))

    with django_assert_num_queries(2):
        votes = read_said([campaign])

    assert [(vote.person, vote.purpose, vote.shown_ms) for vote in votes] == [
        (str(ada.pk), purpose, 900) for purpose in (REGULAR, GOLD, GOLD)
    ]
    assert votes[0].generators == ("birch", "alder")
    assert votes[0].image == votes[0].images[0]
    assert [vote.expected for vote in votes] == [None, str(gold.expected_id), None]


@pytest.mark.django_db
def test_gold_tally_counts_judgements_on_gold_in_use():
    campaign = make_campaign(tasks=0)
    right, wrong, skipped, retired = (make_task(campaign=campaign, votes=0, purpose=GOLD) for _ in range(4))
    retire_gold(task=retired)
    ada, ben = make_annotators(2)
    for task, answer in ((right, 0), (wrong, 1), (skipped, Outcome.SKIP), (retired, 0)):
        cast(task, ada, answer)
    cast(right, ben, 0)

    assert gold_tally(ada, campaign) == (1, 2)


@pytest.mark.django_db
def test_the_order_of_an_imported_file_is_taken_for_no_ones_leaning_to_a_place():
    campaign = make_campaign(tasks=0)
    here, imported = make_annotators(2)
    Annotator.objects.filter(pk=imported.pk).update(source=Annotator.Source.IMPORTED)
    for _ in range(40):
        task = task_of(campaign, ["alder", "birch"])
        for person in (here, imported):
            cast(task, person, 0)

    votes = read_said([campaign])
    figures = people_figures(votes)

    assert figures[str(here.pk)].places is not None
    assert figures[str(imported.pk)].places is None
    assert [one for one in named(votes) if one[1] == Kind.PLACE] == [(str(here.pk), Kind.PLACE)]
    assert (figures[str(imported.pk)].judgements, figures[str(imported.pk)].fit.n) == (40, figures[str(here.pk)].fit.n)
