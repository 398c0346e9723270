"""Votes on gold, practice and repeat tasks go through no door: what leaves is the same with them and without them."""

import json
from pathlib import Path

import pytest
from django.core.management import call_command
from django.utils import timezone

from annotations.exports.choices import FORMS, export_choices
from annotations.models import Annotator, Campaign, Candidate, Generator, Image, Task, Vote
from annotations.queries.quality import choices_of, read_said
from annotations.services.gold import make_gold
from annotations.services.snapshots import read_snapshot, take_snapshot
from annotations.services.tasks import CandidateSet, UnableToCreateTasks, create_tasks
from hps_site.dashboard.queries import ballots, overview
from hps_site.dashboard.queries.quality import quality_report
from hps_site.dashboard.queries.scorers import compare_scorers
from scoring import rankings
from tests.annotations.factories import (
    make_annotators,
    make_campaign,
    make_generator,
    make_image,
    make_prompt,
    make_task,
)
from tests.hps_site.dashboard.worlds import cast
from worker.services.label_sources import training_images
from worker.services.scoring import images_of

pytestmark = pytest.mark.django_db


def voted_campaign(people: list[Annotator]) -> Campaign:
    """Enough choices for a snapshot, on both sides of the split."""
    campaign = make_campaign(slug="birds", tasks=0)
    generators = [make_generator("alder"), make_generator("birch")]
    for _ in range(40):
        prompt = make_prompt()
        images = [make_image(prompt=prompt, generator=of) for of in generators]
        task = make_task(campaign=campaign, images=images, prompt=prompt, votes=0)
        for at, person in enumerate(people):
            cast(task, person, int(at == 0))
    return campaign


def add_checks(campaign: Campaign, people: list[Annotator]) -> None:
    """Gold of every making, practice and repeats, with a vote of everyone on each."""
    make_gold(campaign=campaign, count=6, wrong_prompts=0.5, seed=1)
    make_gold(campaign=campaign, count=3, wrong_prompts=0, purpose=Task.Purpose.PRACTICE, seed=2)
    regular = list(campaign.tasks.filter(purpose="regular")[:4])
    for task in regular:
        images = list(task.images.order_by("candidacies__position"))
        make_task(campaign=campaign, images=images, prompt=task.prompt, votes=0, purpose=Task.Purpose.GOLD)
        make_task(
            campaign=campaign, images=images, prompt=task.prompt, votes=0, purpose=Task.Purpose.PROBE, repeats=task
        )
    checks = list(campaign.tasks.exclude(purpose="regular"))
    assert {task.purpose for task in checks} == {"gold", "practice", "probe"}
    for task in checks:
        for person in people:
            cast(task, person, 1)


def exported(campaign: Campaign, folder: Path) -> dict[str, dict[str, bytes]]:
    """Every file of every format, by its name."""
    files: dict[str, dict[str, bytes]] = {}
    for form in FORMS:
        out = folder / form
        export_choices(campaign=campaign, form=form, out=out, progress=lambda _done, _all: None)
        paths = [path for path in out.rglob("*") if path.is_file()] if out.is_dir() else [out]
        files[form] = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    return files


def seen_through_every_door(campaign: Campaign, folder: Path, capsys) -> dict[str, object]:
    folder.mkdir()
    choices = ballots.read_choices([campaign])
    call_command("rank_generators", campaign="birds", is_json=True)
    quality = quality_report(read_said([campaign]))
    (summary,) = overview.campaign_summaries(today=timezone.localdate())
    snapshot = take_snapshot(campaign=campaign)
    everything = take_snapshot()
    return {
        "exports": exported(campaign, folder),
        "snapshot": (snapshot.sha256, read_snapshot(snapshot), snapshot.images),
        "snapshot of all campaigns": everything.sha256,
        "choices": choices,
        "ranking": rankings.ranking(choices).places,
        "ranking on the terminal": json.loads(capsys.readouterr().out),
        "figures": ballots.campaign_figures(campaign, ballots.read_ballots([campaign])),
        "outcomes": ballots.outcome_counts(campaign),
        "places": ballots.position_report(ballots.read_ballots([campaign])),
        "agreement": ballots.agreement_report(choices),
        "quality": (quality.estimates, quality.places, choices_of(read_said([campaign]))),
        "summary": (summary.votes, summary.slots, summary.slots_done, summary.recent),
        "scorers": compare_scorers([campaign], choices),
        "images to score": set(images_of(campaign)),
        "all images to score": set(images_of(None)),
        "images to label": set(training_images(list(Generator.objects.all()))),
    }


def test_checks_change_nothing_that_leaves(tmp_path, capsys):
    people = make_annotators(3)
    campaign = voted_campaign(people)
    before = seen_through_every_door(campaign, tmp_path / "before", capsys)

    add_checks(campaign, people)
    after = seen_through_every_door(campaign, tmp_path / "after", capsys)

    assert Vote.objects.exclude(task__purpose="regular").count() == 3 * (6 + 3 + 8)
    for door, seen in before.items():
        assert after[door] == seen, door


def test_corrupted_copies_become_no_regular_pair():
    people = make_annotators(3)
    campaign = voted_campaign(people)
    add_checks(campaign, people)
    copies = Image.objects.filter(corrupted_from__isnull=False)

    assert copies.exists()
    assert not Candidate.objects.filter(image__in=copies, task__purpose__in=["regular", "probe"]).exists()
    copy = copies.first()
    with pytest.raises(UnableToCreateTasks, match="corrupted copy"):
        create_tasks(campaign=campaign, sets=[CandidateSet(copy.prompt, [copy.corrupted_from, copy])])
