"""How the metrics are held against people, on votes made by hand."""

import pytest

from annotations.models import Campaign, Outcome, Split
from hps_site.dashboard.queries.ballots import NothingToReport, read_choices
from hps_site.dashboard.queries.scorers import ScorerReport, compare_scorers
from tests.annotations.factories import make_annotator, make_annotators
from tests.hps_site.dashboard.worlds import cast, empty_campaign, give_scores, make_version, task_of

pytestmark = pytest.mark.django_db

FOUR = ["a", "b", "c", "d"]


def report_of(campaign: Campaign) -> ScorerReport:
    return compare_scorers([campaign], read_choices([campaign]))


def test_compare_scorers_counts_the_highest_score_on_held_out_choices():
    campaign = empty_campaign()
    clip, hps = make_version("clip", is_current=True), make_version("hps", 3, is_current=True)
    ada = make_annotator()
    for chosen in (0, 1, 2, 3):
        task = task_of(campaign, FOUR)
        cast(task, ada, chosen, order=[3, 2, 1, 0])
        give_scores(clip, task, [9, 1, 1, 1])  # right on the first task only
        give_scores(hps, task, [float(place == chosen) for place in range(4)] if chosen else [0, 0, 0, 1])

    report = report_of(campaign)

    assert [
        (str(result.version), result.accuracy.value, result.choices, result.prompts) for result in report.results
    ] == [
        ("clip-1", 0.25, 4, 4),
        ("hps-3", 0.75, 4, 4),
    ]
    assert [result.is_base for result in report.results] == [True, False]
    assert [result.is_highlighted for result in report.results] == [False, True]
    difference = report.results[1].difference
    assert difference is not None
    assert difference.value == 0.5
    assert (report.chance.value, report.choices, report.prompts, report.measure) == (0.25, 4, 4, "top-1 of 4")
    assert report.missing == []


def test_compare_scorers_shares_the_credit_among_equal_scores():
    campaign = empty_campaign()
    task = task_of(campaign, FOUR)
    cast(task, make_annotator(), 1)
    give_scores(make_version("clip"), task, [5, 5, 1, 1])

    assert report_of(campaign).results[0].accuracy.value == 0.5


def test_compare_scorers_sees_neither_training_prompts_nor_ties():
    campaign = empty_campaign()
    clip = make_version("clip")
    seen, learnt = task_of(campaign, ["a", "b"]), task_of(campaign, ["a", "b"], split=Split.TRAIN)
    ada, ben = make_annotators(2)
    cast(seen, ada, 0)
    cast(seen, ben, Outcome.TIE)
    cast(learnt, ada, 0)
    give_scores(clip, seen, [1, 0])
    give_scores(clip, learnt, [0, 1])

    report = report_of(campaign)

    assert (report.choices, report.results[0].choices, report.results[0].accuracy.value) == (1, 1, 1.0)


def test_compare_scorers_leaves_out_choices_with_an_unscored_image_and_says_so():
    campaign = empty_campaign()
    clip = make_version("clip", is_current=True)
    first, second = task_of(campaign, ["a", "b"]), task_of(campaign, ["a", "b"])
    for task in (first, second):
        cast(task, make_annotator(), 0)
    give_scores(clip, first, [1, 0])
    give_scores(clip, second, [1, 0])
    clip.scores.filter(image=second.images.first()).delete()

    report = report_of(campaign)

    assert report.results[0].choices == 1
    assert [(gap.version, gap.choices) for gap in report.missing] == [(clip, 1)]


def test_compare_scorers_names_versions_in_use_that_scored_nothing():
    campaign = empty_campaign()
    make_version("hps", 1)
    current = make_version("hps", 2, is_current=True)
    cast(task_of(campaign, ["a", "b"]), make_annotator(), 0)

    report = report_of(campaign)

    assert report.results == []
    assert [(gap.version, gap.choices) for gap in report.missing] == [(current, 1)]
    assert report.families_without_version == ["clip"]


def test_compare_scorers_says_ahead_only_where_the_whole_interval_is():
    campaign = empty_campaign()
    clip, better, same = make_version("clip"), make_version("hps", 1), make_version("hps", 2)
    worse = make_version("aesthetic")
    ada = make_annotator()
    for number in range(40):
        task = task_of(campaign, ["a", "b"])
        cast(task, ada, 0)
        give_scores(clip, task, [number % 2, 0.5])
        give_scores(better, task, [1, 0])
        give_scores(same, task, [(number + 1) % 2, 0.5])
        give_scores(worse, task, [0, 1])

    standings = {str(result.version): result.standing for result in report_of(campaign).results}

    assert standings == {"clip-1": "base", "aesthetic-1": "behind", "hps-1": "ahead", "hps-2": "no difference shown"}


def test_compare_scorers_without_base_scores_compares_with_nothing():
    campaign = empty_campaign()
    task = task_of(campaign, ["a", "b"])
    cast(task, make_annotator(), 0)
    give_scores(make_version("hps"), task, [1, 0])

    assert report_of(campaign).results[0].standing == "not compared"


def test_compare_scorers_puts_the_human_ceiling_beside():
    campaign = empty_campaign()
    for said in ((0, 0, 1), (1, 1, 1)):
        task = task_of(campaign, ["a", "b"])
        for person, chosen in zip(make_annotators(3), said, strict=True):
            cast(task, person, chosen)

    # First task: the others of each who chose 0 are split (1/2 each), those of the one who chose 1 disagree.
    assert report_of(campaign).ceiling.value == pytest.approx((0.5 + 0.5 + 0 + 3) / 6)


def test_compare_scorers_ignores_scores_of_other_campaigns():
    campaign, other = empty_campaign(), empty_campaign()
    clip = make_version("clip")
    cast(task_of(campaign, ["a", "b"]), make_annotator(), 0)
    give_scores(clip, task_of(other, ["a", "b"]), [1, 0])

    assert report_of(campaign).results == []


def test_measure_names_each_size_of_set():
    campaign = empty_campaign()
    cast(task_of(campaign, ["a", "b"]), make_annotator(), 0)
    cast(task_of(campaign, FOUR), make_annotator(), 0)

    assert report_of(campaign).measure == "top-1 of 2 to 4"


def test_require_choices_refuses_a_report_on_nothing():
    with pytest.raises(NothingToReport, match="held-out"):
        report_of(empty_campaign()).require_choices()


@pytest.mark.parametrize("campaigns", [1, 3])
def test_compare_scorers_takes_three_statements(campaigns, django_assert_num_queries):
    made = [empty_campaign() for _ in range(campaigns)]
    clip = make_version("clip")
    for campaign in made:
        task = task_of(campaign, ["a", "b"])
        cast(task, make_annotator(), 0)
        give_scores(clip, task, [1, 0])
    choices = read_choices(made)

    with django_assert_num_queries(3):
        compare_scorers(made, choices)
