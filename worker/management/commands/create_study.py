"""Put two generators before people: a blind campaign, of the original against an adapted one or against any other."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from annotations.models import Generator, Prompt, Split, Task
from annotations.services.images import get_or_create_prompts
from worker.management.run_command import campaign_of, lines_of
from worker.models import ModelVersion, Study
from worker.queries import version_by_name
from worker.services.generation import UnableToGenerate
from worker.services.left_out import told
from worker.services.studies import LeftOut, UnableToCreateStudy, create_study, left_out_of


class Command(BaseCommand):
    help = "Make the images of held-out prompts that are missing in this process, and start a blind campaign on them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        other = parser.add_mutually_exclusive_group(required=True)
        other.add_argument("--adapter", metavar="VERSION", help="such as adapter-3: the original with it and its mark")
        other.add_argument("--against", metavar="NAME", help="any other generator")
        parser.add_argument("--generator", metavar="NAME", required=True, help="the original")
        parser.add_argument("--slug", required=True, help="of the new campaign")
        source = parser.add_mutually_exclusive_group(required=True)
        source.add_argument("--prompts", metavar="FILE", type=Path, help="a text file with one prompt per line")
        source.add_argument("--campaign", metavar="SLUG", help="the prompts of a campaign's tasks")
        parser.add_argument("--count", metavar="N", type=int, default=100, help="prompts at most, held-out ones alone")
        parser.add_argument("--votes", metavar="N", type=int, default=20, help="people per pair")
        parser.add_argument("--json", action="store_true", dest="is_json", help="print JSON")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        try:
            prompts = _held_out_prompts(options)[: options["count"]]
            study = create_study(
                version=_adapter(options["adapter"]) if options["adapter"] else None,
                adapted=_generator(options["against"]) if options["against"] else None,
                original=_generator(options["generator"]),
                prompts=prompts,
                slug=options["slug"],
                votes_per_task=options["votes"],
            )
        except (UnableToCreateStudy, UnableToGenerate) as error:
            raise CommandError(str(error)) from error
        left_out = left_out_of(study, prompts)
        said = json.dumps(_record(study, left_out), indent=2) if options["is_json"] else _report(study, left_out)
        self.stdout.write(said)


def _adapter(name: str) -> ModelVersion:
    version = version_by_name(name)
    if version is None:
        raise CommandError(f"There is no version {name!r}.")
    return version


def _generator(name: str) -> Generator:
    generator = Generator.objects.filter(name=name).first()
    if generator is None:
        raise CommandError(f"There is no generator {name!r}.")
    return generator


def _held_out_prompts(options: dict[str, Any]) -> list[Prompt]:
    """The prompts meant, without those on the training side of the split."""
    if options["prompts"]:
        prompts = list(get_or_create_prompts(texts=lines_of(options["prompts"])).values())
    else:
        campaign = campaign_of(options["campaign"])
        prompts = list(Prompt.objects.filter(tasks__campaign=campaign).distinct().order_by("pk"))
    return [prompt for prompt in prompts if prompt.split == Split.TEST]


def _record(study: Study, left_out: LeftOut) -> dict[str, Any]:
    return {
        "campaign": study.campaign.slug,
        "original": study.original.name,
        "adapted": study.adapted.name,
        "adapter": str(study.version) if study.version else None,
        "pairs": study.campaign.tasks.filter(purpose=Task.Purpose.REGULAR).count(),
        "votes_per_pair": study.campaign.votes_per_task,
        "is_synthetic": study.campaign.is_synthetic,
        **left_out.to_record(),
    }


def _report(study: Study, left_out: LeftOut) -> str:
    record = _record(study, left_out)
    started = (
        f"Started {study.campaign.get_absolute_url()}: {record['pairs']} pairs, {record['votes_per_pair']} votes each,"
        f" {study.original} against {study.adapted}."
    )
    not_shown = [f"Not shown to people: {told(left_out.reasons)}."] if left_out.reasons else []
    return "\n".join([started, *not_shown, *(f"WARNING: {finding.text}" for finding in left_out.findings)])
