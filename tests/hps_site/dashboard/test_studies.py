"""What a blind study has shown."""

import pytest

from annotations.models import Outcome
from hps_site.dashboard.queries.ballots import read_choices
from hps_site.dashboard.queries.studies import study_report
from tests.annotations.factories import make_annotators
from tests.hps_site.dashboard.worlds import cast, empty_campaign, study_world, task_of

pytestmark = pytest.mark.django_db


def report_of(campaign):
    return study_report(campaign, read_choices([campaign]))


@pytest.mark.parametrize(
    ("adapted", "original", "ties", "share", "won", "verdict"),
    [
        (9, 0, 1, 0.95, 0.95, "preferred"),
        (0, 9, 1, 0.05, 0.05, "not preferred"),
        (5, 5, 2, 0.5, 0.5, "no difference shown"),
        (6, 3, 1, 0.65, 0.65, "no difference shown"),
    ],
)
def test_study_report_says_what_was_shown(adapted, original, ties, share, won, verdict):
    report = report_of(study_world(adapted_wins=adapted, original_wins=original, ties=ties))

    assert report.share.value == pytest.approx(share)
    assert report.prompts_won.value == pytest.approx(won)
    assert report.verdict == verdict
    assert (report.votes, report.prompts) == (2 * (adapted + original + ties), adapted + original + ties)


def test_study_report_leaves_all_bad_out():
    campaign = study_world(adapted_wins=1, original_wins=1, ties=0)
    task = task_of(campaign, ["original", "adapted"])
    for person in make_annotators(3):
        cast(task, person, Outcome.ALL_BAD)

    assert (report_of(campaign).votes, report_of(campaign).prompts) == (4, 2)


def test_study_report_shows_at_most_six_prompts_with_their_votes():
    campaign = study_world(adapted_wins=8, original_wins=0, ties=0)

    examples = report_of(campaign).examples

    assert len(examples) == 6
    assert {(example.original_votes, example.adapted_votes, example.undecided_votes) for example in examples} == {
        (0, 2, 0)
    }
    assert {example.adapted.generator.name for example in examples} == {"adapted"}


def test_study_report_counts_ties_beside_an_example():
    [example] = report_of(study_world(adapted_wins=0, original_wins=0, ties=1)).examples

    assert (example.original_votes, example.adapted_votes, example.undecided_votes) == (0, 0, 2)


def test_study_report_before_the_first_vote_has_no_share():
    report = report_of(study_world(adapted_wins=0, original_wins=0, ties=0))

    assert (report.share.value, report.verdict, report.votes) == (None, "no difference shown", 0)


def test_study_report_of_another_campaign_is_none():
    assert report_of(empty_campaign()) is None
