from scoring.slices import slices
from tests.scoring.people import choice, votes


def made(choices, tags=None):
    cut = slices(choices, tags or {})
    return [(one.kind, one.label, len(one.choices)) for one in cut.slices], cut.left_out


def test_slices_by_number_of_images_and_by_tag():
    choices = [choice(0, n, prompt=f"p{n}", annotator=f"a{number}") for n in (2, 4) for number in range(10)]
    tags = {"p2": ["style"], "p4": ["style", "style", "hands"]}

    assert made(choices, tags) == (
        [
            ("all", "", 20),
            ("images", "2", 10),
            ("images", "4", 10),
            ("agreement", "decided", 20),
            ("tag", "style", 20),
            ("tag", "hands", 10),
        ],
        0,
    )


def test_slices_leave_out_the_small_ones_and_count_them():
    choices = [choice(0, prompt=f"p{number}", generators=("a", "b")) for number in range(9)]

    # Two images, one pair of generators; of one vote each nobody knows whether people agree.
    assert made(choices) == ([("all", "", 9)], 2)


def test_slices_tell_decided_from_contested_by_two_thirds_of_the_answers():
    decided = [vote for prompt in "abcd" for vote in votes([0, 0, 1], prompt=prompt)]
    contested = [vote for prompt in "efgh" for vote in votes([0, 0, 1, "tie"], prompt=prompt)]
    too_few = [vote for prompt in "ijklmn" for vote in votes([0, 0], prompt=prompt)]

    found, _ = made(decided + contested + too_few)

    assert found[2:] == [("agreement", "contested", 16), ("agreement", "decided", 12)]


def test_slices_by_generators_hold_the_chosen_image_beside_each_other_one():
    names = ("hawk", "gull", "kite", None)
    choices = [choice(1, 4, prompt=f"p{number}", generators=names) for number in range(10)]
    choices += [choice("tie", 4, prompt="p", generators=names), choice("all_bad", 4, prompt="p", generators=names)]

    pairs = [one for one in slices(choices, {}).slices if one.kind == "generators"]

    assert [(one.label, len(one.choices)) for one in pairs] == [("gull / hawk", 11), ("gull / kite", 11)]
    first = pairs[0].choices[0]
    assert (first.images, first.generators, first.chosen) == (("p0-0", "p0-1"), ("hawk", "gull"), 1)
    assert (pairs[1].choices[0].images, pairs[1].choices[0].chosen) == (("p0-1", "p0-2"), 0)
    assert pairs[0].choices[-1].outcome == "tie"


def test_slices_show_the_twenty_largest_of_a_kind():
    choices = [choice(0, prompt=f"p{n}-{tag}") for tag in range(22) for n in range(10 + tag)]
    tags = {one.prompt: [one.prompt.split("-")[1]] for one in choices}

    cut = slices(choices, tags)

    shown = [one.label for one in cut.slices if one.kind == "tag"]
    assert (shown[0], shown[-1], len(shown), cut.left_out) == ("21", "2", 20, 2)
