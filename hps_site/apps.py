"""The front door as a Django app."""

from django.apps import AppConfig


class HpsSiteConfig(AppConfig):
    name = "hps_site"
    verbose_name = "hps-site"

    def ready(self) -> None:
        # Whoever sends a job needs the application; the checks register themselves.
        from hps_site import celery, checks  # noqa: F401
