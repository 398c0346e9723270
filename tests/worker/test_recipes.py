"""How a generator draws: every field checked, older settings read on, one name for one recipe."""

import math

import pytest

from annotations.models import Generator
from tests.annotations.factories import make_generator
from worker.services.recipes import FieldRejected, Recipe, UnableToGenerate
from worker.services.recipes import make_generator as make_recipe_generator


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pipeline": ""}, "pipeline: it is needed"),
        ({"pipeline": 3}, "pipeline: it must be a text"),
        ({"negative_prompt": "a\0b"}, "negative_prompt: it must be a text"),
        ({"adapter": None}, "adapter: it must be a text"),
        ({"steps": 0}, "steps: it must be a whole number from 1 to 1,000, not 0"),
        ({"steps": 2.5}, "steps: it must be a whole number"),
        ({"steps": True}, "steps: it must be a whole number"),
        ({"guidance": math.nan}, "guidance: it must be a number from 0 to 50, not nan"),
        ({"guidance": "7"}, "guidance: it must be a number"),
        ({"adapter_scale": -1}, "adapter_scale: it must be a number from 0 to 4, not -1"),
        ({"scheduler": "ddmi"}, "scheduler: there is no 'ddmi'; choose one of: ddim, ddpm, pndm"),
        ({"precision": "int8"}, "precision: there is no 'int8'; choose one of: float32, float16, bfloat16"),
        ({"width": 500}, "width: it must be a multiple of 8, such as 496 or 504, not 500"),
        ({"height": 5000}, "height: it must be a whole number from 8 to 4,096, not 5000"),
    ],
)
def test_a_recipe_names_the_field_that_is_no_good(changes, message):
    with pytest.raises(FieldRejected) as caught:
        Recipe(**{"pipeline": "sd"} | changes)

    assert str(caught.value).startswith(message)
    assert caught.value.field == next(iter(changes))


def test_a_recipe_comes_back_from_a_generator(db):
    recipe = Recipe("sd", steps=20, scheduler="unipc", width=512, height=768, adapter_scale=0.5, precision="float16")

    assert Recipe.of(make_recipe_generator(name="one", recipe=recipe)) == recipe


def test_an_older_generator_draws_with_the_defaults_of_what_came_later(db):
    settings = {"pipeline": "sd", "adapter": "", "negative_prompt": "", "steps": 50, "guidance": 7.5}
    older = make_generator("older", settings=settings)

    assert Recipe.of(older) == Recipe("sd")
    assert make_recipe_generator(name="older", recipe=Recipe("sd")) == older
    assert Generator.objects.get().settings == settings


def test_recipe_of_an_imported_generator_is_refused(db):
    with pytest.raises(UnableToGenerate, match="has no recipe"):
        Recipe.of(make_generator("dall-e"))


@pytest.mark.parametrize("there", [{}, {"pipeline": "sd"}], ids=["imported", "another recipe"])
def test_make_generator_refuses_a_name_that_is_taken(db, there):
    make_generator("taken", settings=there)

    with pytest.raises(FieldRejected, match="generator: 'taken' has other settings already; choose another name"):
        make_recipe_generator(name="taken", recipe=Recipe("sd", steps=9))
