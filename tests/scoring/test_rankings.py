from dataclasses import replace

import choix
import numpy as np
import pandas as pd
import pytest
from crowdkit.aggregation import BradleyTerry
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from scoring import rankings
from scoring.rankings import UnableToRank, Votes, rank_votes, ranking
from tests.scoring.people import choice, sr_4way, sr_pairs

NAMES = ("alpha", "beta", "gamma", "delta")


def between(names, wins):
    """Choices between two to nine generators: how often each won."""
    return [
        choice(place, prompt=f"{names}-{place}-{turn}", images=names, generators=names)
        for place, count in enumerate(wins)
        for turn in range(count)
    ]


def rank(choices, **options):
    """The places of the generators, best first."""
    return ranking(choices, **options).places


def worths(ranked):
    return {generator.generator: generator.log_worth for generator in ranked}


def test_rank_of_two_by_hand():
    # Odds of 3 to 1: ln 3 apart; Fisher information of the difference 40 * 3/4 * 1/4.
    ranked = rank(between(("alpha", "beta"), (10, 30)), prior=1e-9)

    error = 1.96 / np.sqrt(40 * 3 / 16) / 2
    assert [g.generator for g in ranked] == ["beta", "alpha"]
    assert [(g.chosen, g.shown) for g in ranked] == [(30, 40), (10, 40)]
    assert ranked[0].log_worth == pytest.approx(np.log(3) / 2)
    # The interval is that of the curvature, or a little wider by the resamples.
    assert np.log(3) / 2 - 1.2 * error <= ranked[0].low <= np.log(3) / 2 - error + 1e-4
    assert np.log(3) / 2 + error - 1e-4 <= ranked[0].high <= np.log(3) / 2 + 1.2 * error


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


def test_rank_takes_a_tie_for_an_answer_of_its_own():
    tied = [choice("tie", prompt=str(turn), images=NAMES[:2], generators=NAMES[:2]) for turn in range(4)]
    bad = [choice("all_bad", images=NAMES[:2], generators=NAMES[:2])]
    choices = between(NAMES[:2], (3, 1))

    found = ranking(choices + tied + bad, prior=1e-9)

    # By hand: half of the answers are ties, the others 3 to 1; the tie's odds to the mean of the two are 4 to sqrt(3).
    assert worths(found.places) == pytest.approx(worths(rank(choices, prior=1e-9)))
    assert found.tie == pytest.approx(np.log(4 / np.sqrt(3)))
    assert [(g.generator, g.chosen, g.shown) for g in found.places] == [("alpha", 3, 8), ("beta", 1, 8)]


def plain_negative_log_likelihood(values, names, choices, placed):
    """The model written out vote by vote: log-worths, then the tie's parameter, then the places'."""
    total = rankings.PRIOR / 2 * sum(value**2 for value in values)
    for vote in [*choices, *placed]:
        leanings = values[len(names) + 1 :] if vote in placed else np.zeros(9)
        own = [values[names.index(name)] + leanings[place] for place, name in enumerate(vote.generators)]
        answers = [*own, values[len(names)] + sum(own) / len(own)]
        picked = len(own) if vote.chosen is None else vote.chosen
        total -= answers[picked] - np.log(sum(np.exp(answer) for answer in answers))
    return total


@pytest.mark.parametrize("placed", [80, 50], ids=["all-places-known", "some-places-known"])
def test_ranking_with_ties_and_places_equals_a_plain_fit(placed):
    rng = np.random.default_rng(3)
    choices = []
    for turn in range(80):
        names = tuple(rng.choice(NAMES, size=rng.integers(2, 5), replace=False))
        picked = int(rng.integers(len(names) + 1))
        choices.append(
            choice("tie" if picked == len(names) else picked, prompt=str(turn), images=names, generators=names)
        )
    names, with_places, others = sorted(NAMES), choices[:placed], choices[placed:]
    plain = optimize.minimize(
        plain_negative_log_likelihood, np.zeros(9), args=(names, others, with_places), tol=1e-12
    ).x

    found = ranking(others, placed=with_places)

    assert [worths(found.places)[name] for name in names] == pytest.approx(plain[:4] - plain[:4].mean(), abs=1e-4)
    assert found.tie == pytest.approx(plain[4], abs=1e-4)
    assert found.leanings == pytest.approx(tuple(plain[5:] - plain[5:].mean()), abs=1e-4)


def test_ranking_takes_a_leaning_to_the_first_place_out_of_the_worths():
    rng = np.random.default_rng(0)
    votes = []
    for _ in range(3000):  # alpha stands first four times in five, and people lean to what stands first
        names = ("alpha", "beta") if rng.random() < 0.8 else ("beta", "alpha")
        votes.append(choice(int(rng.random() > 0.7), images=names, generators=names))

    by_place, without = ranking([], placed=votes), ranking(votes)

    assert abs(worths(by_place.places)["alpha"]) < 0.1 < worths(without.places)["alpha"]
    assert by_place.leanings[0] - by_place.leanings[1] == pytest.approx(np.log(7 / 3), abs=0.15)
    assert without.leanings == ()


def test_ranking_learns_no_leaning_from_choices_whose_order_says_nothing():
    """A file that names the chosen image first, as HPD v3 does, says nothing of places."""
    rng = np.random.default_rng(0)
    of_file = [
        choice(0, prompt=str(turn), images=names, generators=names)
        for turn, names in enumerate([("alpha", "beta")] * 300 + [("beta", "alpha")] * 100)
    ]
    shown = []
    for turn in range(400):
        names = tuple(rng.permutation(["alpha", "beta"]).tolist())
        best = names.index("alpha" if rng.random() < 0.75 else "beta")
        shown.append(choice(best, prompt=f"shown-{turn}", images=names, generators=names))

    found = ranking(of_file, placed=shown)

    assert worths(found.places)["alpha"] == pytest.approx(np.log(3) / 2, abs=0.1)
    assert found.leanings == pytest.approx((0, 0), abs=0.15)


def test_rank_of_pairs_orders_as_crowd_kit_does():
    rng = np.random.default_rng(1)
    names, truth = [f"g{number}" for number in range(8)], np.linspace(-1, 1, 8)
    choices, rows = [], []
    for turn in range(4000):
        one, two = rng.choice(8, size=2, replace=False)
        first_wins = rng.random() < 1 / (1 + np.exp(truth[two] - truth[one]))
        pair = (names[one], names[two])
        choices.append(choice(0 if first_wins else 1, prompt=str(turn), images=pair, generators=pair))
        rows.append({"left": pair[0], "right": pair[1], "label": pair[0] if first_wins else pair[1]})

    # Compared with itself, its estimate always has converged after two rounds; a tolerance below 0 lets it go on.
    theirs = np.log(BradleyTerry(n_iter=1000, tol=-1).fit_predict(pd.DataFrame(rows)))

    ours = worths(rank(choices))
    assert [ours[name] for name in names] == pytest.approx((theirs - theirs.mean())[names].tolist(), abs=1e-3)


def test_ranking_bands_hold_those_whose_intervals_overlap():
    found = ranking(between(("alpha", "beta"), (60, 55)) + between(("alpha", "gamma"), (95, 5)), seed=1)

    assert found.bands == {"alpha": (1, 2), "beta": (1, 2), "gamma": (3, 3)}


def test_ranking_reports_generators_that_were_never_compared():
    found = ranking(between(NAMES[:2], (5, 3)) + between(("gamma", "epsilon", "zeta"), (1, 2, 3)))

    assert found.components == [["epsilon", "gamma", "zeta"], ["alpha", "beta"]]
    assert ranking(between(NAMES, (1, 1, 1, 1))).components == [sorted(NAMES)]


def test_ranking_is_the_same_for_the_same_seed_and_for_a_generator_read_once():
    choices = between(NAMES, (40, 30, 20, 10))

    assert ranking(iter(choices)) == ranking(choices)
    assert ranking(choices, seed=1) != ranking(choices)


@pytest.mark.parametrize("n", [2, 4])
def test_rank_votes_finds_the_worths_of_many_generators_in_blocks_of_votes(n):
    rng = np.random.default_rng(n)
    truth = rng.normal(0, 1, 30)
    members = rng.integers(0, 30, (20_000, n)).astype(np.int32)
    answers = (truth[members] + rng.gumbel(size=members.shape)).argmax(axis=1).astype(np.int32)
    names = [f"g{number:02}" for number in range(30)]

    places = {place.generator: place for place in rank_votes(names, [Votes(members, answers)]).places}

    covered = [
        places[name].low <= worth <= places[name].high for name, worth in zip(names, truth - truth.mean(), strict=True)
    ]
    assert np.corrcoef([places[name].log_worth for name in names], truth)[0, 1] > 0.99
    assert sum(covered) >= 26


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


@pytest.mark.parametrize(("prompts", "blocks"), [(25, 2000), (100, 50)], ids=["few-prompts", "prompts-in-blocks"])
def test_rank_interval_covers_the_truth_where_votes_of_one_prompt_resemble_each_other(prompts, blocks, monkeypatch):
    monkeypatch.setattr(rankings, "BLOCKS", blocks)
    rng, covered = np.random.default_rng(0), 0
    for _ in range(60):
        liked = rng.normal(0, 1, (prompts, 4))  # on some prompts one is better, on others another: over all, none
        votes = [
            choice(place, prompt=str(prompt), images=NAMES, generators=NAMES)
            for prompt, worths in enumerate(liked)
            for place in (worths + rng.gumbel(size=(20, 4))).argmax(axis=1).tolist()
        ]
        covered += sum(place.low <= 0 <= place.high for place in rank(votes))

    assert 0.9 <= covered / 240 <= 0.99


def test_rank_interval_of_a_single_prompt_is_that_of_its_votes():
    votes = between(("alpha", "beta"), (10, 30))
    of_one = [replace(vote, prompt="p") for vote in votes]

    together, apart = rank(of_one, prior=1e-9)[0], rank(votes, prior=1e-9)[0]

    # Fisher information of the difference: 40 * 3/4 * 1/4.
    assert together.high - together.log_worth == pytest.approx(1.96 / np.sqrt(40 * 3 / 16) / 2, rel=1e-3)
    assert apart.high - apart.log_worth == pytest.approx(together.high - together.log_worth, rel=0.1)


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


@pytest.mark.parametrize("has_places", [True, False], ids=["places", "no-places"])
def test_equal_answers_may_be_counted_or_left_alone(has_places, monkeypatch):
    choices = [*between(NAMES, (4, 3, 2, 1)), *between(NAMES[:2], (2, 5)), *between(NAMES[1:], (1, 0, 3))]
    given = {"choices": [], "placed": choices} if has_places else {"choices": choices}
    counted = ranking(**given)

    monkeypatch.setattr(rankings, "LARGEST_NUMBER", 0)
    left_alone = ranking(**given)

    assert worths(left_alone.places) == pytest.approx(worths(counted.places))
    assert [(g.chosen, g.shown) for g in left_alone.places] == [(g.chosen, g.shown) for g in counted.places]
    assert left_alone.leanings == pytest.approx(counted.leanings)
