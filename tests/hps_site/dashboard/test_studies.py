"""What a blind study has shown."""

import pytest
from django.urls import reverse
from django.utils import timezone

from annotations.models import Campaign, Demographics, Outcome
from hps_site.dashboard.queries.ballots import read_choices
from hps_site.dashboard.queries.studies import study_report
from tests.annotations.factories import make_annotators, make_user
from tests.hps_site.dashboard.worlds import cast, empty_campaign, give_scores, make_version, study_world, task_of
from worker.models import ModelVersion, Run, Study

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


def test_study_report_counts_strict_majorities_as_the_paper():
    found = report_of(study_world(adapted_wins=5, original_wins=3, ties=2)).majorities

    assert (found.won, found.lost, found.neither) == (5, 3, 2)
    assert found.won_share.value == pytest.approx(0.5)


def test_study_report_cuts_votes_by_tag_failure_modes_first():
    campaign = study_world(adapted_wins=8, original_wins=6, ties=0)
    for number, task in enumerate(campaign.tasks.order_by("pk").select_related("prompt")):
        task.prompt.tags = ["oil painting", *(["anatomy"] if number < 8 else []), *(["cats"] if number < 2 else [])]
        task.prompt.save()

    report = report_of(campaign)

    assert [(one.tag, one.is_failure_mode, one.share.value, one.share.n) for one in report.tags] == [
        ("anatomy", True, 1.0, 16),
        ("oil painting", False, pytest.approx(8 / 14), 28),
    ]
    assert report.tags_left_out == 1


def scored_study(*, adapted_wins, original_wins, hps, clip):
    """A study whose adapted images score so much higher than the original's."""
    campaign = study_world(adapted_wins=adapted_wins, original_wins=original_wins, ties=0)
    for family, gain in (("clip", clip), ("hps", hps)):
        version = make_version(family, is_current=True)
        for number, task in enumerate(campaign.tasks.all()):
            give_scores(version, task, [20.0 + number, 20.0 + number + gain])
    return campaign


def test_study_report_holds_people_beside_scorers_on_the_same_pairs():
    report = report_of(scored_study(adapted_wins=9, original_wins=3, hps=1.0, clip=-1.0))

    agreements = {str(one.version): one.agreement.value for one in report.scorer_agreements}
    assert agreements == {"clip-1": 0.25, "hps-1": 0.75}
    assert report.human_agreement.value == 1.0


def test_study_report_names_reward_hacking_where_the_score_rises_alone():
    report = report_of(scored_study(adapted_wins=8, original_wins=8, hps=1.0, clip=-1.0))

    assert report.verdict == "no difference shown"
    assert [finding.name for finding in report.findings] == ["alignment lost", "people unmoved", "wrong aspects"]


def test_study_report_says_what_its_votes_could_have_found():
    found = report_of(study_world(adapted_wins=20, original_wins=20, ties=0)).smallest_share

    # Both votes on a pair are alike, so 80 of them say as much as 40 independent ones.
    assert found == pytest.approx(0.71, abs=0.03)


def test_study_report_of_an_adapter_hints_that_the_mark_was_not_learnt():
    campaign = study_world(adapted_wins=3, original_wins=3, ties=0)
    gain = {"unmarked_loss": 0.2, "gain": 0.0, "gain_low": -0.001, "gain_high": 0.001, "images": 30}
    ModelVersion.objects.update(metrics={"mark": {"after": {"non_preferred": gain}}})

    assert "mark not learnt" in [finding.name for finding in report_of(campaign).findings]


def test_study_report_names_what_the_proof_of_the_adapter_has_found():
    campaign = study_world(adapted_wins=3, original_wins=3, ties=0)
    found = [
        {"name": "diversity lost", "text": "Collapse.", "is_hint": False},
        {"name": "mark too aggressive", "text": "Too aggressive.", "is_hint": True},
    ]
    proof = {"kind": "proof", "state": "succeeded", "config": {"version": "adapter-1"}, "metrics": {"findings": found}}
    Run.objects.create(**proof, finished_at=timezone.now())

    assert [finding.to_record() for finding in report_of(campaign).findings] == found


def test_study_report_names_the_images_that_were_not_shown(client):
    campaign = study_world(adapted_wins=3, original_wins=3, ties=0)
    finding = {"name": "images lost", "text": "Faulty images.", "is_hint": False}
    left_out = {"adapted": {"blank": 4, "broken": 1}, "both": {"alike": 2}}
    run = {"kind": "study", "config": {"slug": "study"}, "metrics": {"left_out": left_out, "findings": [finding]}}
    Run.objects.create(**run, state="failed", error_code="lost", finished_at=timezone.now())

    report = report_of(campaign)

    assert report.left_out == ("adapted: 4 blank, 1 broken", "Pairs: 2 with equal images")
    assert [one.to_record() for one in report.findings] == [finding]
    client.force_login(make_user("boss", is_staff=True))
    page = client.get(reverse("dashboard:campaign", args=["study"])).content.decode()
    assert "Not shown to people: adapted: 4 blank, 1 broken; Pairs: 2 with equal images." in page


def test_a_study_page_says_that_nobody_was_checked_and_what_counts_as_neither(client):
    campaign = study_world(adapted_wins=1, original_wins=1, ties=1)
    client.force_login(make_user("boss", is_staff=True))
    words = "There are no tasks with an obvious answer between the pairs"

    def page() -> str:
        return client.get(reverse("dashboard:campaign", args=["study"])).content.decode()

    Campaign.objects.update(gold_share=0.1)
    assert words not in page()
    Campaign.objects.filter(pk=campaign.pk).update(gold_share=0)
    assert words in page()
    assert "split evenly, or with so many ties that no side has more than half" in page()


def test_study_report_tells_large_groups_when_the_campaign_is_closed(client):
    campaign = study_world(adapted_wins=0, original_wins=0, ties=0)
    people = make_annotators(24)
    Demographics.objects.bulk_create(
        Demographics(annotator=person, gender="woman" if number < 12 else "man") for number, person in enumerate(people)
    )
    for _ in range(4):
        task = task_of(campaign, ["original", "adapted"])
        for number, person in enumerate(people):
            cast(task, person, int(number < 12))
    assert report_of(campaign).groups == []

    Campaign.objects.filter(pk=campaign.pk).update(state=Campaign.State.CLOSED)
    campaign.refresh_from_db()

    [group] = report_of(campaign).groups
    assert (group.question, group.label) == ("gender", "woman")
    assert group.share.value == pytest.approx(1.0, abs=0.2)
    client.force_login(make_user("boss", is_staff=True))
    assert "Woman" in client.get(reverse("dashboard:campaign", args=["study"])).content.decode()


def test_study_report_asks_the_database_a_few_times_whatever_the_size(django_assert_num_queries):
    campaign = study_world(adapted_wins=5, original_wins=4, ties=3)
    choices = read_choices([campaign])

    with django_assert_num_queries(7):  # study, versions, tags, its run, proof, tasks, their images
        study_report(campaign, choices)


def test_study_report_of_two_generators_names_nothing_of_an_adapter():
    campaign = scored_study(adapted_wins=24, original_wins=0, hps=1.0, clip=-1.0)
    Study.objects.update(version=None)

    report = report_of(campaign)

    assert (report.verdict, report.findings, report.study.version) == ("preferred", [], None)


def test_study_report_of_two_generators_says_where_a_score_is_blind_to_what_people_see():
    campaign = scored_study(adapted_wins=8, original_wins=8, hps=1.0, clip=-1.0)
    Study.objects.update(version=None)

    [finding] = report_of(campaign).findings

    assert finding.name == "wrong aspects"
    assert "adapt" not in finding.text
    assert "collect votes on such images and train HPS on them" in finding.text


def test_study_report_before_the_first_vote_has_no_share():
    report = report_of(study_world(adapted_wins=0, original_wins=0, ties=0))

    assert (report.share.value, report.verdict, report.votes) == (None, "no difference shown", 0)


def test_study_report_of_another_campaign_is_none():
    assert report_of(empty_campaign()) is None
