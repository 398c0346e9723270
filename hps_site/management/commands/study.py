"""The study of the toy world: one declared arm against the original, with its controls, over three seeds."""

import json
import logging
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hps_site.demo.study import report
from hps_site.demo.study.conductor import Conductor, UnableToGoOn
from hps_site.demo.study.declaration import QUICK, STUDY
from hps_site.demo.study.findings import read_findings


class Command(BaseCommand):
    help = (
        "Runs the study that hps_site/demo/study/declaration.py declares and prints what it shows. Every step is kept "
        "under HPS_SITE_HOME, so that a study that was ended goes on where it was. All of it is synthetic."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs; they show nothing")
        parser.add_argument("--so-far", action="store_true", help="only print what earlier calls have found")
        parser.add_argument("--json", action="store_true", dest="is_json", help="print JSON instead of tables")

    def handle(self, *_args: Any, quick: bool, so_far: bool, is_json: bool, **_options: Any) -> None:
        declaration = QUICK if quick else STUDY
        conductor = Conductor(declaration)
        if not so_far:
            logging.getLogger("annotations").setLevel(logging.WARNING)
            try:
                conductor.run()
            except UnableToGoOn as error:
                raise CommandError(str(error)) from error
        findings = read_findings(declaration, conductor.kept)
        if is_json:
            self.stdout.write(json.dumps(report.to_record(declaration, findings), ensure_ascii=False))
        else:
            self.stdout.write(report.to_text(declaration, findings))
