"""The browser of the end-to-end tests: the Chromium of this machine."""

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium_path() -> str:
    """The program named by CHROMIUM, or the first Chromium on the PATH."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        raise FileNotFoundError("No Chromium on the PATH: run deploy/ensure-chromium, or set CHROMIUM to its path.")
    return path
