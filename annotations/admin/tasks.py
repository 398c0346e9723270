"""Tasks, slots and votes."""

from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from annotations.admin.records import FactAdmin, ShownAdmin, count_of, thumbnail
from annotations.models import (
    Candidate,
    Slot,
    Task,
    Vote,
)


class CandidateInline(admin.TabularInline):
    model = Candidate
    extra = 0
    can_delete = False
    fields = ["position", "stamp", "image", "generator"]
    readonly_fields = ["position", "stamp", "image", "generator"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Candidate]:
        return super().get_queryset(request).select_related("image__generator", "task")

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    @admin.display(description=_("picture"))
    def stamp(self, candidate: Candidate) -> SafeString:
        return thumbnail(candidate.image)

    @admin.display(description=_("generator"))
    def generator(self, candidate: Candidate) -> str:
        return str(candidate.image.generator or "–")


@admin.register(Task)
class TaskAdmin(ShownAdmin):
    referrers = ("votes",)
    inlines = [CandidateInline]
    list_display = ["short_id", "campaign", "short_prompt", "purpose", "candidate_count", "vote_count", "created_at"]
    list_filter = ["purpose", "campaign"]
    list_select_related = ["campaign", "prompt"]
    search_fields = ["public_id", "prompt__text", "campaign__slug"]
    date_hierarchy = "created_at"
    show_full_result_count = False
    fields = ["public_id", "campaign", "prompt", "purpose", "created_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Task]:
        return (
            super()
            .get_queryset(request)
            .annotate(
                candidate_count=count_of(Candidate.objects.all(), "task"),
                vote_count=count_of(Vote.objects.standing(), "task"),
            )
        )

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, set[str], Any]:
        # Slots cannot be deleted by hand, but they go with a task on which nobody has voted.
        tree, counts, _missing_permissions, protected = super().get_deleted_objects(objs, request)
        return tree, counts, set(), protected

    @admin.display(description=_("id"), ordering="public_id")
    def short_id(self, task: Task) -> str:
        return str(task.public_id)[:8]

    @admin.display(description=_("prompt"), ordering="prompt__text")
    def short_prompt(self, task: Task) -> str:
        return str(task.prompt)

    @admin.display(description=_("images"), ordering="candidate_count")
    def candidate_count(self, task: Any) -> int:
        return task.candidate_count

    @admin.display(description=_("votes"), ordering="vote_count")
    def vote_count(self, task: Any) -> int:
        return task.vote_count


@admin.register(Slot)
class SlotAdmin(FactAdmin):
    list_display = ["__str__", "campaign", "short_prompt", "state", "annotator", "leased_at", "lease_until"]
    list_filter = ["state", "campaign"]
    list_select_related = ["campaign", "task__prompt", "annotator"]
    search_fields = ["task__public_id", "task__prompt__text", "annotator__public_id"]
    # Not the token: who knows it may vote in its holder's place.
    fields = ["campaign", "task", "number", "state", "annotator", "order", "leased_at", "lease_until", "sort_key"]

    @admin.display(description=_("prompt"))
    def short_prompt(self, slot: Slot) -> str:
        return Truncator(slot.task.prompt).chars(60)


@admin.register(Vote)
class VoteAdmin(FactAdmin):
    list_display = [
        "created_at",
        "campaign",
        "short_prompt",
        "outcome",
        "chosen",
        "annotator",
        "shown_ms",
        "is_too_fast",
        "withdrawn_at",
    ]
    list_filter = [
        "outcome",
        "is_too_fast",
        ("withdrawn_at", admin.EmptyFieldListFilter),
        "task__campaign",
        "annotator__source",
    ]
    list_select_related = ["task__campaign", "task__prompt", "image", "annotator"]
    list_per_page = 50
    search_fields = ["public_id", "task__prompt__text", "annotator__public_id", "reason"]
    date_hierarchy = "created_at"
    fields = [
        "public_id",
        "campaign",
        "task",
        "slot",
        "annotator",
        "outcome",
        "chosen",
        "reason",
        "order",
        "shown_ms",
        "is_too_fast",
        "instructions_version",
        "served_at",
        "created_at",
        "withdrawn_at",
        "idempotency_key",
    ]

    @admin.display(description=_("campaign"), ordering="task__campaign")
    def campaign(self, vote: Vote) -> str:
        return str(vote.task.campaign)

    @admin.display(description=_("prompt"))
    def short_prompt(self, vote: Vote) -> str:
        return Truncator(vote.task.prompt).chars(60)

    @admin.display(description=_("chosen"))
    def chosen(self, vote: Vote) -> str:
        return thumbnail(vote.image) if vote.image else "–"
