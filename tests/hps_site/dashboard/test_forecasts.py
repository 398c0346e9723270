"""What a campaign still needs: known answers for pace and precision."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from annotations.models import Task, Vote
from hps_site.dashboard.queries.ballots import read_choices
from hps_site.dashboard.queries.forecasts import Pace, pace_of, precision_of, rivals_in
from scoring.power import votes_for_width, votes_to_tell_apart
from scoring.preferences import Choice
from tests.annotations.factories import make_annotators, make_campaign, make_task
from tests.hps_site.dashboard.worlds import cast, empty_campaign, task_of


def choice(prompt: int, chosen: int | None, generators: tuple[str, ...] = ("alder", "birch"), **fields: Any) -> Choice:
    return Choice(
        prompt=f"p{prompt}",
        images=tuple(f"{prompt}{name}" for name in generators),
        outcome=fields.pop("outcome", "choice"),
        chosen=chosen,
        annotator="ada",
        split="test",
        generators=generators,
    )


def votes(first: int, second: int, ties: int = 0) -> list[Choice]:
    """One vote per prompt, so that resampling by prompt is resampling by vote."""
    said = [0] * first + [1] * second
    chosen = [choice(number, index) for number, index in enumerate(said)]
    return chosen + [choice(len(said) + number, None, outcome="tie") for number in range(ties)]


def test_pace_counts_what_is_missing_and_what_came_in_a_day(db: None, django_assert_num_queries: Any) -> None:
    campaign = empty_campaign(votes_per_task=3)
    people = make_annotators(3)
    for _ in range(4):
        task = task_of(campaign, ["alder", "birch"])
        for number, person in enumerate(people):
            cast(task, person, 0, shown_ms=1000 * (number + 1))
    Vote.objects.filter(pk__in=Vote.objects.order_by("pk").values("pk")[:6]).update(
        created_at=timezone.now() - timedelta(days=2)
    )
    make_task(campaign=campaign, votes=3)
    make_task(campaign=campaign, votes=5, purpose=Task.Purpose.GOLD)

    with django_assert_num_queries(3):
        pace = pace_of(campaign, now=timezone.now())

    assert pace == Pace(missing=3, last_day=6, seconds_per_vote=2.0)
    assert pace.hours_left == pytest.approx(12)
    assert pace.hours_of_work == pytest.approx(3 * 2 / 3600)


def test_pace_without_a_vote_promises_nothing(db: None) -> None:
    pace = pace_of(make_campaign(tasks=2), now=timezone.now())

    assert pace == Pace(missing=2, last_day=0, seconds_per_vote=None)
    assert (pace.hours_left, pace.hours_of_work) == (None, None)


def test_precision_of_independent_votes_needs_what_the_formula_says() -> None:
    choices = votes(36, 24)

    precision = precision_of(choices, first="alder", second="birch", width=0.1)

    assert precision is not None
    assert (precision.share.value, precision.share.n, precision.per_vote) == (0.6, 60, 1.0)
    assert votes_for_width(0.1, share=0.6) <= precision.needed <= 1.2 * votes_for_width(0.1, share=0.6)
    assert precision.still_needed == precision.needed - 60
    assert precision.to_tell_apart is not None
    assert votes_to_tell_apart(0.6) <= precision.to_tell_apart <= 1.2 * votes_to_tell_apart(0.6)


def test_precision_of_votes_that_resemble_each_other_needs_more() -> None:
    independent = votes(36, 24)
    # Ten votes on each prompt, all alike: a tenth of the information.
    alike = [choice(number // 10, int(number >= 36 // 10 * 10)) for number in range(60)]

    few, many = (precision_of(each, first="alder", second="birch", width=0.2) for each in (independent, alike))

    assert few is not None
    assert many is not None
    assert many.needed > 3 * few.needed


def test_precision_that_is_there_needs_no_more_votes() -> None:
    precision = precision_of(votes(60, 40), first="alder", second="birch", width=0.5)

    assert precision is not None
    assert precision.still_needed == 0


def test_precision_counts_ties_as_halves_and_of_larger_sets_what_concerns_the_two() -> None:
    three = ("alder", "birch", "cedar")
    choices = [
        *votes(2, 1, ties=1),
        choice(90, 0, three),
        choice(91, 2, three),
        choice(92, None, three, outcome="all_bad"),
    ]

    precision = precision_of(choices, first="alder", second="birch", width=0.2)

    assert precision is not None
    assert (precision.share.n, precision.share.value) == (5, pytest.approx(3.5 / 5))
    assert precision.per_vote == pytest.approx(5 / 7)


def test_precision_of_an_even_share_cannot_be_told_apart() -> None:
    precision = precision_of(votes(10, 10), first="alder", second="birch", width=0.2)

    assert precision is not None
    assert precision.to_tell_apart is None


def test_precision_of_two_that_never_met_is_none() -> None:
    assert precision_of(votes(3, 3), first="alder", second="cedar", width=0.2) is None


def test_rivals_are_those_that_met_most_often_first() -> None:
    choices = [choice(1, 0, ("alder", "dogwood")), *(choice(n, 0, ("cedar", "birch")) for n in range(3))]

    assert rivals_in(choices) == ["birch", "cedar", "alder", "dogwood"]
    assert rivals_in([]) == []


def test_the_forecast_reads_the_votes_that_count(db: None) -> None:
    campaign = empty_campaign()
    task = task_of(campaign, ["alder", "birch"])
    cast(task, make_annotators(1)[0], 0)

    precision = precision_of(read_choices([campaign]), first="alder", second="birch", width=0.2)

    assert precision is not None
    assert precision.share.n == 1
