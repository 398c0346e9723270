"""Measures of whole sets of images: Inception score, FID and KID, by torchmetrics, each named by what it stands on.

The measures are distances between distributions of a network's features. With Inception's weights they are the
published ones, but for the Inception score: publications take the mean of ten parts of some 5,000 images, which sets
that people judged don't have; here it is of all images at once, and named so. On the image half of a CLIP they are
other numbers, useful in the same way, and named so too. All depend on the number of images: compare sets of one size.
"""

import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import nn

from scoring import checkpoints
from scoring.backend import pick_device  # before torchmetrics: makes its own import of torchvision possible
from scoring.checkpoints import CheckpointRejected
from scoring.comparisons import ExchangeTest
from scoring.hps import ClipScorer
from scoring.intervals import percentile_interval
from scoring.metrics import Estimate, UnableToMeasure

import open_clip  # isort: skip
from torchmetrics.image.fid import FrechetInceptionDistance, NoTrainInceptionV3  # isort: skip
from torchmetrics.image.inception import InceptionScore  # isort: skip
from torchmetrics.image.kid import KernelInceptionDistance  # isort: skip

BATCH = 32

KID_SUBSET, KID_SUBSETS = 1000, 10

CAPTION = "a photo of a {}."
"""What CLIP is asked about each class of ImageNet, see open_clip's `SIMPLE_IMAGENET_TEMPLATES`."""


@dataclass(frozen=True)
class Described:
    """What a network says of n images."""

    features: NDArray[np.float32]
    """(n, d), for FID and KID."""

    logits: NDArray[np.float32]
    """(n, classes), before the softmax, for the Inception score."""


class Tower(Protocol):
    """A network that describes images."""

    name: str
    """What the measures stand on, such as `CLIP features of tiny-clip`."""

    def describe(self, images: Iterable[Image.Image]) -> Described:
        """Features and logits of images of any size, in order."""


class ClipTower:
    """The image half of a CLIP: its embeddings, not brought to length one, as in CLIP-FID (arXiv 2203.06026).

    The classes of the Inception score are ImageNet's thousand, told apart by CLIP's own text half.
    """

    def __init__(self, scorer: ClipScorer) -> None:
        self.name = f"CLIP features of {scorer.manifest.get('name', 'an unnamed model')}"
        self._scorer = scorer
        captions = [CAPTION.format(name) for name in open_clip.IMAGENET_CLASSNAMES]
        self._classes = torch.cat([scorer.encode_texts(group) for group in _groups(captions, BATCH)])

    @torch.inference_mode()
    def describe(self, images: Iterable[Image.Image]) -> Described:
        """See `Tower`."""
        features, logits = [], []
        for batch in _groups(images, BATCH):
            squares = np.stack([self._scorer.preprocessing.square(image) for image in batch])
            embeddings = self._scorer.embed_squares(squares)
            features.append(embeddings.cpu())
            logits.append((100 * nn.functional.normalize(embeddings, dim=-1) @ self._classes.T).cpu())
        return _described(features, logits)


class InceptionTower:
    """Inception v3 as FID was defined with it, from a local file of its weights.

    Args:
        path: `weights-inception-2015-12-05-6726825d.pth`, as torch-fidelity publishes it.
        device: see `scoring.backend.pick_device`.

    Raises:
        CheckpointRejected: the file is missing or is something else.
    """

    name = "Inception features"

    def __init__(self, path: Path, device: str | None = None) -> None:
        self._device = pick_device(device)
        tensors = checkpoints.convert_torch_file(path)
        # torch-fidelity would run what a pickle holds, so it gets a file with the tensors alone.
        with tempfile.NamedTemporaryFile(suffix=".pth") as plain:
            torch.save(tensors, plain.name)
            try:
                net = NoTrainInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"], plain.name)
            except RuntimeError as error:
                reason = " ".join(str(error).split())[:200]
                raise CheckpointRejected(f"{path}: isn't Inception's weights ({reason}).") from error
        self._net = net.to(self._device)

    @torch.inference_mode()
    def describe(self, images: Iterable[Image.Image]) -> Described:
        """See `Tower`; the network itself resizes each image to 299 x 299."""
        features, logits = [], []
        for image in images:
            pixels = np.array(ImageOps.exif_transpose(image).convert("RGB"))
            batch = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(self._device)
            feature, logit = self._net._torch_fidelity_forward(batch)
            features.append(feature.cpu())
            logits.append(logit.cpu())
        return _described(features, logits)


class _AsTheyAre(nn.Module):
    """For torchmetrics: the features are worked out already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features


def fid(one: NDArray[np.floating[Any]], other: NDArray[np.floating[Any]]) -> float:
    """Fréchet distance of two sets of features, (n, d) and (m, d): squared, as is the custom; 0 for equal sets.

    |m1 - m2|^2 + trace(S1 + S2 - 2 (S1 S2)^1/2) of their means and covariances. With fewer images than features the
    covariances are of low rank and the number is too large, alike for sets of one size.

    Raises:
        UnableToMeasure: fewer than two images on a side.
    """
    _need_two(one, other)
    metric = FrechetInceptionDistance(feature=_AsTheyAre(one.shape[1])).set_dtype(torch.float64)
    metric.update(torch.from_numpy(np.asarray(one, dtype=np.float64)), real=True)
    metric.update(torch.from_numpy(np.asarray(other, dtype=np.float64)), real=False)
    return max(0.0, float(metric.compute()))


def kid(one: NDArray[np.floating[Any]], other: NDArray[np.floating[Any]], *, seed: int = 0) -> float:
    """Kernel distance of two sets of features: squared MMD with the kernel (x.y / d + 1)^3; about 0 for equal sets.

    Unbiased, so it may be below 0. The mean over 10 subsets of 1,000, or of all images where there are fewer.

    Raises:
        UnableToMeasure: fewer than two images on a side.
    """
    _need_two(one, other)
    size = min(len(one), len(other), KID_SUBSET)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # of the memory it takes
        torch.manual_seed(seed)
        metric = KernelInceptionDistance(feature=_AsTheyAre(one.shape[1]), subsets=KID_SUBSETS, subset_size=size)
        metric.update(torch.from_numpy(np.asarray(one, dtype=np.float64)), real=True)
        metric.update(torch.from_numpy(np.asarray(other, dtype=np.float64)), real=False)
        mean, _ = metric.compute()
    return float(mean)


def inception_score(logits: NDArray[np.floating[Any]]) -> float:
    """exp(mean KL(p(class | image) || p(class))) of logits, (n, classes): 1 at the least, the classes at the most.

    Of one split: over all images at once, not the mean of ten tenths.
    """
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # of the memory it takes, and of the deviation of a single split, unused here
        metric = InceptionScore(feature=_AsTheyAre(logits.shape[1]), splits=1)
        metric.update(torch.from_numpy(np.asarray(logits, dtype=np.float64)))
        mean, _ = metric.compute()
    return float(mean)


@dataclass(frozen=True)
class Pair:
    """One person's decision: indices into the described images."""

    prompt: str
    chosen: int
    rejected: tuple[int, ...]


def compare(
    described: Described,
    pairs: Sequence[Pair],
    name: str,
    *,
    reference: Described | None = None,
    resamples: int = 200,
    seed: int = 0,
    on_resample: Callable[[], object] = lambda: None,
) -> list[Estimate]:
    """The paper's test: do the measures of sets tell the images that people chose from those they passed over?

    For each decision one of the images passed over is drawn, so that both sets are of one size. Intervals by bootstrap
    over prompts. Resampling repeats images, which moves FID and KID upwards, so the replicates are shifted to have the
    estimate as their mean.

    Args:
        described: all images.
        pairs: the decisions.
        name: of the tower.
        reference: of images that both sets are held against; without it they are held against each other alone.
        resamples: bootstrap replicates.
        seed: of the draws.
        on_resample: called after each replicate.

    Returns:
        Inception score of both sets and their difference, FID and KID between them, and, with a reference, FID and KID
        of both sets to it and the differences; chosen minus rejected each.

    Raises:
        UnableToMeasure: fewer than two decisions.
    """
    if len(pairs) < 2:
        raise UnableToMeasure(f"Two decided choices are needed at least; there are {len(pairs)}.")
    random = np.random.default_rng(seed)
    by_prompt: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_prompt.setdefault(pair.prompt, []).append(pair)
    groups = list(by_prompt.values())
    values = _measures(described, pairs, reference, random)
    replicates = []
    for _ in range(resamples):
        drawn = [pair for index in random.integers(len(groups), size=len(groups)) for pair in groups[index]]
        if len(drawn) > 1:
            replicates.append(_measures(described, drawn, reference, random))
        on_resample()
    return [
        _estimate(f"{measure} on {name}", value, [replicate[measure] for replicate in replicates], len(pairs))
        for measure, value in values.items()
    ]


def exchange_tests(
    described: Described,
    pairs: Sequence[Pair],
    name: str,
    *,
    exchanges: int = 200,
    seed: int = 0,
    on_exchange: Callable[[], object] = lambda: None,
) -> list[ExchangeTest]:
    """Whether the chosen images lie further from those passed over than two mixtures of them do.

    A distance is never below 0 by more than chance, so its interval tells nothing. If people had chosen at random, the
    two sides of a prompt could be exchanged; whole prompts are, since votes on one prompt resemble each other.

    Args:
        described: all images.
        pairs: the decisions.
        name: of the tower.
        exchanges: how many mixtures; with 199 the smallest p-value is 1/200.
        seed: of the draws; one of the images passed over is drawn for each decision, the same as by `compare`.
        on_exchange: called after each mixture.

    Returns:
        FID and KID of the chosen images to the rejected ones.

    Raises:
        UnableToMeasure: fewer than two decisions.
    """
    if len(pairs) < 2:
        raise UnableToMeasure(f"Two decided choices are needed at least; there are {len(pairs)}.")
    random = np.random.default_rng(seed)
    chosen, rejected = _sides(pairs, random)
    prompts, places = np.unique([pair.prompt for pair in pairs], return_inverse=True)
    observed = _distances(described, chosen, rejected)
    as_far = dict.fromkeys(observed, 1)  # the one observed among them
    for _ in range(exchanges):
        is_exchanged = random.integers(2, size=len(prompts))[places] == 1
        mixed = _distances(
            described, np.where(is_exchanged, rejected, chosen), np.where(is_exchanged, chosen, rejected)
        )
        for measure, value in observed.items():
            as_far[measure] += mixed[measure] >= value - 1e-9 * abs(value)
        on_exchange()
    return [
        ExchangeTest(f"{measure} on {name}", value, as_far[measure] / (exchanges + 1), exchanges)
        for measure, value in observed.items()
    ]


def _sides(pairs: Sequence[Pair], random: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    chosen = np.array([pair.chosen for pair in pairs])
    return chosen, np.array([random.choice(pair.rejected) for pair in pairs])


def _distances(described: Described, chosen: NDArray[np.int64], rejected: NDArray[np.int64]) -> dict[str, float]:
    one, other = described.features[chosen], described.features[rejected]
    return {"FID, chosen to rejected": fid(one, other), "KID, chosen to rejected": kid(one, other)}


def _measures(
    described: Described, pairs: Sequence[Pair], reference: Described | None, random: np.random.Generator
) -> dict[str, float]:
    chosen, rejected = _sides(pairs, random)
    scores = [inception_score(described.logits[side]) for side in (chosen, rejected)]
    found = {
        "IS of one split, chosen": scores[0],
        "IS of one split, rejected": scores[1],
        "IS of one split, chosen - rejected": scores[0] - scores[1],
        **_distances(described, chosen, rejected),
    }
    if reference is not None:
        for title, measure in (("FID", fid), ("KID", kid)):
            near = [measure(described.features[side], reference.features) for side in (chosen, rejected)]
            found |= {
                f"{title}, chosen to reference": near[0],
                f"{title}, rejected to reference": near[1],
                f"{title}, chosen - rejected to reference": near[0] - near[1],
            }
    return found


def _estimate(name: str, value: float, replicates: list[float], n: int) -> Estimate:
    if len(replicates) < 2:
        return Estimate(name=name, value=value, low=None, high=None, n=n, reason="no resamples")
    shifted = np.array(replicates) - np.mean(replicates) + value
    low, high = percentile_interval(shifted)
    return Estimate(name=name, value=value, low=low, high=high, n=n)


def _need_two(*sides: NDArray[np.floating[Any]]) -> None:
    if min(map(len, sides)) < 2:
        raise UnableToMeasure("Two images are needed on each side at least.")


def _described(features: list[torch.Tensor], logits: list[torch.Tensor]) -> Described:
    if not features:
        raise UnableToMeasure("There are no images.")
    return Described(torch.cat(features).float().numpy(), torch.cat(logits).float().numpy())


def _groups(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group
