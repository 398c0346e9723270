"""The pages on which staff have an adapter measured, put it before people, and decide."""

import re

import pytest
from django.urls import reverse

from annotations.models import Campaign, Image, Split
from tests.annotations.factories import make_generator, make_image, make_prompt, make_user
from tests.hps_site.dashboard.worlds import make_version
from worker.models import ModelVersion, Promotion, Rejection, Run
from worker.services.recipes import Recipe
from worker.services.recipes import make_generator as make_drawing

pytestmark = pytest.mark.django_db


@pytest.fixture
def boss(client, rung):
    person = make_user("boss", is_staff=True, is_superuser=True)
    client.force_login(person)
    return person


@pytest.fixture
def adapter() -> ModelVersion:
    """An adapter of a generator that can draw, and forty held-out prompts."""
    make_drawing(name="original", recipe=Recipe(pipeline="somewhere"))
    for _ in range(40):
        make_prompt(split=Split.TEST)
    version = make_version("adapter")
    ModelVersion.objects.filter(pk=version.pk).update(
        manifest={"mark": "Weird image. "}, metrics={"generator": "original"}
    )
    version.refresh_from_db()
    return version


def text_of(response) -> str:
    """What the page says, without its tags."""
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def test_the_page_of_an_adapter_says_what_a_study_would_take(client, boss, adapter):
    said = text_of(client.get(adapter.get_absolute_url()))

    assert "40 prompts with 21 votes on each pair: 840 votes, about 84 minutes of people" in said
    assert "That is little" in said
    assert "Not measured yet" in said


def test_one_button_opens_the_run_that_makes_the_study(client, boss, adapter):
    response = client.post(
        reverse("worker:new-study"), {"version": adapter.public_id, "original": "original", "effect": "0.6"}
    )

    run = Run.objects.get(kind=Run.Kind.STUDY)
    assert response.headers["Location"] == run.get_absolute_url()
    assert run.requested_by == boss
    assert run.config == {
        "slug": "study-1",
        "name": "",
        "original": "original",
        "version": "adapter-1",
        "adapted": "",
        "prompts_of": "",
        "prompts": 40,
        "votes_per_task": 21,
        "allows_tie": False,
        "access": "open",
    }


def test_the_plan_can_be_overridden_and_any_two_generators_meet(client, boss):
    dalle, diffusion = make_generator("dall-e"), make_generator("stable diffusion")
    for _ in range(3):
        prompt = make_prompt(split=Split.TRAIN)
        make_image(prompt=prompt, generator=dalle)
        make_image(prompt=prompt, generator=diffusion)

    client.post(
        reverse("worker:new-study"),
        {
            "original": "stable diffusion",
            "adapted": "dall-e",
            "effect": "0.7",
            "prompts": 2,
            "votes_per_task": 20,
            "slug": "which",
            "allows_tie": "on",
            "access": "invited",
        },
    )

    config = Run.objects.get(kind=Run.Kind.STUDY).config
    assert (config["prompts"], config["votes_per_task"], config["slug"]) == (2, 20, "which")
    assert (config["adapted"], config["version"], config["access"], config["allows_tie"]) == (
        "dall-e",
        "",
        "invited",
        True,
    )


def test_the_plan_is_worked_out_while_the_form_is_filled_in(client, boss, adapter):
    asked = {"version": adapter.public_id, "original": "original", "effect": "0.7"}

    said = text_of(client.get(reverse("worker:new-study"), asked, headers={"HX-Request": "true"}))

    assert said.startswith("30 prompts with 5 votes on each pair: 150 votes,")
    assert "If 70.0 % of the votes were for one of the two" in said
    assert "40 prompts are there." in said


def test_the_plan_says_what_is_wrong(client, boss, adapter):
    make_generator("imported")
    asked = {"version": adapter.public_id, "original": "original", "adapted": "imported"}

    said = text_of(client.get(reverse("worker:new-study"), asked, headers={"HX-Request": "true"}))

    assert said == "Choose an adapter or another generator: one of the two."
    assert "Choose two generators" in text_of(client.get(reverse("worker:new-study"), headers={"HX-Request": "true"}))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"original": "original", "adapted": "original"}, "held against itself"),
        ({"original": "original"}, "Choose an adapter or another generator"),
        ({"original": "original", "adapted": "empty"}, "no prompt here on which the two can meet"),
        (
            {"original": "original", "adapted": "empty", "slug": "taken"},
            "There is a campaign &#x27;taken&#x27; already",
        ),
    ],
)
def test_a_study_that_cannot_be_is_refused_on_the_form(client, boss, adapter, fields, words):
    make_generator("empty")
    Campaign.objects.create(slug="taken", name="Taken")

    response = client.post(reverse("worker:new-study"), {"effect": "0.6", **fields})

    assert response.status_code == 422
    assert words in response.content.decode()
    assert not Run.objects.exists()


def test_measuring_opens_a_proof_and_leads_to_the_one_that_is_active(client, boss, adapter):
    address = reverse("worker:prove-adapter", args=[adapter.public_id])

    first, second = client.post(address), client.post(address)

    run = Run.objects.get(kind=Run.Kind.PROOF)
    assert run.config == {"version": "adapter-1"}
    assert first.headers["Location"] == second.headers["Location"] == run.get_absolute_url()


def test_measuring_takes_a_generator_with_images_as_the_reference(client, boss, adapter):
    photographs = make_generator("photographs")
    make_generator("without images")
    for _ in range(2):
        make_image(generator=photographs)

    page = client.get(adapter.get_absolute_url()).content.decode()
    refused = client.post(reverse("worker:prove-adapter", args=[adapter.public_id]), {"reference": "/etc"})
    client.post(reverse("worker:prove-adapter", args=[adapter.public_id]), {"reference": "photographs"})

    assert '<option value="photographs">' in page
    assert '<option value="without images">' not in page
    assert refused.status_code == 404
    assert Run.objects.get(kind=Run.Kind.PROOF).config == {"version": "adapter-1", "reference": "photographs"}


def test_a_rejection_is_kept_with_its_reason_and_a_promotion_takes_it_back(client, boss, adapter):
    address = reverse("worker:reject-version", args=[adapter.public_id])

    client.post(address, {"reason": "  people see no difference  "})

    rejection = Rejection.objects.get()
    assert (rejection.version, rejection.reason, rejection.by) == (adapter, "people see no difference", boss)
    page = text_of(client.get(adapter.get_absolute_url()))
    assert "Rejected: people see no difference" in page
    assert "Reject this version" not in page

    client.post(reverse("worker:promote-version", args=[adapter.public_id]), {"reason": "more votes came"})

    rejection.refresh_from_db()
    promotion = Promotion.objects.get()
    assert rejection.taken_back_by == promotion
    assert (promotion.generator.name, promotion.reason) == ("original + adapter-1", "more votes came")
    assert promotion.generator.settings["adapter"] == "adapter-1"
    page = text_of(client.get(adapter.get_absolute_url()))
    assert "as the generator original + adapter-1" in page
    assert "Taken back by a later promotion." in page


def test_a_rejection_without_a_reason_is_none(client, boss, adapter):
    response = client.post(reverse("worker:reject-version", args=[adapter.public_id]), {"reason": " "}, follow=True)

    assert "Say why adapter-1 is rejected" in response.content.decode()
    assert not Rejection.objects.exists()


@pytest.mark.parametrize("name", ["prove-adapter", "reject-version"])
def test_only_those_who_may_decide(client, adapter, name, rung):
    client.force_login(make_user("helper", is_staff=True))

    response = client.post(reverse(f"worker:{name}", args=[adapter.public_id]), {"reason": "because"})

    assert response.status_code == 403
    assert not Run.objects.exists()
    assert not Rejection.objects.exists()


def test_the_proof_stands_on_the_page_of_its_run_and_of_the_adapter(client, boss, adapter):
    image = make_image(prompt=make_prompt("a lighthouse"))
    run = Run.objects.create(
        kind=Run.Kind.PROOF,
        state=Run.State.SUCCEEDED,
        finished_at="2026-01-01T00:00Z",
        config={"version": "adapter-1"},
        metrics=proof_of(image),
    )

    for page in (run.get_absolute_url(), adapter.get_absolute_url()):
        said = text_of(client.get(page))
        assert "By HPS it wins." in said
        assert "Reward hacking: named." in said
        assert "20.500 +0.500 (+0.250 to +0.750) wins 75 % (60 % to 90 %)" in said
        assert "FID CLIP features of a tiny one; to photographs, n = 1,000" in said
        assert "Adapter scale 0.50" in said
        assert "hps-1 +0.500 (+0.250 to +0.750) wins 75 % (60 % to 90 %), n = 40" in said
        assert "a lighthouse" in said
        assert Image.objects.get(pk=image.pk).get_absolute_url() in client.get(page).content.decode()


def proof_of(image: Image) -> dict:
    """Figures as a proof run has them."""
    arms = ["original", "original_marked", "adapted", "adapted_marked"]
    gain = {"value": 0.5, "low": 0.25, "high": 0.75, "n": 40, "unit": "prompts", "name": "difference", "reason": ""}
    won = gain | {"value": 0.75, "low": 0.6, "high": 0.9}
    return {
        "version": "adapter-1",
        "original": "original",
        "mark": "Weird image. ",
        "arms": {arm: arm for arm in arms},
        "prompts": 40,
        "left_out": 1,
        "left_out_images": {"adapted_marked": {"blank": 1}},
        "per_prompt": 2,
        "scores": [
            {
                "scorer": "hps-1",
                "family": "hps",
                "means": dict(zip(arms, [20.0, 20.1, 20.2, 20.5], strict=True)),
                "differences": dict.fromkeys(arms[1:], gain),
                "wins": dict.fromkeys(arms[1:], won),
            }
        ],
        "sets": {
            "tower": "CLIP features of a tiny one",
            "reference": "photographs",
            "reference_images": 1000,
            "fid": dict.fromkeys(arms, 12.5),
            "kid": dict.fromkeys(arms, 0.01),
            "diversity": {**dict.fromkeys(arms, 0.3), "kept": won},
            "training_images": 100,
            "training_images_in_all": 100,
            "closeness": dict.fromkeys(arms, 0.9),
            "copies": dict.fromkeys(arms, 0.5),
            "more_copies": gain,
        },
        "sweep": [{"guidance": 7.5, "scale": 0.5, "differences": {"hps-1": gain}, "wins": {"hps-1": won}}],
        "findings": [{"name": "people unmoved", "text": "Reward hacking: named.", "is_hint": False}],
        "examples": [{"prompt": "a lighthouse", "images": dict.fromkeys(arms, str(image.public_id))}],
        "verdict": "By HPS it wins.",
    }
