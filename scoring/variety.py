"""What features tell of generated images: how unlike each other they are, and how near to the training's images.

The features are of any network; images are compared by the cosine of theirs.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from scoring.metrics import UnableToMeasure

Array = NDArray[np.floating]

CHUNK = 1024
"""Images compared with all training images at once."""


def diversity(features: Array) -> NDArray[np.float64]:
    """How unlike each other the images of one prompt are that differ by their seed alone.

    Args:
        features: (prompts, images, d), two images per prompt at least.

    Returns:
        (prompts,) mean of 1 - cos over the pairs of a prompt's images: 0 where they are all the same.

    Raises:
        UnableToMeasure: fewer than two images per prompt.
    """
    images = features.shape[1]
    if images < 2:
        raise UnableToMeasure("Variety between seeds needs two images per prompt at least.")
    rows = _unit(features)
    alike = np.einsum("pid,pjd->pij", rows, rows)
    off_diagonal = alike.sum(axis=(1, 2)) - np.trace(alike, axis1=1, axis2=2)
    spread: NDArray[np.float64] = 1 - off_diagonal / (images * (images - 1))
    return spread


def closeness(generated: Array, training: Array) -> NDArray[np.float64]:
    """How near each generated image comes to a training image: cos to the nearest one, (n,) of (n, d) and (m, d)."""
    return np.concatenate([near.max(axis=1) for near in _similarities(generated, training)])


def copies(generated: Array, training: Array) -> NDArray[np.bool_]:
    """Which generated images lie nearer to a training image than any other training image does.

    Of a generator that has learnt what its training images have in common, and no image by heart, this holds for about
    half of the images; how many it is exactly depends on the features, so the original is the measure of the adapted.

    Args:
        generated: (n, d) features.
        training: (m, d) features, two images at least.

    Returns:
        (n,)

    Raises:
        UnableToMeasure: fewer than two training images.

    Source: Alaa et al., How Faithful is your Synthetic Data? (2022), authenticity.
    """
    if len(training) < 2:
        raise UnableToMeasure("What is near is measured by the distance of training images: two are needed at least.")
    spacing = _nearest_other(training)
    found = [
        near.max(axis=1) > spacing[near.argmax(axis=1)]  # more alike than the training image's own neighbour is
        for near in _similarities(generated, training)
    ]
    return np.concatenate(found)


def _unit(features: Array) -> NDArray[np.float64]:
    rows = np.asarray(features, dtype=np.float64)
    unit: NDArray[np.float64] = rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)
    return unit


def _similarities(generated: Array, training: Array) -> Iterator[NDArray[np.float64]]:
    """Cosines of the generated images with all training images, in blocks of (up to 1024, m)."""
    columns = _unit(training).T
    for start in range(0, len(generated), CHUNK):
        yield _unit(generated[start : start + CHUNK]) @ columns


def _nearest_other(training: Array) -> NDArray[np.float64]:
    """(m,) cosine of each training image with the nearest other one."""
    nearest = []
    for number, near in enumerate(_similarities(training, training)):
        rows = np.arange(len(near))
        near[rows, rows + number * CHUNK] = -np.inf
        nearest.append(near.max(axis=1))
    return np.concatenate(nearest)
