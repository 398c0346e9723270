"""The Celery application: who rings for the machines' jobs, and the queues `default` and `gpu`."""

import os

from celery import Celery
from celery.signals import setup_logging
from kombu import Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hps_site.settings")

app = Celery("hps_site")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.task_queues = [Queue("default"), Queue("gpu")]
app.conf.task_create_missing_queues = False
# People do tasks and machines do jobs: Celery's entry points are in worker/jobs.py.
app.autodiscover_tasks(["worker"], related_name="jobs")


@setup_logging.connect
def leave_logging_to_django(**_kwargs: object) -> None:
    """Celery would replace the handlers; django.setup() has put them up already."""
