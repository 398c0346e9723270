"""Which votes count, and what they say of people, places and times."""

from datetime import UTC, date, datetime

import pytest

from annotations.models import Annotator, Outcome, Task
from hps_site.dashboard.queries import ballots
from hps_site.dashboard.queries.ballots import Ballot, NothingToReport, OutcomeCount
from scoring.preferences import Choice
from tests.annotations.factories import make_annotator, make_annotators
from tests.hps_site.dashboard.worlds import cast, empty_campaign, images_of, task_of

pytestmark = pytest.mark.django_db


def test_read_ballots_gives_choices_in_the_order_shown():
    campaign = empty_campaign()
    task = task_of(campaign, ["a", "b"])
    ada = make_annotator("ada")
    cast(task, ada, 0, order=[1, 0], shown_ms=1500, at=datetime(2026, 3, 4, 12, tzinfo=UTC))

    [ballot] = ballots.read_ballots([campaign])

    first, second = (str(image.pk) for image in images_of(task))
    assert ballot.choice == Choice(
        prompt=str(task.prompt_id),
        images=(second, first),
        outcome="choice",
        chosen=1,
        annotator=str(ada.pk),
        split="test",
        generators=("b", "a"),
    )
    assert ballot[1:] == (True, 1500, date(2026, 3, 4))


def test_read_ballots_knows_no_places_of_imported_votes():
    campaign = empty_campaign()
    task = task_of(campaign, ["a", "b"])
    cast(task, make_annotator(source=Annotator.Source.IMPORTED), 0)
    cast(task, make_annotator(), 0)

    read = {ballot.is_order_shown: ballot for ballot in ballots.read_ballots([campaign])}

    assert set(read) == {False, True}
    assert list(ballots.each_ballot([campaign], ballots.IMPORTED)) == [read[False]]
    assert list(ballots.each_ballot([campaign], ballots.GIVEN_HERE)) == [read[True]]


def test_read_ballots_leaves_out_all_that_does_not_count():
    campaign, other = empty_campaign(), empty_campaign()
    task, gold = task_of(campaign, ["a", "b"]), task_of(campaign, ["a", "b"], purpose=Task.Purpose.GOLD)
    ada, ben, cleo, dan = make_annotators(4)
    excluded = make_annotator(state=Annotator.State.EXCLUDED)
    cast(task, ada, 0)
    cast(task, ben, Outcome.SKIP)
    cast(task, cleo, Outcome.FLAG)
    cast(task, dan, 1, withdrawn_at=datetime(2026, 3, 4, tzinfo=UTC))
    cast(task, excluded, 1)
    cast(gold, ada, 1)
    cast(task_of(other, ["a", "b"]), ada, 1)

    counted = ballots.read_ballots([campaign])

    assert [ballot.choice.annotator for ballot in counted] == [str(ada.pk)]


def test_campaign_figures_count_people_prompts_and_wanted_votes():
    campaign = empty_campaign()
    first, second = task_of(campaign, ["a", "b"]), task_of(campaign, ["a", "b"])
    ada, ben = make_annotator("ada"), make_annotator(source=Annotator.Source.IMPORTED)
    cast(first, ada, 0, shown_ms=1000)
    cast(first, ben, Outcome.TIE, shown_ms=4000)
    cast(second, ada, 1)
    second.slots.create(campaign=campaign, number=7, sort_key=1)

    figures = ballots.campaign_figures(campaign, ballots.read_ballots([campaign]))

    assert figures == ballots.CampaignFigures(
        votes=3, people=2, prompts=2, slots=4, slots_done=3, median_ms=2500, timed_votes=2, imported_votes=1
    )
    assert figures.progress_percent == 75


def test_outcome_counts_include_skips_and_flags():
    campaign = empty_campaign()
    task = task_of(campaign, ["a", "b"])
    said = [0, 1, Outcome.TIE, Outcome.SKIP]
    for person, outcome in zip(make_annotators(4), said, strict=True):
        cast(task, person, outcome)

    assert ballots.outcome_counts(campaign) == [
        OutcomeCount(Outcome.CHOICE, 2, 0.5),
        OutcomeCount(Outcome.TIE, 1, 0.25),
        OutcomeCount(Outcome.ALL_BAD, 0, 0.0),
        OutcomeCount(Outcome.SKIP, 1, 0.25),
        OutcomeCount(Outcome.FLAG, 0, 0.0),
    ]


def test_outcome_counts_without_votes_are_empty():
    assert ballots.outcome_counts(empty_campaign()) == []


def test_daily_votes_count_each_day():
    campaign = empty_campaign()
    task = task_of(campaign, ["a", "b"])
    for person, day in zip(make_annotators(3), (4, 4, 6), strict=True):
        cast(task, person, 0, at=datetime(2026, 3, day, 12, tzinfo=UTC))

    assert ballots.daily_votes(ballots.read_ballots([campaign])) == {date(2026, 3, 4): 2, date(2026, 3, 6): 1}


def _ballots(chosen: list[int], images: int = 2, *, is_order_shown: bool = True) -> list[Ballot]:
    names = tuple(f"image-{number}" for number in range(images))
    return [
        Ballot(Choice(f"prompt-{n}", names, "choice", place, "ada", "test"), is_order_shown, None, date(2026, 3, 4))
        for n, place in enumerate(chosen)
    ]


def test_position_report_finds_a_habit():
    report = ballots.position_report(_ballots([0] * 90 + [1] * 10))

    assert report is not None
    assert [(share.position, share.chosen, share.value) for share in report.shares] == [(1, 90, 0.9), (2, 10, 0.1)]
    assert report.shares[0].low == pytest.approx(0.8256, abs=1e-4)  # Wilson, 90 of 100
    assert report.shares[0].high == pytest.approx(0.9448, abs=1e-4)
    assert (report.even_share, report.choices, report.chi_square) == (0.5, 100, 64.0)
    assert not report.is_even


def test_position_report_of_even_places_shows_nothing():
    report = ballots.position_report(_ballots([0, 1] * 20))

    assert report is not None
    assert report.is_even


def test_position_report_compares_sets_of_one_size_only():
    report = ballots.position_report(_ballots([0, 1, 1]) + _ballots([3, 3], images=4))

    assert report is not None
    assert (report.images, report.choices) == (2, 3)


def test_position_report_leaves_out_imported_votes():
    """HPD v3 names the chosen image first, always."""
    imported = _ballots([0] * 100, is_order_shown=False)

    assert ballots.position_report(imported) is None
    assert ballots.position_report(imported + _ballots([0, 1])) == ballots.position_report(_ballots([0, 1]))


def test_position_report_without_a_choice_is_none():
    tie = Choice("p", ("a", "b"), "tie", None, "ada", "test")

    assert ballots.position_report([Ballot(tie, True, None, date(2026, 3, 4))]) is None


def test_agreement_report_of_two_people_who_agree_on_one_of_two_tasks():
    choices = [
        Choice("p", ("a", "b"), "choice", 0, "ada", "test"),
        Choice("p", ("b", "a"), "choice", 1, "ben", "test"),
        Choice("q", ("c", "d"), "choice", 0, "ada", "test"),
        Choice("q", ("c", "d"), "tie", None, "ben", "test"),
    ]

    report = ballots.agreement_report(choices)

    assert (report.percent.value, report.percent.n) == (0.5, 2)


def test_campaigns_to_report_names_the_known_ones_if_there_is_no_such():
    empty_campaign(slug="birds")

    with pytest.raises(NothingToReport, match=r"There is no campaign 'fish'\. Campaigns: birds\."):
        ballots.campaigns_to_report("fish")


def test_campaigns_to_report_keeps_synthetic_votes_apart():
    people, machines = empty_campaign(), empty_campaign(slug="toys", is_synthetic=True)

    assert ballots.campaigns_to_report() == [people]
    assert ballots.campaigns_to_report("toys") == [machines]


def test_campaigns_to_report_takes_synthetic_ones_where_there_are_no_others():
    machines = empty_campaign(is_synthetic=True)

    assert ballots.campaigns_to_report() == [machines]


def test_campaigns_to_report_without_any_says_where_they_come_from():
    with pytest.raises(NothingToReport, match="import_choices"):
        ballots.campaigns_to_report()
