"""Keeping what a model in training makes."""

from pathlib import Path

import PIL.Image
import pytest
from django.core.files.storage import default_storage
from django.db import IntegrityError, transaction

from tests.worker.generators import claimed_run
from worker.models import Run, RunSample
from worker.queries import SampleGrid, samples_of
from worker.services.execution import Reporter, RunStopped
from worker.services.samples import store_samples

RED, BLUE = (PIL.Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))


def pixels_of(sample: RunSample) -> bytes:
    with sample.file.open("rb") as file, PIL.Image.open(file) as picture:
        return picture.tobytes()


@pytest.fixture
def reporter(db: None, rung: list[int], files: Path) -> Reporter:
    return claimed_run(Run.Kind.ADAPTER, {})[1]


def test_store_samples_keeps_the_pixels_under_a_name_apart_from_the_voters_images(reporter: Reporter) -> None:
    store_samples(reporter=reporter, step=175, prompts=["a fox", "an owl"], pictures=[RED, BLUE])

    run = reporter.run
    samples = list(run.samples.all())
    assert [(sample.step, sample.place, sample.prompt) for sample in samples] == [(175, 0, "a fox"), (175, 1, "an owl")]
    assert samples[1].file.name == f"samples/{run.public_id}/000175-01.png"
    assert pixels_of(samples[1]) == BLUE.tobytes()


def test_store_samples_again_after_a_lost_attempt_changes_nothing(reporter: Reporter) -> None:
    store_samples(reporter=reporter, step=0, prompts=["a fox"], pictures=[RED])

    store_samples(reporter=reporter, step=0, prompts=["a fox", "an owl"], pictures=[BLUE, BLUE])

    first, second = reporter.run.samples.all()
    assert [pixels_of(each) for each in (first, second)] == [RED.tobytes(), BLUE.tobytes()]
    assert len(default_storage.listdir(f"samples/{reporter.run.public_id}")[1]) == 2


def test_store_samples_of_a_run_that_another_worker_holds_writes_no_row(reporter: Reporter) -> None:
    Run.objects.update(fence=7)

    with pytest.raises(RunStopped):
        store_samples(reporter=reporter, step=0, prompts=["a fox"], pictures=[RED])

    assert not RunSample.objects.exists()


def test_a_place_has_one_sample(reporter: Reporter) -> None:
    store_samples(reporter=reporter, step=0, prompts=["a fox"], pictures=[RED])

    with pytest.raises(IntegrityError), transaction.atomic():
        RunSample.objects.create(run=reporter.run, step=0, place=0, prompt="a fox", file="x.png")


def test_samples_of_gives_rows_of_prompts_and_columns_of_looks(reporter: Reporter) -> None:
    assert samples_of(reporter.run) is None
    store_samples(reporter=reporter, step=200, prompts=["a fox"], pictures=[RED])
    store_samples(reporter=reporter, step=0, prompts=["a fox", "an owl"], pictures=[RED, BLUE])

    base_fox, base_owl, later_fox = reporter.run.samples.all()
    found = samples_of(reporter.run)

    assert found == SampleGrid((0, 200), (("a fox", (base_fox, later_fox)), ("an owl", (base_owl, None))))
    assert found.size == 3
