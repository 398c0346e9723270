"""The records of the annotations room for those who run campaigns.

What happened (votes, slots, which images a task shows) is shown and never edited here; what others refer to can be
deleted only while nothing does.
"""

from typing import Any

from django.contrib import admin
from django.db.models import Count, IntegerField, Model, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _now

from annotations.models import (
    Image,
)

THUMBNAIL_PIXELS = 96


def count_of(rows: QuerySet[Any], by: str) -> Coalesce:
    """How many of these rows each row of a list has; one subquery, however many rows there are."""
    counts = rows.filter(**{by: OuterRef("pk")}).order_by().values(by).annotate(count=Count("pk")).values("count")
    return Coalesce(Subquery(counts, output_field=IntegerField()), 0)


def thumbnail(image: Image) -> SafeString:
    """The image at the size of a stamp, linked to itself; its name where its pixels are elsewhere."""
    if not image.has_pixels:
        return format_html("{}", image.reference)
    scale = THUMBNAIL_PIXELS / max(image.width, image.height)
    return format_html(
        '<a href="{url}"><img src="{url}" width="{width}" height="{height}" loading="lazy" alt="{alt}"></a>',
        url=image.get_absolute_url(),
        width=max(1, round(image.width * scale)),
        height=max(1, round(image.height * scale)),
        alt=_now("image %(id)s") % {"id": str(image.public_id)[:8]},
    )


class KeptAdmin(admin.ModelAdmin):
    """Records that others refer to: deleted one at a time, and only while nothing refers to them."""

    referrers: tuple[str, ...] = ()

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        if obj is None or any(getattr(obj, name).exists() for name in self.referrers):
            return False
        return super().has_delete_permission(request, obj)


class ShownAdmin(KeptAdmin):
    """Records that are made by the program and not edited by hand."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class FactAdmin(ShownAdmin):
    """Records of what happened: never deleted either."""

    show_full_result_count = False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
