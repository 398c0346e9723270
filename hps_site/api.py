"""The API, version 1: what each room offers, under one address."""

from django.urls import include, path

urlpatterns = [
    path("", include("annotations.api.urls")),
    path("", include("worker.api.urls")),
]
