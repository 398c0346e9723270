"""Simulated crowds: the random, the biased and the colluding are found, the honest are left alone."""

import pytest

from hps_site.demo.crowd import CROWD, HONEST, ImaginedWorld, Sort, crowd, found_in, together
from hps_site.demo.crowd_campaign import open_crowd_campaign, vote_as


def many(sorts, seeds, **world):
    found = []
    for seed in seeds:
        members = crowd(sorts, seed)
        found.append(found_in(ImaginedWorld(seed=seed, **world).said_by(members), members))
    return together(found)


def test_crowds_in_memory_give_up_their_bad_people_and_nobody_else():
    found = many(CROWD, range(4))

    assert found.people == {Sort.SKILLED: 48, Sort.MINORITY: 16, Sort.LEFT: 8, Sort.RANDOM: 12, Sort.COLLUDING: 12}
    assert found.found[Sort.RANDOM] >= 11
    assert found.found[Sort.COLLUDING] >= 10
    assert found.found[Sort.LEFT] >= 7
    assert found.false_alarms == 0


def test_crowds_of_honest_people_alarm_hardly_ever():
    found = many({Sort.SKILLED: 16, Sort.MINORITY: 8}, range(100, 108), tasks=100)

    assert found.alarmed <= 1
    assert found.named[Sort.MINORITY] == 0


def test_crowds_are_the_same_for_the_same_seed():
    assert many(CROWD, [3], tasks=60) == many(CROWD, [3], tasks=60)


@pytest.mark.slow
@pytest.mark.django_db
def test_a_crowd_that_votes_through_the_services_gives_up_who_guesses():
    members = crowd({Sort.SKILLED: 5, Sort.MINORITY: 1, Sort.RANDOM: 1}, seed=2)
    campaign = open_crowd_campaign(tasks=24, votes_per_task=7, gold_share=0.3, seed=2)

    said = vote_as(members, campaign=campaign)
    found = found_in(said, members)

    assert {vote.purpose for vote in said} == {"regular", "gold", "probe"}
    assert sum(vote.purpose == "regular" for vote in said) == 24 * 7
    assert found.found[Sort.RANDOM] == 1
    assert [found.named[sort] for sort in HONEST] == [0, 0]
