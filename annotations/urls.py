"""Addresses of the pages on which people choose."""

from django.urls import URLPattern

app_name = "annotations"
urlpatterns: list[URLPattern] = []
