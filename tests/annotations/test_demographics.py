"""What people tell of themselves, and that nobody can be found in what is told of them."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotations.models import Annotator, Campaign, Demographics
from annotations.queries.demographics import DemographicGroups, Group, demographic_groups, withhold_small
from annotations.services.demographics import forget, tell
from annotations.services.voting import claim_slots
from tests.annotations.factories import make_annotator, make_campaign
from tests.annotations.test_voting import vote_on
from tests.conftest import ROOT

pytestmark = pytest.mark.django_db


def voters(campaign: Campaign, regions: str) -> list[Annotator]:
    """People who told where they live, A or E, and voted."""
    people = []
    for letter in regions:
        person = make_annotator(user=None)
        tell(annotator=person, region={"A": "asia", "E": "europe", "F": "africa", "O": "oceania", "-": ""}[letter])
        vote_on(claim_slots(annotator=person, campaign=campaign, count=1)[0])
        people.append(person)
    return people


def regions_of(campaign: Campaign) -> tuple[list[tuple[str, int]], int]:
    [table] = demographic_groups(campaign)
    assert table.question == "region"
    return [(group.label, group.people) for group in table.groups], table.others


def crowd(people: int) -> Campaign:
    return make_campaign(tasks=1, votes_per_task=people)


def test_tell_replaces_and_forget_deletes() -> None:
    ada = make_annotator()

    tell(annotator=ada, age_band="25-34", gender="woman")
    tell(annotator=ada, age_band="35-44")

    assert list(Demographics.objects.values_list("annotator", "age_band", "gender")) == [(ada.pk, "35-44", "")]
    forget(annotator=ada)
    assert Demographics.objects.count() == 0


def test_groups_of_ten_are_told_and_smaller_ones_together() -> None:
    campaign = crowd(43)
    voters(campaign, "-" * 3 + "A" * 11 + "E" * 16 + "O" * 5 + "F" * 8)

    assert regions_of(campaign) == ([("Europe", 16), ("Asia", 11)], 13)


def test_who_prefers_not_to_say_is_not_counted() -> None:
    campaign = crowd(20)
    voters(campaign, "-" * 5 + "A" * 10 + "-" * 5)

    assert regions_of(campaign) == ([("Asia", 10)], 0)


def test_nothing_is_told_of_nine_people() -> None:
    campaign = crowd(9)
    voters(campaign, "A" * 9)

    assert demographic_groups(campaign) == []


def test_the_smallest_group_is_withheld_where_the_rest_would_give_a_few_away() -> None:
    campaign = crowd(30)
    voters(campaign, "A" * 12 + "E" * 15 + "O" * 3)

    assert regions_of(campaign) == ([("Europe", 15)], 15)


def test_one_more_person_changes_nothing_until_there_are_ten_more() -> None:
    campaign = crowd(40)
    voters(campaign, "A" * 10 + "E" * 10)
    before = demographic_groups(campaign)

    for _newcomer in range(9):
        voters(campaign, "E")
        assert demographic_groups(campaign) == before

    voters(campaign, "E")
    assert regions_of(campaign) == ([("Europe", 20), ("Asia", 10)], 0)


def test_only_people_who_voted_here_are_counted() -> None:
    campaign, other = crowd(20), crowd(20)
    voters(campaign, "A" * 10)
    voters(other, "E" * 10)
    tell(annotator=make_annotator(), region="oceania")

    assert regions_of(campaign) == ([("Asia", 10)], 0)
    assert demographic_groups(other)[0].groups == [Group("Europe", 10)]


def test_each_question_stands_alone_and_the_database_is_asked_once(django_assert_num_queries) -> None:
    campaign = crowd(20)
    for number in range(20):
        person = make_annotator(user=None)
        experience = "hobby" if number < 15 else ""
        tell(annotator=person, gender="woman" if number % 2 else "man", design_experience=experience)
        vote_on(claim_slots(annotator=person, campaign=campaign, count=1)[0])

    with django_assert_num_queries(1):
        tables = demographic_groups(campaign)

    assert tables == [
        DemographicGroups("gender", [Group("man", 10), Group("woman", 10)], 0),
        DemographicGroups("experience in design or art", [Group("as a hobby", 10)], 0),
    ]


@given(st.dictionaries(st.sampled_from("abcdefg"), st.integers(min_value=1, max_value=40)))
def test_withhold_small_never_tells_of_fewer_than_ten(counts: dict[str, int]) -> None:
    told, rest = withhold_small(counts)

    assert all(people >= 10 for people in told.values())
    assert sum(told.values()) + rest == sum(counts.values())
    assert all(counts[answer] == people for answer, people in told.items())
    # The rest is nothing, or ten or more, or all there is.
    assert rest == 0 or rest >= 10 or not told
    withheld = set(counts) - set(told)
    # A group that is withheld alone would be known by the total, so it must not be a small one.
    assert len(withheld) != 1 or counts[next(iter(withheld))] >= 10 or not told


@given(st.lists(st.sampled_from("abcd"), max_size=60))
def test_withhold_small_tells_all_where_nothing_is_small(answers: list[str]) -> None:
    counts = {answer: people for answer, people in Counter(answers).items() if people >= 10}

    assert withhold_small(counts) == (counts, 0)


def test_no_other_module_reads_what_people_told_of_themselves() -> None:
    """Neither exports, nor the admin, nor reports, nor training."""
    paths = [path for room in ("annotations", "hps_site", "worker", "scoring") for path in (ROOT / room).rglob("*.py")]
    readers = {
        str(path.relative_to(ROOT))
        for path in paths
        if "demographic" in path.read_text().lower() and "migrations" not in path.parts
    }

    assert readers == {
        "annotations/forms.py",
        "annotations/models/__init__.py",
        "annotations/models/people.py",
        "annotations/queries/demographic_shares.py",
        "annotations/queries/demographics.py",
        "annotations/queries/people.py",
        "annotations/services/demographics.py",
        "annotations/services/erasure.py",
        "annotations/views/entry.py",
        "annotations/views/people.py",
        # These see shares and counts of groups alone.
        "hps_site/dashboard/queries/demographic_slices.py",
        "hps_site/dashboard/queries/studies.py",
        "hps_site/dashboard/text_agreement.py",
        "hps_site/dashboard/views/reports.py",
        "hps_site/management/commands/evaluate_scorers.py",
    }
