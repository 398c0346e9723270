"""Annotators, the panels that send them, and their parts in campaigns. What they told of themselves is in no list."""

import csv
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from annotations.admin.records import FactAdmin, KeptAdmin, count_of
from annotations.models import (
    Annotator,
    Participation,
    Recruitment,
    Vote,
)
from annotations.services import participations, recruiting
from annotations.services.erasure import UnableToErase, erase_identity

# What stands in the link where the panel puts an id of its own.
PROLIFIC_PLACEHOLDER = "{{%%%s%%}}"
CODE_COLUMNS = ["panel", "study_id", "session_id", "state", "code", "joined_at", "finished_at"]


@admin.register(Annotator)
class AnnotatorAdmin(KeptAdmin):
    referrers = ("votes", "slots")
    list_display = ["__str__", "source", "state", "vote_count", "too_fast_count", "is_synthetic", "created_at"]
    list_filter = ["state", "source", "is_synthetic"]
    search_fields = ["public_id", "external_id", "user__username"]
    search_help_text = _("A pseudonym, a user's name, or the id of a person at Prolific or MTurk.")
    date_hierarchy = "created_at"
    show_full_result_count = False
    actions = ["erase"]
    # Pausing and excluding are decided on the dashboard, where one sees what they change.
    readonly_fields = ["public_id", "user", "invite", "source", "external_id", "is_synthetic", "created_at", "state"]
    fields = [*readonly_fields]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Annotator | None = None) -> bool:
        """Of people in the list, for its action; the page of one holds nothing to change, and no button that saves."""
        return obj is None and super().has_change_permission(request)

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

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Annotator], search_term: str
    ) -> tuple[QuerySet[Annotator], bool]:
        """Panels' ids are kept as hashes; who asks for one by its id finds the person all the same."""
        found, may_have_duplicates = super().get_search_results(request, queryset, search_term)
        if not search_term:
            return found, may_have_duplicates
        names = [recruiting.pseudonym_of(panel, search_term.strip()) for panel in Recruitment.PARAMETERS]
        return queryset.filter(Q(pk__in=found.values("pk")) | Q(external_id__in=names)), False

    @admin.display(description=_("votes"), ordering="vote_count")
    def vote_count(self, annotator: Any) -> int:
        return annotator.vote_count

    @admin.display(description=_("too fast"), ordering="too_fast_count")
    def too_fast_count(self, annotator: Any) -> int:
        return annotator.too_fast_count

    @admin.action(description=_("Erase identity: votes stay, nothing leads to the person"), permissions=["change"])
    def erase(self, request: HttpRequest, annotators: QuerySet[Annotator]) -> TemplateResponse | None:
        """Asks once more, since it cannot be undone."""
        chosen = list(Annotator.objects.filter(pk__in=annotators.values("pk")))
        if "confirmed" not in request.POST:
            context = {
                **self.admin_site.each_context(request),
                "title": _("Erase identity"),
                "annotators": chosen,
                "opts": self.model._meta,
            }
            return TemplateResponse(request, "admin/annotations/annotator/erase.html", context)
        erased = 0
        assert isinstance(request.user, User)
        for annotator in chosen:
            try:
                erase_identity(annotator=annotator, by=request.user)
            except UnableToErase as problem:
                self.message_user(request, f"{annotator}: {problem}", messages.ERROR)
            else:
                erased += 1
        text = ngettext("%(count)d identity erased.", "%(count)d identities erased.", erased)
        self.message_user(request, text % {"count": erased}, messages.SUCCESS)
        return None


@admin.register(Recruitment)
class RecruitmentAdmin(KeptAdmin):
    referrers = ("participations",)
    list_display = ["__str__", "campaign", "panel", "places_taken", "places", "votes_wanted", "is_active", "created_at"]
    list_filter = ["panel", "is_active", "campaign"]
    list_select_related = ["campaign"]
    search_fields = ["label", "code", "campaign__name", "campaign__slug"]
    autocomplete_fields = ["campaign"]
    readonly_fields = ["link", "places_taken", "created_at"]
    fieldsets = [
        (None, {"fields": ["campaign", "panel", "label", "is_active", "link"]}),
        (_("Places"), {"fields": ["votes_wanted", "places", "places_taken", "minutes"]}),
        (_("Codes"), {"fields": ["codes", "completion_code", "screen_out_code", "return_address"]}),
        (
            _("Parameters of the link"),
            {
                "fields": ["person_parameter", "study_parameter", "session_parameter"],
                "description": _("For another panel. Those of Prolific and MTurk are filled in."),
            },
        ),
        (_("Origin"), {"fields": ["created_at"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Recruitment]:
        holding = Participation.objects.filter(state__in=[Participation.State.ACTIVE, Participation.State.COMPLETED])
        return super().get_queryset(request).annotate(taken=count_of(holding, "recruitment"))

    def get_fieldsets(self, request: HttpRequest, obj: Recruitment | None = None) -> Any:
        """When it was made is known once it is made."""
        fieldsets = super().get_fieldsets(request, obj)
        return fieldsets if obj else fieldsets[:-1]

    def get_readonly_fields(self, request: HttpRequest, obj: Recruitment | None = None) -> list[str]:
        return [*self.readonly_fields, "campaign", "panel"] if obj else self.readonly_fields

    @admin.display(description=_("places taken"), ordering="taken")
    def places_taken(self, recruitment: Any) -> int | str:
        return recruitment.taken if recruitment.pk else "–"

    @admin.display(description=_("link to give to the panel"))
    def link(self, recruitment: Recruitment) -> str:
        return link_to_send(recruitment)


def link_to_send(recruitment: Recruitment) -> str:
    """The address as the panel wants it, with its own placeholders; none before the recruitment is saved."""
    if recruitment.pk is None:
        return "–"
    address = f"{settings.SITE_URL}{recruitment.get_absolute_url()}"
    match recruitment.panel:
        case Recruitment.Panel.MTURK:  # adds its parameters by itself
            return f"{address}mturk/"
        case Recruitment.Panel.PROLIFIC:
            return f"{address}?{'&'.join(f'{name}={PROLIFIC_PLACEHOLDER % name}' for name in recruitment.parameters)}"
    return f"{address}?{'&'.join(f'{name}=…' for name in recruitment.parameters)}"


@admin.register(Participation)
class ParticipationAdmin(FactAdmin):
    list_display = ["__str__", "campaign", "recruitment", "state", "code", "session_id", "seen_at", "finished_at"]
    list_filter = ["state", "recruitment__panel", "campaign"]
    list_select_related = ["annotator", "campaign", "recruitment__campaign"]
    search_fields = ["annotator__public_id", "code", "session_id", "study_id"]
    date_hierarchy = "created_at"
    actions = ["download_codes", "give_back"]
    fields = [
        *("annotator", "campaign", "recruitment", "study_id", "session_id", "state", "code"),
        *("consented_at", "consent_hash", "practised_at", "created_at", "seen_at", "finished_at"),
    ]

    @admin.action(description=_("Download codes (CSV), to approve them at the panel"), permissions=["view"])
    def download_codes(self, request: HttpRequest, parts: QuerySet[Participation]) -> HttpResponse:
        today = timezone.localdate()
        response = HttpResponse(
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="codes-{today}.csv"'},
        )
        writer = csv.writer(response)
        writer.writerow(CODE_COLUMNS)
        # Ids and codes begin with a letter or digit, so that no spreadsheet takes one for a formula.
        recruited = parts.filter(recruitment__isnull=False).order_by("pk")
        writer.writerows(
            recruited.values_list(
                *("recruitment__panel", "study_id", "session_id", "state", "code", "created_at", "finished_at")
            )
        )
        return response

    @admin.action(description=_("Give places back"), permissions=["give_back"])
    def give_back(self, request: HttpRequest, parts: QuerySet[Participation]) -> None:
        given = [participations.give_back(participation=part) for part in parts]
        count = sum(part.state == Participation.State.RETURNED for part in given)
        text = ngettext("%(count)d place is free again.", "%(count)d places are free again.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS)

    def has_give_back_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("annotations.change_participation")
