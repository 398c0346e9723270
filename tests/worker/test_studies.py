"""The blind study: both arms from the same noise, on prompts no training saw, and nothing that tells them apart."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from annotations.models import Campaign, Candidate, Image, Split, Task
from annotations.queries.voting import shown_claims
from annotations.services.gold import UnableToMakeGold
from annotations.services.voting import claim_slots
from scoring.power import plan_pairs
from tests.annotations.factories import make_annotator, make_generator, make_image, make_prompt
from tests.worker.generators import claimed_run, make_scorers, make_tiny_generator
from worker.forms.studies import default_plan
from worker.models import ImageScore, ModelVersion, Run, Study
from worker.services import studies
from worker.services.studies import UnableToCreateStudy, create_study, perform_study, prompts_for_study
from worker.services.versions import register_version


@pytest.fixture
def adapter(db, tiny_diffusion, files) -> ModelVersion:
    """A version with an adapter whose matrices are not zero."""
    from peft import LoraConfig, get_peft_model_state_dict

    from scoring import checkpoints
    from worker.adapter.artefact import WEIGHTS
    from worker.generation.pipeline import load_pipeline

    pipeline = load_pipeline(tiny_diffusion)
    pipeline.unet.add_adapter(LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=["to_q", "to_v"]))
    folder = files / "artefacts" / "adapter" / "one"
    pipeline.save_lora_weights(folder, unet_lora_layers=get_peft_model_state_dict(pipeline.unet))
    manifest = {
        "kind": "adapter",
        "mark": "Weird image. ",
        "format": checkpoints.FORMAT,
        "weights": {"file": WEIGHTS, "sha256": checkpoints.file_sha256(folder / WEIGHTS)},
    }
    checkpoints.write_json(folder / "manifest.json", manifest)
    return register_version(family="adapter", folder=folder, manifest=manifest, metrics={}, is_synthetic=True)


def held_out_prompts(count: int) -> list:
    return [make_prompt(split=Split.TEST) for _ in range(count)]


def test_create_study_asks_about_pairs_of_one_prompt_and_one_noise(adapter):
    original, prompts = make_tiny_generator("original"), held_out_prompts(3)

    study = create_study(version=adapter, original=original, prompts=prompts, slug="study", votes_per_task=2)

    campaign = study.campaign
    assert (campaign.state, campaign.candidates, campaign.votes_per_task, campaign.is_synthetic) == (
        Campaign.State.RUNNING,
        2,
        2,
        True,
    )
    assert (campaign.allows_tie, campaign.allows_all_bad) == (False, False)
    tasks = campaign.tasks.filter(purpose=Task.Purpose.REGULAR)
    assert [task.prompt for task in tasks.order_by("pk")] == prompts
    assert campaign.slots.count() == 6
    for task in tasks:
        arms = [candidate.image for candidate in Candidate.objects.filter(task=task).order_by("position")]
        assert [image.generator for image in arms] == [study.original, study.adapted] == [original, study.adapted]
        assert arms[0].seed == arms[1].seed
        assert {image.prompt for image in arms} == {task.prompt}
        assert arms[0].sha256 != arms[1].sha256


def test_create_study_gives_only_the_adapted_arm_adapter_and_mark(adapter):
    original = make_tiny_generator("original")

    study = create_study(version=adapter, original=original, prompts=held_out_prompts(1), slug="study")

    assert study.adapted.settings == original.settings | {"adapter": "adapter-1", "negative_prompt": "Weird image. "}
    assert study.adapted.is_synthetic


def test_create_study_shows_annotators_nothing_that_tells_the_arms_apart(adapter):
    original = make_tiny_generator("secret-original-name")
    study = create_study(
        version=adapter, original=original, prompts=held_out_prompts(2), slug="study", votes_per_task=1
    )

    slots = claim_slots(annotator=make_annotator(), campaign=study.campaign, count=2)
    shown = json.dumps(
        [vars(claim) for claim in shown_claims(slots)], default=lambda value: str(getattr(value, "__dict__", value))
    )

    telling = {"secret", "original", "adapt", "weird", *(str(image.seed) for image in Image.objects.all())}
    assert all(str(image.public_id) in shown for slot in slots for image in slot.task.images.all())
    assert {word for word in telling if word in shown.lower()} == set()


def test_create_study_again_makes_no_image_twice(adapter):
    original, prompts = make_tiny_generator("original"), held_out_prompts(2)
    create_study(version=adapter, original=original, prompts=prompts, slug="one")

    create_study(version=adapter, original=original, prompts=prompts, slug="two")

    assert Image.objects.filter(corrupted_from=None).count() == 4
    assert Study.objects.count() == 2


def test_create_study_leaves_out_pairs_with_a_hidden_image(adapter):
    original, prompts = make_tiny_generator("original"), held_out_prompts(2)
    create_study(version=adapter, original=original, prompts=prompts, slug="one")
    Image.objects.filter(prompt=prompts[0], generator=original).update(is_hidden=True)

    study = create_study(version=adapter, original=original, prompts=prompts, slug="two")

    assert [task.prompt for task in study.campaign.tasks.filter(purpose=Task.Purpose.REGULAR)] == [prompts[1]]


def test_create_study_refuses_prompts_that_training_may_have_seen(adapter):
    prompts = [*held_out_prompts(1), make_prompt("a seen one", split=Split.TRAIN)]

    with pytest.raises(UnableToCreateStudy, match="Trainings may have seen 'a seen one'"):
        create_study(version=adapter, original=make_tiny_generator(), prompts=prompts, slug="study")
    assert (Image.objects.count(), Campaign.objects.count()) == (0, 0)


def test_create_study_refuses_other_versions_adapted_generators_and_taken_slugs(adapter):
    original, prompts = make_tiny_generator(), held_out_prompts(1)
    create_study(version=adapter, original=original, prompts=prompts, slug="study")
    adapted = Study.objects.get().adapted
    scorer = ModelVersion(family="hps", number=1)

    with pytest.raises(UnableToCreateStudy, match="hps-1 is no adapter"):
        create_study(version=scorer, original=original, prompts=prompts, slug="other")
    with pytest.raises(UnableToCreateStudy, match="has an adapter already"):
        create_study(version=adapter, original=adapted, prompts=prompts, slug="other")
    with pytest.raises(UnableToCreateStudy, match="campaign 'study' already"):
        create_study(version=adapter, original=original, prompts=prompts, slug="study")
    with pytest.raises(UnableToCreateStudy, match="No prompt has two different images"):
        create_study(version=adapter, original=original, prompts=[], slug="other")


def test_create_study_of_two_generators_takes_what_is_here_and_draws_the_rest(db, tiny_diffusion, files):
    drawing, imported = make_tiny_generator("drawing"), make_generator("imported")
    prompts = [make_prompt(split=Split.TRAIN), make_prompt(split=Split.TEST), make_prompt()]
    for prompt in prompts[:2]:
        make_image(prompt=prompt, generator=imported)

    study = create_study(original=drawing, adapted=imported, prompts=prompts, slug="two", gold_share=0)

    assert (study.version, study.original, study.adapted) == (None, drawing, imported)
    assert [task.prompt for task in study.campaign.tasks.order_by("pk")] == prompts[:2]
    assert study.campaign.gold_share == 0


def test_create_study_mixes_in_gold(adapter):
    study = create_study(
        version=adapter, original=make_tiny_generator("original"), prompts=held_out_prompts(4), slug="study"
    )

    gold = study.campaign.tasks.filter(purpose=Task.Purpose.GOLD)
    assert (study.campaign.gold_share, study.campaign.state) == (0.1, Campaign.State.RUNNING)
    assert 1 <= gold.count() <= 4
    assert all(task.expected for task in gold)


def test_perform_study_says_where_no_gold_can_be_made(adapter, tmp_path, monkeypatch):
    def refuse(**_settings):
        raise UnableToMakeGold("No pair serves.")

    monkeypatch.setattr(studies, "make_gold", refuse)
    make_tiny_generator("original")
    held_out_prompts(2)
    config = {"slug": "study", "original": "original", "version": "adapter-1"}
    run, reporter = claimed_run(Run.Kind.STUDY, config, preset="")

    perform_study(run, reporter, tmp_path)

    assert Campaign.objects.get(slug="study").gold_share == 0
    said = "Nobody's attention is checked in this study: no tasks with an obvious answer. No pair serves."
    assert said in run.events.values_list("text", flat=True)


def test_create_study_needs_two_different_generators(adapter):
    original = make_tiny_generator("original")

    with pytest.raises(UnableToCreateStudy, match="can't be held against itself"):
        create_study(original=original, adapted=original, prompts=held_out_prompts(1), slug="study")
    with pytest.raises(UnableToCreateStudy, match="with an adapter's version, or with another generator"):
        create_study(original=original, prompts=held_out_prompts(1), slug="study")


def test_prompts_for_study_are_held_out_where_an_adapter_takes_part(adapter):
    original, imported = make_tiny_generator("original"), make_generator("imported")
    seen, held_out = make_prompt(split=Split.TRAIN), make_prompt(split=Split.TEST)
    make_image(prompt=seen, generator=imported)

    assert list(prompts_for_study(original=original)) == [held_out]
    assert list(prompts_for_study(original=original, adapted=imported)) == [seen]
    assert set(prompts_for_study(original=original, adapted=make_tiny_generator("other", steps=3))) == {seen, held_out}


def test_perform_study_makes_the_campaign_scores_it_and_is_not_made_twice(adapter, files, tmp_path):
    make_scorers(files / "clip")
    make_tiny_generator("original")
    held_out_prompts(3)
    config = {"slug": "study-1", "original": "original", "version": "adapter-1", "prompts": 2, "votes_per_task": 5}
    run, reporter = claimed_run(Run.Kind.STUDY, config, preset="")
    Run.objects.filter(pk=run.pk).update(created_at=run.created_at - timedelta(seconds=1))
    run.refresh_from_db()

    said = perform_study(run, reporter, tmp_path)

    assert said == {
        "campaign": "study-1",
        "original": "original",
        "adapted": "original + adapter-1",
        "version": "adapter-1",
        "pairs": 2,
        "votes": 10,
        "left_out": {},
        "findings": [],
    }
    run.refresh_from_db()
    assert run.is_synthetic
    assert ImageScore.objects.count() == 2 * 2 * 2
    assert perform_study(run, reporter, tmp_path) == said
    assert Study.objects.count() == 1


def test_perform_study_tells_which_images_it_leaves_out_and_warns_where_the_adapter_loses_them(adapter, tmp_path):
    original, prompts = make_tiny_generator("original"), held_out_prompts(8)
    study = create_study(version=adapter, original=original, prompts=prompts, slug="first", gold_share=0)
    arm = Image.objects.filter(generator=study.adapted)
    arm.filter(prompt__in=prompts[:4]).update(is_hidden=True, hidden_reason="blank")
    arm.filter(prompt=prompts[4]).update(is_hidden=True, hidden_reason="broken")
    Image.objects.filter(generator=original, prompt=prompts[4]).update(is_hidden=True)
    arm.filter(prompt=prompts[5]).update(
        sha256=Image.objects.values_list("sha256", flat=True).get(generator=original, prompt=prompts[5])
    )
    config = {"slug": "second", "original": "original", "version": "adapter-1", "gold_share": 0.0}
    run, reporter = claimed_run(Run.Kind.STUDY, config, preset="")

    said = perform_study(run, reporter, tmp_path)

    assert (said["pairs"], said["left_out"]) == (
        2,
        {"original": {"hidden": 1}, "adapted": {"blank": 4, "broken": 1}, "both": {"alike": 1}},
    )
    [finding] = said["findings"]
    assert (finding["name"], finding["is_hint"]) == ("images lost", False)
    assert finding["text"].startswith("Faulty images: 62 % of the adapted images")
    assert "12 % of the original's" in finding["text"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"original": "original"}, "slug is missing"),
        ({"slug": "", "original": "original"}, "needs a slug and an original"),
        ({"slug": "a", "original": "original", "gold_share": 0.9}, "gold_share lies between 0 and 0.5"),
        ({"slug": "a", "original": "original", "access": "all"}, "access is one of: open, invited"),
        ({"slug": "a", "original": "original", "allows_tie": 1}, "allows_tie must be true or false"),
        ({"slug": "a", "original": "original", "people": 3}, "no setting 'people'"),
        ({"slug": "a", "original": "nobody", "version": "adapter-1"}, "no generator 'nobody'"),
        ({"slug": "a", "original": "original", "version": "adapter-9"}, "no version 'adapter-9'"),
        ({"slug": "a", "original": "original", "prompts_of": "nowhere"}, "no campaign 'nowhere'"),
        ({"slug": "a", "original": "original", "prompts": 0}, "a prompt and a vote"),
    ],
)
def test_perform_study_refuses_with_reason(db, tmp_path, config, words):
    make_generator("original")
    run, reporter = claimed_run(Run.Kind.STUDY, config, preset="")

    with pytest.raises(UnableToCreateStudy, match=words):
        perform_study(run, reporter, tmp_path)


def test_create_study_command_takes_held_out_prompts_alone_and_says_what_it_started(adapter, tmp_path):
    make_tiny_generator("original")
    texts = [prompt.text for prompt in held_out_prompts(3)]
    (tmp_path / "prompts.txt").write_text("\n".join([make_prompt(split=Split.TRAIN).text, *texts]))
    arguments = ["--adapter", "adapter-1", "--generator", "original", "--slug", "study", "--count", "2", "--votes", "3"]
    plan = plan_pairs(0.6, available=3, prompts=2, votes_per_pair=3)
    out = StringIO()

    call_command("create_study", *arguments, "--prompts", str(tmp_path / "prompts.txt"), "--json", stdout=out)

    assert json.loads(out.getvalue()) == {
        "campaign": "study",
        "original": "original",
        "adapted": "original + adapter-1",
        "adapter": "adapter-1",
        "pairs": 2,
        "votes_per_pair": 3,
        "plan": {"share": 0.6, "prompts": 2, "votes_per_pair": 3, "power": plan.power},
        "is_synthetic": True,
        "left_out": {},
        "findings": [],
    }


def test_create_study_command_says_what_it_does_not_show(adapter, tmp_path):
    original, prompts = make_tiny_generator("original"), held_out_prompts(5)
    study = create_study(version=adapter, original=original, prompts=prompts, slug="first", gold_share=0)
    Image.objects.filter(generator=study.adapted, prompt__in=prompts[:4]).update(is_hidden=True, hidden_reason="blank")
    (tmp_path / "prompts.txt").write_text("\n".join(prompt.text for prompt in prompts))
    arguments = ["--adapter", "adapter-1", "--generator", "original", "--slug", "second", "--votes", "20"]
    out = StringIO()

    call_command("create_study", *arguments, "--prompts", str(tmp_path / "prompts.txt"), stdout=out)

    started, finds, not_shown, warning = out.getvalue().splitlines()
    assert "1 pairs, 20 votes each" in started
    assert finds == "If 60 % of the votes were for one of the two, 14 % of such studies would find it."
    assert not_shown == "Not shown to people: adapted: 4 blank."
    assert warning.startswith("WARNING: Faulty images: 80 % of the adapted images are blank")


def test_create_study_command_plans_by_the_share_worth_finding_as_the_page_does(adapter, tmp_path):
    original = make_tiny_generator("original")
    held_out_prompts(3)
    plan = plan_pairs(0.7, available=3)
    out = StringIO()

    call_command(
        "create_study", "--adapter", "adapter-1", "--generator", "original", "--slug", "study", "--effect", "0.7",
        "--json", stdout=out,
    )  # fmt: skip

    record = json.loads(out.getvalue())
    assert (record["pairs"], record["votes_per_pair"]) == (plan.prompts, plan.votes_per_pair)
    assert record["plan"]["power"] == plan.power
    assert default_plan(original) == plan_pairs(0.6, available=3)


def test_create_study_command_takes_prompts_of_training_where_no_adapter_takes_part(db):
    prompt = make_prompt(split=Split.TRAIN)
    for name in ("one", "other"):
        make_image(prompt=prompt, generator=make_generator(name))

    call_command("create_study", "--generator", "one", "--against", "other", "--slug", "study", stdout=StringIO())

    assert [task.prompt for task in Task.objects.filter(purpose=Task.Purpose.REGULAR)] == [prompt]


@pytest.mark.parametrize(
    ("adapter_name", "generator", "words"),
    [
        ("adapter-9", "original", "There is no version 'adapter-9'"),
        ("adapter-1", "nobody", "There is no generator 'nobody'"),
        ("adapter-1", "imported", "imported has no recipe"),
    ],
)
def test_create_study_command_refuses_with_reason(adapter, tmp_path, adapter_name, generator, words):
    make_tiny_generator("original")
    make_generator("imported")
    (tmp_path / "prompts.txt").write_text(held_out_prompts(1)[0].text)
    arguments = ["--adapter", adapter_name, "--generator", generator, "--slug", "study"]

    with pytest.raises(CommandError, match=words):
        call_command("create_study", *arguments, "--prompts", str(tmp_path / "prompts.txt"))
