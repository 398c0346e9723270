"""Which generators a task compares, for the tasks and slots that were there before this was kept."""

from django.db import migrations

FILL_TASKS = """
    UPDATE annotations_task AS task
    SET matchup = compared.matchup
    FROM (
        SELECT candidate.task_id, string_agg(image.generator_id::text, '-' ORDER BY image.generator_id) AS matchup
        FROM annotations_candidate AS candidate
        JOIN annotations_image AS image ON image.id = candidate.image_id
        GROUP BY candidate.task_id
        HAVING bool_and(image.generator_id IS NOT NULL)
    ) AS compared
    WHERE compared.task_id = task.id AND task.matchup = ''
"""
FILL_SLOTS = """
    UPDATE annotations_slot AS slot
    SET matchup = task.matchup
    FROM annotations_task AS task
    WHERE task.id = slot.task_id AND slot.matchup <> task.matchup
"""


class Migration(migrations.Migration):
    dependencies = [("annotations", "0006_formats")]

    operations = [migrations.RunSQL([FILL_TASKS, FILL_SLOTS], migrations.RunSQL.noop)]
