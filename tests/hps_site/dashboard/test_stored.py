"""Answers that workers left in their runs, on the page of the campaign."""

from dataclasses import asdict

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse
from django.utils import timezone

from hps_site.dashboard.queries.stored import generalisation_report, set_comparison, stored_results
from scoring import generalisation
from scoring.comparisons import ExchangeTest
from scoring.generalisation import LeftOut
from scoring.metrics import Estimate
from scoring.preferences import Choice
from tests.annotations.factories import make_annotator, make_user
from tests.hps_site.dashboard.test_views import text_of, voted_campaign
from tests.hps_site.dashboard.worlds import cast, empty_campaign, task_of
from tests.worker.test_runs import make_run
from worker.models import Run
from worker.services.image_sets import SetReport

pytestmark = pytest.mark.django_db

TEST = [Choice(str(n), ("1", "2"), "choice", 0, "ada", "test", ("alder", "birch")) for n in range(8)]
RIGHT, WRONG = [[1.0, 0.0]] * 8, [[0.0, 1.0]] * 8


def left_out_metrics():
    parts = [LeftOut("alder", TEST[:1], TEST), LeftOut("birch", TEST[:2], TEST)]
    scores = {"unseen": {"alder": RIGHT, "birch": RIGHT}, "seen": {"alder": RIGHT, "birch": RIGHT}}
    scores["base"] = {"alder": WRONG, "birch": WRONG}
    pooled = generalisation.pooled(parts, scores)
    return pooled | {
        "generators": [generalisation.measure(part, RIGHT, RIGHT, WRONG) for part in parts],
        "passed_over": [{"generator": "cedar", "reason": "3 choices to test on; at least 30 are needed."}],
        "verdict": "Better.",
    }


def difference(low, high, name="IS, chosen - rejected on CLIP features of tiny"):
    return Estimate(name, (low + high) / 2, low, high, 10)


def exchange(p, name="FID, chosen to rejected on CLIP features of tiny"):
    return ExchangeTest(name, 5.0, p, 200)


def set_report(*estimates, exchanges=(), reference=0):
    return SetReport(
        tower="CLIP features of tiny",
        choices=10,
        prompts=5,
        left_out=1,
        reference=reference,
        estimates=[*estimates],
        exchanges=[*exchanges],
    )


def make_done(campaign, kind, metrics):
    return make_run(
        kind=kind, campaign=campaign, state=Run.State.SUCCEEDED, finished_at=timezone.now(), metrics=metrics
    )


@pytest.fixture
def boss(client):
    user = make_user("boss", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="add_run"))
    client.force_login(user)
    return client


def test_stored_results_are_the_newest_of_this_campaign(django_assert_num_queries):
    campaign, other = empty_campaign(), empty_campaign()
    make_done(campaign, "sets", {})
    newest = make_done(campaign, "sets", {})
    make_done(other, "sets", {})
    make_run(kind="sets", campaign=campaign, state=Run.State.FAILED, finished_at=timezone.now(), error_code="x")
    waiting = make_run(kind="leave_out", campaign=campaign)

    with django_assert_num_queries(1):
        found = stored_results(campaign)

    assert (found["sets"].done, found["sets"].active) == (newest, None)
    assert (found["leave_out"].done, found["leave_out"].active) == (None, waiting)


def test_what_a_run_stored_is_read_back_whole():
    campaign = empty_campaign()
    report = generalisation_report(make_done(campaign, "leave_out", left_out_metrics()))

    assert [(row.generator, row.train_choices, row.test_choices, row.prompts) for row in report.generators] == [
        ("alder", 1, 8, 8), ("birch", 2, 8, 8),
    ]  # fmt: skip
    assert (
        asdict(report.generators[0].figures.ahead_of_base) == left_out_metrics()["generators"][0]["unseen_difference"]
    )
    assert (report.pooled.unseen.n, report.pooled.chance.value) == (16, 0.5)
    sets = set_report(difference(0.1, 0.2), exchanges=[exchange(0.01)])
    assert set_comparison(make_done(campaign, "sets", sets.to_record())).report == sets
    assert generalisation_report(None) is None
    assert set_comparison(None) is None


@pytest.mark.parametrize(
    ("estimates", "exchanges", "tested", "told"),
    [
        ([difference(0.1, 0.2)], [], ["IS"], ["IS"]),
        (
            [difference(-0.2, -0.1), difference(-1, 1, "FID, chosen - rejected to reference on x")],
            [],
            ["IS", "FID to the reference"],
            ["IS"],
        ),
        ([difference(-0.1, 0.1)], [], ["IS"], []),
        ([difference(5, 6, "FID, chosen to rejected on x")], [], [], []),  # a distance is never below 0
        ([], [exchange(0.01), exchange(0.2, "KID, chosen to rejected on x")],
         ["FID between the two", "KID between the two"], ["FID between the two"]),
        ([Estimate("IS, chosen - rejected on x", 1.0, None, None, 2)], [], [], []),
    ],
)  # fmt: skip
def test_a_measure_tells_sets_apart_by_the_interval_of_a_difference_or_by_exchanging_the_sides(
    estimates, exchanges, tested, told
):
    record = set_report(*estimates, exchanges=exchanges).to_record()

    found = set_comparison(make_done(empty_campaign(), "sets", record))

    assert (found.tested, found.told_apart) == (tested, told)


def test_what_a_run_stored_before_sides_were_exchanged_is_read_as_it_was():
    record = set_report(difference(0.1, 0.2)).to_record()
    del record["exchange_tests"]

    assert set_comparison(make_done(empty_campaign(), "sets", record)).report == set_report(difference(0.1, 0.2))


def test_the_page_shows_both_answers_with_their_intervals_and_n(boss):
    campaign = voted_campaign()
    make_done(campaign, "leave_out", left_out_metrics())
    sets = set_report(difference(-0.25, 0.5), exchanges=[exchange(0.25)], reference=60)
    done = make_done(campaign, "sets", sets.to_record())
    Run.objects.filter(pk=done.pk).update(config={"reference": "photographs"})

    text = text_of(boss.get(reverse("dashboard:campaign", args=[campaign.slug])))

    assert "Better. training without each generator" in text
    assert "alder 1 choice to train on 100.0 % 67.6 to 100.0 % 100.0 % 67.6 to 100.0 % 0.0 % 0.0 to 32.4 %" in text
    assert "All together a choice counts with each generator that it shows 100.0 %" in text
    assert "1 generator was not left out cedar: 3 choices to test on; at least 30 are needed." in text
    assert "No difference shown. Tested: IS, FID between the two." in text
    assert "FID, chosen to rejected on CLIP features of tiny: p = 0.250 by 200 exchanges." in text
    assert "The reference are 60 images of photographs." in text
    assert "IS, chosen - rejected on CLIP features of tiny 0.125 −0.25 to 0.5" in text
    assert "10 decided choices on 5 prompts" in text
    assert "1 choice is left out" in text


def test_the_page_offers_to_ask_and_the_button_opens_the_run(boss):
    campaign = empty_campaign()
    cast(task_of(campaign, ["a", "b"]), make_annotator(), 0)
    address = reverse("dashboard:campaign", args=[campaign.slug])
    text = text_of(boss.get(address))
    assert "Not asked yet" in text
    assert "Not compared yet" in text

    boss.post(reverse("worker:open-run"), {"kind": "leave_out", "campaign": campaign.slug, "preset": "paper"})
    boss.post(reverse("worker:open-run"), {"kind": "sets", "campaign": campaign.slug, "reference": "b"})

    assert "Reference none a b" in text
    runs = Run.objects.order_by("kind").values_list("kind", "preset", "campaign__slug", "config")
    assert list(runs) == [
        ("leave_out", "paper", campaign.slug, {}),
        ("sets", "", campaign.slug, {"reference": "b"}),
    ]
    assert text_of(boss.get(address)).count("A worker is asked already: queued.") == 2


def test_who_may_open_no_run_is_offered_none(client):
    campaign = voted_campaign()
    client.force_login(make_user("ben", is_staff=True))

    page = client.get(reverse("dashboard:campaign", args=[campaign.slug])).content.decode()

    assert "Not compared yet" in page
    assert reverse("worker:open-run") not in page
