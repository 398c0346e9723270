"""Which prompts are near-duplicates, and that they are found."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.near_duplicates import MODIFIERS, SIMILAR, Neighbourhood, Sketch

FOX = "a red fox in the snow, dramatic sky, by an old master"


def is_near(one: str, other: str) -> bool:
    first, second = Sketch.of(one), Sketch.of(other)
    assert first.is_near(second) == second.is_near(first)
    return first.is_near(second)


@pytest.mark.parametrize(
    "other",
    [
        "A RED FOX in the snow, Dramatic Sky, by an old master",
        "  a red   fox in the\nsnow,dramatic sky,by an old master.",
        "a red fox in the snow; dramatic sky; by an old master!!!",
        "dramatic sky, by an old master, a red fox in the snow",
        f"{FOX}, 4k, trending on artstation",
        f"trending on artstation, 4k, {FOX}",
        f"{FOX} highly detailed trending on artstation",
        f"{FOX}, kodak portra, dreamlike haze",
        "a red fox in the snow",
        "(a red fox:1.3) in the ((snow)), [dramatic sky], by an old master",
        f"{FOX} --ar 16:9 --seed 42 --tile",
        f"{FOX} -n 9 -C7.5",
        f"{FOX}. Steps: 30, Sampler: Euler, CFG scale: 7, Seed: 1234, Size: 512x512",
        f"{FOX} <lora:film:0.8>",
        "ａ ｒｅｄ ｆｏｘ ｉｎ ｔｈｅ ｓｎｏｗ, dramatic sky, by an old master",
    ],
)  # fmt: skip
def test_a_prompt_in_other_words_is_a_near_duplicate_and_found(other: str) -> None:
    known: Neighbourhood[str] = Neighbourhood()
    known.add(Sketch.of(FOX), "fox")

    assert is_near(FOX, other)
    assert known.near(Sketch.of(other)) == ["fox"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a red fox in the snow", "a blue fox in the snow"),
        ("a red fox in the snow", "a red fox on the beach"),
        ("a cat", "a dog"),
        ("portrait of a woman, 4k", "portrait of a man, 4k"),
        ("4k, trending on artstation", "octane render"),
        ("a fox, 4k, trending on artstation, highly detailed", "a boat, 4k, trending on artstation, highly detailed"),
        ("a small red cube left of a large blue ball", "a small red cone left of a large blue ball"),
        ("雪の中の赤い狐", "海辺の青い船"),
        ("🦊", "🐟"),
    ],
)
def test_other_prompts_are_no_near_duplicates(one: str, other: str) -> None:
    assert not is_near(one, other)


def test_a_long_prompt_with_a_word_changed_is_a_near_duplicate() -> None:
    words = [f"word{number}" for number in range(40)]

    assert is_near(" ".join(words), " ".join([*words[:20], "another", *words[21:]]))


def test_similar_prompts_share_a_key_as_often_as_the_theory_says() -> None:
    draw = random.Random(0)
    found = 0
    for _ in range(1000):
        words = [f"w{draw.randrange(10**9)}" for _ in range(46)]
        # 40 of 45 neighbouring pairs stay, 5 go and 5 come: 40 / 50, just similar enough
        one, other = Sketch.of(" ".join(words)), Sketch.of(" ".join([*words[:41], *"abcde"]))
        assert len(one.pairs & other.pairs) / len(one.pairs | other.pairs) == SIMILAR
        found += not set(one.keys).isdisjoint(other.keys)

    assert 0.97 < found / 1000 < 0.995  # 1 - (1 - .8 ** 5) ** 10 = .981


@given(st.text(min_size=1).filter(str.strip))
def test_every_prompt_is_its_own_near_duplicate_and_has_keys_that_the_database_holds(text: str) -> None:
    sketch = Sketch.of(text)

    assert sketch.is_near(Sketch.of(text))
    assert sketch.keys == Sketch.of(text).keys
    assert all(-(2**63) <= key < 2**63 for key in sketch.keys)


def test_keys_stay_what_they_are() -> None:
    """They stand in databases: a prompt of last year must still find its near-duplicate of today."""
    assert Sketch.of("a red fox in the snow").keys[:3] == [
        -8075842278394764077, -8090020662242317388, -754609540335552952
    ]  # fmt: skip


def test_modifiers_are_as_clauses_are_read() -> None:
    assert all(phrase and " ".join(phrase) == " ".join(phrase).casefold() for phrase in MODIFIERS)
