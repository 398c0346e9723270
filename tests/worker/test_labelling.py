"""A labelling from images, scores, pixels and votes to a record, and what is struck out of it."""

import json

import numpy as np
import PIL.Image
import pytest
from django.db import IntegrityError, transaction
from PIL import ImageFilter

from annotations.models import Annotator, Image, Outcome, Prompt, Split, Task
from tests.annotations.factories import (
    make_annotators,
    make_campaign,
    make_generator,
    make_image,
    make_prompt,
    make_task,
    make_user,
)
from tests.worker.generators import claimed_run, make_images, make_scorers, make_tiny_generator
from tests.worker.labels import make_patterned, patterned, png_bytes
from tests.worker.worlds import vote_on
from worker.adapter.config import AdapterConfigRejected
from worker.adapter.labelling import Label as AdapterLabel
from worker.adapter.labelling import LabelledImage
from worker.models import ImageScore, Label, Labelling, ModelVersion, Run
from worker.services.execution import RunStopped, StopReason
from worker.services.label_review import (
    UnableToStrikeOut,
    UnknownLabelling,
    figures_of,
    labelling_named,
    left_of,
    restore,
    strike_out,
)
from worker.services.labelling import UnableToLabel, perform_labelling
from worker.services.scoring import UnknownScorer

pytestmark = pytest.mark.django_db


@pytest.fixture
def hps(tmp_path) -> ModelVersion:
    return make_scorers(tmp_path / "clip")["hps"]


@pytest.fixture
def ben():
    return make_user("ben", is_staff=True)


def labelled(campaign=None, **config) -> Labelling:
    """What a labelling run makes of everything that is there."""
    run, reporter = claimed_run(Run.Kind.LABELLING, config, campaign=campaign)
    figures = perform_labelling(run, reporter, None)
    assert figures == figures_of(run.labelling)
    Run.objects.filter(pk=run.pk).update(state="succeeded", lease_until=None, finished_at=run.created_at)
    return run.labelling


def make_set(prompt: Prompt, generator, count: int = 4) -> list[Image]:
    return [make_patterned(prompt, generator) for _ in range(count)]


def set_scores(version: ModelVersion, images: list[Image], *values: float) -> None:
    ImageScore.objects.bulk_create(
        ImageScore(image=image, version=version, value=value) for image, value in zip(images, values, strict=True)
    )


def kinds(labelling: Labelling) -> dict[int, str]:
    return dict(labelling.labels.values_list("image_id", "kind"))


def test_perform_labelling_by_hps_is_the_papers_selection(hps, rung):
    generator = make_tiny_generator()
    prompts = [make_prompt(split=Split.TRAIN) for _ in range(3)]
    clear, even, small = (make_set(prompt, generator, count) for prompt, count in zip(prompts, (4, 4, 3), strict=True))
    set_scores(hps, clear, 18.0, 20.0, 20.1, 23.0)
    set_scores(hps, even, 20.0, 20.0, 20.1, 20.1)
    set_scores(hps, small, 10.0, 20.0, 30.0)

    labelling = labelled(alpha=2.0, non_preferred_per_preferred=None)

    odds = np.exp(np.array([18.0, 20.0, 20.1, 23.0]))
    rows = labelling.labels.order_by("-kind").values_list(
        "image", "kind", "source", "confidence", "score", "group_size"
    )
    assert list(rows) == [
        (clear[3].pk, "preferred", "hps", pytest.approx(odds[3] / odds.sum()), 23.0, 4),
        (clear[0].pk, "non_preferred", "hps", pytest.approx((1 / odds[0]) / (1 / odds).sum()), 18.0, 4),
    ]
    assert labelling.counts == {
        "images": 11,
        "unreadable": 0,
        "prompts": 3,
        "small_prompts": 1,
        "answered_prompts": 0,
    }
    assert (labelling.scorer, labelling.is_synthetic, labelling.settings["alpha"]) == (hps, True, 2.0)


def test_perform_labelling_again_gives_the_same_record(hps, rung):
    make_images(8, make_tiny_generator())
    run, reporter = claimed_run(Run.Kind.LABELLING, {"alpha": 1.0})

    first = perform_labelling(run, reporter, None)

    assert perform_labelling(run, reporter, None) == first
    assert Labelling.objects.count() == 1


def test_equal_labels_have_equal_names_and_other_ones_have_not(hps, rung):
    make_images(16, make_tiny_generator())

    names = [labelled(alpha=alpha).sha256 for alpha in (1.0, 1.0, 1.001)]

    assert names[0] == names[1] != names[2]


def test_perform_labelling_cancelled_keeps_nothing(hps, rung):
    make_images(8, make_tiny_generator())
    run, reporter = claimed_run(Run.Kind.LABELLING, {"alpha": 1.0, "drops_blurred": True})
    reporter.stop(StopReason.CANCELLED)

    with pytest.raises(RunStopped):
        perform_labelling(run, reporter, None)

    assert not Labelling.objects.exists()


def test_perform_labelling_leaves_out_what_is_blurred_blank_hidden_held_out_or_a_copy(hps, rung):
    generator = make_tiny_generator()
    prompt = make_prompt(split=Split.TRAIN)
    sharp = make_set(prompt, generator)
    veil = PIL.Image.fromarray(patterned(7).astype(np.uint8)).filter(ImageFilter.GaussianBlur(4))
    blurred = make_image(prompt=prompt, generator=generator, content=png_bytes(np.asarray(veil)))
    blank = make_image(prompt=prompt, generator=generator)
    make_image(prompt=prompt, generator=generator, content=png_bytes(patterned(8)), is_hidden=True)
    make_image(prompt=prompt, generator=generator, content=png_bytes(patterned(9)), corrupted_from=sharp[0])
    make_set(make_prompt(split=Split.TEST), generator)
    make_set(make_prompt(split=Split.TRAIN, is_near_test=True), generator)
    set_scores(hps, [*sharp, blurred, blank], 18.0, 20.0, 20.1, 23.0, 40.0, 1.0)

    labelling = labelled(drops_blurred=True, non_preferred_per_preferred=None)

    assert kinds(labelling) == {
        sharp[0].pk: "non_preferred",
        sharp[3].pk: "preferred",
        blurred.pk: "blurred",
        blank.pk: "blank",
    }
    assert labelling.counts["images"] == 6
    assert figures_of(labelling)["blurred"] == figures_of(labelling)["blank"] == 1


def test_perform_labelling_passes_over_files_that_cannot_be_read(hps, rung):
    generator = make_tiny_generator()
    images = make_set(make_prompt(split=Split.TRAIN), generator, 5)
    set_scores(hps, images, 18.0, 20.0, 20.1, 23.0, 40.0)
    images[4].file.storage.delete(images[4].file.name)

    labelling = labelled(drops_blurred=True)

    assert labelling.counts["unreadable"] == 1
    assert images[4].pk not in kinds(labelling)


def test_perform_labelling_keeps_the_share_of_non_preferred_and_remembers_the_others(hps, rung):
    generator = make_tiny_generator()
    for _ in range(4):
        set_scores(hps, make_set(make_prompt(split=Split.TRAIN), generator), 18.0, 20.0, 20.1, 23.0)

    labelling = labelled(non_preferred_per_preferred=0.5)

    figures = figures_of(labelling)
    assert (figures["preferred"], figures["non_preferred"], figures["spare"]) == (4, 2, 2)


@pytest.fixture
def voted(hps):
    """A prompt on which people chose the image that HPS finds worst, one that all find bad, and one without votes."""
    generator = make_tiny_generator()
    prompts = [make_prompt(split=Split.TRAIN) for _ in range(3)]
    chosen, bad, unseen = (make_set(prompt, generator) for prompt in prompts)
    for images in (chosen, bad, unseen):
        set_scores(hps, images, 18.0, 20.0, 20.1, 23.0)
    campaign = make_campaign(tasks=0, images=4)
    people = make_annotators(4)
    tasks = [make_task(campaign=campaign, images=images, prompt=images[0].prompt, votes=0) for images in (chosen, bad)]
    for person in people[:3]:
        vote_on(tasks[0], person, image=chosen[0])
        vote_on(tasks[1], person, outcome=Outcome.ALL_BAD)
    vote_on(tasks[0], people[3], image=chosen[3])
    return {"chosen": chosen, "bad": bad, "unseen": unseen, "campaign": campaign, "people": people, "tasks": tasks}


ALL_KEPT = {"non_preferred_per_preferred": None}


def test_perform_labelling_by_both_takes_peoples_answer_before_that_of_hps(voted, rung):
    labelling = labelled(labels_from="both", **ALL_KEPT)

    assert kinds(labelling) == {
        voted["chosen"][0].pk: "preferred",
        **{image.pk: "rejected" for image in voted["chosen"][1:]},
        **{image.pk: "non_preferred" for image in voted["bad"]},
        voted["unseen"][3].pk: "preferred",
        voted["unseen"][0].pk: "non_preferred",
    }
    of_people = labelling.labels.get(image=voted["chosen"][0])
    assert (of_people.source, of_people.confidence, of_people.score, of_people.group_size) == ("people", 0.75, 18.0, 4)
    assert labelling.counts["answered_prompts"] == 2


def test_perform_labelling_by_people_needs_no_scorer(voted, rung):
    ModelVersion.objects.update(is_current=False)

    labelling = labelled(labels_from="people", rejected="non_preferred", **ALL_KEPT)

    assert labelling.scorer is None
    assert labelling.spread == {}
    assert sorted(kinds(labelling).values()) == ["non_preferred"] * 7 + ["preferred"]
    assert set(labelling.labels.values_list("score", flat=True)) == {None}


def test_perform_labelling_by_hps_hears_no_votes(voted, rung):
    labelling = labelled(**ALL_KEPT)

    assert sorted(kinds(labelling).values()) == ["non_preferred"] * 3 + ["preferred"] * 3
    assert set(labelling.labels.values_list("source", flat=True)) == {"hps"}


def test_perform_labelling_by_people_hears_the_votes_of_its_campaign_alone(voted, rung):
    other = make_campaign(tasks=0, images=4)

    assert labelled(voted["campaign"], labels_from="people").counts["answered_prompts"] == 2
    with pytest.raises(UnableToLabel, match="People have no answer on any image of tiny: collect votes"):
        labelled(other, labels_from="people")


@pytest.mark.parametrize("why", ["gold", "practice", "probe", "excluded", "undone", "skipped"])
def test_votes_that_do_not_count_label_nothing(voted, rung, why):
    before = kinds(labelled(labels_from="both", **ALL_KEPT))
    unseen, people = voted["unseen"], voted["people"]
    purpose = why if why in Task.Purpose.values else Task.Purpose.REGULAR
    extra = make_task(campaign=voted["campaign"], images=unseen, prompt=unseen[0].prompt, votes=0, purpose=purpose)
    voters = make_annotators(3) if why == "excluded" else people
    fields = {"outcome": Outcome.SKIP} if why == "skipped" else {"image": unseen[1]}
    votes = [vote_on(extra, person, **fields) for person in voters]
    if why == "excluded":
        Annotator.objects.filter(pk__in=[one.pk for one in voters]).update(state=Annotator.State.EXCLUDED)
    if why == "undone":
        for vote in votes:
            vote.withdrawn_at = vote.created_at
            vote.save()

    assert kinds(labelled(labels_from="both", **ALL_KEPT)) == before


def test_votes_on_the_same_images_in_two_tasks_count_together(voted, rung):
    again = make_task(campaign=make_campaign(tasks=0, images=4), images=voted["chosen"], votes=0)
    for person in make_annotators(5):
        vote_on(again, person, image=voted["chosen"][1])

    label = labelled(labels_from="both", **ALL_KEPT).labels.get(kind="preferred", source="people")

    assert (label.image, label.confidence) == (voted["chosen"][1], 5 / 9)


def test_strike_out_keeps_an_image_out_and_restore_brings_it_back(voted, rung, ben):
    labelling = labelled(labels_from="people", **ALL_KEPT)
    label = labelling.labels.get(kind="preferred")
    before = left_of(labelling)

    struck = strike_out(label=label, by=ben)
    strike_out(label=label, by=make_user("cleo"))

    assert (struck.struck_out_by, struck.is_left) == (ben, False)
    assert {image.image for image in before} - {image.image for image in left_of(labelling)} == {
        str(label.image.public_id)
    }
    figures = figures_of(labelling)
    assert (figures["preferred"], figures["non_preferred"], figures["struck_out"]) == (0, 4, 1)
    assert restore(label=label).is_left
    assert left_of(labelling) == before
    assert figures_of(labelling)["struck_out"] == 0


def test_an_image_that_was_hidden_since_is_not_left(voted, rung):
    labelling = labelled(labels_from="people", **ALL_KEPT)
    before = figures_of(labelling)
    image = voted["chosen"][0]

    Image.objects.filter(pk=image.pk).update(is_hidden=True)

    assert str(image.public_id) not in {one.image for one in left_of(labelling)}
    assert figures_of(labelling) == before | {"preferred": 0}


def test_strike_out_of_what_is_not_learnt_from_says_so(voted, rung, ben):
    label = labelled(labels_from="both").labels.filter(kind="rejected").first()

    with pytest.raises(UnableToStrikeOut, match="rejected by people: no training learns from it anyway"):
        strike_out(label=label, by=ben)
    with pytest.raises(IntegrityError), transaction.atomic():
        Label.objects.filter(pk=label.pk).update(struck_out_at=label.image.created_at)


def test_left_of_gives_labels_in_the_order_of_the_prompts(voted, rung):
    labelling = labelled(**ALL_KEPT)

    left = left_of(labelling)

    assert [image.prompt for image in left] == sorted(image.prompt for image in left)
    first = labelling.labels.get(image__public_id=left[0].image)
    assert left[0] == LabelledImage(
        left[0].image, first.image.prompt.text, AdapterLabel(first.kind), first.confidence, 4
    )


def test_spread_counts_every_scored_image_about_the_mean_of_its_prompt(voted, rung):
    spread = labelled(**ALL_KEPT).spread

    assert {name: sum(spread[name]) for name in ("preferred", "non_preferred", "others")} == {
        "preferred": 3,
        "non_preferred": 3,
        "others": 6,
    }
    assert len(spread["edges"]) == len(spread["others"]) + 1
    mean = (18.0 + 20.0 + 20.1 + 23.0) / 4
    assert (spread["edges"][0], spread["edges"][-1]) == (
        pytest.approx(18 - mean, abs=1e-3),
        pytest.approx(23 - mean, abs=1e-3),
    )


def test_labelling_named_takes_the_first_digits_and_lists_what_there_is(voted, rung):
    labelling = labelled()

    assert labelling_named(str(labelling.public_id)) == labelling_named(str(labelling.public_id)[:8]) == labelling
    for name in ("", "nothing"):
        with pytest.raises(UnknownLabelling, match=f"the latest are: {str(labelling.public_id)[:8]}"):
            labelling_named(name)


def test_perform_labelling_of_nonsense_says_what_to_do(hps, rung):
    with pytest.raises(UnableToLabel, match="run generate_images first"):
        labelled()
    Run.objects.all().delete()
    make_images(4, make_generator("old"), split=Split.TEST)
    run, reporter = claimed_run(Run.Kind.LABELLING, {})
    for config, error, words in (
        ({"generator": "old"}, UnableToLabel, "No images of prompts on the training side by old"),
        ({"generator": "new"}, UnableToLabel, "There is no generator 'new'"),
        ({"steps": 3}, UnableToLabel, "No settings of a labelling: steps. There are labels_from"),
        ({"labels_from": "me"}, AdapterConfigRejected, "labels_from must be one of hps, people, both, not 'me'"),
        ({"generator": "old", "scorer": "hps-9"}, UnknownScorer, "no scorer 'hps-9'"),
    ):
        run.config = config
        with pytest.raises(error, match=words):
            perform_labelling(run, reporter, None)


def test_settings_of_a_labelling_are_plain_json(voted, rung):
    settings = labelled(labels_from="both").settings

    assert json.loads(json.dumps(settings)) == settings
    assert settings["sources"] == [settings["generator"]] == ["tiny"]
