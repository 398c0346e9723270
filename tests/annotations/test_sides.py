"""Both sides of the split are kept apart: near-duplicates on one, whoever brings them and in whatever order."""

import threading
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.test import Client

from annotations.models import Prompt, Split
from annotations.services.images import get_or_create_prompts
from annotations.services.snapshots import Needs, read_snapshot, take_snapshot
from tests.annotations.factories import (
    make_annotator,
    make_campaign,
    make_generator,
    make_image,
    make_prompt,
    make_task,
    picture_bytes,
)
from tests.worker.worlds import vote_on

TESTED = "a tower above a stormy sea"
AS_TESTED = ["A tower above a stormy sea!", f"{TESTED}, 4k, trending on artstation", f"octane render, {TESTED}"]
BARN = "an old barn between two oaks, evening sky"


def sides() -> dict[str, str]:
    return dict(Prompt.objects.values_list("text", "split"))


def marked() -> set[str]:
    return set(Prompt.objects.filter(is_near_test=True).values_list("text", flat=True))


def test_the_texts_of_these_tests_would_fall_on_both_sides_by_themselves() -> None:
    assert {Split.of(TESTED)} == {Split.TEST}
    assert {Split.of(text) for text in AS_TESTED} == {Split.TRAIN}


@pytest.mark.django_db
@pytest.mark.parametrize("at_once", [True, False])
def test_near_duplicates_fall_on_the_side_of_the_first(at_once: bool) -> None:
    batches = [[TESTED, *AS_TESTED]] if at_once else [[text] for text in (TESTED, *AS_TESTED)]

    for texts in batches:
        get_or_create_prompts(texts=texts)

    assert sides() == dict.fromkeys([TESTED, *AS_TESTED], Split.TEST)
    assert marked() == set()


@pytest.mark.django_db
def test_a_side_stays_when_a_near_duplicate_comes_later() -> None:
    get_or_create_prompts(texts=AS_TESTED)

    get_or_create_prompts(texts=[TESTED])

    assert sides() == dict.fromkeys([TESTED, *AS_TESTED], Split.TRAIN)


@pytest.mark.django_db
def test_a_data_sets_own_test_prompt_takes_its_near_duplicates_out_of_training() -> None:
    get_or_create_prompts(texts=[BARN, *AS_TESTED], split=Split.TRAIN)

    get_or_create_prompts(texts=[TESTED], split=Split.TEST)

    assert sides() == {BARN: Split.TRAIN, TESTED: Split.TEST, **dict.fromkeys(AS_TESTED, Split.TRAIN)}
    assert marked() == set(AS_TESTED)


@pytest.mark.django_db
def test_a_data_sets_own_training_prompt_near_a_test_prompt_is_marked() -> None:
    get_or_create_prompts(texts=[TESTED])

    get_or_create_prompts(texts=AS_TESTED[:1], split=Split.TRAIN)

    assert marked() == set(AS_TESTED[:1])


@pytest.mark.django_db
def test_a_prompt_between_both_sides_is_neither_trained_on_nor_tested() -> None:
    get_or_create_prompts(texts=["a tower above a stormy sea, evening sky"], split=Split.TRAIN)
    get_or_create_prompts(texts=["evening sky, a tower above a stormy sea, oil"], split=Split.TEST)
    between = "A tower above a stormy sea, evening sky, oil"

    prompt = get_or_create_prompts(texts=[between])[between]

    assert (prompt.split, prompt.is_near_test) == (Split.TRAIN, True)


def test_near_duplicates_that_come_in_at_the_same_moment_fall_on_one_side(transactional_db: None) -> None:
    is_written, may_end = threading.Event(), threading.Event()

    def first() -> None:
        with transaction.atomic():
            get_or_create_prompts(texts=[TESTED])
            is_written.set()
            may_end.wait(10)
        connection.close()

    def second() -> None:
        is_written.wait(10)
        get_or_create_prompts(texts=AS_TESTED[:1])
        connection.close()

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    threads[1].join(0.5)
    may_end.set()
    for thread in threads:
        thread.join()

    assert sides() == {TESTED: Split.TEST, AS_TESTED[0]: Split.TEST}


@pytest.mark.django_db
def test_a_prompt_added_by_hand_falls_on_the_side_of_its_near_duplicates(client: Client) -> None:
    get_or_create_prompts(texts=[TESTED])
    client.force_login(User.objects.create_superuser("boss"))

    response = client.post("/admin/annotations/prompt/add/", {"text": AS_TESTED[0], "tags": "", "source": ""})

    assert response.status_code == 302
    assert sides()[AS_TESTED[0]] == Split.TEST


@pytest.mark.django_db
def test_a_prompt_is_found_by_one_of_a_hundred_without_a_query_for_each(
    django_assert_num_queries: Any,
) -> None:
    get_or_create_prompts(texts=[f"ship {number}" for number in range(100)])

    with django_assert_num_queries(7):  # what is there, lock, near ones, new rows in a savepoint, and a look at them
        get_or_create_prompts(texts=[f"SHIP {number}" for number in range(100)])

    for number in range(100):
        assert sides()[f"SHIP {number}"] == sides()[f"ship {number}"]


@pytest.mark.django_db
def test_a_test_prompt_can_not_be_marked() -> None:
    with pytest.raises(IntegrityError, match="prompt_near_test_is_no_test_prompt"):
        make_prompt(split=Split.TEST, is_near_test=True)


@pytest.mark.django_db
def test_prompts_of_before_get_their_sketch_and_keep_their_sides() -> None:
    texts = {TESTED: Split.TEST, AS_TESTED[0]: Split.TRAIN, BARN: Split.TRAIN}
    for text, split in texts.items():
        make_prompt(text, split=split)
    kept = dict(Prompt.objects.values_list("text", "sketch"))
    Prompt.objects.update(sketch=[])

    import_module("annotations.migrations.0011_near_duplicate_prompts").sketch_prompts(apps, None)

    assert dict(Prompt.objects.values_list("text", "sketch")) == kept
    assert (sides(), marked()) == (texts, {AS_TESTED[0]})


@pytest.mark.django_db
def test_a_training_leaves_out_near_duplicates_and_images_of_the_test_side_and_an_export_does_not() -> None:
    campaign, ada = make_campaign(tasks=0), make_annotator()
    red, blue = make_generator(), make_generator()
    tested = picture_bytes(colour=(9, 90, 9))

    def vote(text: str, split: str, content: bytes, **fields: Any) -> None:
        prompt = make_prompt(text, split=split, **fields)
        images = [
            make_image(prompt=prompt, generator=red, content=content),
            make_image(prompt=prompt, generator=blue, content=picture_bytes(colour=(len(text), 1, 1))),
        ]
        vote_on(make_task(campaign=campaign, images=images, prompt=prompt, votes=0), ada)

    vote("tested", Split.TEST, tested)
    vote("near it", Split.TRAIN, picture_bytes(colour=(7, 7, 7)), is_near_test=True)
    vote("of the same image", Split.TRAIN, tested)
    vote("far from it", Split.TRAIN, picture_bytes(colour=(8, 8, 8)))

    of_training, of_export = take_snapshot(campaign=campaign, needs=Needs(apart=True)), take_snapshot(campaign=campaign)

    assert [choice.prompt for choice in read_snapshot(of_training)] == ["tested", "far from it"]
    assert of_training.filters["left_out_of_training"] == {"near_prompts": 1, "same_images": 1}
    assert (of_training.train_choices, of_training.test_choices, of_export.train_choices) == (1, 1, 3)
    assert "left_out_of_training" not in of_export.filters
