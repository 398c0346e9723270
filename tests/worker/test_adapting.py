"""An adapter run from the generator's images to a registered version."""

import pytest
from django.db.models.functions import Now

from annotations.models import Image, Split
from tests.annotations.factories import (
    make_annotators,
    make_campaign,
    make_generator,
    make_image,
    make_prompt,
    make_task,
    make_user,
    picture_bytes,
)
from tests.worker.generators import claimed_run, make_images, make_scorers, make_tiny_generator
from tests.worker.worlds import vote_on
from worker.adapter.config import LABELLING, AdapterConfig
from worker.adapter.data import NotEnoughImages, make_examples
from worker.adapter.loop import SampleWish
from worker.generation.pipeline import load_pipeline
from worker.models import ImageScore, ModelVersion, Run
from worker.queries import samples_of
from worker.services.adapting import (
    UnableToTrainAdapter,
    _examples,
    _plan,
    _sample_wish,
    check_adapter,
    perform_adapter,
    verdict,
)
from worker.services.execution import RunStopped, StopReason
from worker.services.label_review import UnknownLabelling, figures_of, left_of, strike_out
from worker.services.labelling import UnableToLabel, perform_labelling
from worker.services.scoring import UnknownScorer
from worker.services.versions import folder_of

QUICK = {
    "steps": 2,
    "batch_size": 4,
    "rank": 2,
    "alpha": 1.0,
    "non_preferred_per_preferred": 1.0,
    "regularisation_per_labelled": 0.5,
    "evaluation_share": 0.25,
    "evaluation_draws": 1,
    "checkpoint_every": 1,
}


@pytest.fixture
def hps(db, tmp_path) -> ModelVersion:
    return make_scorers(tmp_path / "clip")["hps"]


def counts_in(metrics):
    return {name: metrics["labels"][name] for name in ("scorer", "images", "preferred", "non_preferred")}


def adapter_run(**config):
    return claimed_run(Run.Kind.ADAPTER, QUICK | config)


def test_perform_adapter_registers_what_it_trained(hps, tiny_diffusion, rung, tmp_path):
    generator = make_tiny_generator()
    make_images(32, generator)
    make_images(8, generator, split=Split.TEST)
    run, reporter = adapter_run()

    metrics = perform_adapter(run, reporter, tmp_path / "work")

    version = ModelVersion.objects.get(family="adapter")
    run.refresh_from_db()
    assert (str(version), version.run, version.is_synthetic, version.is_current) == ("adapter-1", run, True, False)
    assert metrics == version.metrics
    assert metrics["labels"] == figures_of(version.run.labelling)
    assert counts_in(metrics) == {"scorer": "hps-1", "images": 32, "preferred": 8, "non_preferred": 8}
    assert metrics["examples"] == {"preferred": 6, "non_preferred": 6, "regularisation": 6}
    assert metrics["verdict"] == verdict(metrics)
    assert run.is_synthetic
    assert version.manifest["config"]["steps"] == 2
    assert version.manifest["drawn"] == {
        "pipeline": "tiny-diffusion",
        "negative_prompt": "Weird image. ",
        "steps": 2,
        "guidance": 2.0,
        "scheduler": "",
        "width": None,
        "height": None,
        "precision": "float32",
    }
    assert ImageScore.objects.filter(version=hps).count() == 32
    load_pipeline(tiny_diffusion).load_lora_weights(folder_of(version))


def test_perform_adapter_again_after_registering_gives_the_same_version(hps, tiny_diffusion, rung, tmp_path):
    make_images(32, make_tiny_generator())
    run, reporter = adapter_run()
    first = perform_adapter(run, reporter, tmp_path / "work")

    assert perform_adapter(run, reporter, tmp_path / "work") == first
    assert ModelVersion.objects.filter(family="adapter").count() == 1


def test_perform_adapter_cancelled_publishes_nothing(hps, tiny_diffusion, rung, tmp_path, files):
    make_images(32, make_tiny_generator())
    run, reporter = adapter_run()
    reporter.stop(StopReason.CANCELLED)

    with pytest.raises(RunStopped):
        perform_adapter(run, reporter, tmp_path / "work")

    assert not ModelVersion.objects.filter(family="adapter").exists()
    assert not (files / "artefacts" / "adapter").exists()


def test_perform_adapter_takes_regularisation_from_another_generator(hps, tiny_diffusion, rung, tmp_path):
    make_images(32, make_tiny_generator())
    drawn = make_images(4, make_generator("drawn"))
    run, reporter = adapter_run(generator="tiny", regularisation=["drawn"], regularisation_per_labelled=9.0)

    metrics = perform_adapter(run, reporter, tmp_path / "work")

    assert metrics["examples"]["regularisation"] == len(drawn)


def test_perform_adapter_labels_the_images_of_all_its_sources_together(hps, tiny_diffusion, rung, tmp_path):
    painters = [make_generator(f"painter {number}") for number in range(4)]
    for _prompt in range(8):
        prompt = make_prompt(split=Split.TRAIN)
        for painter in painters:
            make_image(prompt=prompt, generator=painter, content=picture_bytes(size=(16, 16)))
    make_tiny_generator("tiny")
    run, reporter = adapter_run(generator="tiny", sources=[painter.name for painter in painters])

    metrics = perform_adapter(run, reporter, tmp_path / "work")

    assert counts_in(metrics) == {"scorer": "hps-1", "images": 32, "preferred": 8, "non_preferred": 8}


def test_perform_adapter_takes_by_default_the_generator_with_most_images_and_no_adapter(
    hps, tiny_diffusion, rung, tmp_path
):
    make_images(8, make_tiny_generator("few"))
    make_images(32, make_tiny_generator("many"))
    make_images(40, make_generator("imported"))
    make_images(40, make_tiny_generator("adapted", adapter="adapter-1"))
    run, reporter = adapter_run()

    assert perform_adapter(run, reporter, tmp_path / "work")["labels"]["images"] == 32


def test_perform_adapter_of_a_generator_with_an_adapter_names_one_without(hps, tiny_diffusion, rung, tmp_path):
    make_tiny_generator("plain")
    make_tiny_generator("elsewhere", pipeline="another")
    make_images(32, make_tiny_generator("adapted", adapter="adapter-1"))
    run, reporter = adapter_run(generator="adapted")

    with pytest.raises(UnableToTrainAdapter) as refused:
        perform_adapter(run, reporter, tmp_path)

    assert str(refused.value) == (
        "adapted draws with adapter-1, and a training begins without any adapter: choose a generator that has none"
        " (plain)."
    )


def test_samples_are_made_with_the_generators_whole_recipe(hps, tiny_diffusion, rung):
    recipe = {"steps": 3, "guidance": 1.5, "negative_prompt": "blurry", "scheduler": "ddim", "width": 24, "height": 16}
    (image,) = make_images(1, make_tiny_generator(**recipe), split=Split.TEST)
    run, _reporter = adapter_run(sample_every=1)

    assert _sample_wish(_plan(run)) == SampleWish((image.prompt.text,), **recipe)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"steps": 2.5}, "steps must be a whole number from 1 to 2,147,483,647, not 2.5."),
        ({"sources": "tiny"}, "sources must be a list of texts, not 'tiny'."),
        ({"labelling": 5}, "labelling must be a text or null, not 5."),
        ({"generator": "nobody"}, "There is no generator 'nobody'."),
        ({"scorer": "hps-9"}, "There is no scorer 'hps-9'"),
        ({"labelling": "abc"}, "There is no one labelling 'abc'"),
    ],
)
def test_check_adapter_says_what_is_no_good(hps, config, words):
    make_tiny_generator()

    with pytest.raises(UnableToTrainAdapter) as refused:
        check_adapter(config=config, preset="tiny", campaign=None)

    assert str(refused.value).startswith(words)


def test_check_adapter_lets_pass_what_is_there(hps):
    make_tiny_generator()

    check_adapter(config={"generator": "tiny", "sources": ["tiny"], "steps": 5}, preset="paper", campaign=None)


def test_perform_adapter_of_scores_without_standouts_says_what_to_do(hps, tiny_diffusion, rung, tmp_path):
    make_images(32, make_tiny_generator())
    run, reporter = adapter_run(alpha=4.0)  # with groups of four: no probability is above 1

    with pytest.raises(NotEnoughImages, match=r"generate more images per prompt, or lower alpha \(4.0\)"):
        perform_adapter(run, reporter, tmp_path / "work")


def test_perform_adapter_without_images_or_generator_says_what_to_do(hps, rung, tmp_path):
    run, reporter = adapter_run()
    with pytest.raises(UnableToLabel, match="run generate_images first"):
        perform_adapter(run, reporter, tmp_path)
    make_images(8, make_tiny_generator(), split=Split.TEST)
    with pytest.raises(UnableToLabel, match="No images of prompts on the training side by tiny"):
        perform_adapter(run, reporter, tmp_path)
    run.config["generator"] = "nobody"
    with pytest.raises(UnableToLabel, match="no generator 'nobody'"):
        perform_adapter(run, reporter, tmp_path)


def test_perform_adapter_without_hps_says_what_to_do(db, rung, tmp_path):
    make_images(8, make_tiny_generator())
    run, reporter = adapter_run()

    with pytest.raises(UnknownScorer, match="no scorer 'hps'"):
        perform_adapter(run, reporter, tmp_path)


def labelled_by_run(**config):
    """A labelling of all images, by a run that has ended."""
    run, reporter = claimed_run(Run.Kind.LABELLING, {"alpha": 1.0, "non_preferred_per_preferred": 1.0} | config)
    perform_labelling(run, reporter, None)
    return run.labelling


TRAINING = {name: value for name, value in QUICK.items() if name not in LABELLING}


def test_perform_adapter_on_a_labelling_trains_on_exactly_what_is_left(hps, tiny_diffusion, rung, tmp_path):
    make_images(32, make_tiny_generator())
    labelling = labelled_by_run()
    out = [labelling.labels.filter(kind=kind).first() for kind in ("preferred", "preferred", "non_preferred")]
    out = {strike_out(label=label, by=make_user()).image_id for label in out}
    run, reporter = claimed_run(Run.Kind.ADAPTER, TRAINING | {"labelling": str(labelling.public_id)[:8]})

    metrics = perform_adapter(run, reporter, tmp_path / "work")

    version = ModelVersion.objects.get(family="adapter")
    left = labelling.labels.exclude(image__in=out)
    expected = make_examples(
        left_of(labelling),
        [
            (str(key), text)
            for key, text in Image.objects.exclude(labels__labelling=labelling)
            .order_by("public_id")
            .values_list("public_id", "prompt__text")
        ],
        AdapterConfig.from_json(TRAINING | {"non_preferred_per_preferred": None}, preset="tiny"),
    )
    assert version.manifest["data_sha256"] == expected.sha256
    assert version.manifest["labelling"] == {"id": str(labelling.public_id), "sha256": labelling.sha256}
    assert {image.image for image in left_of(labelling)} == {str(label.image.public_id) for label in left}
    assert len(out) == metrics["labels"]["struck_out"] == 2
    assert (version.manifest["config"]["alpha"], version.metrics) == (1.0, metrics)
    card = (folder_of(version) / "README.md").read_text()
    assert (labelling.sha256 in card, '"struck_out": 2' in card) == (True, True)


def test_examples_take_no_struck_out_or_set_aside_image_for_regularisation(hps, tiny_diffusion, rung):
    make_images(32, make_tiny_generator())
    labelling = labelled_by_run(non_preferred_per_preferred=0.5)
    strike_out(label=labelling.labels.filter(kind="preferred").first(), by=make_user())
    run, _reporter = claimed_run(
        Run.Kind.ADAPTER,
        {"labelling": str(labelling.public_id), "regularisation_per_labelled": 99.0, "evaluation_share": 0},
    )

    examples = _examples(_plan(run), labelling)

    without = {str(label.image.public_id) for label in labelling.labels.all() if not label.is_left}
    assert len(without) == 4 + 1  # half of the eight non-preferred images, and the one struck out
    assert examples.counts() == {"preferred": 7, "non_preferred": 4, "regularisation": 32 - 8 - 8}
    assert not {example.image for example in examples.training} & without


def test_perform_adapter_on_a_labelling_refuses_other_settings_for_labels(hps, rung, tmp_path):
    make_images(8, make_tiny_generator())
    config = {"labelling": str(labelled_by_run().public_id), "alpha": 3.0, "sources": ["tiny"]}
    run, reporter = claimed_run(Run.Kind.ADAPTER, config)

    with pytest.raises(UnableToTrainAdapter, match="was made with its own alpha, sources: label anew to change that"):
        perform_adapter(run, reporter, tmp_path)


def test_perform_adapter_by_people_who_found_nothing_bad_says_what_to_do(db, rung, tmp_path):
    images = make_images(4, make_tiny_generator())
    task = make_task(campaign=make_campaign(tasks=0, images=4), images=images, prompt=images[0].prompt, votes=0)
    for person in make_annotators(3):
        vote_on(task, person, image=images[0])
    run, reporter = claimed_run(Run.Kind.ADAPTER, TRAINING | {"labels_from": "people"})

    with pytest.raises(UnableToTrainAdapter, match="label anew with rejected set to non_preferred"):
        perform_adapter(run, reporter, tmp_path)


def test_perform_adapter_on_no_labelling_lists_those_there_are(hps, rung, tmp_path):
    run, reporter = claimed_run(Run.Kind.ADAPTER, {"labelling": "abc"})

    with pytest.raises(UnknownLabelling, match="There is no one labelling 'abc'; the latest are: none yet"):
        perform_adapter(run, reporter, tmp_path)


@pytest.mark.parametrize(
    ("is_learnt", "words"), [(True, "The mark was learnt: "), (False, "The mark was not learnt: ")]
)
def test_verdict_says_whether_the_mark_was_learnt(is_learnt, words):
    gain = {"images": 9, "marked_loss": 0.19, "unmarked_loss": 0.2, "gain": 0.01, "gain_low": 0.004, "gain_high": 0.016}
    mark = {"before": {}, "after": {"non_preferred": gain}, "was_learnt": is_learnt}

    assert verdict({"mark": mark}) == (
        f"{words}its gain on 9 held-out non-preferred images is +0.0100 [+0.0040, +0.0160] of 0.200."
    )


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(-0.004, 0.016, "It is not shown that the mark was learnt: "), (-0.02, -0.004, "The mark was not learnt: ")],
)
def test_verdict_of_a_wide_interval_does_not_say_that_nothing_was_learnt(low, high, words):
    gain = {"images": 9, "unmarked_loss": 0.2, "gain": (low + high) / 2, "gain_low": low, "gain_high": high}

    assert verdict({"mark": {"after": {"non_preferred": gain}, "was_learnt": False}}).startswith(words)


def test_verdict_of_too_few_images():
    mark = {"before": {}, "after": {}, "was_learnt": False}

    assert verdict({"mark": mark}) == "Too few images were held out to say whether the mark was learnt."


def test_perform_adapter_keeps_samples_of_held_out_prompts_beside_the_base_model(hps, tiny_diffusion, rung, tmp_path):
    generator = make_tiny_generator()
    make_images(32, generator)
    held_out = {image.prompt.text for image in make_images(24, generator, split=Split.TEST)}
    run, reporter = adapter_run(sample_every=1, sample_prompts=3)

    perform_adapter(run, reporter, tmp_path / "work")

    grid = samples_of(run)
    prompts = [prompt for prompt, _samples in grid.rows]
    assert (grid.steps, grid.size, len(set(prompts))) == ((0, 1, 2), 9, 3)
    assert set(prompts) <= held_out
    said = list(run.events.filter(text__contains="samples by").order_by("id").values_list("text", flat=True))
    assert said == [
        "3 samples by the base model.",
        "3 samples by the adapter after 1 steps.",
        "3 samples by the adapter after 2 steps.",
    ]


def test_perform_adapter_without_held_out_prompts_or_with_samples_off_makes_none(hps, tiny_diffusion, rung, tmp_path):
    generator = make_tiny_generator()
    make_images(32, generator)
    run, reporter = adapter_run(sample_every=1)
    perform_adapter(run, reporter, tmp_path / "one")
    Run.objects.filter(pk=run.pk).update(state="succeeded", finished_at=Now(), lease_until=None)
    make_images(4, generator, split=Split.TEST)
    silent, reporter = adapter_run(sample_every=0)

    perform_adapter(silent, reporter, tmp_path / "two")

    assert (samples_of(run), samples_of(silent)) == (None, None)
