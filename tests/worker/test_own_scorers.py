"""A scorer of one's own, from three lines in a module to a version in use, with scores in the database."""

import importlib
import sys

import pytest

from annotations.models import Image
from scoring import scorers
from scoring.scorers import ScorerRejected
from tests.annotations.factories import make_generator
from tests.worker.generators import claimed_run, make_images
from worker.models import ImageScore, ModelVersion, Promotion
from worker.services.own_scorers import register_own_scorers
from worker.services.scoring import UnknownScorer, perform_scoring, score_images, version_named, versions_in_use
from worker.services.versions import VersionRejected, folder_of, promote_version, scorer_for

pytestmark = pytest.mark.django_db

SHARPNESS = """
from scoring.scorers import scorer


@scorer("sharpness")
def sharpness(images, prompt):
    return [float(image.width * {factor}) for image in images]
"""


@pytest.fixture
def write(monkeypatch, settings, tmp_path):
    """Writes the module of one's own anew, and makes the program forget what it knew of it."""
    monkeypatch.syspath_prepend(tmp_path)
    settings.SCORER_MODULES = ["my_own_scorers"]

    def written(text):
        (tmp_path / "my_own_scorers.py").write_text(text)
        monkeypatch.setattr(scorers, "SCORERS", {})
        monkeypatch.delitem(sys.modules, "my_own_scorers", raising=False)
        importlib.invalidate_caches()

    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    written(SHARPNESS.format(factor=1))
    return written


@pytest.fixture
def sharpness(write):
    (version,) = register_own_scorers()
    return version


def test_a_scorer_of_modules_becomes_a_version_in_use(sharpness):
    assert (str(sharpness), sharpness.is_current, sharpness.get_family_display()) == ("sharpness-1", True, "sharpness")
    assert sharpness.manifest["function"] == "my_own_scorers.sharpness"
    assert (folder_of(sharpness) / "scorer.py").read_text() == SHARPNESS.format(factor=1)
    assert "sharpness-1" in (folder_of(sharpness) / "README.md").read_text()
    assert scorer_for(sharpness).kind == "sharpness"


def test_registering_again_changes_nothing(sharpness):
    assert register_own_scorers() == [sharpness]
    assert Promotion.objects.count() == 1


def test_changed_code_is_a_new_version_in_use_and_the_old_one_scores_no_more(sharpness, write):
    write(SHARPNESS.format(factor=2))

    changed = version_named("sharpness")

    assert (str(changed), changed.is_current) == ("sharpness-2", True)
    with pytest.raises(ScorerRejected, match="another than that of sharpness-1"):
        scorer_for(sharpness)
    write(SHARPNESS.format(factor=1))
    assert version_named("sharpness") == sharpness
    assert scorer_for(sharpness).kind == "sharpness"


def test_a_version_whose_module_is_gone_says_so(sharpness, write):
    write("")

    with pytest.raises(ScorerRejected, match="No module of SCORER_MODULES has sharpness"):
        scorer_for(sharpness)


def test_a_name_of_the_sites_own_families_is_refused(write):
    write(SHARPNESS.format(factor=1).replace("sharpness", "hps"))

    with pytest.raises(ScorerRejected, match="hps is a family of the site"):
        register_own_scorers()
    assert not ModelVersion.objects.exists()


def test_scores_of_a_version_stand_in_the_database(sharpness):
    images = make_images(2, make_generator())

    score_images(version=sharpness, images=Image.objects.all())

    expected = {image.pk: image.width for image in images}
    assert dict(ImageScore.objects.filter(version=sharpness).values_list("image_id", "value")) == expected


def test_a_scoring_run_that_names_nobody_scores_with_them_too(write, rung, tmp_path):
    make_images(2, make_generator())
    run, reporter = claimed_run("scoring", {}, preset="")

    metrics = perform_scoring(run, reporter, tmp_path)

    assert metrics == {"scores": {"sharpness-1": {"new": 2, "unreadable": 0}}}
    assert list(map(str, versions_in_use())) == ["sharpness-1"]


def test_version_named_knows_earlier_versions_and_no_others(sharpness):
    assert version_named("sharpness-1") == sharpness
    with pytest.raises(UnknownScorer, match="Name one of: sharpness-1"):
        version_named("sharpness-2")


def test_promoting_a_copy_that_was_changed_is_refused(sharpness):
    (folder_of(sharpness) / "scorer.py").write_text("")

    with pytest.raises(VersionRejected, match="is not what its manifest says"):
        promote_version(version=sharpness)
