"""Snapshots in the admin: read and never changed."""

from django.contrib import admin

from annotations.admin.records import FactAdmin
from annotations.models import Snapshot


@admin.register(Snapshot)
class SnapshotAdmin(FactAdmin):
    list_display = [
        "__str__",
        "campaign",
        "train_choices",
        "test_choices",
        "prompts",
        "annotators",
        "is_synthetic",
        "created_at",
    ]
    list_filter = ["is_synthetic"]
    list_select_related = ["campaign"]
    search_fields = ["sha256"]
