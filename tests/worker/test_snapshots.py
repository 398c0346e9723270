"""What a training sees: enough decided choices, on images whose pixels are here."""

import threading

import pytest

from annotations.models import Snapshot
from annotations.services.snapshots import NotEnoughChoices, read_snapshot
from tests.annotations.factories import make_campaign, make_image
from tests.worker.worlds import make_voted_campaign
from worker.snapshots import image_opener, open_image, take_training_snapshot


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
