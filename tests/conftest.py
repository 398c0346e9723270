"""What every test has: the real Postgres and Redis, a closed network, files of its own."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pytest_django import Settings

ROOT = Path(__file__).resolve().parent.parent

# Before the settings are read: where nothing else is said, the tests bring their servers with them.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hps_site.settings")
os.environ.setdefault("HPS_SITE_HOME", str(ROOT / "var" / "test"))
os.environ.setdefault("SECRET_KEY", "only-the-tests-use-this-key-0123456789-abcdefghij")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Several test processes share the cores; threads of tensor operations that wait for each other only slow them down.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from django.conf import settings as django_settings
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.test import testcases
from django.utils import translation

from hps_site import embedded
from tests.browser import chromium_path

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SHARED_DATA = Path(os.environ.get("HPS_SITE_SHARED_DATA") or ROOT.parent / "shared" / "data")
_use_of_servers = pytest.StashKey[embedded.Use | None]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.stash[_use_of_servers] = embedded.start(embedded.default_home())
    # Jobs are called by their tests; no worker that happens to run on this machine may hear of them.
    django_settings.CELERY_BROKER_URL = "memory://"
    django_settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    # The live server looks for the app of static files by its plain name and would serve none of them.
    testcases._StaticFilesHandler = StaticFilesHandler
    django_settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def pytest_unconfigure(config: pytest.Config) -> None:
    use = config.stash.get(_use_of_servers, None)
    if use is not None:
        embedded.stop_if_last(use)


def pytest_report_header(config: pytest.Config) -> list[str]:
    notes = []
    if "not gpu" in config.getoption("markexpr"):
        notes.append("tests marked gpu are left out: `pytest -m gpu` on a machine with an accelerator runs them")
    if not SHARED_DATA.is_dir():
        notes.append(f"tests on real data are left out: {SHARED_DATA} is not there (set HPS_SITE_SHARED_DATA)")
    if os.geteuid() != 0:
        notes.append("tests marked root are left out: they change the account of a process")
    return notes


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, and count as deselected, what cannot be tried here: real data that is not there, root's own duties."""
    left_out = [item for item in items if _needs_what_is_missing(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _needs_what_is_missing(item: pytest.Item) -> bool:
    needs_data = "shared_data" in getattr(item, "fixturenames", ())
    return (needs_data and not SHARED_DATA.is_dir()) or (
        item.get_closest_marker("root") is not None and os.geteuid() != 0
    )


@pytest.fixture(autouse=True)
def _language_put_back() -> Iterator[None]:
    """A page that was asked for in another language leaves it switched on."""
    yield
    translation.deactivate()


@pytest.fixture(autouse=True)
def files(tmp_path: Path, settings: Settings) -> Path:
    """The home of this test's media, artefacts and caches."""
    home = tmp_path / "home"
    settings.HPS_SITE_HOME = home
    settings.MEDIA_ROOT = home / "media"
    settings.ARTEFACTS_DIR = home / "artefacts"
    settings.CACHE_DIR = home / "cache"
    return home


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    yield
    from django.core.cache import cache

    cache.clear()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; a test that asks for it is left out where there is none."""
    return SHARED_DATA


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Chromium, started once per module. Its event loop would make Django refuse the database, hence the variable."""
    from playwright.sync_api import sync_playwright

    with pytest.MonkeyPatch.context() as monkeypatch, sync_playwright() as playwright:
        monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        chromium = playwright.chromium.launch(
            executable_path=chromium_path(),
            # A sandbox of its own needs rights that containers do not give, and they have a small /dev/shm.
            args=["--no-sandbox", "--disable-dev-shm-usage"],
        )
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: "Browser") -> Iterator["Page"]:
    """A window without cookies."""
    with browser.new_context() as context:
        yield context.new_page()
