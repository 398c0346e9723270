"""The front door as a Django app, and which static files of others are worth collecting."""

from django.apps import AppConfig
from django.contrib.staticfiles.apps import StaticFilesConfig


class HpsSiteConfig(AppConfig):
    name = "hps_site"
    default = True
    verbose_name = "hps-site"

    def ready(self) -> None:
        # Whoever sends a job needs the application; the checks register themselves.
        from hps_site import celery, checks  # noqa: F401
        from hps_site.demo.base_models import unpack
        from worker.services.base_models import ships

        # A training of the preset `tiny` needs no demo before it.
        ships("tiny-clip", "tiny-diffusion", bringer=unpack)


class CollectedFilesConfig(StaticFilesConfig):
    """Not of pages that are switched off (DRF's own, Redoc), and one of Swagger's builds: seconds, not minutes."""

    ignore_patterns = [*StaticFilesConfig.ignore_patterns, "redoc", "rest_framework", "swagger-ui-es-*"]
