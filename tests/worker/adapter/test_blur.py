"""Blurred and blank pictures: known examples at 32 and 512 pixels, properties, and where the released test is wrong."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageFilter

from worker.adapter.blur import Fault, edge_width, fault_of

SIZES = (32, 96, 512)


def released_is_blurry(pixels: np.ndarray) -> bool:
    """As align_sd `process_diffusion_db.py` computes it: the same signed differences to the right, taken twice."""
    to_the_right = (pixels[:, :-1].astype(float) - pixels[:, 1:]).max()
    return max(to_the_right, to_the_right) < 10.0


def grey(values: np.ndarray) -> np.ndarray:
    """(height, width) values as a picture of three equal channels."""
    return np.repeat(np.round(values).astype(np.uint8)[..., None], 3, axis=2)


def disc(side: int, low: float = 30, high: float = 220) -> np.ndarray:
    """A bright disc on a dark ground."""
    rows, columns = np.mgrid[:side, :side] / (side - 1) - 0.5
    return grey(np.where(np.hypot(rows, columns) < 0.3, high, low))


def upper_half(side: int, low: float = 30, high: float = 220) -> np.ndarray:
    """Bright above, dark below: no edge runs upright."""
    return grey(np.where(np.arange(side)[:, None] < side // 2, high, low) + np.zeros((side, side)))


def blurred(pixels: np.ndarray, share: float) -> np.ndarray:
    """By a Gaussian with this share of the side as its radius; past the edge the picture goes on."""
    margin = pixels.shape[0] // 2
    padded = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    veiled = Image.fromarray(padded).filter(ImageFilter.GaussianBlur(share * pixels.shape[0]))
    return np.asarray(veiled)[margin:-margin, margin:-margin]


def noisy(pixels: np.ndarray, strength: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, strength, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("side", SIZES)
@pytest.mark.parametrize("drawn", [disc, upper_half])
def test_fault_of_a_sharp_picture_is_none_and_of_a_veiled_one_is_blurred(side, drawn):
    assert fault_of(drawn(side)) is None
    assert fault_of(drawn(side, low=120, high=135)) is None
    assert fault_of(blurred(drawn(side), 1 / 8)) == Fault.BLURRED
    assert fault_of(blurred(drawn(side, low=100, high=150), 1 / 8)) == Fault.BLURRED


@pytest.mark.parametrize("side", SIZES)
def test_fault_of_an_empty_picture_is_blank(side):
    assert fault_of(grey(np.full((side, side), 128))) == Fault.BLANK
    assert fault_of(noisy(grey(np.zeros((side, side))), 1.0)) == Fault.BLANK


def test_fault_of_sees_through_grain_and_compression():
    veiled = blurred(disc(512), 1 / 20)

    assert fault_of(noisy(veiled, 6.0)) == Fault.BLURRED
    assert fault_of(noisy(disc(512), 6.0)) is None


def test_fault_of_a_soft_background_behind_something_sharp_is_none():
    picture = blurred(disc(512), 1 / 8).copy()
    picture[200:240, 200:240] = 0

    assert fault_of(picture) is None


def test_edge_width_by_hand():
    steps = np.array([0, 0, 10, 30, 60, 60]) + np.zeros((6, 6))

    assert edge_width(grey(steps)) == edge_width(grey(steps.T)) == 2.0
    assert edge_width(disc(32)) == 1.0
    assert edge_width(grey(np.zeros((4, 4)))) is None


def test_edge_width_of_a_gaussian_edge_is_two_and_a_half_times_its_radius():
    veiled = blurred(upper_half(128), 6 / 128)

    assert edge_width(veiled) == pytest.approx(np.sqrt(2 * np.pi) * 6, rel=0.1)


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (3, 900), (1, 1)])
def test_edge_width_of_an_odd_shape_is_found(shape):
    picture = grey(np.zeros(shape))
    picture[-1, -1] = 255

    assert edge_width(picture) == (None if shape == (1, 1) else 1.0)


@settings(max_examples=60)
@given(arrays(np.uint8, st.tuples(st.integers(2, 40), st.integers(2, 40), st.just(3))))
def test_edge_width_is_the_same_turned_mirrored_and_inverted(pixels):
    width = edge_width(pixels)

    for other in (pixels.transpose(1, 0, 2), pixels[::-1], pixels[:, ::-1], 255 - pixels, pixels[..., ::-1]):
        assert edge_width(other) == width
    assert width is None or width >= 1


@settings(max_examples=60)
@given(
    arrays(np.uint8, st.tuples(st.integers(2, 20), st.integers(2, 20), st.just(3)), elements=st.integers(0, 100)),
    st.integers(2, 100),
)
def test_edge_width_does_not_depend_on_brightness(pixels, brighter):
    assert edge_width(pixels + np.uint8(brighter)) == edge_width(pixels)


WRONG = {
    "bands that lie": (upper_half(512), None),
    "an edge that only rises to the right": (upper_half(512, 220, 30).transpose(1, 0, 2), None),
    "faint but sharp": (disc(512, 120, 128), None),
    "a veil over a small picture": (blurred(disc(32), 1 / 8), Fault.BLURRED),
    "a veil with grain": (noisy(blurred(disc(512), 1 / 8), 4.0), Fault.BLURRED),
}


@pytest.mark.parametrize("name", WRONG)
def test_fault_of_is_right_where_the_released_test_is_wrong(name):
    picture, truth = WRONG[name]

    assert fault_of(picture) == truth
    assert released_is_blurry(picture) != (truth == Fault.BLURRED)
