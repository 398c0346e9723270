import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring import collusion
from scoring.reliability import answers_of
from tests.scoring.people import choice


def crowd(seed, *, people=10, tasks=60, likes_first=0.7, copies=()):
    """People who like the first image with the same probability; those in `copies` say what the first of them says."""
    rng = np.random.default_rng(seed)
    said = []
    for task in range(tasks):
        own = {person: int(rng.random() > likes_first) for person in range(people)}
        own |= dict.fromkeys(copies, own[copies[0] if copies else 0])
        said += [choice(place, prompt=f"p{task}", annotator=f"a{person}") for person, place in own.items()]
    return answers_of(said)


def plain_pairs(answers):
    said = {}
    for person, task, answer in zip(answers.person, answers.task, answers.answer, strict=True):
        if answer < 9:
            said.setdefault(int(person), {})[int(task)] = int(answer)
    found = {}
    for one, other in itertools.combinations(sorted(said), 2):
        both = said[one].keys() & said[other].keys()
        if len(both) >= collusion.LEAST_SHARED:
            found[one, other] = len(both), sum(said[one][task] == said[other][task] for task in both)
    return found


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_pairs_equal_the_plain_ones(seed):
    rng = np.random.default_rng(seed)
    said = [
        choice("tie" if rng.random() < 0.2 else int(rng.integers(2)), prompt=f"p{task}", annotator=f"a{person}")
        for task in range(25)
        for person in rng.permutation(6)[: rng.integers(1, 7)]
    ]
    answers = answers_of(said)

    pairs = collusion.pairs_of(answers)

    rows = zip(pairs.first, pairs.second, pairs.shared, pairs.agreed, strict=True)
    assert {(int(a), int(b)): (int(n), int(k)) for a, b, n, k in rows} == plain_pairs(answers)


def test_a_ring_is_found_with_all_its_members():
    (ring,) = collusion.rings(crowd(0, people=14, copies=(3, 5, 8)))

    assert sorted(ring.people) == ["a3", "a5", "a8"]
    assert ring.agreed == ring.shared == 180
    assert ring.bound < 0.75
    assert ring.p_value < 1e-6


def test_two_rings_are_told_apart():
    said = crowd(1, people=20, tasks=80, copies=(0, 1))
    other = crowd(2, people=20, tasks=80, copies=(5, 6))
    said.answer[np.isin(said.person, (5, 6))] = other.answer[np.isin(other.person, (5, 6))]

    assert sorted(sorted(ring.people) for ring in collusion.rings(said)) == [["a0", "a1"], ["a5", "a6"]]


def test_people_who_look_for_themselves_are_no_ring():
    found = [collusion.rings(crowd(seed)) for seed in range(60)]

    assert sum(bool(rings) for rings in found) <= 2


def test_people_of_one_mind_are_no_ring_when_they_agree_with_themselves_as_much():
    answers = crowd(0, people=14, copies=(3, 5, 8))

    assert collusion.rings(answers, same_twice=100, repeats=100) == []


def test_nobody_is_compared_on_too_few_tasks():
    assert collusion.rings(crowd(0, tasks=collusion.LEAST_SHARED - 1, copies=(0, 1))) == []
    assert collusion.rings(answers_of([])) == []
