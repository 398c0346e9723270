"""The study's verdicts follow from the kept results and the declared thresholds."""

import pytest

from hps_site.demo.study import report
from hps_site.demo.study.declaration import CONTROLS, DECLARED, WITHOUT_NEGATIVE
from hps_site.demo.study.findings import read_findings
from hps_site.demo.study.kept import HACKED, POSITIVE, Kept, arm_record, people_record
from tests.hps_site.demo.study.records import (
    BETTER,
    CAPTIONS,
    DECLARATION,
    EVEN,
    WORSE,
    judged,
    keep,
    record,
    votes,
)


@pytest.fixture
def kept(tmp_path):
    return Kept(tmp_path)


def found(kept):
    return read_findings(DECLARATION, kept)


def verdicts(kept):
    return report.verdicts(found(kept))


PREFERRED = "The declared arm is preferred to the original, by the hidden truth and by people's votes."
NOT_SHOWN = "That the declared arm is preferred to the original, by truth and by votes, is not shown."
NOT_LEARNT = "That the mark was learnt is not shown"
HACKED_SO = "HPS rises, the truth falls, and"
QUIET = "Every control shows nothing or less."


def test_an_arm_that_is_truly_better_and_gets_the_votes_is_preferred(kept):
    keep(kept)

    study = found(kept).preference

    assert study.together.wins.value == study.together.votes.value == 0.9
    assert study.together.wins.n == 2 * len(CAPTIONS)
    assert study.together.utility.value == 0.8
    assert [arm.seed for arm in study.seeds] == [0, 1]
    assert {control.shows for control in study.controls} == {"nothing"}
    assert verdicts(kept)["preference"] == f"{PREFERRED} {QUIET}"


@pytest.mark.parametrize(
    ("declared", "credits"),
    [
        (EVEN, [1.0] * 40),  # people see what isn't there
        (BETTER, [0.5] * 40),  # people don't see what is
        (WORSE, [0.0] * 40),
        ([0.0] * 40, [0.5] * 40),  # the very same images
    ],
)
def test_truth_and_votes_must_both_say_so(kept, declared, credits):
    keep(kept, declared=declared, credits=credits)

    assert verdicts(kept)["preference"].startswith(NOT_SHOWN)


def test_equal_images_count_half(kept):
    keep(kept, declared=[1.0] * 10 + [0.0] * 30)

    assert found(kept).preference.together.wins.value == (10 + 15) / 40


def test_a_control_that_is_better_too_shows_less_where_the_declared_arm_is_clearly_ahead(kept):
    keep(kept, declared=[1.0] * 40, controls=[1.0] * 30 + [-1.0] * 10)

    study = found(kept).preference

    assert {control.shows for control in study.controls} == {"less"}
    assert study.controls[0].declared_less_control.value == 0.25
    assert verdicts(kept)["preference"] == f"{PREFERRED} {QUIET}"


def test_a_control_that_shows_as_much_is_named(kept):
    keep(kept, controls=BETTER)

    assert verdicts(kept)["preference"] == (
        f"{PREFERRED} Not every control shows nothing or less; as much or more: "
        "shuffled labels, no mark, preferred only, the mark on the original."
    )


def test_before_all_seeds_are_done_there_is_no_verdict(kept):
    assert verdicts(kept) == dict.fromkeys(("positive_control", "preference", "hacking"), "Not done yet.")

    keep(kept)
    (kept.folder / f"{people_record(1)}.json").unlink()
    (kept.folder / f"{arm_record(CONTROLS[0], 1)}.json").unlink()

    assert found(kept).preference.controls[0].seeds == [0]
    assert verdicts(kept)["preference"] == (
        "Not all seeds are done, so there is no verdict yet. The controls are not finished. "
        "Every control so far shows nothing or less."
    )
    assert PREFERRED not in report.to_text(DECLARATION, found(kept))

    for arm in CONTROLS:
        for seed in DECLARATION.seeds:
            (kept.folder / f"{arm_record(arm, seed)}.json").unlink(missing_ok=True)
    assert verdicts(kept)["preference"].endswith("No control is done yet.")


@pytest.mark.parametrize(
    ("gain", "with_mark", "verdict"),
    [
        (0.04, BETTER, "The mark was learnt; as negative prompt, it raises the hidden truth."),
        (0.04, EVEN, "The mark was learnt; as negative prompt, a rise of the hidden truth is not shown."),
        (0.011, BETTER, f"{NOT_LEARNT}; as negative prompt, it raises the hidden truth."),
        (
            -0.04,
            WORSE,
            "That the mark was learnt is not shown; as negative prompt, a rise of the hidden truth is not shown.",
        ),
    ],
)
def test_the_positive_control_wants_a_gain_of_some_size_and_a_rise_by_the_mark_itself(kept, gain, with_mark, verdict):
    arms = {DECLARED: judged(with_mark), WITHOUT_NEGATIVE: judged([0.0] * 40)}
    kept.make(POSITIVE, lambda: record(arms, gain=gain))

    assert verdicts(kept)["positive_control"] == verdict


RISING = [1.0] * 40


@pytest.mark.parametrize(
    ("truth", "hps", "clip", "credits", "verdict"),
    [
        (
            WORSE,
            RISING,
            WORSE,
            [0.5] * 40,
            f"{HACKED_SO} the product's warnings name it: alignment lost, people unmoved.",
        ),
        (WORSE, RISING, RISING, [1.0] * 40, f"{HACKED_SO} no warning of the product names it."),
        (EVEN, RISING, WORSE, [0.5] * 40, "A case in which HPS rises and the truth falls is not shown."),
        (WORSE, WORSE, WORSE, [0.5] * 40, "A case in which HPS rises and the truth falls is not shown."),
    ],
)
def test_hacking_is_a_score_that_rises_while_the_truth_falls(kept, truth, hps, clip, credits, verdict):
    arms = {DECLARED: judged(truth, hps, clip), WITHOUT_NEGATIVE: judged([0.0] * 40)}
    kept.make(HACKED, lambda: record(arms, people=votes(credits)))

    assert verdicts(kept)["hacking"] == verdict


def test_the_table_has_every_arm_with_its_intervals(kept):
    keep(kept)

    table = report.to_text(DECLARATION, found(kept))

    for words in ("synthetic", "seed 1", *(arm.name for arm in CONTROLS), WITHOUT_NEGATIVE.name, QUIET):
        assert words in table
    [together] = [line.split("  ") for line in table.splitlines() if line.startswith("all seeds together")]
    assert [cell.strip()[:7] for cell in together if cell] == [
        "all see",
        ".900 [.",
        "+.800 [",
        ".900 [.",
        "+.800 [",
        "+.800 [",
    ]
    assert "+0.0400 [+0.0300, +0.0500], +10.0 % of the loss without it (n 50)" in table


def test_the_record_says_it_is_synthetic_and_has_the_verdicts(kept):
    keep(kept)

    told = report.to_record(DECLARATION, found(kept))

    assert told["is_synthetic"]
    assert told["key"] == DECLARATION.key
    assert told["verdicts"] == verdicts(kept)
    assert told["preference"]["together"]["votes"]["value"] == 0.9
