"""Imports as runs: from an upload, a bucket, the library; stopped, resumed, refused with what to do."""

import gzip
import hashlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.models.functions import Now
from moto import mock_aws

from annotations.models import Campaign, Task, Upload
from annotations.services import uploads
from annotations.services.uploads import begin_upload, store_part
from tests.annotations.factories import make_campaign, make_generator, make_image, make_prompt, make_user
from tests.annotations.packages import tar_of, two_generators, zip_of
from worker.models import Run
from worker.services.execution import execute_run
from worker.services.importing import import_without_bad_rows, remove_read_uploads
from worker.services.runs import UnableToRetryRun, open_run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("rung")]


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "PART_BYTES", 300)


def sent(content: bytes, name: str = "set.zip") -> Upload:
    upload = begin_upload(name=name, size=len(content), by=make_user())
    for number in range(upload.part_count):
        part = content[number * 300 : (number + 1) * 300]
        store_part(upload=upload, number=number, content=part, sha256=hashlib.sha256(part).hexdigest())
    return upload


def executed(config: dict[str, Any], campaign: Campaign | None = None, **options: Any) -> Run:
    run = open_run(kind=Run.Kind.IMPORT, preset="", config=config, campaign=campaign).run
    execute_run(run_id=run.pk, worker="test", **options)
    run.refresh_from_db()
    return run


def tar_gz_of(files: dict[str, bytes]) -> bytes:
    return gzip.compress(tar_of(files))


@pytest.mark.parametrize("packed", [zip_of, tar_of, tar_gz_of])
def test_an_upload_becomes_tasks_and_makes_room_again(packed: Any) -> None:
    campaign, upload = make_campaign(tasks=0), sent(packed(two_generators()))

    run = executed({"source": "upload", "upload": str(upload.public_id)}, campaign)

    assert (run.state, run.metrics) == (
        "succeeded",
        {"rows": 4, "images": 4, "prompts": 2, "tasks": 2, "bad_rows": 0},
    )
    assert (run.step, run.total_steps, run.stage) == (4, 4, "making tasks")
    assert remove_read_uploads() == 1
    assert not Upload.objects.exists()


def test_a_worker_that_is_sent_away_puts_the_import_back_and_the_next_one_goes_on() -> None:
    campaign, upload = make_campaign(tasks=0), sent(zip_of(two_generators()))
    config = {"source": "upload", "upload": str(upload.public_id)}

    run = executed(config, campaign, is_shutting_down=lambda: True)
    assert (run.state, Task.objects.count()) == ("queued", 0)

    execute_run(run_id=run.pk, worker="another")
    run.refresh_from_db()
    assert (run.state, run.metrics["tasks"]) == ("succeeded", 2)


def test_bad_rows_fail_the_run_with_file_row_and_field() -> None:
    files = two_generators() | {"manifest.csv": b"file,prompt,seed\nno.png,x,\npictures/0-alder.png,,7\n"}
    campaign, upload = make_campaign(tasks=0), sent(zip_of(files))

    run = executed({"source": "upload", "upload": str(upload.public_id)}, campaign)

    assert (run.state, run.error_code) == ("failed", "bad_rows")
    assert run.error_text == (
        "2 rows are bad, and no task was made: manifest.csv, row 1, file: 'no.png' is not in set.zip; manifest.csv, "
        "row 2, prompt: the prompt is blank. Mend them and import again, or leave bad rows out."
    )
    assert remove_read_uploads() == 0


def test_an_import_that_failed_for_bad_rows_is_opened_again_without_them() -> None:
    files = two_generators() | {"pictures/1-birch.png": b"no picture"}
    campaign, upload = make_campaign(tasks=0), sent(zip_of(files))
    failed = executed({"source": "upload", "upload": str(upload.public_id), "pairing": "every"}, campaign)

    opened = import_without_bad_rows(run=failed).run
    execute_run(run_id=opened.pk, worker="test")

    opened.refresh_from_db()
    assert opened.config == {**failed.config, "skips_bad": True}
    assert (opened.state, opened.metrics["tasks"], opened.metrics["bad_rows"]) == ("succeeded", 1, 1)


def test_an_import_that_failed_for_something_else_has_no_bad_rows_to_leave_out() -> None:
    failed = executed({"source": "library", "tag": "nothing"}, make_campaign(tasks=0))

    with pytest.raises(UnableToRetryRun, match="failed for bad rows"):
        import_without_bad_rows(run=failed)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "An import comes from one of upload, bucket, library, campaign, not from None"),
        ({"source": "upload", "upload": "x"}, "The upload is no longer there"),
        ({"source": "campaign", "campaign": "nowhere"}, "no campaign 'nowhere'"),
        ({"source": "library", "tag": "nothing"}, "0 prompts were found"),
        ({"source": "bucket", "bucket": "secrets", "prefix": ""}, "'secrets' is not open to imports"),
    ],
)
def test_what_cannot_be_imported_says_what_to_do(config: dict[str, Any], words: str) -> None:
    run = executed(config, make_campaign(tasks=0))

    assert run.state == "failed"
    assert words in run.error_text


def test_an_import_without_a_campaign_is_refused() -> None:
    assert "An import needs a campaign" in executed({"source": "library"}).error_text


def test_uploads_that_nobody_came_back_for_are_forgotten_unless_a_run_wants_them() -> None:
    campaign = make_campaign(tasks=0)
    fresh, old, wanted = sent(b"a" * 9), sent(b"b" * 9), sent(b"c" * 9)
    Upload.objects.exclude(pk=fresh.pk).update(created_at=Now() - timedelta(days=8))
    open_run(
        kind=Run.Kind.IMPORT,
        preset="",
        config={"source": "upload", "upload": str(wanted.public_id)},
        campaign=campaign,
    )

    assert remove_read_uploads() == 1
    assert set(Upload.objects.all()) == {fresh, wanted}
    assert old not in Upload.objects.all()


def test_the_library_becomes_tasks() -> None:
    prompt = make_prompt()
    for name in ("alder", "birch"):
        make_image(prompt=prompt, generator=make_generator(name), has_file=False)

    run = executed({"source": "library", "generators": ["alder", "birch"], "needs_all": True}, make_campaign(tasks=0))

    assert run.metrics == {"tasks": 1, "prompts": 1, "without": 0}


@pytest.fixture
def bucket(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An S3 bucket in this process that is open to imports."""
    import boto3

    settings.IMPORT_BUCKETS = ["studies"]
    settings.IMPORT_ENDPOINT = ""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="studies")
        yield client


def test_a_folder_of_a_bucket_becomes_tasks(bucket: Any) -> None:
    for name, content in two_generators().items():
        bucket.put_object(Bucket="studies", Key=f"foxes/{name}", Body=content)
    # A folder whose name only begins alike is another one.
    bucket.put_object(Bucket="studies", Key="foxes2/manifest.csv", Body=b"file,prompt\n")
    campaign = make_campaign(tasks=0)

    run = executed({"source": "bucket", "bucket": "studies", "prefix": "foxes"}, campaign)

    assert (run.state, run.error_text, run.metrics) == (
        "succeeded",
        "",
        {"rows": 4, "images": 4, "prompts": 2, "tasks": 2, "bad_rows": 0},
    )


def test_a_manifest_of_many_lines_in_a_bucket_is_read_whole(bucket: Any) -> None:
    lines = [f'{{"file": "a.png", "prompt": "prompt {number}"}}\n' for number in range(3000)]
    bucket.put_object(Bucket="studies", Key="foxes/manifest.jsonl", Body="".join(lines).encode())
    campaign = make_campaign(tasks=0)

    run = executed({"source": "bucket", "bucket": "studies", "prefix": "foxes/"}, campaign)

    assert "3000 rows are bad" in run.error_text
    assert campaign.manifest_rows.count() == 3000


def test_an_empty_folder_of_a_bucket_is_refused(bucket: Any) -> None:
    run = executed({"source": "bucket", "bucket": "studies", "prefix": "nothing"}, make_campaign(tasks=0))

    assert run.error_text == "There is nothing under s3://studies/nothing/."


def test_the_workdir_is_not_needed(bucket: Any, settings: Any, tmp_path: Path) -> None:
    """Web and worker share no disk: nothing of an import lies in the folder of artefacts."""
    for name, content in two_generators().items():
        bucket.put_object(Bucket="studies", Key=f"foxes/{name}", Body=content)

    executed({"source": "bucket", "bucket": "studies", "prefix": "foxes"}, make_campaign(tasks=0))

    assert [path for path in Path(settings.ARTEFACTS_DIR).rglob("*") if path.is_file()] == []
