"""Addresses of the dashboard."""

from django.urls import path

from hps_site.dashboard.views import exports, reports

app_name = "dashboard"
urlpatterns = [
    path("", reports.index, name="index"),
    path("<slug:slug>/", reports.campaign, name="campaign"),
    path("<slug:slug>/export/", exports.export, name="export"),
    path("<slug:slug>/score/", reports.score, name="score"),
]
