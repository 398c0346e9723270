import threading

import numpy as np
import pytest
from PIL import Image

from tests.scoring import tiny
from tests.scoring.people import choice
from worker.classifier.data import ImageReader, UnableToReadImage, batches, kept_apart, tabulate


def test_tabulate_by_hand():
    choices = [
        choice(1, images=("a", "b"), prompt="one", split="train"),
        choice("all_bad", images=("x", "y"), prompt="none"),
        choice("tie", images=("b", "c", "d"), prompt="two"),
        choice(0, images=("b", "a"), prompt="one", split="train"),
    ]

    table = tabulate(choices)

    assert (table.images, table.prompts) == (("a", "b", "c", "d"), ("one", "two"))
    assert table.choices == (choices[0], choices[2], choices[3])
    assert table.image_ids.tolist() == [[0, 1, 0], [1, 2, 3], [1, 0, 0]]
    assert table.mask.tolist() == [[True, True, False], [True] * 3, [True, True, False]]
    assert table.votes.tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 0]]
    assert table.ties.tolist() == [0, 1, 0]
    assert table.prompt_ids.tolist() == [0, 1, 0]
    assert (table.rows("train").tolist(), table.rows("test").tolist()) == ([0, 2], [1])


def test_tabulate_together_gives_one_row_per_set_whatever_the_order_shown_with_peoples_reliabilities_summed():
    choices = [
        choice(1, images=("a", "b"), prompt="one", annotator="ada"),
        choice(0, images=("b", "a"), prompt="one", annotator="ben"),
        choice(0, images=("a", "b"), prompt="other", annotator="ben"),
        choice("tie", images=("b", "a"), prompt="one", annotator="cyd"),
        choice(0, images=("a", "b"), prompt="one", annotator="dan"),
    ]

    table = tabulate(choices, reliability={"ben": 0.5, "cyd": 0.25, "dan": 0.0}, is_together=True)

    assert table.choices == (choices[0], choices[2])
    assert table.image_ids.tolist() == [[0, 1], [0, 1]]
    assert table.votes.tolist() == [[0, 1.5], [0.5, 0]]
    assert table.ties.tolist() == [0.25, 0]


def test_held_back_takes_whole_prompts_and_at_least_one():
    choices = [choice(0, images=("a", "b"), prompt=f"p{number % 10}") for number in range(30)]
    table = tabulate(choices)
    rows = np.arange(30)

    held_back = table.held_back(rows, 0.3, seed=0)

    prompts = {choices[row].prompt for row in rows[held_back]}
    assert (len(prompts), held_back.sum()) == (3, 9)
    assert table.held_back(rows, 0.001, seed=0).sum() == 3
    assert not np.array_equal(table.held_back(rows, 0.3, seed=1), held_back)


def test_batches_show_every_row_once_per_epoch_in_an_order_of_its_own():
    rows = np.arange(10, 20)

    seen = [batch.tolist() for batch in batches(rows, size=4, epochs=2, seed=0)]

    first, second = ([*one, *two, *three] for one, two, three in (seen[:3], seen[3:]))
    assert [len(batch) for batch in seen] == [4, 4, 2] * 2
    assert sorted(first) == sorted(second) == rows.tolist()
    assert first != second


def test_batches_depend_on_the_seed_and_go_on_where_they_stopped():
    rows = np.arange(10)

    def seen(**more):
        return [batch.tolist() for batch in batches(rows, size=4, epochs=2, **more)]

    assert seen(seed=1) == seen(seed=1) != seen(seed=2)
    assert [seen(seed=1, first_step=step) for step in range(7)] == [seen(seed=1)[step:] for step in range(7)]


PICTURES = {key: tiny.picture(value) for key, value in (("a", 40), ("b", 200))}


def test_image_reader_reads_in_the_order_asked():
    with ImageReader(lambda key: PICTURES[key].copy(), tiny.PREPROCESSING, readers=2) as reader:
        squares = reader.squares(["b", "a", "b"])
        pixels = reader.pixels(["a"])

    expected = [tiny.PREPROCESSING.square(PICTURES[key]) for key in "bab"]
    assert np.array_equal(squares, expected)
    assert np.array_equal(pixels, tiny.PREPROCESSING.normalise(expected[1][None]))


def test_kept_apart_leaves_out_of_the_test_what_is_trained_on_by_prompt_key_or_file():
    learnt = [
        choice(0, images=("a", "b"), prompt="A red fox, in the snow", split="train"),
        choice("tie", images=("c", "d"), prompt="two owls", split="train"),
    ]
    same_words, same_key, same_file, turned, other = (
        choice(0, images=images, prompt=prompt, split="test")
        for images, prompt in (
            (("e", "f"), "a red fox in the snow, highly detailed --ar 16:9"), (("g", "c"), "an oak"),
            (("h", "copy"), "an elm"), (("i", "j"), "a snow fox in the red"), (("k", "l"), "three owls"),
        )
    )  # fmt: skip
    test = [same_words, same_key, same_file, turned, other]

    assert kept_apart(test, learnt, {"a": "1f", "copy": "1f", "h": "2e"}) == [turned, other]
    assert kept_apart(test, learnt, {}) == [same_file, turned, other]
    assert kept_apart(test, [], {}) == test


def test_image_reader_reads_ahead_and_each_image_once():
    opened, ahead = [], threading.Event()

    def open_image(key):
        opened.append(key)
        if key == "b":
            ahead.set()
        return PICTURES[key].copy()

    with ImageReader(open_image, tiny.PREPROCESSING, readers=2) as reader:
        reader.ask(["a", "b"])
        assert ahead.wait(10)
        reader.squares(["a"])
        reader.squares(["b"])

    assert sorted(opened) == ["a", "b"]


@pytest.mark.parametrize(
    "error",
    [
        OSError("cut off"), KeyError("c"), ValueError("no such file"), NotImplementedError("Unknown pixel format"),
        Image.DecompressionBombError("far too many pixels"),
    ],
)  # fmt: skip
def test_image_reader_names_the_image_that_cannot_be_read(error):
    def open_image(key):
        raise error

    with (
        ImageReader(open_image, tiny.PREPROCESSING, readers=1) as reader,
        pytest.raises(UnableToReadImage, match="Image c can't be read"),
    ):
        reader.squares(["c"])
