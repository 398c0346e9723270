"""An adapter as a generator: the arms that it is compared in, and what it is promoted to."""

import pytest
from django.core.management import call_command
from django.urls import reverse

from tests.annotations.factories import make_user
from tests.worker.generators import make_tiny_generator
from tests.worker.test_versions import register, write_artefact
from worker.models import ModelVersion, Promotion
from worker.queries import generator_of
from worker.services.adapters import LONGEST_NAME, arms_of, put_into_use
from worker.services.recipes import Recipe
from worker.services.versions import roll_back

NO_GENERATOR = (
    "No generator was made of it, as the one that it was trained on is not here: make that one, then put the adapter"
    " into use again."
)
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


def test_put_into_use_without_the_original_says_so_and_makes_the_generator_when_it_is_there(adapter, client):
    client.force_login(make_user("ada", is_staff=True, is_superuser=True))
    promote = reverse("worker:promote-version", args=[adapter.public_id])

    without = client.post(promote, follow=True).content.decode()
    make_tiny_generator()
    with_it = client.post(promote, follow=True).content.decode()

    assert f"adapter-1 is in use now. {NO_GENERATOR}" in without
    assert "adapter-1 is in use now. It draws as the generator tiny + adapter-1." in with_it
    assert [promotion.generator.name for promotion in Promotion.objects.all()] == ["tiny + adapter-1"]


def test_promote_version_says_as_which_generator(adapter, capsys):
    call_command("promote_version", "adapter-1")
    make_tiny_generator()
    call_command("promote_version", "adapter-1")

    assert capsys.readouterr().out.splitlines() == [
        f"adapter-1 is in use. {NO_GENERATOR}",
        "adapter-1 is in use. It draws as the generator tiny + adapter-1.",
    ]


def test_roll_back_brings_an_adapter_back_with_its_generator(adapter, files):
    make_tiny_generator()
    put_into_use(version=adapter)
    folder = write_artefact(files / "artefacts" / "second")
    put_into_use(version=register(folder, family="adapter", manifest={"mark": MARK}, metrics={"generator": "tiny"}))

    restored = roll_back(family="adapter")

    assert (str(restored), generator_of(restored).name) == ("adapter-1", "tiny + adapter-1")
    assert Promotion.objects.first().reason == "rolled back"
