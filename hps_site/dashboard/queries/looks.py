"""Properties of image files that tell nothing of how good a picture is, and that a model may follow all the same."""

from collections.abc import Mapping, Sequence

from annotations.models import Campaign, Image, Split

Looks = Mapping[str, Mapping[str, float]]
"""By name of the property, by the image's id as text."""


def file_looks(campaigns: Sequence[Campaign]) -> dict[str, dict[str, float]]:
    """Size in pixels, format and brightness (0..1, where it is known) of the held-out candidates; one SQL statement."""
    images = Image.objects.filter(candidacies__task__campaign__in=campaigns, prompt__split=Split.TEST)
    rows = images.exclude(file="").order_by().distinct().values_list("pk", "width", "height", "format", "brightness")
    size, is_png, brightness = {}, {}, {}
    for pk, width, height, kind, shade in rows:
        image = str(pk)
        size[image] = float(width * height)
        # Kept without loss or not: what a person hardly sees and a model may.
        is_png[image] = float(kind == Image.Format.PNG)
        if shade is not None:
            brightness[image] = shade
    return {"size": size, "format": is_png, "brightness": brightness}
