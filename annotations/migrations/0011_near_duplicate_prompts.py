"""What near-duplicates of a prompt find it by, also for the prompts that are there."""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
from django.db import migrations, models

from scoring.near_duplicates import Neighbourhood, Sketch

BATCH = 1000


def sketch_prompts(apps, _schema_editor):
    """Sides stay as they are; where near-duplicates stand on both, those on the training side are marked."""
    Prompt = apps.get_model("annotations", "Prompt")
    tested, changed = Neighbourhood(), []
    for prompt in Prompt.objects.filter(split="test").only("text").iterator():
        tested.add(Sketch.of(prompt.text), prompt.pk)
    for prompt in Prompt.objects.only("text", "split").iterator():
        sketch = Sketch.of(prompt.text)
        prompt.sketch = sketch.keys
        prompt.is_near_test = prompt.split == "train" and bool(tested.near(sketch))
        changed.append(prompt)
        if len(changed) == BATCH:
            Prompt.objects.bulk_update(changed, ["sketch", "is_near_test"])
            changed = []
    Prompt.objects.bulk_update(changed, ["sketch", "is_near_test"])


class Migration(migrations.Migration):
    dependencies = [("annotations", "0010_hidden_reasons")]

    operations = [
        migrations.AddField(
            model_name="prompt",
            name="sketch",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.BigIntegerField(),
                default=list,
                editable=False,
                size=None,
                verbose_name="what near-duplicates share",
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="prompt",
            name="is_near_test",
            field=models.BooleanField(default=False, editable=False, verbose_name="near-duplicate of a test prompt"),
        ),
        migrations.RunPython(sketch_prompts, migrations.RunPython.noop, elidable=True),
        migrations.AddIndex(
            model_name="prompt",
            index=django.contrib.postgres.indexes.GinIndex(fields=["sketch"], name="prompt_sketch", fastupdate=False),
        ),
        migrations.AddConstraint(
            model_name="prompt",
            constraint=models.CheckConstraint(
                condition=models.Q(("is_near_test", False), ("split", "train"), _connector="OR"),
                name="prompt_near_test_is_no_test_prompt",
            ),
        ),
    ]
