"""Addresses of the pages of runs and model versions."""

from django.urls import URLPattern

app_name = "worker"
urlpatterns: list[URLPattern] = []
