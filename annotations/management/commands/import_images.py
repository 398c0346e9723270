"""Takes images that were made elsewhere into the library."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotations.imports.containers import Container, open_archive
from annotations.imports.diffusiondb import GENERATOR, METADATA_NAMES, diffusiondb_source
from annotations.imports.library import (
    LibraryImport,
    Source,
    import_images,
    manifest_source,
    open_folder,
    preview_images,
)
from annotations.imports.records import UnableToImport
from annotations.management.commands.import_choices import Bar
from annotations.models import Image


class Command(BaseCommand):
    help = (
        "Takes images that were made elsewhere into the library, with their prompts, seeds and generators. No campaign "
        "asks about them yet. Importing the same again adds nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", type=Path, metavar="PATH", help="a folder, or a zip or tar file of it")
        parser.add_argument(
            "--format",
            required=True,
            choices=["diffusiondb", "manifest"],
            help="parts of DiffusionDB, or images beside a manifest.csv or manifest.jsonl",
        )
        parser.add_argument(
            "--metadata",
            type=Path,
            metavar="PARQUET",
            help=f"of diffusiondb; without it {' or '.join(METADATA_NAMES)} in PATH. It tells which images are blurred",
        )
        parser.add_argument(
            "--generator",
            default="",
            metavar="NAME",
            help=f"who made them; of diffusiondb {GENERATOR}, of a manifest for the rows that name none",
        )
        parser.add_argument(
            "--unsafe-above",
            type=float,
            metavar="SCORE",
            help="of diffusiondb: hide images whose image_nsfw (0 to 1) is larger, beside the blurred ones",
        )
        parser.add_argument("--synthetic", action="store_true", help="new generators are of the toy world")
        parser.add_argument("--dry-run", action="store_true", help="look at every row, open no image, write nothing")
        parser.add_argument("--skip-bad", action="store_true", help="leave out bad rows, and list them")
        parser.add_argument("--json", action="store_true", help="print the report as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            with ExitStack() as opened, Bar() as bar:
                container = _open(options["path"], opened)
                source = self._source(container, options)
                if options["dry_run"]:
                    report = preview_images(source=source, skips_bad=options["skip_bad"])
                else:
                    report = import_images(
                        container=container,
                        source=source,
                        is_synthetic=options["synthetic"],
                        skips_bad=options["skip_bad"],
                        progress=bar.show,
                    )
        except UnableToImport as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(report.as_json()) if options["json"] else summary(report, options))

    def _source(self, container: Container, options: dict[str, Any]) -> Source:
        if options["format"] == "manifest":
            return manifest_source(container, generator=options["generator"])
        beside = [options["path"] / name for name in METADATA_NAMES]
        metadata = options["metadata"] or next((path for path in beside if path.is_file()), None)
        if metadata is None:
            self.stderr.write("Without metadata.parquet nobody knows which images are blurred; name it by --metadata.")
        return diffusiondb_source(
            container,
            metadata=metadata,
            generator=options["generator"] or GENERATOR,
            unsafe_above=options["unsafe_above"],
        )


def summary(report: LibraryImport, options: dict[str, Any]) -> str:
    """The report for people."""
    act = "Would import" if options["dry_run"] else "Imported"
    there = f"; {report.already_there:,} were there already" if report.already_there else ""
    lines = [f"{act} {report.images:,} images of {report.prompts:,} prompts{there}."]
    lines += [f"Hidden: {count:,} {Image.HiddenReason(reason).label}." for reason, count in report.hidden.items()]
    if report.skipped:
        lines.append(f"Left out {len(report.skipped):,} bad {'row' if len(report.skipped) == 1 else 'rows'}:")
        lines += [f"  {problem}" for problem in report.skipped]
    return "\n".join(lines)


def _open(path: Path, opened: ExitStack) -> Container:
    if path.is_dir():
        return open_folder(path)
    try:
        return open_archive(path.name, opened.enter_context(path.open("rb")))
    except OSError as error:
        raise CommandError(f"{path} can't be read: {error.strerror}.") from error
