"""Images whose pixels are elsewhere, and snapshots, whose table worker.0002_snapshots_move hands over with all its rows."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import annotations.models.library


class Migration(migrations.Migration):
    dependencies = [("annotations", "0005_quality")]

    operations = [
        migrations.AddField(
            model_name="image",
            name="reference",
            field=models.CharField(blank=True, editable=False, max_length=500, verbose_name="name where its pixels are"),
        ),
        migrations.AlterField(
            model_name="image",
            name="file",
            field=models.FileField(
                blank=True, max_length=200, upload_to=annotations.models.library.image_path, verbose_name="file"
            ),
        ),
        migrations.AlterField(
            model_name="image",
            name="format",
            field=models.CharField(
                blank=True,
                choices=[("JPEG", "JPEG"), ("PNG", "PNG"), ("WEBP", "WebP")],
                max_length=4,
                verbose_name="format",
            ),
        ),
        migrations.RemoveConstraint(model_name="image", name="image_has_pixels"),
        migrations.AddConstraint(
            model_name="image",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("height__gt", 0),
                        ("width__gt", 0),
                        models.Q(("file", ""), _negated=True),
                        models.Q(("format", ""), _negated=True),
                    ),
                    models.Q(
                        ("file", ""),
                        ("format", ""),
                        ("height", 0),
                        ("is_hidden", True),
                        ("width", 0),
                        models.Q(("reference", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="image_has_pixels_or_is_hidden",
            ),
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name="Snapshot",
                    fields=[
                        (
                            "id",
                            models.BigAutoField(
                                auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                            ),
                        ),
                        ("sha256", models.CharField(max_length=64, unique=True, verbose_name="SHA-256")),
                        ("filters", models.JSONField(default=dict, verbose_name="filters")),
                        (
                            "file",
                            models.FileField(
                                max_length=200, upload_to="snapshots/", verbose_name="choices, as JSON lines"
                            ),
                        ),
                        ("train_choices", models.PositiveIntegerField(verbose_name="choices to train on")),
                        ("test_choices", models.PositiveIntegerField(verbose_name="choices to test on")),
                        ("prompts", models.PositiveIntegerField(verbose_name="prompts")),
                        ("images", models.PositiveIntegerField(verbose_name="images")),
                        ("annotators", models.PositiveIntegerField(verbose_name="annotators")),
                        ("last_vote_id", models.BigIntegerField(null=True, verbose_name="last vote")),
                        ("is_synthetic", models.BooleanField(default=False, verbose_name="synthetic")),
                        (
                            "created_at",
                            models.DateTimeField(
                                db_default=django.db.models.functions.datetime.Now(), verbose_name="created at"
                            ),
                        ),
                        (
                            "campaign",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.SET_NULL,
                                related_name="snapshots",
                                to="annotations.campaign",
                                verbose_name="campaign",
                            ),
                        ),
                    ],
                    options={"verbose_name": "snapshot", "verbose_name_plural": "snapshots"},
                ),
            ],
        ),
    ]
