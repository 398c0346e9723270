"""Migrations that change what is there."""

from importlib import import_module

import pytest
from django.db import connection

from annotations.models import Slot, Task
from tests.annotations.factories import make_campaign, make_generator, make_image, make_prompt, make_task

pytestmark = pytest.mark.django_db


def test_tasks_and_slots_of_before_are_told_which_generators_they_compare() -> None:
    matchups = import_module("annotations.migrations.0007_matchups")
    campaign = make_campaign(tasks=0)
    prompt = make_prompt()
    first, second = make_generator(), make_generator()
    named = [make_image(prompt=prompt, generator=generator, has_file=True) for generator in (second, first)]
    task = make_task(campaign=campaign, images=named, prompt=prompt)
    unnamed = make_task(campaign=campaign)
    Task.objects.update(matchup="")
    Slot.objects.update(matchup="")

    with connection.cursor() as cursor:
        cursor.execute(matchups.FILL_TASKS)
        cursor.execute(matchups.FILL_SLOTS)

    expected = f"{first.pk}-{second.pk}"
    assert dict(Task.objects.values_list("pk", "matchup")) == {task.pk: expected, unnamed.pk: ""}
    assert dict(Slot.objects.values_list("task", "matchup")) == {task.pk: expected, unnamed.pk: ""}
