"""Freezing votes: which of them enter, in what form, and that they stay what they were."""

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from django.utils import timezone

from annotations.models import Annotator, Campaign, Image, Outcome, Snapshot, Split, Task, Vote
from annotations.services.snapshots import (
    FrozenVote,
    Needs,
    NotEnoughChoices,
    SnapshotDamaged,
    read_snapshot,
    read_votes,
    take_snapshot,
)
from scoring.preferences import Choice, write_lines
from tests.annotations.factories import (
    make_annotator,
    make_campaign,
    make_generator,
    make_image,
    make_prompt,
    make_task,
)
from tests.worker.worlds import make_voted_campaign, vote_on


@pytest.fixture
def campaign(db: None) -> Campaign:
    return make_voted_campaign()


def test_take_snapshot_counts_what_is_in_it(campaign: Campaign) -> None:
    snapshot = take_snapshot(campaign=campaign)

    assert (snapshot.train_choices, snapshot.test_choices) == (18, 12)
    assert (snapshot.prompts, snapshot.images, snapshot.annotators) == (10, 20, 3)
    assert snapshot.last_vote_id == Vote.objects.latest("id").pk
    assert snapshot.filters["campaign"] == campaign.slug
    assert not snapshot.is_synthetic


def test_take_snapshot_writes_each_vote_as_a_choice_in_the_order_shown(campaign: Campaign) -> None:
    prompt = make_prompt("a cat\u2028on a mat", split=Split.TEST)
    left = make_image(prompt=prompt, has_file=False, generator=make_generator("left"))
    right = make_image(prompt=prompt, has_file=False)
    ada = make_annotator("ada")
    vote = vote_on(make_task(campaign=campaign, images=[left, right], prompt=prompt), ada, image=right)
    Vote.objects.filter(pk=vote.pk).update(order=[right.pk, left.pk])

    choices = read_snapshot(take_snapshot(campaign=campaign))

    assert choices[-1] == Choice(
        prompt="a cat\u2028on a mat",
        images=(str(right.public_id), str(left.public_id)),
        outcome="choice",
        chosen=0,
        annotator=str(ada.public_id),
        split="test",
        generators=(None, "left"),
    )


def test_take_snapshot_hashes_the_bytes_of_its_file(campaign: Campaign) -> None:
    snapshot = take_snapshot(campaign=campaign)

    with snapshot.file.open("rb") as file:
        assert hashlib.sha256(file.read()).hexdigest() == snapshot.sha256


def test_take_snapshot_of_the_same_votes_again_is_the_same_snapshot(campaign: Campaign, files: Path) -> None:
    first = take_snapshot(campaign=campaign)

    again = take_snapshot(campaign=campaign)

    assert again == first
    assert len(list((files / "media" / "snapshots").iterdir())) == 1


def test_take_snapshot_after_another_vote_is_another_snapshot(campaign: Campaign) -> None:
    first = take_snapshot(campaign=campaign)
    vote_on(make_task(campaign=campaign), make_annotator(), outcome=Outcome.TIE)

    second = take_snapshot(campaign=campaign)

    assert second != first
    assert len(read_snapshot(first)) + 1 == len(read_snapshot(second))


def test_take_snapshot_in_four_places_at_once_is_one_row(transactional_db: None, files: Path) -> None:
    from django.db import connection

    campaign = make_voted_campaign()
    barrier = threading.Barrier(4)

    def take() -> None:
        try:
            barrier.wait()
            take_snapshot(campaign=campaign)
        finally:
            connection.close()

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Snapshot.objects.count() == 1
    assert len(list((files / "media" / "snapshots").iterdir())) == 1


def test_take_snapshot_of_all_campaigns_takes_the_votes_of_all(campaign: Campaign) -> None:
    make_voted_campaign(train_prompts=1, test_prompts=1, is_synthetic=True)

    one, both = take_snapshot(campaign=campaign), take_snapshot()

    assert (one.train_choices, both.train_choices) == (18, 21)
    assert (one.is_synthetic, both.is_synthetic) == (False, True)


def exclude(vote: Vote) -> None:
    Annotator.objects.filter(pk=vote.annotator_id).update(state=Annotator.State.EXCLUDED)


def withdraw(vote: Vote) -> None:
    Vote.objects.filter(pk=vote.pk).update(withdrawn_at=timezone.now())


def make_gold(vote: Vote) -> None:
    Task.objects.filter(pk=vote.task_id).update(purpose=Task.Purpose.GOLD, expected=vote.order[0])


def make_probe(vote: Vote) -> None:
    Task.objects.filter(pk=vote.task_id).update(purpose=Task.Purpose.PROBE, repeats=vote.task_id)


def skip(vote: Vote) -> None:
    Vote.objects.filter(pk=vote.pk).update(outcome=Outcome.SKIP, image=None)


def flag(vote: Vote) -> None:
    Vote.objects.filter(pk=vote.pk).update(outcome=Outcome.FLAG, image=None)


@pytest.mark.parametrize("leave_out", [exclude, withdraw, make_gold, make_probe, skip, flag])
def test_take_snapshot_leaves_out(campaign: Campaign, leave_out: Callable[[Vote], None]) -> None:
    person = make_annotator()
    vote = vote_on(make_task(campaign=campaign), person)
    with_it = read_snapshot(take_snapshot(campaign=campaign))
    assert [choice.annotator for choice in with_it].count(str(person.public_id)) == 1

    leave_out(vote)

    without_it = read_snapshot(take_snapshot(campaign=campaign))
    assert without_it == with_it[:-1]


def test_take_snapshot_keeps_ties_and_all_bad(campaign: Campaign) -> None:
    vote_on(make_task(campaign=campaign), make_annotator(), outcome=Outcome.TIE)
    vote_on(make_task(campaign=campaign), make_annotator(), outcome=Outcome.ALL_BAD)

    choices = read_snapshot(take_snapshot(campaign=campaign))

    assert [(choice.outcome, choice.chosen) for choice in choices[-2:]] == [("tie", None), ("all_bad", None)]


TEN_AND_FIVE = Needs(decided_train=10, decided_test=5)


def test_take_snapshot_without_votes_says_how_many_are_missing(db: None) -> None:
    with pytest.raises(NotEnoughChoices, match="0 decided choices to train on and 0 to test on; at least 10 and 5"):
        take_snapshot(campaign=make_campaign(), needs=TEN_AND_FIVE)


def test_take_snapshot_with_too_few_to_test_on_is_refused(db: None) -> None:
    with pytest.raises(NotEnoughChoices, match="18 decided choices to train on and 3 to test on"):
        take_snapshot(campaign=make_voted_campaign(test_prompts=1), needs=TEN_AND_FIVE)

    assert Snapshot.objects.count() == 0


def test_take_snapshot_with_pixels_leaves_out_votes_on_images_that_are_elsewhere(campaign: Campaign) -> None:
    before = take_snapshot(campaign=campaign)
    task = make_task(campaign=campaign)
    vote_on(task, make_annotator())
    Image.objects.filter(tasks=task).update(
        file="", format="", width=0, height=0, is_hidden=True, reference="elsewhere.png"
    )

    with_pixels, all_votes = (
        take_snapshot(campaign=campaign, needs=Needs(pixels=True)),
        take_snapshot(campaign=campaign),
    )

    assert (with_pixels.sha256, with_pixels.votes, all_votes.votes) == (before.sha256, 30, 31)


def test_read_votes_gives_all_that_an_export_needs(campaign: Campaign) -> None:
    prompt = make_prompt("a pier", split=Split.TEST, tags=["anatomy"])
    images = [make_image(prompt=prompt, generator=make_generator("painter")), make_image(prompt=prompt)]
    vote = vote_on(
        make_task(campaign=campaign, images=images, prompt=prompt),
        make_annotator(),
        shown_ms=1500,
        hidden_ms=20,
        is_too_fast=True,
        instructions_version=3,
        client={"input": "key", "ranking": {"id": "test:1", "ranks": [1, 2]}},
    )
    snapshot = take_snapshot(campaign=campaign)

    assert list(read_votes(snapshot))[-1] == FrozenVote(
        choice=read_snapshot(snapshot)[-1],
        vote=str(vote.public_id),
        number=vote.pk,
        campaign=campaign.slug,
        tags=("anatomy",),
        files=tuple(image.file.name for image in images),
        references=("", ""),
        voted_at=Vote.objects.get(pk=vote.pk).created_at.isoformat(),
        shown_ms=1500,
        hidden_ms=20,
        is_too_fast=True,
        instructions_version=3,
        is_synthetic=False,
        ranking={"id": "test:1", "ranks": [1, 2]},
    )


def test_a_snapshot_older_than_exports_can_be_trained_on_and_not_exported(campaign: Campaign) -> None:
    snapshot = take_snapshot(campaign=campaign)
    choices = read_snapshot(snapshot)
    content = write_lines(choices).encode()
    Path(snapshot.file.path).write_bytes(content)
    snapshot.sha256 = hashlib.sha256(content).hexdigest()

    assert read_snapshot(snapshot) == choices
    with pytest.raises(SnapshotDamaged, match="older than exports"):
        next(read_votes(snapshot))


def test_take_snapshot_asks_as_often_for_many_votes_as_for_few(
    db: None, django_assert_max_num_queries: Callable[[int], object]
) -> None:
    few, many = make_voted_campaign(), make_voted_campaign(train_prompts=30, test_prompts=20)

    for campaign in (few, many):
        with django_assert_max_num_queries(9):  # type: ignore[attr-defined]
            take_snapshot(campaign=campaign)


def test_read_snapshot_whose_file_was_changed_is_refused(campaign: Campaign) -> None:
    snapshot = take_snapshot(campaign=campaign)
    path = Path(snapshot.file.path)
    path.write_text(path.read_text().replace("train prompt 0", "train prompt X", 1))

    with pytest.raises(SnapshotDamaged, match="was changed"):
        read_snapshot(snapshot)


def test_read_snapshot_whose_file_is_missing_is_refused(campaign: Campaign) -> None:
    snapshot = take_snapshot(campaign=campaign)
    Path(snapshot.file.path).unlink()

    with pytest.raises(SnapshotDamaged, match="can't be read"):
        read_snapshot(snapshot)
