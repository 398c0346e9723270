"""The study at its smallest: that it runs, goes on and reports; it is far too small to show anything."""

import json

import pytest
from django.core.management import call_command

from annotations.models import Campaign, Generator, Image, Task, Vote
from hps_site.demo.study.conductor import Conductor, UnableToGoOn
from hps_site.demo.study.declaration import CONTROLS, QUICK
from hps_site.demo.study.kept import arm_record, people_record
from worker.models import ModelVersion, Study

pytestmark = [pytest.mark.django_db, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def home(settings):
    folder = settings.HPS_SITE_HOME / "base-models"
    settings.BASE_MODELS = {name: folder / name for name in ("tiny-clip", "tiny-diffusion")}


def told(capsys, *options):
    capsys.readouterr()
    call_command("study", "--quick", "--json", *options)
    return json.loads(capsys.readouterr().out)


def test_the_study_runs_once_and_is_found_again_in_full(capsys):
    found = told(capsys)

    assert found["is_synthetic"]
    assert found["key"] == QUICK.key
    assert found["positive_control"]["defective"]["images"] > 0
    study = found["preference"]
    assert study["is_voted"]
    assert study["are_controls_done"]
    assert [seed["seed"] for seed in study["seeds"]] == list(QUICK.seeds)
    assert [control["arm"]["name"] for control in study["controls"]] == [arm.name for arm in CONTROLS]
    assert study["together"]["votes"]["n"] == votes_in_the_study()
    assert set(found["verdicts"]) == {"positive_control", "preference", "hacking"}
    assert all(found["verdicts"].values())
    assert Study.objects.count() == 2
    assert set(Campaign.objects.values_list("is_synthetic", flat=True)) == {True}
    assert set(Generator.objects.values_list("is_synthetic", flat=True)) == {True}
    assert set(ModelVersion.objects.values_list("is_synthetic", flat=True)) == {True}
    counts = [model.objects.count() for model in (Campaign, Generator, Image, Vote, ModelVersion, Study)]

    assert told(capsys) == told(capsys, "--so-far") == found
    assert [model.objects.count() for model in (Campaign, Generator, Image, Vote, ModelVersion, Study)] == counts

    goes_on_where_it_was_killed(found, capsys)


def votes_in_the_study():
    return Vote.objects.filter(task__campaign__slug__endswith="seed-0", task__purpose=Task.Purpose.REGULAR).count()


def goes_on_where_it_was_killed(found, capsys):
    kept = Conductor(QUICK).kept
    for name in (arm_record(CONTROLS[0], 0), people_record(0)):
        (kept.folder / f"{name}.json").unlink()
    assert told(capsys, "--so-far")["preference"]["is_voted"] is False
    images = Image.objects.count()

    again = told(capsys)

    assert without_times(again) == without_times(found)
    assert Image.objects.count() == images

    (kept.folder / f"{people_record(0)}.json").unlink()
    ModelVersion.objects.filter(studies__campaign__slug__endswith="seed-0").update(number=1000)
    with pytest.raises(UnableToGoOn, match="is gone from the site"):
        Conductor(QUICK).run()


def without_times(found):
    return {name: value for name, value in found.items() if name not in {"seconds", "cpu_seconds"}}
