"""The form with which staff have images made, its page, and the images on the page of the run."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from annotations.models import Image
from tests.annotations.factories import make_campaign, make_generator, make_image, make_prompt, make_user
from tests.worker.generators import make_tiny_generator
from tests.worker.test_runs import make_run, make_running
from worker.forms.generation import GenerationForm
from worker.models import ModelVersion, Run

pytestmark = pytest.mark.django_db

DEFAULTS = {"per_prompt": 4, "adapter_scale": 1.0, "steps": 50, "guidance": 7.5, "precision": "float32"}
NEW = {**DEFAULTS, "generator": "new", "pipeline": "stable-diffusion-v1-4"}


@pytest.fixture
def staff(client: Client) -> Client:
    ben = make_user("ben", is_staff=True)
    ben.user_permissions.set(Permission.objects.filter(codename__in=["add_run", "change_run"]))
    client.force_login(ben)
    return client


def test_what_the_page_shows_first_makes_sense_as_it_is() -> None:
    form = GenerationForm()

    shown = {name: form.get_initial_for_field(field, name) for name, field in form.fields.items()}

    assert {name: value for name, value in shown.items() if value is not None} == {
        **DEFAULTS,
        "pipeline": "stable-diffusion-v1-4",
    }


def test_a_base_model_that_is_here_is_proposed(tiny_diffusion: Any) -> None:
    form = GenerationForm()

    assert form.get_initial_for_field(form.fields["pipeline"], "pipeline") == "tiny-diffusion"
    assert form.pipelines == ["tiny-diffusion"]


def test_a_new_generator_gets_all_its_settings() -> None:
    adapter = ModelVersion.objects.create(family="adapter", number=3)
    sent = {
        **NEW,
        "prompts": "a cat\n\n  a dog\n",
        "adapter": adapter.pk,
        "adapter_scale": 0.7,
        "negative_prompt": "Weird image. ",
        "scheduler": "ddim",
        "width": 512,
        "height": 640,
        "precision": "float16",
        "per_prompt": 2,
    }

    form = GenerationForm(sent)

    assert form.is_valid(), form.errors
    assert form.cleaned_data["run"] == {
        "campaign": None,
        "config": {
            "generator": "new",
            "pipeline": "stable-diffusion-v1-4",
            "adapter": "adapter-3",
            "adapter_scale": 0.7,
            "negative_prompt": "Weird image. ",
            "steps": 50,
            "guidance": 7.5,
            "scheduler": "ddim",
            "width": 512,
            "height": 640,
            "precision": "float16",
            "per_prompt": 2,
            "prompts": ["a cat", "a dog"],
        },
    }


def test_a_generator_that_is_here_draws_as_it_is() -> None:
    make_tiny_generator("tiny")
    make_generator("dall-e")
    campaign = make_campaign()

    form = GenerationForm({**DEFAULTS, "existing": "tiny", "campaign": campaign.slug, "pipeline": "left over"})

    assert form.is_valid(), form.errors
    assert form.cleaned_data["run"] == {"campaign": campaign, "config": {"generator": "tiny", "per_prompt": 4}}
    assert "existing" in GenerationForm({**DEFAULTS, "existing": "dall-e", "prompts": "a"}).errors


def test_prompts_come_from_a_file_too() -> None:
    file = SimpleUploadedFile("prompts.jsonl", b'{"prompt": "a sign", "tags": ["text"]}')

    form = GenerationForm(NEW, {"prompts_file": file})

    assert form.is_valid(), form.errors
    assert form.cleaned_data["run"]["config"]["prompts"] == [{"prompt": "a sign", "tags": ["text"]}]


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({}, "prompts", "say one of three: prompts, a tag, or a campaign with tasks."),
        ({"prompts": "a", "tag": "b"}, "prompts", "say one of three: prompts, a tag, or a campaign with tasks."),
        ({"tag": "nothing"}, "tag", "no prompt has the tag 'nothing'."),
        ({"prompts": "a", "generator": ""}, "generator", "a name of at most 120 characters is needed."),
        ({"prompts": "a", "pipeline": ""}, "pipeline", "it is needed: the name of a base model, or a folder."),
        ({"prompts": "a", "steps": 0}, "steps", "it must be a whole number from 1 to 1,000, not 0."),
        ({"prompts": "a", "width": 20}, "width", "it must be a multiple of 8, such as 16 or 24, not 20."),
    ],
)
def test_each_mistake_stands_at_its_field(changes: dict[str, Any], field: str, message: str) -> None:
    assert GenerationForm({**NEW, **changes}).errors == {field: [message]}


def test_a_bad_file_is_told_at_its_field() -> None:
    form = GenerationForm(NEW, {"prompts_file": SimpleUploadedFile("prompts.txt", b"\xff")})

    assert form.errors == {"prompts_file": ["prompts.txt is not UTF-8 text."]}


def test_the_page_opens_a_run_and_goes_to_it(staff: Client) -> None:
    page = staff.get("/runs/generate/?campaign=birds&per_prompt=8").content.decode()
    response = staff.post("/runs/generate/", {**NEW, "prompts": "a cat"})

    run = Run.objects.get()
    assert 'value="8"' in page
    assert (response.status_code, response.headers["Location"]) == (302, f"/runs/{run.public_id}/")
    assert (run.kind, run.preset, run.config["prompts"]) == ("generation", "", ["a cat"])
    assert run.requested_by is not None
    assert 'href="/runs/generate/"' in staff.get("/runs/").content.decode()


def test_the_page_says_what_is_wrong_and_opens_nothing(staff: Client) -> None:
    response = staff.post("/runs/generate/", {**NEW, "prompts": "a cat", "height": 500})

    assert (response.status_code, Run.objects.count()) == (422, 0)
    assert "such as 496 or 504, not 500" in response.content.decode()


def test_the_page_is_for_those_who_may_open_runs(client: Client) -> None:
    client.force_login(make_user("reader", is_staff=True))

    assert client.get("/runs/generate/").status_code == 403
    assert client.post("/runs/generate/", NEW).status_code == 403


def test_the_page_of_a_run_shows_the_newest_images_and_why_some_are_hidden(staff: Client) -> None:
    generator, prompt = make_generator("sd"), make_prompt("a quiet harbour")
    old = make_image(prompt=prompt, generator=generator, has_file=False)
    run = make_running(lease_seconds=60, kind="generation", config={"generator": "sd"}, started_at=timezone.now())
    made = [make_image(prompt=prompt, generator=generator, has_file=False) for _ in range(13)]
    make_image(prompt=prompt, generator=make_generator("another"), has_file=False)
    Image.objects.filter(pk=made[-1].pk).update(is_hidden=True, hidden_reason="unsafe")

    live = staff.get(run.get_absolute_url(), HTTP_HX_REQUEST="true").content.decode()

    places = [live.find(f'src="{image.get_absolute_url()}"') for image in [*made[:0:-1], made[0], old]]
    assert sorted(places[:12]) == places[:12]
    assert (places[0] > 0, places[12:]) == (True, [-1, -1])
    assert "blocked by a safety checker" in live


def test_the_page_of_a_finished_run_shows_its_own_images_and_what_came_of_it(
    staff: Client, django_assert_num_queries: Any
) -> None:
    generator = make_generator("sd")
    began = timezone.now()
    made = make_image(generator=generator, has_file=False)
    metrics = {"made": 1, "kept": 2, "hidden": 0, "faults": {}}
    run = make_run(
        kind="generation",
        config={"generator": "sd"},
        state="succeeded",
        started_at=began,
        finished_at=timezone.now(),
        metrics=metrics,
    )
    later = make_image(generator=generator, has_file=False)

    page = staff.get(run.get_absolute_url()).content.decode()

    assert (made.get_absolute_url() in page, later.get_absolute_url() in page) == (True, False)
    assert "1 made, 2 there already; 0 of the new ones are hidden" in page
    Image.objects.filter(pk=later.pk).update(created_at=began)
    with django_assert_num_queries(11):
        assert later.get_absolute_url() in staff.get(run.get_absolute_url()).content.decode()


def test_the_page_of_another_kind_of_run_has_no_images(staff: Client) -> None:
    make_image(generator=make_generator("sd"), has_file=False)
    run = make_running(lease_seconds=60, kind="adapter", config={"generator": "sd"}, started_at=timezone.now())

    assert "<img" not in staff.get(run.get_absolute_url(), HTTP_HX_REQUEST="true").content.decode()
