"""Migrations that move data: nothing is lost on the way, there or back."""

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

BEFORE = [("annotations", "0002_campaigns_people_quality"), ("worker", "0001_initial")]


@pytest.mark.django_db(transaction=True)
def test_snapshots_move_to_this_room_with_their_rows_and_permissions() -> None:
    executor = MigrationExecutor(connection)
    latest = executor.loader.graph.leaf_nodes()
    try:
        old = executor.migrate(BEFORE).apps
        snapshot = old.get_model("worker", "Snapshot").objects.create(
            sha256="a" * 64,
            file="snapshots/a.jsonl",
            train_choices=3,
            test_choices=2,
            prompts=1,
            images=2,
            annotators=1,
        )
        old.get_model("worker", "Run").objects.create(kind="classifier", snapshot=snapshot)
        content_type, _is_new = old.get_model("contenttypes", "ContentType").objects.get_or_create(
            app_label="worker", model="snapshot"
        )
        old.get_model("contenttypes", "ContentType").objects.filter(app_label="annotations", model="snapshot").delete()

        executor = MigrationExecutor(connection)
        new = executor.migrate(latest).apps

        moved = new.get_model("annotations", "Snapshot").objects.get()
        assert (moved.pk, moved.sha256, moved.train_choices) == (snapshot.pk, "a" * 64, 3)
        assert new.get_model("worker", "Run").objects.get().snapshot_id == moved.pk
        assert new.get_model("contenttypes", "ContentType").objects.get(pk=content_type.pk).app_label == "annotations"

        old = MigrationExecutor(connection).migrate(BEFORE).apps
        assert old.get_model("worker", "Run").objects.get().snapshot.sha256 == "a" * 64
    finally:
        MigrationExecutor(connection).migrate(latest)
