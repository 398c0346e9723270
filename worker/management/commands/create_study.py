"""Put two generators before people: a blind campaign, of the original against an adapted one or against any other."""

import json
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import QuerySet

from annotations.models import Generator, Prompt, Task
from annotations.services.images import get_or_create_prompts
from scoring.power import PairPlan, UnableToPlan, plan_pairs
from worker.forms.studies import EFFECT
from worker.management.run_command import campaign_of, lines_of
from worker.models import ModelVersion, Study
from worker.queries import version_by_name
from worker.services.generation import UnableToGenerate
from worker.services.left_out import told
from worker.services.studies import LeftOut, UnableToCreateStudy, create_study, left_out_of, prompts_for_study


class Command(BaseCommand):
    help = "Make the images of held-out prompts that are missing in this process, and start a blind campaign on them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        other = parser.add_mutually_exclusive_group(required=True)
        other.add_argument("--adapter", metavar="VERSION", help="such as adapter-3: the original with it and its mark")
        other.add_argument("--against", metavar="NAME", help="any other generator")
        parser.add_argument("--generator", metavar="NAME", required=True, help="the original")
        parser.add_argument("--slug", required=True, help="of the new campaign")
        source = parser.add_mutually_exclusive_group()
        source.add_argument("--prompts", metavar="FILE", type=Path, help="a text file with one prompt per line")
        source.add_argument("--campaign", metavar="SLUG", help="the prompts of a campaign's tasks; by default any")
        parser.add_argument(
            "--effect",
            metavar="SHARE",
            type=float,
            default=float(EFFECT),
            help=f"smallest share of the votes worth finding: {EFFECT}",
        )
        parser.add_argument("--count", metavar="N", type=int, help="prompts at most; by default what that takes")
        parser.add_argument("--votes", metavar="N", type=int, help="people per pair; by default what that takes")
        parser.add_argument("--json", action="store_true", dest="is_json", help="print JSON")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        try:
            version = _adapter(options["adapter"]) if options["adapter"] else None
            adapted = _generator(options["against"]) if options["against"] else None
            original = _generator(options["generator"])
            found = _prompts(original, adapted, options)
            plan = plan_pairs(
                options["effect"],
                available=max(1, found.count()),  # where there is none, create_study says why
                prompts=options["count"],
                votes_per_pair=options["votes"],
            )
            prompts = list(found[: plan.prompts])
            study = create_study(
                version=version,
                adapted=adapted,
                original=original,
                prompts=prompts,
                slug=options["slug"],
                votes_per_task=plan.votes_per_pair,
            )
        except (UnableToCreateStudy, UnableToGenerate, UnableToPlan) as error:
            raise CommandError(str(error)) from error
        left_out = left_out_of(study, prompts)
        record = _record(study, plan, left_out)
        self.stdout.write(json.dumps(record, indent=2) if options["is_json"] else _report(study, record, left_out))


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


def _prompts(original: Generator, adapted: Generator | None, options: dict[str, Any]) -> QuerySet[Prompt]:
    """The prompts meant on which the two can meet."""
    campaign = campaign_of(options["campaign"]) if options["campaign"] else None
    found = prompts_for_study(original=original, adapted=adapted, campaign=campaign)
    if options["prompts"]:
        meant = get_or_create_prompts(texts=lines_of(options["prompts"])).values()
        found = found.filter(pk__in=[prompt.pk for prompt in meant])
    return found


def _record(study: Study, plan: PairPlan, left_out: LeftOut) -> dict[str, Any]:
    return {
        "campaign": study.campaign.slug,
        "original": study.original.name,
        "adapted": study.adapted.name,
        "adapter": str(study.version) if study.version else None,
        "pairs": study.campaign.tasks.filter(purpose=Task.Purpose.REGULAR).count(),
        "votes_per_pair": study.campaign.votes_per_task,
        "plan": asdict(plan),
        "is_synthetic": study.campaign.is_synthetic,
        **left_out.to_record(),
    }


def _report(study: Study, record: dict[str, Any], left_out: LeftOut) -> str:
    share, power = (round(100 * record["plan"][name]) for name in ("share", "power"))
    started = (
        f"Started {study.campaign.get_absolute_url()}: {record['pairs']} pairs, {record['votes_per_pair']} votes each,"
        f" {study.original} against {study.adapted}."
    )
    finds = f"If {share} % of the votes were for one of the two, {power} % of such studies would find it."
    not_shown = [f"Not shown to people: {told(left_out.reasons)}."] if left_out.reasons else []
    return "\n".join([started, finds, *not_shown, *(f"WARNING: {finding.text}" for finding in left_out.findings)])
