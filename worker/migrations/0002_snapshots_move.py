"""Snapshots are the annotations room's now: the table changes its name, and what refers to it stays as it was."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps


def keep_permissions(apps: StateApps, _schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Whoever might see snapshots may see them under their new address."""
    move_content_type(apps, old="worker", new="annotations")


def give_permissions_back(apps: StateApps, _schema_editor: BaseDatabaseSchemaEditor) -> None:
    move_content_type(apps, old="annotations", new="worker")


def move_content_type(apps: StateApps, *, old: str, new: str) -> None:
    content_types = apps.get_model("contenttypes", "ContentType").objects
    if not content_types.filter(app_label=new, model="snapshot").exists():
        content_types.filter(app_label=old, model="snapshot").update(app_label=new)


class Migration(migrations.Migration):
    dependencies = [
        ("annotations", "0006_formats"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("worker", "0001_initial"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.AlterModelTable("snapshot", "annotations_snapshot")],
            state_operations=[
                migrations.AlterField(
                    "run",
                    "snapshot",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="runs",
                        to="annotations.snapshot",
                        verbose_name="snapshot",
                    ),
                ),
                migrations.AlterField(
                    "modelversion",
                    "snapshot",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="versions",
                        to="annotations.snapshot",
                        verbose_name="snapshot",
                    ),
                ),
                migrations.DeleteModel("Snapshot"),
            ],
        ),
        migrations.RunPython(keep_permissions, give_permissions_back),
    ]
