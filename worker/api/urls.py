"""Addresses of what this room offers to programs."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
