"""Simulated people answer with the probabilities that they are made of."""

from collections import Counter

import numpy as np
import pytest

from hps_site.demo import simulator, truth
from hps_site.demo.scenes import Defect, Scene, draw
from hps_site.demo.simulator import SimulatedAnnotator, panel


def shares(person: SimulatedAnnotator, utilities: list[float], questions: int = 6000) -> dict[object, float]:
    counts = Counter(person.choose(utilities) for _ in range(questions))
    return {answer: count / questions for answer, count in counts.items()}


def test_choose_follows_the_plackett_luce_odds() -> None:
    utilities = [0.0, -1.0, -2.0]
    weights = np.exp(2 * np.array(utilities))

    seen = shares(SimulatedAnnotator("Ada", skill=2.0, seed=1), utilities)

    assert [seen[i] for i in range(3)] == pytest.approx(weights / weights.sum(), abs=0.02)


def test_choose_leans_to_the_right_by_the_position_bias() -> None:
    seen = shares(SimulatedAnnotator("Ben", skill=1.0, position_bias=0.5, seed=2), [0.0, 0.0])

    assert seen[1] == pytest.approx(1 / (1 + np.exp(-0.5)), abs=0.02)


def test_choose_calls_a_tie_at_the_tie_rate_only_where_the_best_two_are_close() -> None:
    person = SimulatedAnnotator("Cleo", skill=1.0, tie_threshold=0.3, tie_rate=0.4, seed=3)

    assert shares(person, [0.0, -0.2, -5.0])["tie"] == pytest.approx(0.4, abs=0.02)
    assert "tie" not in shares(person, [0.0, -0.4, -0.4])


def test_choose_calls_all_bad_where_nothing_reaches_the_bar() -> None:
    person = SimulatedAnnotator("Dan", all_bad_below=-6.0, seed=4)

    assert person.choose([-6.5, -8.0]) == "all_bad"
    assert person.choose([-5.5, -80.0]) == 0


def test_choose_gives_an_image_where_ties_and_all_bad_are_not_allowed() -> None:
    person = SimulatedAnnotator("Eve", tie_threshold=9.0, tie_rate=1.0, all_bad_below=0.0, seed=5)

    assert person.choose([-1.0, -1.0]) == "all_bad"
    assert person.choose([-1.0, -1.0], can_all_bad=False) == "tie"
    assert person.choose([-1.0, -1.0], can_tie=False, can_all_bad=False) in {0, 1}


def test_choose_repeats_with_the_same_seed() -> None:
    questions = np.random.default_rng(6).normal(size=(50, 4))

    first, again = (
        [person.choose(utilities) for utilities in questions]
        for person in (SimulatedAnnotator("Finn", seed=7), SimulatedAnnotator("Finn", seed=7))
    )

    assert first == again


def test_look_gives_the_true_utilities_in_the_order_shown() -> None:
    scene = Scene("large", "red", "circle", "on the left", "white")
    rng = np.random.default_rng(8)
    images = [draw(scene, rng, [Defect("glitch")]), draw(scene, rng)]

    seen = SimulatedAnnotator("Ada").look(images, scene.caption)

    assert seen == [truth.utility(image, scene.caption) for image in images]
    assert seen[0] < seen[1]


def test_panel_has_distinct_people_and_one_careless_one_last() -> None:
    people = panel(14, seed=9)

    assert len({person.name for person in people}) == 14
    assert len({person.skill for person in people}) == 14
    assert people[-1].name == simulator.CARELESS
    assert people[-1].skill < 0.1 < min(person.skill for person in people[:-1])


def test_panel_is_the_same_for_the_same_seed() -> None:
    assert panel(5, seed=1) == panel(5, seed=1)
    assert panel(5, seed=1) != panel(5, seed=2)
