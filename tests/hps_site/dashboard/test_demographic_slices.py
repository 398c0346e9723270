"""Metrics by demographic group, from the votes to the page and the terminal."""

import json
from io import StringIO

import pytest
from django.core.management import call_command
from django.urls import reverse

from annotations.models import Annotator, Campaign, Demographics
from hps_site.dashboard.queries.ballots import read_choices
from hps_site.dashboard.queries.demographic_slices import group_report
from hps_site.dashboard.queries.scorers import versions_in_use
from tests.annotations.factories import make_user
from tests.hps_site.dashboard.test_views import text_of
from tests.hps_site.dashboard.worlds import cast, empty_campaign, give_scores, make_version, task_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def birds() -> Campaign:
    """Twelve women, who told it first, and twelve men: three times of four the women choose as CLIP, the men as HPS.

    The last four of the men are left out until they are ten, and the other eight are too few to be told of.
    """
    campaign = empty_campaign(slug="birds")
    people = Annotator.objects.bulk_create(Annotator(source="simulated") for _ in range(24))
    Demographics.objects.bulk_create(
        Demographics(annotator=person, gender="woman" if number < 12 else "man") for number, person in enumerate(people)
    )
    clip, hps = make_version("clip", is_current=True), make_version("hps", is_current=True)
    make_version("hps", 2)
    for number in range(4):
        task = task_of(campaign, ["gull", "hawk"])
        give_scores(clip, task, [2, 1])
        give_scores(hps, task, [1, 2])
        for place, person in enumerate(people):
            cast(task, person, int((place >= 12) != (number == place % 4)))
    return campaign


def close(campaign: Campaign) -> Campaign:
    Campaign.objects.filter(pk=campaign.pk).update(state=Campaign.State.CLOSED)
    campaign.refresh_from_db()
    return campaign


def test_each_metric_in_use_is_held_against_each_group(birds, django_assert_num_queries):
    choices, versions = read_choices([close(birds)]), versions_in_use()

    with django_assert_num_queries(3):  # scores, and the people for each version
        report = group_report(birds, choices, versions)

    assert list(map(str, report.versions)) == ["clip-1", "hps-1"]
    assert [(group.question, group.label) for group in report.groups] == [("gender", "woman")]
    clip, hps = report.groups[0].shares
    assert (clip.value, hps.value) == (pytest.approx(0.75, abs=0.2), pytest.approx(0.25, abs=0.2))


def test_the_page_tells_groups_only_when_the_campaign_is_closed(birds, client):
    client.force_login(make_user("ben", is_staff=True))
    address = reverse("dashboard:agreement", args=["birds"])
    assert "Shown when the campaign is closed." in text_of(client.get(address))

    close(birds)

    text = text_of(client.get(address))
    assert "Shown when the campaign is closed." not in text
    assert "Woman gender" in text


def test_the_command_tells_groups_of_one_campaign_alone(birds):
    close(birds)

    def told(*arguments):
        out = StringIO()
        call_command("evaluate_scorers", *arguments, stdout=out)
        return out.getvalue()

    text = told()
    assert "By demographic group of ten people or more" in text
    [group] = json.loads(told("--json"))["demographic_groups"]
    assert (group["question"], group["group"]) == ("gender", "woman")
    assert [one["scorer"] for one in group["scorers"]] == ["clip-1", "hps-1"]
    cast(task_of(empty_campaign(), ["a", "b"]), Annotator.objects.first(), 0)
    assert "By demographic group" not in told()
    assert json.loads(told("--json"))["demographic_groups"] == []
