"""The records of the worker room: facts to read, and the buttons that open runs and put versions into use."""

from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from worker.models import (
    ImageScore,
    Label,
    Labelling,
    ModelVersion,
    Promotion,
    Rejection,
    Run,
    RunEvent,
    RunSample,
    Study,
)
from worker.queries import run_choices
from worker.services.adapters import put_into_use, told_of_generator
from worker.services.recipes import UnableToGenerate
from worker.services.versions import NothingToRollBackTo, VersionRejected, roll_back


class Facts(admin.ModelAdmin):  # type: ignore[type-arg]
    """What happened: nobody adds to it or changes it here."""

    def has_add_permission(self, _request: HttpRequest, *_inline: Any) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _record: Any = None) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _record: Any = None) -> bool:
        return False


class OpensRuns(Facts):
    """A list with the buttons that open runs."""

    change_list_template = "admin/worker/change_list.html"

    class Media:
        css = {"all": ["css/admin-worker.css"]}

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        extra = {"may_open_runs": request.user.has_perm("worker.add_run"), **run_choices(), **(extra_context or {})}
        return super().changelist_view(request, extra)


class RunEvents(admin.TabularInline):  # type: ignore[type-arg]
    """The log of a run; its curves are on the run's own page."""

    model = RunEvent
    fields = ("created_at", "attempt", "text")
    readonly_fields = fields
    extra = 0
    can_delete = False

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).exclude(text="")

    def has_add_permission(self, _request: HttpRequest, *_inline: Any) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _record: Any = None) -> bool:
        return False


@admin.register(Run)
class RunAdmin(OpensRuns):
    list_display = [
        "__str__",
        "page",
        "state",
        "preset",
        "campaign",
        "progress",
        "attempt",
        "requested_by",
        "created_at",
    ]
    list_filter = ["kind", "state", "is_synthetic"]
    list_select_related = ["campaign", "requested_by"]
    search_fields = ["public_id", "error_code"]
    date_hierarchy = "created_at"
    inlines = [RunEvents]

    @admin.display(description=_("steps"))
    def progress(self, run: Run) -> str:
        return f"{run.step} / {run.total_steps}" if run.total_steps else "–"

    @admin.display(description=_("page"))
    def page(self, run: Run) -> str:
        return format_html('<a href="{}">{}</a>', run.get_absolute_url(), _now("follow"))


@admin.register(ModelVersion)
class ModelVersionAdmin(OpensRuns):
    list_display = ["__str__", "page", "family", "is_current", "is_synthetic", "run", "snapshot", "created_at"]
    list_filter = ["family", "is_current", "is_synthetic"]
    list_select_related = ["run", "snapshot"]
    search_fields = ["public_id", "sha256"]
    change_form_template = "admin/worker/modelversion/change_form.html"

    @admin.display(description=_("page"))
    def page(self, version: ModelVersion) -> str:
        return format_html('<a href="{}">{}</a>', version.get_absolute_url(), _now("figures"))

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                "<path:object_id>/promote/",
                self.admin_site.admin_view(self.promote),
                name="worker_modelversion_promote",
            ),
            path(
                "<path:object_id>/roll-back/",
                self.admin_site.admin_view(self.roll_back),
                name="worker_modelversion_roll_back",
            ),
            *super().get_urls(),
        ]

    def change_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        extra = {"may_promote": request.user.has_perm("worker.change_modelversion")}
        kwargs["extra_context"] = extra | (kwargs.get("extra_context") or {})
        return super().change_view(request, *args, **kwargs)

    def promote(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Put the version into use."""
        return self._act(request, object_id, lambda version, person: put_into_use(version=version, by=person))

    def roll_back(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Put the version that was in use before this one back into use."""
        return self._act(request, object_id, lambda version, person: roll_back(family=version.family, by=person))

    def _act(self, request: HttpRequest, object_id: str, act: Any) -> HttpResponse:
        version = self.get_object(request, object_id)
        if version is None:
            raise Http404
        back = reverse("admin:worker_modelversion_change", args=[version.pk])
        if request.method != "POST" or not request.user.has_perm("worker.change_modelversion"):
            messages.error(request, _now("Only a button of this page puts a version into use, for those who may."))
            return HttpResponseRedirect(back)
        try:
            in_use = act(version, request.user)
        except (VersionRejected, NothingToRollBackTo, UnableToGenerate) as error:
            messages.error(request, str(error))
        else:
            told = _now("In use now: %(version)s.") % {"version": in_use}
            messages.success(request, f"{told} {told_of_generator(in_use)}".strip())
        return HttpResponseRedirect(back)


@admin.register(RunEvent)
class RunEventAdmin(Facts):
    list_display = ["run", "attempt", "step", "text", "created_at"]
    list_select_related = ["run"]
    search_fields = ["run__public_id", "text"]
    show_full_result_count = False


@admin.register(Promotion)
class PromotionAdmin(Facts):
    list_display = ["version", "replaced", "generator", "by", "reason", "created_at"]
    list_filter = ["version__family"]
    list_select_related = ["version", "replaced", "generator", "by"]


@admin.register(Rejection)
class RejectionAdmin(Facts):
    list_display = ["version", "reason", "by", "created_at", "taken_back_by"]
    list_filter = ["version__family"]
    list_select_related = ["version", "by", "taken_back_by"]


@admin.register(ImageScore)
class ImageScoreAdmin(Facts):
    list_display = ["image", "version", "value"]
    list_filter = ["version"]
    list_select_related = ["image", "version"]
    show_full_result_count = False


@admin.register(Labelling)
class LabellingAdmin(Facts):
    list_display = ["__str__", "page", "scorer", "run", "is_synthetic", "created_at"]
    list_filter = ["is_synthetic"]
    list_select_related = ["scorer", "run"]
    search_fields = ["public_id", "sha256"]

    @admin.display(description=_("page"))
    def page(self, labelling: Labelling) -> str:
        address = reverse("dashboard:labelling", args=[labelling.public_id])
        return format_html('<a href="{}">{}</a>', address, _now("images"))


@admin.register(Label)
class LabelAdmin(Facts):
    list_display = ["image", "labelling", "kind", "source", "confidence", "struck_out_at", "struck_out_by"]
    list_filter = ["kind", "source"]
    list_select_related = ["image", "labelling", "struck_out_by"]
    show_full_result_count = False


@admin.register(Study)
class StudyAdmin(Facts):
    list_display = ["campaign", "version", "original", "adapted", "created_at"]
    list_select_related = ["campaign", "version", "original", "adapted"]


@admin.register(RunSample)
class RunSampleAdmin(Facts):
    """The pictures themselves are on the run's page."""

    list_display = ("run", "step", "place", "prompt")
    list_select_related = ("run",)
    fields = ("run", "step", "place", "prompt")
