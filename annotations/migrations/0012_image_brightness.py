from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('annotations', '0011_near_duplicate_prompts'),
    ]

    operations = [
        migrations.AddField(
            model_name='image',
            name='brightness',
            field=models.FloatField(blank=True, editable=False, null=True, verbose_name='brightness, 0 to 1'),
        ),
        migrations.AddConstraint(
            model_name='image',
            constraint=models.CheckConstraint(condition=models.Q(('brightness__isnull', True), models.Q(('brightness__gte', 0), ('brightness__lte', 1), models.Q(('file', ''), _negated=True)), _connector='OR'), name='image_brightness_in_range'),
        ),
    ]
