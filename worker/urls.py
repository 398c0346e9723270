"""Addresses of the pages of runs and model versions."""

from django.urls import path

from worker.views import runs, studies, versions

app_name = "worker"
urlpatterns = [
    path("runs/", runs.runs, name="runs"),
    path("runs/open/", runs.open_run, name="open-run"),
    path("runs/generate/", runs.generate, name="generate"),
    path("runs/<uuid:public_id>/", runs.run, name="run"),
    path("runs/<uuid:public_id>/cancel/", runs.cancel_run, name="cancel-run"),
    path("runs/<uuid:public_id>/retry/", runs.retry_run, name="retry-run"),
    path("runs/<uuid:public_id>/snapshot/", runs.snapshot_file, name="snapshot-file"),
    path("runs/<uuid:public_id>/samples/<int:step>/<int:place>/", runs.sample, name="sample"),
    path("versions/", versions.versions, name="versions"),
    path("versions/roll-back/<slug:family>/", versions.roll_back, name="roll-back"),
    path("versions/<uuid:public_id>/", versions.version, name="version"),
    path("versions/<uuid:public_id>/prove/", studies.prove, name="prove-adapter"),
    path("versions/<uuid:public_id>/reject/", studies.reject, name="reject-version"),
    path("studies/new/", studies.new_study, name="new-study"),
    path("versions/<uuid:public_id>/promote/", versions.promote_version, name="promote-version"),
]
