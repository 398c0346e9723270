"""An adapter as a generator: the arms that it is compared in, and what it is promoted to."""

import pytest

from tests.worker.generators import make_tiny_generator
from tests.worker.test_versions import register, write_artefact
from worker.models import ModelVersion
from worker.services.adapters import LONGEST_NAME, arms_of
from worker.services.recipes import Recipe

MARK = "Weird image. "


@pytest.fixture
def adapter(db, files) -> ModelVersion:
    folder = write_artefact(files / "artefacts" / "adapter")
    return register(folder, family="adapter", manifest={"mark": MARK}, metrics={"generator": "tiny"})


def test_arms_of_an_original_with_a_negative_prompt_differ_by_the_mark_alone(adapter):
    arms = arms_of(version=adapter, original=make_tiny_generator(negative_prompt="blurry"))

    assert {arm: Recipe.of(made).negative_prompt for arm, made in arms.items()} == {
        "original": "blurry",
        "original_marked": "Weird image. blurry",
        "adapted": "blurry",
        "adapted_marked": "Weird image. blurry",
    }


def test_arms_of_a_long_name_have_names_of_their_own(adapter):
    arms = arms_of(version=adapter, original=make_tiny_generator("x" * LONGEST_NAME))

    names = [made.name for made in arms.values()]
    assert len(set(names)) == 4
    assert max(map(len, names)) == LONGEST_NAME
