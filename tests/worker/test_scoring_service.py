"""Scores in the database: every image once, only what is missing, each prompt encoded once."""

import pytest
from django.core.files.storage import default_storage

from annotations.models import Image
from scoring import hps
from scoring.hps import load_scorer
from tests.annotations.factories import make_campaign, make_generator, make_image, make_prompt
from tests.worker.generators import claimed_run, make_images, make_scorers
from worker.models import ImageScore, ModelVersion, Run
from worker.services import scoring
from worker.services.execution import RunStopped, StopReason
from worker.services.scoring import (
    Scored,
    UnknownScorer,
    open_picture,
    perform_scoring,
    score_images,
    scorer_named,
    version_named,
)


@pytest.fixture
def scorers(db: None, tmp_path) -> dict[str, ModelVersion]:
    return make_scorers(tmp_path / "clip")


def scores_by(version: ModelVersion) -> dict[int, float]:
    return dict(ImageScore.objects.filter(version=version).values_list("image_id", "value"))


def test_score_images_gives_each_image_the_scorers_number(scorers, tmp_path):
    images = make_images(6, make_generator(), per_prompt=3)
    scorer = load_scorer(tmp_path / "clip", "cpu")

    scored = score_images(version=scorers["clip"], images=Image.objects.all())

    assert scored == Scored(new=6, unreadable=0)
    assert scores_by(scorers["clip"]) == {
        image.pk: pytest.approx(scorer.score([open_picture(image)], image.prompt.text)[0], abs=1e-4) for image in images
    }


def test_score_images_scores_only_what_is_missing(scorers):
    first = make_images(4, make_generator())
    score_images(version=scorers["clip"], images=Image.objects.all())
    ImageScore.objects.filter(image=first[0]).update(value=-1)
    make_images(3, make_generator())

    scored = score_images(version=scorers["clip"], images=Image.objects.all())

    assert scored == Scored(new=3, unreadable=0)
    assert scores_by(scorers["clip"])[first[0].pk] == -1
    assert score_images(version=scorers["hps"], images=Image.objects.all()).new == 7


def test_score_images_leaves_other_images_alone(scorers):
    inside, outside = make_images(1, make_generator()) + make_images(1, make_generator())

    score_images(version=scorers["clip"], images=Image.objects.filter(pk=inside.pk))

    assert set(scores_by(scorers["clip"])) == {inside.pk}
    assert outside.pk not in scores_by(scorers["clip"])


def test_score_images_encodes_each_prompt_once(scorers, monkeypatch):
    make_images(8, make_generator(), per_prompt=4)
    scorer = scoring.scorer_for(scorers["clip"])
    scorer._texts.clear()
    encoded: list[int] = []
    encode = hps.encode_text
    monkeypatch.setattr(hps, "encode_text", lambda model, ids: encoded.append(len(ids)) or encode(model, ids))

    score_images(version=scorers["clip"], images=Image.objects.all())

    assert sum(encoded) == 2


def test_score_images_passes_over_a_missing_file_and_says_so(scorers, rung):
    images = make_images(3, make_generator())
    default_storage.delete(images[1].file.name)
    run, reporter = claimed_run(Run.Kind.SCORING, {})

    scored = score_images(version=scorers["clip"], images=Image.objects.all(), reporter=reporter)

    assert scored == Scored(new=2, unreadable=1)
    assert set(scores_by(scorers["clip"])) == {images[0].pk, images[2].pk}
    assert "1 images could not be read" in run.events.last().text


def test_score_images_stops_when_told_and_goes_on_later(scorers, rung, monkeypatch):
    monkeypatch.setattr(scoring, "CHUNK", 2)
    make_images(6, make_generator())
    _run, reporter = claimed_run(Run.Kind.SCORING, {})
    reporter.stop(StopReason.CANCELLED)

    with pytest.raises(RunStopped):
        score_images(version=scorers["clip"], images=Image.objects.all(), reporter=reporter)

    assert len(scores_by(scorers["clip"])) == 2
    assert score_images(version=scorers["clip"], images=Image.objects.all()).new == 4


def test_score_images_number_of_queries_does_not_grow(scorers, django_assert_num_queries):
    make_images(1, make_generator())
    # Count, read, write; the write in a savepoint.
    with django_assert_num_queries(3):
        score_images(version=scorers["clip"], images=Image.objects.all())
    make_images(12, make_generator())
    with django_assert_num_queries(3):
        score_images(version=scorers["clip"], images=Image.objects.all())


def test_version_named_finds_current_and_numbered(scorers):
    assert version_named("clip") == scorers["clip"]
    assert version_named("hps-1") == scorers["hps"]


@pytest.mark.parametrize("name", ["aesthetic", "hps-2", "hps-x", "adapter", "nonsense", ""])
def test_version_named_refuses_with_the_names_there_are(scorers, name):
    with pytest.raises(UnknownScorer, match="Name one of: clip-1, hps-1"):
        version_named(name)


def test_scorer_named_reads_a_folder(scorers, tmp_path):
    image = make_image()

    by_folder = scorer_named(str(tmp_path / "clip")).score([open_picture(image)], "a cat")
    by_name = scorer_named("clip").score([open_picture(image)], "a cat")

    assert by_folder.tolist() == pytest.approx(by_name.tolist(), abs=1e-4)


def test_perform_scoring_scores_a_campaign_with_what_is_in_use(scorers, rung, tmp_path):
    campaign = make_campaign(tasks=2, images=3, has_files=True)
    make_image(prompt=make_prompt())
    run, reporter = claimed_run(Run.Kind.SCORING, {}, campaign=campaign)

    metrics = perform_scoring(run, reporter, tmp_path)

    assert metrics == {"scores": {"clip-1": {"new": 6, "unreadable": 0}, "hps-1": {"new": 6, "unreadable": 0}}}
    assert ImageScore.objects.count() == 12


def test_perform_scoring_by_named_version(scorers, rung, tmp_path):
    make_images(2, make_generator())
    run, reporter = claimed_run(Run.Kind.SCORING, {"versions": ["hps-1"]})

    assert perform_scoring(run, reporter, tmp_path) == {"scores": {"hps-1": {"new": 2, "unreadable": 0}}}


def test_perform_scoring_without_any_scorer_says_what_to_do(db, rung, tmp_path):
    run, reporter = claimed_run(Run.Kind.SCORING, {})

    with pytest.raises(UnknownScorer, match="register the base models first"):
        perform_scoring(run, reporter, tmp_path)
