"""Against numpy and scipy: FID of Heusel et al. 2017, KID of Bińkowski et al. 2018, IS of Salimans et al. 2016."""

import numpy as np
import pytest
import torch
from scipy import linalg, special

from scoring import hps
from scoring.checkpoints import CheckpointRejected
from scoring.comparisons import ExchangeTest
from scoring.image_sets import (
    ClipTower,
    Described,
    InceptionTower,
    Pair,
    compare,
    exchange_tests,
    fid,
    inception_score,
    kid,
)
from scoring.metrics import UnableToMeasure
from tests.scoring import tiny


def draws(n, d=6, seed=0, shift=0.0):
    random = np.random.default_rng(seed)
    return (random.normal(size=(n, d)) @ random.normal(size=(d, d)) + shift).astype(np.float32)


def plain_fid(one, other):
    mean = ((one.mean(0) - other.mean(0)) ** 2).sum()
    first, second = np.cov(one.astype(float), rowvar=False), np.cov(other.astype(float), rowvar=False)
    return mean + np.trace(first + second - 2 * linalg.sqrtm(first @ second).real)


def plain_kid(one, other):
    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    n, m = len(one), len(other)
    first, second = kernel(one, one), kernel(other, other)
    own = (first.sum() - np.trace(first)) / (n * (n - 1)) + (second.sum() - np.trace(second)) / (m * (m - 1))
    return own - 2 * kernel(one, other).mean()


def test_fid_is_the_plain_formula_and_that_of_two_known_normals():
    one, other = draws(300), draws(200, seed=1, shift=0.5)
    assert fid(one, other) == pytest.approx(plain_fid(one, other), rel=1e-4)
    assert fid(one, one) == pytest.approx(0, abs=1e-3)
    assert fid(one, one + 2) == pytest.approx(6 * 4, rel=1e-4)
    assert fid(one, other) == pytest.approx(fid(other, one), rel=1e-6)


def test_kid_is_the_plain_formula():
    one, other = draws(120).astype(float), draws(120, seed=1, shift=0.5).astype(float)

    assert kid(one, other) == pytest.approx(plain_kid(one, other), rel=1e-6)


def test_inception_score_is_the_plain_formula_between_one_and_the_classes():
    logits = draws(100, seed=3)
    p = special.softmax(logits.astype(float), axis=1)
    expected = np.exp((p * (np.log(p) - np.log(p.mean(0)))).sum(1).mean())

    assert inception_score(logits) == pytest.approx(expected, rel=1e-6)
    assert inception_score(np.zeros((10, 6))) == pytest.approx(1)
    assert inception_score(1000 * np.eye(6)) == pytest.approx(6)


def test_fid_and_kid_need_two_images():
    for measure in (fid, kid):
        with pytest.raises(UnableToMeasure, match="Two images"):
            measure(draws(1), draws(5))


def world(difference, prompts=60):
    """Each prompt has two images, the chosen one `difference` away from the rejected one."""
    features = np.concatenate([draws(prompts, seed=4) + difference, draws(prompts, seed=5)])
    pairs = [Pair(f"prompt {number}", number, (number + prompts,)) for number in range(prompts)]
    return Described(features, features), pairs


def test_compare_names_each_number_and_puts_the_intervals_around_it():
    described, pairs = world(1.0)
    reference = Described(draws(60, seed=9), draws(60, seed=9))
    done = []

    found = compare(described, pairs, "X", reference=reference, resamples=20, on_resample=lambda: done.append(1))

    assert [estimate.name for estimate in found] == [
        "IS of one split, chosen on X", "IS of one split, rejected on X", "IS of one split, chosen - rejected on X",
        "FID, chosen to rejected on X", "KID, chosen to rejected on X",
        "FID, chosen to reference on X", "FID, rejected to reference on X", "FID, chosen - rejected to reference on X",
        "KID, chosen to reference on X", "KID, rejected to reference on X", "KID, chosen - rejected to reference on X",
    ]  # fmt: skip
    assert all(estimate.low < estimate.value < estimate.high for estimate in found)
    assert {estimate.n for estimate in found} == {60}
    assert found[3].value == pytest.approx(plain_fid(described.features[:60], described.features[60:]), rel=1e-4)
    assert len(done) == 20
    assert compare(described, pairs, "X", reference=reference, resamples=20) == found


def test_compare_sees_no_difference_where_there_is_none():
    described, pairs = world(0.0)
    swapped = [
        Pair(pair.prompt, *((pair.chosen, pair.rejected) if number % 2 else (pair.rejected[0], (pair.chosen,))))
        for number, pair in enumerate(pairs)
    ]

    difference = compare(described, swapped, "X", resamples=50)[2]

    assert difference.low < 0 < difference.high


def test_exchanging_the_sides_shows_a_distance_where_there_is_one():
    described, pairs = world(1.0)
    done = []

    found = exchange_tests(described, pairs, "X", exchanges=99, on_exchange=lambda: done.append(1))

    values = [estimate.value for estimate in compare(described, pairs, "X", resamples=0)[3:5]]
    assert found == [
        ExchangeTest("FID, chosen to rejected on X", values[0], 0.01, 99),
        ExchangeTest("KID, chosen to rejected on X", values[1], 0.01, 99),
    ]
    assert len(done) == 99


def test_exchanging_the_sides_shows_a_distance_one_time_in_twenty_where_there_is_none():
    p_values = []
    for seed in range(60):
        features = draws(40, seed=seed)
        pairs = [Pair(f"prompt {number}", number, (number + 20,)) for number in range(20)]
        p_values.append(
            [one.p_value for one in exchange_tests(Described(features, features), pairs, "X", exchanges=19)]
        )

    assert (np.array(p_values) <= 0.05).mean(axis=0) == pytest.approx(0.05, abs=0.06)
    assert np.mean(p_values, axis=0) == pytest.approx(0.5, abs=0.12)


def test_exchanging_the_sides_moves_whole_prompts():
    features = draws(40, seed=6)
    # One prompt can be exchanged in two ways, both as far apart.
    pairs = [Pair("all", number, (number + 20,)) for number in range(20)]

    found = exchange_tests(Described(features, features), pairs, "X", exchanges=9)

    assert [one.p_value for one in found] == [1.0, 1.0]


def test_compare_needs_two_decisions():
    described, pairs = world(0.0)
    with pytest.raises(UnableToMeasure, match="Two decided choices"):
        exchange_tests(described, pairs[:1], "X")

    with pytest.raises(UnableToMeasure, match="Two decided choices"):
        compare(described, pairs[:1], "X")


def test_clip_tower_gives_the_models_own_embeddings_and_imagenets_classes(tmp_path):
    scorer = hps.load_clip_scorer(tiny.write_clip(tmp_path / "clip"), "cpu")
    pictures = [tiny.picture(brightness) for brightness in (40, 120, 200)]

    tower = ClipTower(scorer)
    described = tower.describe(iter(pictures))

    squares = torch.from_numpy(
        tiny.PREPROCESSING.normalise(np.stack([tiny.PREPROCESSING.square(picture) for picture in pictures]))
    )
    with torch.inference_mode():
        expected = scorer.model.encode_image(squares).numpy()
    assert tower.name == "CLIP features of tiny"
    assert described.features == pytest.approx(expected, abs=1e-5)
    assert described.logits.shape == (3, 1000)
    goldfish = scorer.score(pictures, "a photo of a goldfish.")
    assert described.logits[:, 1] == pytest.approx(goldfish, abs=1e-3)


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory):
    """Inception with random weights, as torch-fidelity publishes the trained ones."""
    from torch_fidelity import feature_extractor_inceptionv3 as source

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "load_state_dict_from_url", lambda *_args, **_more: {})
        patch.setattr(source.FeatureExtractorInceptionV3, "load_state_dict", lambda self, tensors: None)
        torch.manual_seed(0)
        net = source.FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"])
    path = tmp_path_factory.mktemp("inception") / "inception.pth"
    torch.save(net.state_dict(), path)
    return path


def test_inception_tower_is_what_torchmetrics_makes_of_the_same_file(inception_file):
    from torchmetrics.image.fid import NoTrainInceptionV3

    pictures = [tiny.picture(brightness, size=(40, 30)) for brightness in (40, 200)]
    net = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(inception_file))
    pixels = torch.stack([torch.from_numpy(np.array(picture)).permute(2, 0, 1) for picture in pictures])

    tower = InceptionTower(inception_file, "cpu")
    described = tower.describe(pictures)

    assert tower.name == "Inception features"
    assert (described.features.shape, described.logits.shape) == ((2, 2048), (2, 1008))
    assert described.features == pytest.approx(net(pixels).numpy(), rel=1e-3, abs=1e-5)


def test_inception_tower_runs_no_code_of_a_file(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"fc.weight": Evil()}, tmp_path / "evil.pth")

    with pytest.raises(CheckpointRejected, match="can't be read as plain weights"):
        InceptionTower(tmp_path / "evil.pth")

    assert not (tmp_path / "ran").exists()


def test_inception_tower_refuses_what_is_not_its_file(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")

    with pytest.raises(CheckpointRejected, match="can't be read as plain weights"):
        InceptionTower(tmp_path / "none.pth")
    with pytest.raises(CheckpointRejected, match="isn't Inception's weights"):
        InceptionTower(tmp_path / "other.pth")
