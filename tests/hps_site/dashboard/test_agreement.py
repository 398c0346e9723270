"""Slices, coefficients and warnings, on votes made by hand."""

import io
import math

import PIL.Image
import pytest
from django.core.management import call_command
from django.urls import reverse

from annotations.models import Annotator, Campaign, Image, Outcome, Prompt, Split
from hps_site.dashboard.findings import describe
from hps_site.dashboard.queries.agreement import AgreementReport, agreement_report
from hps_site.dashboard.queries.ballots import read_choices
from hps_site.dashboard.queries.looks import file_looks
from hps_site.dashboard.queries.scorers import scorer_versions, versions_in_use
from tests.annotations.factories import make_annotator, make_annotators, make_user
from tests.hps_site.dashboard.worlds import cast, empty_campaign, give_scores, images_of, make_version, task_of
from worker.models import ImageScore
from worker.snapshots import take_snapshot

pytestmark = pytest.mark.django_db


def report_of(campaign: Campaign, **options) -> AgreementReport:
    return agreement_report([campaign], read_choices([campaign]), scorer_versions(), **options)


def signatures_of(report: AgreementReport) -> list[tuple[str, str, str]]:
    return [(str(one.version), one.signature, one.look) for one in report.findings]


def forty_prompts(**fields) -> tuple[Campaign, list]:
    """Pairs of a gull and a hawk; one person chose the gull each time."""
    campaign, ada = empty_campaign(**fields), make_annotator()
    tasks = [task_of(campaign, ["gull", "hawk"]) for _ in range(40)]
    for task in tasks:
        cast(task, ada, 0)
    return campaign, tasks


def test_report_holds_every_scorer_on_every_slice():
    campaign, people = empty_campaign(), make_annotators(3)
    clip, hps = make_version("clip", is_current=True), make_version("hps", is_current=True)
    for number in range(12):
        task = task_of(campaign, ["gull", "hawk"])
        Prompt.objects.filter(pk=task.prompt_id).update(tags=["birds"])
        for person, said in zip(people, (0, 0, number % 2), strict=True):
            cast(task, person, said)
        give_scores(clip, task, [number % 3, 1])
        give_scores(hps, task, [1, 0])

    report = report_of(campaign)

    assert [(one.slice.kind, one.slice.label, one.choices, one.prompts) for one in report.slices] == [
        ("all", "", 36, 12),
        ("images", "2", 36, 12),
        ("agreement", "decided", 36, 12),
        ("generators", "gull / hawk", 36, 12),
        ("tag", "birds", 36, 12),
    ]
    assert [[str(result.version) for result in one.results] for one in report.slices] == [["clip-1", "hps-1"]] * 5
    base, trained = report.whole.results
    assert (base.test, trained.accuracy.value) == (None, 30 / 36)
    assert trained.test.difference.value == pytest.approx(30 / 36 - base.accuracy.value)
    assert trained.test.p_value < 0.05
    assert (report.whole.chance.value, report.whole.attainable.value) == (0.5, 30 / 36)
    assert [str(one.version) for one in report.details] == ["clip-1", "hps-1"]
    assert report.details[1].correlations.tau_b.value == 1.0


def test_report_tests_each_two_scorers_on_what_both_have_scored_with_holms_p():
    campaign, tasks = forty_prompts()
    clip, first, second = make_version("clip"), make_version("hps"), make_version("hps", 2)
    for number, task in enumerate(tasks):
        give_scores(clip, task, [0, 1] if number < 10 else [1, 0])
        give_scores(first, task, [1, 0])
        if number < 20:
            give_scores(second, task, [0, 1] if number < 9 else [1, 0])

    pairs = report_of(campaign).pairs

    # Six prompts or more on which one is always right: 2 of 2^n flips are as far; the p of one prompt is 1.
    assert [
        (str(one.version), str(one.other), one.test.difference.value, one.test.difference.n, one.test.p_value)
        for one in pairs
    ] == [
        ("hps-1", "clip-1", pytest.approx(10 / 40), 40, 2 / 2**10),
        ("hps-2", "clip-1", pytest.approx(1 / 20), 20, 1.0),
        ("hps-2", "hps-1", pytest.approx(-9 / 20), 20, 2 / 2**9),
    ]
    assert [one.adjusted_p for one in pairs] == [3 * 2 / 2**10, 1.0, 2 * 2 / 2**9]


def test_calibration_and_threshold_stand_on_the_scale_that_a_version_was_trained_with():
    campaign, tasks = forty_prompts()
    clip, hps = make_version("clip"), make_version("hps")
    type(hps).objects.filter(pk=hps.pk).update(manifest={"scale": 50.0})
    for task in tasks:
        # Odds of 9 to 1 by the scores as they are, of 3 to 1 by half of them.
        give_scores(clip, task, [math.log(9), 0])
        give_scores(hps, task, [math.log(9), 0])

    report = report_of(campaign)

    assert [[one.predicted for one in detail.calibration.bins] for detail in report.details] == [
        [pytest.approx(0.1), pytest.approx(0.9)],
        [pytest.approx(0.25), pytest.approx(0.75)],
    ]
    assert [result.pairwise[0].value for result in report.whole.results] == [1.0, 1.0]


def test_report_counts_ties_where_a_convention_does_and_only_held_out_prompts():
    campaign = empty_campaign()
    clip = make_version("clip")
    for split in (Split.TEST, Split.TRAIN):
        task = task_of(campaign, ["a", "b"], split=split)
        give_scores(clip, task, [1, 0])
        cast(task, make_annotator(), 0)
        cast(task, make_annotator(), Outcome.TIE)

    result = report_of(campaign).whole.results[0]

    assert (result.accuracy.n, [one.n for one in result.pairwise]) == (1, [2, 1, 1, 2, 2])
    assert result.pairwise[0].value == 0.75


def test_report_without_scores_has_slices_and_nobody_in_them():
    campaign, _ = forty_prompts()

    report = report_of(campaign)

    assert (report.whole.results, report.details, report.findings) == ([], [], [])


@pytest.fixture(params=["only train prompts", "one image of each set"])
def birds_with_half_a_base(request):
    """Forty held-out sets that HPS has scored, and base CLIP, whose scoring ended early, has not."""
    campaign, tasks = forty_prompts(slug="birds")
    clip, hps = make_version("clip", is_current=True), make_version("hps", is_current=True)
    for task in tasks:
        give_scores(hps, task, [1, 0])
    if request.param == "only train prompts":
        learnt = task_of(campaign, ["gull", "hawk"], split=Split.TRAIN)
        cast(learnt, make_annotator(), 0)
        give_scores(clip, learnt, [1, 0])
    else:
        ImageScore.objects.bulk_create(ImageScore(image=images_of(task)[0], version=clip, value=1) for task in tasks)
    return campaign


def test_report_without_a_whole_held_out_choice_of_base_clip_is_of_the_others(birds_with_half_a_base):
    report = report_of(birds_with_half_a_base)

    assert [(str(one.version), one.accuracy.value, one.test) for one in report.whole.results] == [("hps-1", 1.0, None)]
    assert ([str(one.version) for one in report.details], report.findings) == (["hps-1"], [])


def test_command_and_page_stand_where_base_clip_has_no_whole_held_out_choice(birds_with_half_a_base, client):
    client.force_login(make_user("boss", is_staff=True))
    out = io.StringIO()

    call_command("evaluate_scorers", campaign="birds", stdout=out)
    page = client.get(reverse("dashboard:agreement", args=[birds_with_half_a_base.slug]))

    assert "all 40 40 hps-1 100.0 %" in " ".join(out.getvalue().split())
    assert page.status_code == 200


def test_warning_of_a_scorer_that_disagrees_with_people():
    campaign, tasks = forty_prompts()
    clip = make_version("clip")
    for task in tasks:
        give_scores(clip, task, [0, 1])

    report = report_of(campaign)

    assert signatures_of(report) == [("clip-1", "below chance", "")]
    assert describe(report.findings[0]) == (
        "clip-1 disagrees with people: it finds the chosen image in 0.0 % (0.0 to 8.8 %), chance in 50.0 %."
    )


def test_warning_of_a_trained_scorer_within_the_interval_of_base_clip():
    campaign, tasks = forty_prompts()
    clip, same = make_version("clip"), make_version("hps")
    for number, task in enumerate(tasks):
        give_scores(clip, task, [number % 4, 0.5])
        give_scores(same, task, [number % 4, 0.5])

    assert signatures_of(report_of(campaign)) == [("hps-1", "not above base", "")]


def test_warning_of_a_scorer_above_the_human_ceiling():
    campaign, people = empty_campaign(), make_annotators(2)
    leak = make_version("clip")
    for number in range(40):
        # Nobody agrees with the other, yet one scorer knows what the first said on nine of ten.
        task = task_of(campaign, ["a", "b"])
        cast(task, people[0], number % 2)
        cast(task, people[1], 1 - number % 2)
        give_scores(leak, task, [1, 0])

    report = report_of(campaign)

    assert report.whole.ceiling.value == 0.0
    assert ("clip-1", "above ceiling", "") in signatures_of(report)


def test_warning_of_a_scorer_that_is_better_where_it_was_trained():
    campaign, tasks = forty_prompts()
    hps, ada = make_version("hps"), make_annotator()
    for number, task in enumerate(tasks):
        give_scores(hps, task, [number % 4, 0.5])
    for _ in range(40):
        learnt = task_of(campaign, ["gull", "hawk"], split=Split.TRAIN)
        cast(learnt, ada, 0)
        give_scores(hps, learnt, [1, 0])

    assert signatures_of(report_of(campaign)) == [("hps-1", "drift", "")]


@pytest.mark.parametrize("look", ["size", "format", "brightness"])
def test_warning_of_a_score_that_follows_the_file(look):
    campaign, ada = empty_campaign(), make_annotator()
    hps = make_version("hps")
    for number in range(40):
        task = task_of(campaign, ["gull", "hawk"])
        Image.objects.filter(pk__in=[image.pk for image in images_of(task)]).update(brightness=0.4)
        other = images_of(task)[number % 2]
        sizes, kind, shade = {"width": 900, "height": 900}, {"format": "JPEG"}, {"brightness": 0.6}
        changed = {"size": sizes, "format": kind, "brightness": shade}[look]
        Image.objects.filter(pk=other.pk).update(**changed)
        # People look at the gull three times of four, the scorer at the file.
        cast(task, ada, int(number % 4 == 3))
        sign = -1 if look == "format" else 1
        give_scores(hps, task, [sign * float(number % 2 == 0), sign * float(number % 2 == 1)])

    assert ("hps-1", "follows", look) in signatures_of(report_of(campaign))


def test_no_warning_where_people_like_large_images_as_well():
    campaign, tasks = forty_prompts()
    hps = make_version("hps")
    for task in tasks:
        Image.objects.filter(pk=images_of(task)[0].pk).update(width=900)
        give_scores(hps, task, [1, 0])

    assert signatures_of(report_of(campaign)) == []


def test_warning_of_excluded_people_in_the_snapshot_of_a_version():
    campaign, tasks = forty_prompts()
    gone = make_annotator()
    cast(task_of(campaign, ["gull", "hawk"], split=Split.TRAIN), gone, 0)
    hps = make_version("hps")
    type(hps).objects.filter(pk=hps.pk).update(snapshot=take_snapshot(campaign=campaign))
    for task in tasks:
        give_scores(hps, task, [1, 0])

    before = signatures_of(report_of(campaign))
    Annotator.objects.filter(pk=gone.pk).update(state=Annotator.State.EXCLUDED)
    report = report_of(campaign)

    assert (before, signatures_of(report)) == ([], [("hps-1", "excluded people", "")])
    assert report.findings[0].measured.value == pytest.approx(1 / 41)
    assert describe(report.findings[0]) == (
        "hps-1 has learnt from people who are excluded by now: 2.4 % of the votes in its snapshot. "
        "Only a new training leaves them out."
    )


def test_versions_in_use_are_base_clip_and_those_that_are_current():
    make_version("clip", 1)
    make_version("clip", 2)
    for number in (1, 2, 3):
        make_version("hps", number, is_current=number == 2)
    make_version("adapter", is_current=True)

    assert list(map(str, versions_in_use())) == ["clip-1", "hps-2"]


def picture(shade: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", (32, 32), (shade, shade, shade)).save(file, kind)
    return file.getvalue()


def test_looks_hold_size_format_and_brightness_of_held_out_candidates():
    campaign = empty_campaign()
    task = task_of(campaign, ["a", "b"])
    task_of(campaign, ["a", "b"], split=Split.TRAIN)
    first, second = images_of(task)
    Image.objects.filter(pk=first.pk).update(width=20, height=6)
    Image.objects.filter(pk=second.pk).update(format="JPEG", width=10, height=5, brightness=0.25)

    assert file_looks([campaign]) == {
        "size": {str(first.pk): 120.0, str(second.pk): 50.0},
        "format": {str(first.pk): 1.0, str(second.pk): 0.0},
        "brightness": {str(second.pk): 0.25},  # the first came in before it was kept
    }


@pytest.mark.parametrize("tasks", [1, 3])
def test_report_takes_the_same_statements_for_one_task_and_three(tasks, django_assert_num_queries):
    campaign, clip = empty_campaign(), make_version("clip")
    for _ in range(tasks):
        task = task_of(campaign, ["a", "b"])
        cast(task, make_annotator(), 0)
        give_scores(clip, task, [1, 0])
    choices = read_choices([campaign])

    # Images elsewhere, versions, scores, tags, looks, excluded people.
    with django_assert_num_queries(6):
        agreement_report([campaign], choices, scorer_versions())
