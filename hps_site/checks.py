"""What must be in order before the site starts, told by `manage.py check`."""

import os
from pathlib import Path

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register


@register(Tags.files)
def folders_are_writable(**_kwargs: object) -> list[CheckMessage]:
    """The folders under HPS_SITE_HOME, or the first ancestor of each that exists, take files."""
    folders = [settings.MEDIA_ROOT, settings.ARTEFACTS_DIR, settings.CACHE_DIR]
    return [
        Error(
            f"Files cannot be written into {folder}.",
            hint="Set HPS_SITE_HOME to a folder that belongs to whoever runs the site.",
            id="hps_site.E001",
        )
        for folder in folders
        if not os.access(_nearest_existing(Path(folder)), os.W_OK | os.X_OK)
    ]


def _nearest_existing(folder: Path) -> Path:
    return next(path for path in [folder, *folder.parents] if path.exists())
