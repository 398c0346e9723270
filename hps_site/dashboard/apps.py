"""The dashboard as a Django app: pages and template tags, no tables of its own."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DashboardConfig(AppConfig):
    name = "hps_site.dashboard"
    label = "dashboard"
    verbose_name = _("dashboard")
