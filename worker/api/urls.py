"""Addresses of what this room offers to programs."""

from django.urls import path

from worker.api import scores, views

urlpatterns = [
    path("runs", views.Runs.as_view(), name="api-runs"),
    path("runs/<uuid:public_id>", views.OneRun.as_view(), name="api-run"),
    path("runs/<uuid:public_id>/cancel", views.CancelRun.as_view(), name="api-cancel-run"),
    path("model-versions", views.Versions.as_view(), name="api-model-versions"),
    path("scores", scores.ScoreImages.as_view(), name="api-scores"),
]
