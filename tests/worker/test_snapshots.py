"""What a training sees: enough decided choices, on images whose pixels are here."""

import io
import threading
from pathlib import Path

import pytest
from django.core.files.storage import FileSystemStorage, Storage

from annotations.models import Snapshot
from annotations.services.snapshots import NotEnoughChoices, read_snapshot
from tests.annotations.factories import make_campaign, make_image
from tests.worker.worlds import make_voted_campaign
from worker.snapshots import image_opener, image_paths, open_image, take_training_snapshot


def test_take_training_snapshot_needs_ten_choices_to_train_on_and_five_to_test_on(db: None) -> None:
    with pytest.raises(NotEnoughChoices, match="0 decided choices to train on and 0 to test on; at least 10 and 5"):
        take_training_snapshot(campaign=make_campaign())
    assert Snapshot.objects.count() == 0

    assert take_training_snapshot(campaign=make_voted_campaign()).filters["images"] == "those whose files are here"


def test_open_image_gives_the_picture(db: None) -> None:
    image = make_image()

    assert open_image(str(image.public_id)).size == (image.width, image.height)


def test_image_opener_works_in_threads_without_the_database(db: None) -> None:
    campaign = make_voted_campaign(has_files=True)
    choices = read_snapshot(take_training_snapshot(campaign=campaign))
    open_one = image_opener(choices)
    sizes: list[tuple[int, int]] = []

    thread = threading.Thread(target=lambda: sizes.append(open_one(choices[0].images[0]).size))
    thread.start()
    thread.join()

    assert sizes == [(24, 16)]


def test_image_paths_copies_what_is_not_on_this_disk_once(
    db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = make_voted_campaign(has_files=True)
    choices = read_snapshot(take_training_snapshot(campaign=campaign))
    on_disk = image_paths(choices, tmp_path)

    def no_path(_storage: Storage, name: str) -> str:
        raise NotImplementedError

    opened: list[str] = []
    monkeypatch.setattr(FileSystemStorage, "path", no_path)
    monkeypatch.setattr(FileSystemStorage, "open", lambda _storage, name: opened.append(name) or on_disk_file(name))
    files = {path.name: path.read_bytes() for path in on_disk.values()}

    def on_disk_file(name: str) -> io.BytesIO:
        return io.BytesIO(files[Path(name).name])

    copies = image_paths(choices, tmp_path / "copies")
    image_paths(choices, tmp_path / "copies")

    assert {key: path.read_bytes() for key, path in copies.items()} == {
        key: files[path.name] for key, path in on_disk.items()
    }
    assert {path.parent for path in copies.values()} == {tmp_path / "copies"}
    assert len(opened) == len(copies) == 20
