"""Uploads that wait to be read: to be looked at, and taken away."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext_lazy as _

from annotations.admin.records import ShownAdmin, count_of
from annotations.models import Upload, UploadPart
from annotations.services.uploads import remove_upload


@admin.register(Upload)
class UploadAdmin(ShownAdmin):
    list_display = ["name", "size_shown", "parts_there", "created_by", "created_at"]
    list_select_related = ["created_by"]
    search_fields = ["name"]
    date_hierarchy = "created_at"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Upload]:
        return super().get_queryset(request).annotate(part_total=count_of(UploadPart.objects.all(), "upload"))

    @admin.display(description=_("size"), ordering="size")
    def size_shown(self, upload: Upload) -> str:
        return filesizeformat(upload.size)

    @admin.display(description=_("parts there"))
    def parts_there(self, upload: Upload) -> str:
        return f"{upload.part_total} / {upload.part_count}"  # type: ignore[attr-defined]

    def delete_model(self, request: HttpRequest, obj: Upload) -> None:
        remove_upload(upload=obj)
