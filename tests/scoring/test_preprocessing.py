import io

import numpy as np
import pytest
from PIL import Image

from scoring.preprocessing import CLIP_MEAN, CLIP_STD, Preprocessing
from tests.scoring.tiny import picture

RED = (255, 0, 0)


def jpeg(image: Image.Image, **options) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95, **options)
    return Image.open(file)


def test_square_keeps_the_whole_picture_and_pads_with_black():
    square = Preprocessing(size=8).square(Image.new("RGB", (40, 20), RED))

    assert square.shape == (3, 8, 8)
    assert square[0].tolist() == [[0] * 8] * 2 + [[255] * 8] * 4 + [[0] * 8] * 2
    assert not square[1:].any()


def test_square_pads_a_picture_whose_longest_side_fits_already():
    square = Preprocessing(size=8).square(Image.new("RGB", (3, 8), RED))

    assert square[0].tolist() == [[0, 0, 255, 255, 255, 0, 0, 0]] * 8


def test_square_leaves_pixels_of_the_right_size_alone():
    image = picture(100, size=(8, 8))

    assert (Preprocessing(size=8).square(image) == np.asarray(image).transpose(2, 0, 1)).all()


def test_square_keeps_one_row_of_a_very_long_picture():
    assert Preprocessing(size=8).square(Image.new("RGB", (1000, 2), RED))[0].sum() == 8 * 255


def test_square_of_the_shortest_side_is_what_clips_own_processor_cuts():
    from transformers import CLIPImageProcessor

    from scoring import backend  # noqa: F401 - makes the import of torchvision below possible

    processor = CLIPImageProcessor(
        size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}, do_rescale=False, do_normalize=False
    )
    for size in [(40, 24), (24, 41), (16, 16), (9, 12)]:
        image = picture(120, size=size)
        expected = np.asarray(processor(image, return_tensors="np")["pixel_values"])[0]

        square = Preprocessing(size=16, resize="shortest").square(image)

        assert np.abs(square.astype(int) - expected.astype(int)).max() <= 1


def test_square_of_the_shortest_side_of_a_very_long_picture_stays_small():
    image = Image.new("RGB", (60_000, 2), RED)

    assert Preprocessing(size=8, resize="shortest").square(image)[0].tolist() == [[255] * 8] * 8


def test_square_turns_a_picture_the_right_way_up():
    upright = picture(100, size=(32, 16))
    lying = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    file = io.BytesIO()
    lying.save(file, "PNG", exif=exif)

    turned = Preprocessing(size=16).square(Image.open(file))

    assert (turned == Preprocessing(size=16).square(upright)).all()


def test_square_shows_transparent_parts_on_black():
    image = Image.new("RGBA", (8, 8), (255, 255, 255, 0))
    image.paste((255, 0, 0, 255), (0, 0, 4, 8))

    assert Preprocessing(size=8).square(image)[0].tolist() == [[255] * 4 + [0] * 4] * 8


def test_square_takes_grey_and_palette_pictures():
    grey = Image.new("L", (8, 8), 100)

    assert (Preprocessing(size=8).square(grey) == 100).all()
    assert (Preprocessing(size=8).square(grey.convert("P")) == 100).all()


def test_square_of_a_large_jpeg_is_close_to_full_decoding_and_leaves_the_picture_alone():
    lazily = jpeg(Image.radial_gradient("L").resize((512, 256)).convert("RGB"))
    decoded = jpeg(Image.radial_gradient("L").resize((512, 256)).convert("RGB"))
    decoded.load()

    quick = Preprocessing(size=16).square(lazily).astype(int)

    assert np.abs(quick - Preprocessing(size=16).square(decoded)).max() <= 3
    assert lazily.size == (512, 256)
    assert np.asarray(lazily).shape == (256, 512, 3)


def test_square_is_the_same_each_time():
    image = jpeg(picture(100, size=(200, 100)))

    first, second = (Preprocessing(size=16).square(image) for _ in range(2))

    assert (first == second).all()


def test_square_turns_real_photographs_the_right_way_up(shared_data):
    folder = shared_data / "exif_orientation"
    for kind in ("Landscape", "Portrait"):
        squares = []
        for orientation in range(9):
            with Image.open(folder / f"{kind}_{orientation}.jpg") as image:
                squares.append(Preprocessing(size=32).square(image).astype(int))

        assert [np.abs(square - squares[1]).mean() < 6 for square in squares] == [True] * 9


def test_normalise_by_hand():
    grey = np.full((3, 2, 2), 51, dtype=np.uint8)

    normal = Preprocessing(size=2, mean=(0.2, 0.1, 0.0), std=(1.0, 0.5, 0.1)).normalise(grey)

    assert normal.dtype == np.float32
    assert normal[:, 0, 0].tolist() == pytest.approx([0, 0.2, 2], abs=1e-6)


def test_manifest_reads_back():
    preprocessing = Preprocessing(size=32, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))

    assert Preprocessing.from_manifest(preprocessing.to_manifest()) == preprocessing
    assert Preprocessing.from_manifest({}) == Preprocessing(224, CLIP_MEAN, CLIP_STD, "longest")


@pytest.mark.parametrize(
    "record", [{"resize": "middle"}, {"size": 0}, {"mean": [0.5]}, {"std": [1, 0, 1]}, {"std": [1, 1, 1, 1]}]
)
def test_preprocessing_rejects(record):
    with pytest.raises(ValueError, match=r"resize|needs a size"):
        Preprocessing.from_manifest(record)
