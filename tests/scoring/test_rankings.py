import choix
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring import rankings
from scoring.rankings import UnableToRank, rank
from tests.scoring.people import choice, sr_4way, sr_pairs

NAMES = ("alpha", "beta", "gamma", "delta")


def between(names, wins):
    """Choices between two to nine generators: how often each won."""
    return [
        choice(place, prompt=f"{names}-{place}-{turn}", images=names, generators=names)
        for place, count in enumerate(wins)
        for turn in range(count)
    ]


def worths(ranked):
    return {generator.generator: generator.log_worth for generator in ranked}


def test_rank_of_two_by_hand():
    # Odds of 3 to 1: ln 3 apart; Fisher information of the difference 40 * 3/4 * 1/4.
    ranked = rank(between(("alpha", "beta"), (10, 30)), prior=1e-9)

    error = 1 / np.sqrt(40 * 3 / 16) / 2
    assert [g.generator for g in ranked] == ["beta", "alpha"]
    assert [(g.chosen, g.shown) for g in ranked] == [(30, 40), (10, 40)]
    assert ranked[0].log_worth == pytest.approx(np.log(3) / 2)
    assert (ranked[0].low, ranked[0].high) == pytest.approx(
        (np.log(3) / 2 - 1.96 * error, np.log(3) / 2 + 1.96 * error), abs=1e-4
    )


def test_rank_of_one_set_gives_the_shares():
    ranked = rank(between(NAMES, (40, 30, 20, 10)), prior=1e-9)

    shares = np.exp(list(worths(ranked).values()))
    assert list(worths(ranked)) == list(NAMES)
    assert (shares / shares.sum()).tolist() == pytest.approx([0.4, 0.3, 0.2, 0.1])


def test_rank_is_centred_and_the_same_in_every_order():
    choices = between(NAMES, (4, 3, 2, 1)) + between(NAMES[:2], (2, 5)) + between(NAMES[1:], (1, 0, 3))

    ranked = rank(choices)

    assert sum(worths(ranked).values()) == pytest.approx(0, abs=1e-12)
    assert worths(rank(choices[::-1])) == pytest.approx(worths(ranked))


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_rank_equals_choix(seed):
    rng = np.random.default_rng(seed)
    data, choices = [], []
    for turn in range(60):
        members = rng.choice(4, size=rng.integers(2, 5), replace=False)
        chosen = int(rng.integers(len(members)))
        data.append((int(members[chosen]), [int(m) for place, m in enumerate(members) if place != chosen]))
        names = tuple(NAMES[member] for member in members)
        choices.append(choice(chosen, prompt=str(turn), images=names, generators=names))

    expected = choix.opt_top1(4, data, alpha=rankings.PRIOR / 2, tol=1e-10)

    found = worths(rank(choices))
    assert [found[name] for name in NAMES] == pytest.approx((expected - expected.mean()).tolist(), abs=1e-4)


def test_rank_splits_a_tie_evenly():
    tied = [choice("tie", prompt=str(turn), images=NAMES[:2], generators=NAMES[:2]) for turn in range(4)]
    bad = [choice("all_bad", images=NAMES[:2], generators=NAMES[:2])]
    choices = between(NAMES[:2], (3, 1))

    ranked = rank(choices + tied + bad)

    assert worths(ranked) == pytest.approx(worths(rank(between(NAMES[:2], (5, 3)))))
    assert [(g.generator, g.chosen, g.shown) for g in ranked] == [("alpha", 3, 8), ("beta", 1, 8)]


def test_rank_gives_one_that_was_never_chosen_a_finite_place_with_a_wide_interval():
    ranked = rank(between(("alpha", "beta"), (5, 0)))

    assert [g.generator for g in ranked] == ["alpha", "beta"]
    assert -10 < ranked[1].log_worth < -2
    assert ranked[1].high > 0


def test_rank_of_generators_never_compared_is_wide():
    ranked = rank(between(NAMES[:2], (50, 50)) + between(NAMES[2:], (50, 50)))

    assert all(generator.high - generator.low > 20 for generator in ranked)


def test_rank_takes_several_images_of_one_generator():
    # Two of three images are alpha's; if all are alike, it wins two times in three.
    names = ("alpha", "alpha", "beta")

    ranked = rank(between(names, (20, 20, 20)))

    assert worths(ranked) == pytest.approx({"alpha": 0, "beta": 0}, abs=1e-9)
    assert [(g.generator, g.chosen, g.shown) for g in ranked] == [("alpha", 40, 60), ("beta", 20, 60)]


def test_rank_leaves_out_choices_that_do_not_name_all():
    named = between(NAMES[:2], (3, 1))

    assert rank([*named, choice(0, generators=("alpha", None)), choice(1)]) == rank(named)


@pytest.mark.parametrize("choices", [[], [choice(0)], [choice(0, generators=("alpha", "alpha"))]])
def test_rank_of_fewer_than_two_is_refused(choices):
    with pytest.raises(UnableToRank, match="at least two named generators"):
        rank(choices)


def test_rank_needs_a_prior():
    with pytest.raises(UnableToRank, match="must be above 0, not 0"):
        rank(between(NAMES[:2], (3, 1)), prior=0)


def test_rank_interval_covers_the_truth_as_often_as_it_says():
    rng, truth, covered = np.random.default_rng(0), np.array([0.6, 0.1, -0.2, -0.5]), 0
    shares = np.exp(truth) / np.exp(truth).sum()
    for _ in range(60):
        ranked = {g.generator: g for g in rank(between(NAMES, rng.multinomial(100, shares)))}
        covered += sum(ranked[n].low <= worth <= ranked[n].high for n, worth in zip(NAMES, truth, strict=True))

    assert 0.92 <= covered / 240 <= 0.98


def test_to_record_has_the_names_that_outside_programs_rely_on():
    assert list(rank(between(NAMES[:2], (3, 1)))[0].to_record()) == [
        "generator", "chosen", "shown", "log_worth", "low", "high"
    ]  # fmt: skip


def test_rank_on_a_real_study(shared_data):
    pairs = rank(sr_pairs(shared_data))
    fours = rank(sr_4way(shared_data, "train", "test"))

    assert worths(pairs) == pytest.approx(
        {"ResShift": 0.599372, "RealESRGAN": 0.020553, "SwinIR": -0.035092, "BSRGAN": -0.584834}, abs=1e-5
    )
    assert {g.generator: g.chosen for g in pairs} == {
        "ResShift": 309, "RealESRGAN": 228, "SwinIR": 220, "BSRGAN": 143
    }  # fmt: skip
    assert {g.generator: (g.chosen, g.shown) for g in fours} == {
        "ResShift": (624, 1620), "SwinIR": (377, 1620), "RealESRGAN": (351, 1620), "BSRGAN": (268, 1620)
    }  # fmt: skip
