"""Addresses of the pages of runs and model versions."""

from django.urls import path

from worker import study_views, views

app_name = "worker"
urlpatterns = [
    path("runs/", views.runs, name="runs"),
    path("runs/open/", views.open_run, name="open-run"),
    path("runs/generate/", views.generate, name="generate"),
    path("runs/<uuid:public_id>/", views.run, name="run"),
    path("runs/<uuid:public_id>/cancel/", views.cancel_run, name="cancel-run"),
    path("runs/<uuid:public_id>/retry/", views.retry_run, name="retry-run"),
    path("runs/<uuid:public_id>/snapshot/", views.snapshot_file, name="snapshot-file"),
    path("runs/<uuid:public_id>/samples/<int:step>/<int:place>/", views.sample, name="sample"),
    path("versions/", views.versions, name="versions"),
    path("versions/roll-back/<slug:family>/", views.roll_back, name="roll-back"),
    path("versions/<uuid:public_id>/", views.version, name="version"),
    path("versions/<uuid:public_id>/prove/", study_views.prove, name="prove-adapter"),
    path("versions/<uuid:public_id>/reject/", study_views.reject, name="reject-version"),
    path("studies/new/", study_views.new_study, name="new-study"),
    path("versions/<uuid:public_id>/promote/", views.promote_version, name="promote-version"),
]
