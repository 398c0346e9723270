"""Annotators."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from annotations.admin.records import KeptAdmin, count_of
from annotations.models import (
    Annotator,
    Vote,
)


@admin.register(Annotator)
class AnnotatorAdmin(KeptAdmin):
    referrers = ("votes", "slots")
    list_display = ["__str__", "source", "state", "vote_count", "too_fast_count", "is_synthetic", "created_at"]
    list_filter = ["state", "source", "is_synthetic"]
    search_fields = ["public_id", "external_id", "user__username"]
    date_hierarchy = "created_at"
    show_full_result_count = False
    # Pausing and excluding are decided on the dashboard, where one sees what they change.
    readonly_fields = ["public_id", "user", "invite", "source", "external_id", "is_synthetic", "created_at", "state"]
    fields = [*readonly_fields]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Annotator]:
        standing = Vote.objects.standing()
        return (
            super()
            .get_queryset(request)
            .annotate(
                vote_count=count_of(standing, "annotator"),
                too_fast_count=count_of(standing.filter(is_too_fast=True), "annotator"),
            )
        )

    @admin.display(description=_("votes"), ordering="vote_count")
    def vote_count(self, annotator: Any) -> int:
        return annotator.vote_count

    @admin.display(description=_("too fast"), ordering="too_fast_count")
    def too_fast_count(self, annotator: Any) -> int:
        return annotator.too_fast_count
