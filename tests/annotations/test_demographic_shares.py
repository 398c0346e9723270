"""What is told of a group's answers, and that no arithmetic leads from it to a few people."""

import dataclasses
import itertools
import random

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from annotations.models import Annotator, Campaign, Demographics, Participation
from annotations.queries import demographic_shares
from annotations.queries.demographic_shares import Credit, GroupShare, shares_by_group, told
from annotations.services.demographics import forget
from tests.annotations.factories import make_campaign

REGIONS = {"A": "asia", "E": "europe", "F": "africa", "O": "oceania", "-": ""}


def closed(**fields) -> Campaign:
    return make_campaign(tasks=0, state=Campaign.State.CLOSED, **fields)


def people_from(regions: str, *, first: int = 0) -> list[int]:
    """People who told where they live, in this order; a point told nothing at all."""
    people = Annotator.objects.bulk_create(Annotator(source="simulated") for _ in regions)
    Demographics.objects.bulk_create(
        Demographics(annotator=person, region=REGIONS[letter])
        for person, letter in zip(people, regions, strict=True)
        if letter != "."
    )
    return [person.pk for person in people]


def credits_of(people: list[int], *, each: int = 20, seed: int = 0) -> list[Credit]:
    """So many votes of each person, right about three times of five."""
    numbers = random.Random(seed)
    return [Credit(person, float(numbers.random() < 0.6)) for person in people for _ in range(each)]


def shares(campaign: Campaign, credits: list[Credit], key: str = "hps-1") -> dict[str, GroupShare]:
    found = shares_by_group(campaign, credits, name="top-1", key=key)
    return {share.label: share for share in found}


def mean_of(credits: list[Credit], people: list[int]) -> float:
    return float(np.mean([np.mean([one.credit for one in credits if one.annotator == person]) for person in people]))


@pytest.mark.django_db
def test_groups_of_ten_are_told_of_in_whole_percents(django_assert_num_queries):
    campaign, people = closed(), people_from("A" * 30 + "E" * 30)
    credits = credits_of(people)

    with django_assert_num_queries(1):
        found = shares(campaign, credits)

    assert list(found) == ["Asia", "Europe"]
    for label, members in (("Asia", people[:30]), ("Europe", people[30:])):
        share = found[label].share
        assert (found[label].question, share.name, share.n, share.unit) == ("region", "top-1", 10, "people or more")
        assert share.value == pytest.approx(mean_of(credits, members), abs=4 * 0.5 / 30 + 0.005)
        assert share.low < share.value < share.high
        assert all(number == round(number, 2) for number in (share.value, share.low, share.high))


@pytest.mark.django_db
def test_nothing_is_told_before_the_campaign_is_closed():
    campaign = make_campaign(tasks=0, state=Campaign.State.RUNNING)

    assert shares(campaign, credits_of(people_from("A" * 20 + "E" * 20))) == {}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("regions", "labels"),
    [
        ("A" * 9 + "E" * 31, []),  # without Europe nine would be left: who told of the whole would tell of them
        ("A" * 9 + "O" * 1 + "E" * 30, ["Europe"]),  # ten are left
        ("A" * 12 + "E" * 15 + "O" * 3, ["Europe"]),  # the smallest large group goes with the small one
        ("A" * 12 + "E" * 18 + "-" * 3, ["Europe"]),  # as it does with those who prefer not to say
        ("A" * 12 + "E" * 18 + "." * 3, ["Europe"]),  # and with those who told nothing
        ("A" * 20, []),  # one group of everybody tells of each of them
        ("A" * 10 + "." * 10, ["Asia"]),
        ("A" * 10 + "." * 9, []),
    ],
)
def test_what_is_left_of_everybody_is_nobody_or_ten_people(regions, labels):
    assert list(shares(closed(), credits_of(people_from(regions)))) == labels


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(min_value=1, max_value=25)),
    st.integers(min_value=0, max_value=25),
)
@example({"a": 20}, 0)
def test_no_sum_of_told_groups_leaves_one_to_nine_people(counts, silent):
    """The attack by subtraction: everybody less any groups that are told of."""
    total = sum(counts.values()) + silent

    may_be_told = told(counts, total)

    for size in range(1, len(may_be_told) + 1):
        for groups in itertools.combinations(may_be_told, size):
            assert all(counts[group] >= 10 for group in groups)
            left = total - sum(counts[group] for group in groups)
            assert left == 0 or left >= 10
            assert left or size > 1


@pytest.mark.django_db
def test_only_the_people_of_the_slice_count():
    campaign, people = closed(), people_from("A" * 15 + "E" * 15)

    assert list(shares(campaign, credits_of(people[6:]))) == ["Europe"]  # nine from Asia have a vote in it


@pytest.mark.django_db
def test_the_last_few_who_told_are_left_out_until_they_are_ten(monkeypatch):
    monkeypatch.setattr(demographic_shares, "NOISE", 0.0)
    campaign, people = closed(), people_from("AE" * 15 + "." * 10)
    credits = credits_of(people)
    before = shares(campaign, credits)

    newcomers = people_from("A" * 9)
    told_later = shares(campaign, [*credits, *(Credit(person, 1.0) for person in newcomers)])

    assert told_later == before
    [one_more] = people_from("A")
    assert shares(campaign, [*credits, *(Credit(person, 1.0) for person in [*newcomers, one_more])]) != before


@pytest.mark.django_db
def test_who_took_the_consent_back_or_never_gave_it_is_not_counted():
    campaign, people = closed(consent="We keep your choices."), people_from("A" * 20 + "E" * 20)
    credits = credits_of(people)
    assert shares(campaign, credits) == {}
    Participation.objects.bulk_create(
        Participation(annotator_id=person, campaign=campaign, consent_hash="x", consented_at="2026-01-01T00:00Z")
        for person in people
    )
    assert list(shares(campaign, credits)) == ["Asia", "Europe"]

    campaign.participations.filter(annotator__in=people[:11]).update(consent_hash="", consented_at=None)

    assert list(shares(campaign, credits)) == ["Europe"]


@pytest.mark.django_db
def test_who_forgot_what_they_told_is_not_counted():
    campaign, people = closed(), people_from("A" * 10 + "E" * 20)
    credits = credits_of(people)
    assert list(shares(campaign, credits)) == ["Asia", "Europe"]

    forget(annotator=Annotator.objects.get(pk=people[0]))

    assert list(shares(campaign, credits)) == ["Europe"]


@pytest.mark.django_db
def test_asking_again_gives_the_same_and_another_person_another_chance():
    campaign, people = closed(), people_from("A" * 30 + "E" * 30)
    credits = credits_of(people)
    first = shares(campaign, credits)

    assert shares(campaign, list(reversed(credits))) == first
    assert shares(campaign, credits, key="hps-2") != first
    assert shares(closed(), credits) != first


def test_excluding_somebody_and_looking_again_says_next_to_nothing_of_their_group(monkeypatch):
    """Who knows everybody's votes asks whether the shares move as they would if one person belonged to the group."""

    def right_guesses() -> float:
        return float(np.mean([_guesses_right(world) for world in range(200)]))

    assert right_guesses() <= 0.66  # by tossing a coin it would be half, give or take .035
    monkeypatch.setattr(demographic_shares, "NOISE", 0.0)
    assert right_guesses() >= 0.8


def _guesses_right(world: int, metrics: int = 3) -> bool:
    """Twenty people in a group or nineteen, twenty others; number 19 is the one who is looked for."""
    numbers = np.random.default_rng(world)
    belongs = bool(world % 2)
    members = list(range(20 if belongs else 19))
    evidence = 0.0
    for metric in range(metrics):
        means = dict(enumerate(numbers.binomial(20, 0.6, size=40) / 20))
        left = {person: mean for person, mean in means.items() if person != 19}
        before = demographic_shares.coarse(means, members, name="top-1", key=str(metric)).value
        after = demographic_shares.coarse(left, members[:19], name="top-1", key=str(metric)).value
        would_move = (means[19] - before) / 19
        evidence += (after - before) ** 2 - (before - after - would_move) ** 2
    return belongs == (evidence > 0)


def test_a_share_says_nothing_of_a_person():
    fields = {field.name for field in dataclasses.fields(GroupShare)}

    assert fields == {"question", "label", "share"}
