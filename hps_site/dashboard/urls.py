"""Addresses of the dashboard."""

from django.urls import path

from hps_site.dashboard import views

app_name = "dashboard"
urlpatterns = [
    path("", views.index, name="index"),
    path("<slug:slug>/", views.campaign, name="campaign"),
    path("<slug:slug>/score/", views.score, name="score"),
]
