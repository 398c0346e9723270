"""The demo's logins: made once, with passwords of their own, kept beside the data."""

import json
import secrets
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model

from annotations.services.people import register_annotator

LOGINS_FILE = "demo-logins.json"


def logins_path() -> Path:
    return Path(settings.HPS_SITE_HOME) / LOGINS_FILE


def open_logins() -> dict[str, str]:
    """The demo's users with their passwords; an admin and an annotator, made when missing.

    No password is built in: each is random, and readable only by the owner of the folder.
    """
    path = logins_path()
    logins = json.loads(path.read_text()) if path.exists() else {}
    users = get_user_model().objects
    for name in ("admin", "annotator"):
        if name in logins and users.filter(username=name).exists():
            continue
        logins[name] = secrets.token_urlsafe(9)
        user, _ = users.get_or_create(
            username=name, defaults={"is_staff": name == "admin", "is_superuser": name == "admin"}
        )
        user.set_password(logins[name])
        user.save()
        if name == "annotator":
            register_annotator(user=user)
    path.touch(mode=0o600)
    path.write_text(json.dumps(logins))
    return logins
