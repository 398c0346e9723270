"""The whole loop at its smallest, as the demo runs it; where no worker is online, the runs are executed here."""

import pytest

from annotations.models import Campaign, Image, Vote
from hps_site.demo import pipeline, voters
from hps_site.demo.steps import Ledger
from worker.models import ModelVersion, Run, Study

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.timeout(300)]


SMALL = pipeline.Size(
    prompts=60,
    labelled_prompts=20,
    generation_steps=2,
    adapter={"steps": 3, "evaluation_draws": 1, "alpha": 1.01},
    proof={"count": 2, "sweep_prompts": 2, "scales": [1.0]},
    study_prompts=4,
    study_votes=2,
)


@pytest.fixture(autouse=True)
def home(monkeypatch, settings):
    monkeypatch.setattr("worker.services.following.PATIENCE_SECONDS", 0.0)
    folder = settings.HPS_SITE_HOME / "base-models"
    settings.BASE_MODELS = {name: folder / name for name in ("tiny-clip", "tiny-diffusion")}


def test_run_demo_goes_through_the_whole_loop_and_a_second_time_does_nothing_anew():
    table = pipeline.run_demo(Ledger(), SMALL)

    assert sorted(map(str, ModelVersion.objects.current())) == ["adapter-1", "aesthetic-1", "clip-1", "hps-1"]
    # What is drawn needs no import, the adapter's training labels its images itself, the study is made by the demo
    # itself; the rest are reports that somebody asks for.
    unasked = {Run.Kind.IMPORT, Run.Kind.LABELLING, Run.Kind.STUDY, Run.Kind.LEAVE_OUT, Run.Kind.SETS}
    kinds = set(Run.Kind.values) - unasked
    assert {run.kind: run.state for run in Run.objects.all()} == dict.fromkeys(kinds, "succeeded")
    assert all(Run.objects.values_list("is_synthetic", flat=True))
    study = Study.objects.get()
    assert study.campaign.is_synthetic
    assert {image.prompt.split for task in study.campaign.tasks.all() for image in task.images.all()} == {"test"}
    for words in ("[synthetic]", "clip-1", "hps-1", "aesthetic-1", "human ceiling", "chance", "share of votes"):
        assert words in table
    counts = [model.objects.count() for model in (Campaign, Image, Vote, Run, ModelVersion, Study)]

    assert pipeline.run_demo(Ledger(), SMALL) == table
    assert [model.objects.count() for model in (Campaign, Image, Vote, Run, ModelVersion, Study)] == counts


def test_the_worker_has_something_to_do_while_people_vote(monkeypatch):
    vote_until_done = voters.vote_until_done
    asked_for = []

    def noted(**arguments):
        asked_for.append(sorted(Run.objects.active().values_list("kind", flat=True)))
        return vote_until_done(**arguments)

    monkeypatch.setattr(voters, "vote_until_done", noted)
    pipeline.run_demo(Ledger(), SMALL)

    assert asked_for == [["generation"], ["proof", "scoring"]]
