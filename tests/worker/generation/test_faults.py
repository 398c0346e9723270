"""What a picture of one colour is."""

import numpy as np

from worker.generation.faults import is_blank


def test_is_blank_tells_a_plain_picture_from_a_faint_one():
    plain = np.full((8, 8, 3), [250, 10, 90], np.uint8)
    noisy, faint = plain.copy(), plain.copy()
    noisy[0, 0] = [254, 14, 94]
    faint[0, 0, 2] = 100

    assert [is_blank(picture) for picture in (plain, noisy, faint)] == [True, True, False]
