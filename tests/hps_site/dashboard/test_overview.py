"""All campaigns at a glance."""

from datetime import UTC, date, datetime

import pytest

from annotations.models import Campaign, Outcome
from hps_site.dashboard.queries import overview
from tests.annotations.factories import make_annotator, make_annotators, make_campaign
from tests.hps_site.dashboard.worlds import cast, empty_campaign, make_version, task_of
from worker.models import Run

pytestmark = pytest.mark.django_db

TODAY = date(2026, 3, 14)


def test_campaign_summaries_count_votes_people_and_progress():
    campaign = empty_campaign()
    task = task_of(campaign, ["a", "b"])
    ada, ben, cleo = make_annotators(3)
    cast(task, ada, 0, at=datetime(2026, 3, 14, 9, tzinfo=UTC))
    cast(task, ben, Outcome.TIE, at=datetime(2026, 3, 13, 9, tzinfo=UTC))
    cast(task, cleo, Outcome.SKIP, at=datetime(2026, 3, 13, 9, tzinfo=UTC))
    cast(task_of(campaign, ["a", "b"]), ada, 0, at=datetime(2026, 1, 1, tzinfo=UTC))
    task.slots.create(campaign=campaign, number=9, sort_key=1)

    [summary] = overview.campaign_summaries(today=TODAY)

    assert summary == overview.CampaignSummary(
        campaign=campaign,
        votes=3,
        people=2,
        slots=5,
        slots_done=4,
        last_vote_at=datetime(2026, 3, 14, 9, tzinfo=UTC),
        recent=[0] * 12 + [1, 1],
    )
    assert (summary.progress_percent, summary.recent_votes, summary.votes_per_day) == (80, 2, 2 / 7)


def test_campaign_summaries_begin_with_running_ones():
    closed, running = make_campaign(tasks=0, state=Campaign.State.CLOSED), make_campaign(tasks=0)
    draft = make_campaign(tasks=0, state=Campaign.State.DRAFT)

    assert [row.campaign for row in overview.campaign_summaries(today=TODAY)] == [running, draft, closed]


def test_progress_is_full_only_with_the_last_vote():
    summary = overview.CampaignSummary(Campaign(), 0, 0, slots=1000, slots_done=999, last_vote_at=None, recent=[])

    assert summary.progress_percent == 99


@pytest.mark.parametrize("campaigns", [1, 3])
def test_campaign_summaries_take_four_statements(campaigns, django_assert_num_queries):
    for _ in range(campaigns):
        cast(task_of(empty_campaign(), ["a", "b"]), make_annotator(), 0)

    with django_assert_num_queries(4):
        assert len(overview.campaign_summaries(today=TODAY)) == campaigns


def test_versions_in_use_are_the_current_ones_by_family():
    hps, clip = make_version("hps", 2, is_current=True), make_version("clip", is_current=True)
    make_version("hps", 1)

    assert overview.versions_in_use() == [clip, hps]


def test_latest_runs_are_the_newest():
    old, new = (Run.objects.create(kind=kind) for kind in (Run.Kind.ADAPTER, Run.Kind.SCORING))

    assert overview.latest_runs() == [new, old]
    assert overview.latest_runs(count=1) == [new]
