"""Brings images that a manifest describes into a campaign: look at every row, then read the images, then make tasks.

What is known of each row stands in the database. A reading that was cut short goes on where it stood, one that is
repeated adds nothing, and memory holds a few hundred rows however long the manifest is.
"""

import hashlib
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import groupby, islice
from os import cpu_count
from pathlib import PurePosixPath
from typing import Any

from django.db import transaction
from django.db.models import Count

from annotations.imports.containers import Container, open_manifest, read_file
from annotations.imports.manifests import RawRow, Row, manifest_among, raw_rows, row_of
from annotations.imports.records import BadRecord, UnableToImport, shown
from annotations.models import Campaign, Image, ManifestRow, Prompt, text_sha256
from annotations.services.image_files import ImageFacts, ImageRejected, read_image
from annotations.services.images import (
    get_or_create_generators,
    get_or_create_prompts,
    record_images,
    store_file,
    unsaved_image,
)
from annotations.services.sources import Pairing, Progress, sets_of_prompt
from annotations.services.tasks import CandidateSet, create_tasks

ROWS_AT_ONCE = 1000
IMAGES_AT_ONCE = 64
SETS_AT_ONCE = 500
NAMED_PROBLEMS = 3


class BadRows(UnableToImport):
    """Rows of the manifest are bad, and none shall be left out."""


@dataclass(frozen=True)
class Imported:
    """What an import came to."""

    rows: int
    """Of the manifest, bad ones included."""
    images: int
    """Rows whose image is in the library now."""
    prompts: int
    tasks: int
    bad_rows: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def import_image_sets(
    *,
    campaign: Campaign,
    container: Container,
    skips_bad: bool = False,
    pairing: str = Pairing.ROUNDS,
    progress: Progress,
) -> Imported:
    """Takes the images that the manifest in a container describes into the library, and makes tasks of them.

    Args:
        campaign: takes the tasks; it says how many images one shows.
        container: where the manifest and the files are.
        skips_bad: whether to go on without the rows that are bad.
        pairing: how sets are dealt of rows that name none.
        progress: told of every step; it may raise to stop, and a later call goes on.

    Raises:
        UnableToImport: the manifest won't do. No task is made then.
        BadRows: some are bad and none shall be skipped. No task is made then either.
    """
    reading = _Reading(campaign=campaign, container=container, progress=progress)
    reading.look_at_rows()
    reading.check_sets()
    reading.stop_if_bad(skips_bad=skips_bad)
    reading.take_images()
    reading.stop_if_bad(skips_bad=skips_bad)
    tasks = reading.make_tasks(pairing)
    if not tasks:
        raise UnableToImport(
            f"{reading.name} gives no set of {campaign.candidates} images of one prompt, so there is nothing to ask."
        )
    taken = reading.rows.exclude(image=None)
    return Imported(
        rows=reading.rows.count(),
        images=taken.count(),
        prompts=taken.order_by().values("prompt_hash").distinct().count(),
        tasks=tasks,
        bad_rows=reading.rows.exclude(problem="").count(),
    )


class _Reading:
    """One manifest on its way into one campaign."""

    def __init__(self, *, campaign: Campaign, container: Container, progress: Progress) -> None:
        self.campaign, self.container, self.progress = campaign, container, progress
        self.name = manifest_among(container.sizes)
        self.source = self._digest()
        self.rows = ManifestRow.objects.filter(campaign=campaign, source=self.source)
        self._lock = threading.Lock()

    def look_at_rows(self) -> None:
        """The dry look: every row is written down, with what is wrong with it; no image is opened."""
        # What was left unread and what was bad is looked at anew: the manifest or the files may have been mended.
        ManifestRow.objects.filter(campaign=self.campaign, image=None).delete()
        seen = 0
        with open_manifest(self.container, self.name) as file:
            looked_at = (self._looked_at(raw) for raw in raw_rows(self.name, file))
            while batch := list(islice(looked_at, ROWS_AT_ONCE)):
                ManifestRow.objects.bulk_create(batch, ignore_conflicts=True)
                seen += len(batch)
                self.progress("looking at the manifest", seen, 0)
        if not seen:
            raise UnableToImport(f"{self.name} has no rows.")

    def check_sets(self) -> None:
        """Mark the rows of prompts and sets that have not as many images as a task shows."""
        size = self.campaign.candidates
        good = self.rows.filter(problem="")
        in_sets = good.exclude(group="").order_by().values("prompt_hash", "group").annotate(n=Count("pk"))
        for bad in in_sets.exclude(n=size).iterator():
            said = f"set: '{bad['group']}' has {bad['n']} images; a task of the campaign shows {size}"
            good.filter(prompt_hash=bad["prompt_hash"], group=bad["group"], image=None).update(problem=said)
        of_prompts = good.filter(group="").order_by().values("prompt_hash").annotate(n=Count("pk"))
        for few in of_prompts.filter(n__lt=size).iterator():
            images = "image" if few["n"] == 1 else "images"
            said = f"prompt: it has {few['n']} {images}; a task of the campaign shows {size}"
            good.filter(prompt_hash=few["prompt_hash"], group="", image=None).update(problem=said)

    def stop_if_bad(self, *, skips_bad: bool) -> None:
        """Go on only with a manifest whose rows are good, or whose bad ones shall be left out."""
        bad = self.rows.exclude(problem="")
        count = bad.count()
        if not count or skips_bad:
            return
        first = "; ".join(f"{self.name}, row {row.number}, {row.problem}" for row in bad[:NAMED_PROBLEMS])
        rest = f"; and {count - NAMED_PROBLEMS} more" if count > NAMED_PROBLEMS else ""
        are = "1 row is" if count == 1 else f"{count} rows are"
        raise BadRows(
            f"{are} bad, and no task was made: {first}{rest}. Mend them and import again, or leave bad rows out."
        )

    def take_images(self) -> None:
        """Read, check and store the images of the rows that have none yet."""
        unread = self.rows.filter(image=None, problem="")
        total = self.rows.filter(problem="").count()
        done = total - unread.count()
        with ThreadPoolExecutor(cpu_count()) as pool:
            while batch := list(unread[:IMAGES_AT_ONCE]):
                self._record(batch, list(pool.map(self._read, batch)))
                done += len(batch)
                self.progress("reading images", done, total)

    def make_tasks(self, pairing: str) -> int:
        """Tasks of all images that were taken, sets as the rows name them; gives how many the campaign has of them."""
        taken = self.rows.exclude(image=None)
        total = taken.count()
        made = seen = 0
        sets: list[CandidateSet] = []
        ordered = taken.select_related("image__prompt").order_by("prompt_hash", "number").iterator(chunk_size=2000)
        for _prompt, of_prompt in groupby(ordered, lambda row: row.prompt_hash):
            rows = list(of_prompt)
            seen += len(rows)
            sets += sets_of_rows(rows, size=self.campaign.candidates, pairing=pairing)
            if len(sets) >= SETS_AT_ONCE:
                made += len(create_tasks(campaign=self.campaign, sets=sets))
                sets = []
                self.progress("making tasks", seen, total)
        made += len(create_tasks(campaign=self.campaign, sets=sets))
        self.progress("making tasks", total, total)
        return made

    def _digest(self) -> str:
        """Names this very manifest of this very place: a changed one is another one."""
        digest = hashlib.sha256(f"{self.container.label}\n{self.name}\n".encode())
        with open_manifest(self.container, self.name) as file:
            while block := file.read(2**20):
                digest.update(block)
        return digest.hexdigest()

    def _looked_at(self, raw: RawRow) -> ManifestRow:
        written = ManifestRow(campaign=self.campaign, source=self.source, number=raw.number)
        try:
            row = row_of(raw)
            written.file = self._file_of(row)
        except BadRecord as error:
            written.problem = str(error)
            return written
        written.prompt, written.prompt_hash = row.prompt, text_sha256(row.prompt)
        written.generator, written.seed = row.generator, row.seed
        written.tags, written.group = list(row.tags), row.group
        return written

    def _file_of(self, row: Row) -> str:
        """The file's name in the container; it is looked up there and nowhere else."""
        name = str(PurePosixPath(self.name).parent / row.file)
        if name not in self.container.sizes:
            raise BadRecord(f"file: {shown(row.file)} is not in {self.container.label}")
        return name

    def _read(self, row: ManifestRow) -> ImageFacts | str:
        """What is known of a row's image, once it is stored; or what is wrong with it."""
        try:
            # One file at a time is read, for all come from one place; decoding them goes on side by side.
            with self._lock:
                content = read_file(self.container, row.file)
            checked = read_image(content)
        except (BadRecord, ImageRejected) as error:
            return f"file: {shown(PurePosixPath(row.file).name)} is refused: {error}"
        store_file(checked=checked)
        return checked.facts

    @transaction.atomic
    def _record(self, rows: Sequence[ManifestRow], read: Sequence[ImageFacts | str]) -> None:
        good = [(row, facts) for row, facts in zip(rows, read, strict=True) if isinstance(facts, ImageFacts)]
        prompts = prompts_of([row for row, _facts in good])
        generators = get_or_create_generators(
            names=[row.generator for row, _facts in good if row.generator], is_synthetic=self.campaign.is_synthetic
        )
        images = record_images(
            images=[
                unsaved_image(
                    facts=facts, prompt=prompts[row.prompt], generator=generators.get(row.generator), seed=row.seed
                )
                for row, facts in good
            ]
        )
        for (row, _facts), image in zip(good, images, strict=True):
            row.image = image
        for row, facts in zip(rows, read, strict=True):
            row.problem = facts if isinstance(facts, str) else ""
        ManifestRow.objects.bulk_update(rows, ["image", "problem"])


def prompts_of(rows: Sequence[ManifestRow]) -> dict[str, Prompt]:
    """The prompts of some rows; a new one has the tags of its first row."""
    by_tags: dict[tuple[str, ...], list[str]] = {}
    for row in {row.prompt: row for row in reversed(rows)}.values():
        by_tags.setdefault(tuple(row.tags), []).append(row.prompt)
    prompts: dict[str, Prompt] = {}
    for tags, texts in by_tags.items():
        prompts |= get_or_create_prompts(texts=texts, source="manifest", tags=tags)
    return prompts


def sets_of_rows(rows: Sequence[ManifestRow], *, size: int, pairing: str) -> list[CandidateSet]:
    """The sets of one prompt's rows: those that the rows name, and those dealt of the rows that name none."""
    by_group: dict[str, dict[int, Image]] = {}
    for row in rows:
        if row.image is not None and not row.image.is_hidden:
            by_group.setdefault(row.group, {})[row.image.pk] = row.image
    loose = list(by_group.pop("", {}).values())
    named = [list(images.values()) for images in by_group.values() if len(images) == size]
    prompt = next((row.image.prompt for row in rows if row.image is not None), None)
    if prompt is None:
        return []
    dealt = sets_of_prompt(loose, prompt=prompt, size=size, pairing=pairing, per_generator=len(loose) or 1)
    return [*(CandidateSet(prompt, images) for images in named), *dealt]
