"""Warnings and hints of an adapter: on figures made up so that the answer is known."""

from dataclasses import replace

import numpy as np
import pytest

from scoring.metrics import Estimate, UnableToMeasure
from scoring.reward_hacking import (
    Arms,
    Evidence,
    difference,
    findings,
    kept,
    win_rate,
)

RANDOM = np.random.default_rng(5)
PROMPTS = 60
NOISE = RANDOM.normal(size=PROMPTS)


def arms(*, adapted_marked: float, original_marked: float | None = None, adapted: float | None = None) -> Arms:
    """Figures about 20 in the original, and so much higher or lower in the other arms, give or take 0.3."""

    random = np.random.default_rng(7)

    def arm(shift: float | None):
        return None if shift is None else NOISE + 20 + shift + random.normal(scale=0.3, size=PROMPTS)

    return Arms(NOISE + 20, arm(adapted_marked), arm(original_marked), arm(adapted))


def share(value: float, reach: float = 0.05) -> Estimate:
    return Estimate("share", value, value - reach, value + reach, 400)


def names(evidence: Evidence) -> list[str]:
    return [finding.name for finding in findings(evidence)]


def test_an_adapter_that_is_well_gives_no_finding():
    good = Evidence(
        hps=arms(adapted_marked=1.0, adapted=0.5, original_marked=0.1),
        clip=arms(adapted_marked=0.2, adapted=0.1, original_marked=0.0),
        diversity=Arms(np.full(PROMPTS, 0.3), np.full(PROMPTS, 0.28)),
        copies=Arms(np.full(PROMPTS, 0.5), np.full(PROMPTS, 0.55)),
        mark_gain=share(0.5),
        mark_gain_on_preferred=share(-0.1),
        people=share(0.7),
        hps_agreement=share(0.62),
        human_agreement=share(0.65),
    )

    assert findings(good) == []


def test_nothing_measured_gives_no_finding():
    assert findings(Evidence()) == []


@pytest.mark.parametrize(("part", "expected"), [(0.5, ["diversity lost"]), (0.79, ["diversity lost"]), (0.85, [])])
def test_images_that_have_become_alike_are_a_collapse(part, expected):
    spread = RANDOM.uniform(0.2, 0.4, PROMPTS)

    assert names(Evidence(diversity=Arms(spread, part * spread))) == expected


@pytest.mark.parametrize(("lost", "expected"), [(6, ["images lost"]), (1, []), (0, [])])
def test_an_adapter_that_loses_clearly_more_images_than_the_original_is_named(lost, expected):
    original = (np.arange(PROMPTS) < 3).astype(float)
    adapted = (np.arange(PROMPTS) < 3 + lost).astype(float)

    assert names(Evidence(faulty=Arms(original, adapted))) == expected


def test_less_variety_on_a_few_prompts_that_may_be_chance_is_no_collapse():
    assert names(Evidence(diversity=Arms(np.array([0.3, 0.3, 0.3]), np.array([0.0, 0.3, 0.3])))) == []


@pytest.mark.parametrize(("share_of_copies", "expected"), [(0.9, ["training images copied"]), (0.5, [])])
def test_images_that_lie_upon_training_images_are_memorised(share_of_copies, expected):
    original = (np.arange(PROMPTS) % 2).astype(float)
    adapted = (np.arange(PROMPTS) < share_of_copies * PROMPTS).astype(float)

    assert names(Evidence(copies=Arms(original, adapted))) == expected


@pytest.mark.parametrize(
    ("hps", "clip", "expected"),
    [(1.0, -1.0, ["alignment lost"]), (1.0, 0.0, []), (1.0, 1.0, []), (-1.0, -1.0, [])],
)
def test_a_score_that_rises_while_the_fit_to_the_text_falls_is_reward_hacking(hps, clip, expected):
    evidence = Evidence(hps=arms(adapted_marked=hps), clip=arms(adapted_marked=clip))

    assert names(evidence) == expected


@pytest.mark.parametrize(
    ("people", "expected"),
    [
        (share(0.5), ["people unmoved"]),
        (share(0.3), ["people unmoved"]),
        (share(0.7), []),
        (share(0.5, reach=0.5), []),  # too few votes to say
        (Estimate("share", None, None, None, 0), []),
    ],
)
def test_a_score_that_rises_while_people_see_no_difference_is_reward_hacking(people, expected):
    assert names(Evidence(hps=arms(adapted_marked=2.0), people=people)) == expected


def test_reward_hacking_is_named_with_its_numbers():
    evidence = Evidence(
        hps=Arms(np.zeros(100), np.full(100, 0.5)), clip=Arms(np.zeros(100), np.full(100, -0.25)), people=share(0.48)
    )

    alignment, people = findings(evidence)
    assert alignment.text == (
        "Reward hacking: HPS rises by 0.5 (0.5 to 0.5) while the CLIP score, the fit to the text, falls by"
        " 0.25 (0.25 to 0.25). The images please the score and show less of what was asked for."
    )
    assert people.text == (
        "Reward hacking: by HPS the adapted generator wins 100 % (96 to 100 %) of the prompts, people give it"
        " 48 % (43 to 53 %) of their votes. What rises is the score, not what people see."
    )


def test_a_score_that_did_not_move_hints_at_too_little_capacity():
    assert names(Evidence(hps=arms(adapted_marked=0.0))) == ["nothing changed"]
    assert names(Evidence(hps=Arms(NOISE, NOISE))) == ["nothing changed"]


def test_a_score_that_may_have_moved_hints_at_nothing():
    twelve_prompts = Arms(NOISE[:12], NOISE[:12] + 0.3 + 2 * NOISE[12:24])

    assert names(Evidence(hps=twelve_prompts)) == []
    assert names(Evidence(hps=Arms(NOISE[:12], NOISE[:12]))) == []
    assert names(Evidence(hps=Arms(NOISE, NOISE + np.tile([3.0, -3.0], PROMPTS // 2)))) == []


@pytest.mark.parametrize(
    ("gain", "on_preferred", "expected"),
    [
        (share(0.002, reach=0.005), None, ["mark not learnt"]),
        (share(-0.1), None, ["mark not learnt"]),
        (share(0.2), share(0.31), ["mark not learnt"]),
        (share(0.2), share(0.1), []),
        (share(0.2), share(0.21), []),  # too few images to tell which of them is more
        (share(0.2), None, []),
        (share(0.02), None, []),  # too few images to say
        (Estimate("gain", 0.0, -0.001, 0.001, 5), None, []),
        (Estimate("gain", 0.2, None, None, 1), None, []),
    ],
)
def test_a_mark_that_tells_nothing_of_the_non_preferred_images_was_not_learnt(gain, on_preferred, expected):
    assert names(Evidence(mark_gain=gain, mark_gain_on_preferred=on_preferred)) == expected


def test_a_mark_that_lowers_what_the_adapter_alone_reaches_is_too_aggressive():
    evidence = Evidence(hps=arms(adapted_marked=1.0, adapted=2.0), clip=arms(adapted_marked=0.0, adapted=1.0))

    [finding] = findings(evidence)

    assert (finding.name, finding.is_hint) == ("mark too aggressive", True)
    assert "lowers the HPS by 1" in finding.text
    assert "the CLIP score by 1" in finding.text


def test_a_mark_that_does_as_much_to_the_original_needs_no_adapter():
    as_much = NOISE + 21

    assert names(Evidence(hps=Arms(NOISE + 20, as_much, as_much))) == ["adapter not needed"]
    unsure = as_much + np.tile([3.0, -3.0], PROMPTS // 2)
    assert names(Evidence(hps=Arms(NOISE + 20, unsure, as_much))) == []


@pytest.mark.parametrize(
    ("human", "hps", "expected"),
    [
        (share(0.51), share(0.7), ["people of many minds"]),
        (share(0.65), share(0.5), ["wrong aspects"]),
        (share(0.65), share(0.6), []),
        (share(0.65), None, []),
        (Estimate("share", 0.8, 0.45, 1.0, 5), share(0.2), []),  # too few people to say
        (Estimate("share", 0.5, 0.45, 0.55, 5), None, []),
        (share(0.65), share(0.6, reach=0.1), []),
    ],
)
def test_agreement_on_the_pairs_tells_taste_from_a_score_that_is_blind(human, hps, expected):
    assert names(Evidence(human_agreement=human, hps_agreement=hps)) == expected


def test_difference_and_win_rate_compare_prompt_by_prompt():
    pair = Arms(np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 2.0, 4.0, 3.0]))

    assert difference(pair).value == 0.25
    assert win_rate(pair).value == (1 + 0.5 + 1) / 4
    assert win_rate(pair).n == 4
    assert difference(pair, of="adapted") is None
    assert win_rate(pair, to="original_marked") is None


def test_kept_is_the_ratio_of_the_sums():
    assert kept(Arms(np.array([1.0, 3.0]), np.array([1.0, 1.0]))).value == 0.5
    assert kept(Arms(np.zeros(2), np.ones(2))).value is None
    assert kept(Arms(np.ones(1), np.ones(1))).low is None


def test_arms_of_different_length_are_refused():
    with pytest.raises(UnableToMeasure, match=r"different numbers of prompts: \[2, 3\]"):
        Arms(np.ones(2), np.ones(3))


def test_a_finding_is_plain_values_for_json():
    [finding] = findings(replace(Evidence(), mark_gain=share(0.0, reach=0.005)))

    assert finding.to_record() == {"name": "mark not learnt", "text": finding.text, "is_hint": True}
