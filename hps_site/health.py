"""What machines ask of the site: does it live, may visitors be sent to it, how is it doing."""

import hmac
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from annotations.models import Image, Slot, Vote
from worker.models import ModelVersion, Run

PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"


@never_cache
@require_safe
def healthz(_request: HttpRequest) -> JsonResponse:
    """200 as long as the process answers at all."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def readyz(_request: HttpRequest) -> JsonResponse:
    """200 when votes can be taken: the database answers and has every migration. Redis is told, and not needed."""
    database = _state_of_database()
    is_ready = database == "ok"
    state = {"status": "ok" if is_ready else "unavailable", "database": database, "redis": _state_of_redis()}
    return JsonResponse(state, status=200 if is_ready else 503)


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Counts in the text format of Prometheus, for staff and for whoever has METRICS_TOKEN."""
    if not (_has_metrics_token(request) or request.user.is_staff):
        raise PermissionDenied
    return HttpResponse("\n".join([*_measurements(), ""]), content_type=PROMETHEUS_TEXT)


def _state_of_database() -> str:
    try:
        return "migrations are missing" if _has_migrations_to_run() else "ok"
    except DatabaseError:
        return "away"


def _has_migrations_to_run() -> bool:
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _state_of_redis() -> str:
    try:
        with Redis.from_url(settings.REDIS_URL, socket_timeout=1, retry=Retry(NoBackoff(), 0)) as redis:
            redis.ping()
    except RedisError:
        return "away"
    return "ok"


def _has_metrics_token(request: HttpRequest) -> bool:
    expected = f"Bearer {settings.METRICS_TOKEN}"
    given = request.headers.get("Authorization", "")
    return bool(settings.METRICS_TOKEN) and hmac.compare_digest(given.encode(), expected.encode())


def _measurements() -> Iterator[str]:
    yield from _gauge(
        "hps_site_votes", "Votes that were not undone, by outcome.", _counts(Vote.objects.standing(), "outcome")
    )
    yield from _gauge("hps_site_slots", "Wanted votes, by state.", _counts(Slot.objects.all(), "state"))
    yield from _gauge("hps_site_images", "Images, by format.", _counts(Image.objects.all(), "format"))
    yield from _gauge("hps_site_runs", "Runs, by kind and state.", _counts(Run.objects.all(), "kind", "state"))
    yield from _gauge("hps_site_versions", "Model versions, by family.", _counts(ModelVersion.objects.all(), "family"))


def _counts(rows: QuerySet[Any], *labels: str) -> list[dict[str, Any]]:
    return list(rows.order_by(*labels).values(*labels).annotate(total=Count("pk")))


def _gauge(name: str, explanation: str, rows: list[dict[str, Any]]) -> Iterator[str]:
    yield f"# HELP {name} {explanation}"
    yield f"# TYPE {name} gauge"
    for row in rows:
        labels = ",".join(f'{label}="{value}"' for label, value in row.items() if label != "total")
        yield f"{name}{{{labels}}} {row['total']}"
