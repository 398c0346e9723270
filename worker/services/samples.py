"""What a model in training makes on its way, kept for its run's page."""

import io
from collections.abc import Sequence

import PIL.Image
from django.core.files.base import ContentFile

from worker.models import RunSample
from worker.services.execution import Reporter


def store_samples(
    *, reporter: Reporter, step: int, prompts: Sequence[str], pictures: Sequence[PIL.Image.Image]
) -> None:
    """Keep the pictures that were made of these prompts after so many steps; one that is there already stays.

    An attempt that goes on from a checkpoint may make some again, and makes the same. Files are written first, then
    the rows: a row never lacks its file.

    Raises:
        RunStopped: the run is held by another worker now.
    """
    run = reporter.run
    there = set(run.samples.filter(step=step).values_list("place", flat=True))
    samples = []
    for place, (prompt, picture) in enumerate(zip(prompts, pictures, strict=True)):
        if place not in there:
            sample = RunSample(run=run, step=step, place=place, prompt=prompt)
            sample.file.save("", ContentFile(_png(picture)), save=False)
            samples.append(sample)
    with reporter.holding():
        RunSample.objects.bulk_create(samples)


def _png(picture: PIL.Image.Image) -> bytes:
    file = io.BytesIO()
    picture.convert("RGB").save(file, "PNG")
    return file.getvalue()
