"""Put a model version into use, or go back to the one before it."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from worker.models import ModelVersion
from worker.queries import version_by_name
from worker.services.adapters import put_into_use, told_of_generator
from worker.services.recipes import UnableToGenerate
from worker.services.versions import NothingToRollBackTo, VersionRejected, roll_back


class Command(BaseCommand):
    help = "Put a version into use (`promote_version hps-3`), or the one before it (`promote_version --roll-back hps`)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("version", nargs="?", metavar="VERSION", help="such as hps-3 or adapter-1")
        what.add_argument("--roll-back", metavar="FAMILY", help="such as hps")
        parser.add_argument("--reason", default="", help="kept with the promotion")
        parser.add_argument("--json", action="store_true", dest="is_json", help="print JSON")

    def handle(self, *_args: Any, version: str | None, roll_back: str | None, **options: Any) -> None:
        try:
            used = _promoted(version, options["reason"]) if version else _rolled_back(str(roll_back))
        except (VersionRejected, NothingToRollBackTo, UnableToGenerate) as error:
            raise CommandError(str(error)) from error
        record = {"version": str(used), "family": used.family, "is_synthetic": used.is_synthetic}
        told = f"{used} is in use. {told_of_generator(used)}".strip()
        self.stdout.write(json.dumps(record) if options["is_json"] else told)


def _promoted(name: str, reason: str) -> ModelVersion:
    version = version_by_name(name)
    if version is None:
        there = ", ".join(str(known) for known in ModelVersion.objects.order_by("family", "number")) or "none yet"
        raise CommandError(f"There is no version {name!r}; there are: {there}.")
    return put_into_use(version=version, reason=reason)


def _rolled_back(family: str) -> ModelVersion:
    return roll_back(family=family)
