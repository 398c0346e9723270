"""Campaigns and invites."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from annotations.admin.records import KeptAdmin, count_of
from annotations.models import (
    Campaign,
    Invite,
    Outcome,
    Task,
    Vote,
)
from annotations.queries import voting as queries
from annotations.services.campaigns import UnableToChangeCampaign, close_campaign, pause_campaign, start_campaign
from annotations.services.instructions import revise_instructions, write_version
from annotations.services.wanted_votes import settle_slots


class InviteInline(admin.TabularInline):
    model = Invite
    extra = 0
    fields = ["label", "max_uses", "uses", "expires_at", "is_active", "link"]
    readonly_fields = ["uses", "link"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Invite]:
        return super().get_queryset(request).select_related("campaign")

    @admin.display(description=_("link to send"))
    def link(self, invite: Invite) -> str:
        return full_link(invite)


def full_link(invite: Invite) -> str:
    """The address that an invited person opens; none before the invite is saved."""
    return f"{settings.SITE_URL}{invite.get_absolute_url()}" if invite.pk else "–"


@admin.register(Campaign)
class CampaignAdmin(KeptAdmin):
    referrers = ("tasks",)
    inlines = [InviteInline]
    list_display = ["name", "slug", "state", "access", "task_count", "judgement_count", "is_synthetic", "created_at"]
    list_filter = ["state", "access", "is_synthetic"]
    search_fields = ["name", "slug", "question"]
    date_hierarchy = "created_at"
    prepopulated_fields = {"slug": ["name"]}
    actions = ["start", "pause", "close"]
    readonly_fields = ["state", "progress", "instructions_version", "created_by", "created_at"]
    fieldsets = [
        (None, {"fields": ["name", "slug", "state", "progress", "is_synthetic"]}),
        (_("What is asked"), {"fields": ["question", "instructions", "instructions_version"]}),
        (_("How it is answered"), {"fields": ["candidates", "votes_per_task", "allows_tie", "allows_all_bad"]}),
        (_("Who may vote, and how fast"), {"fields": ["access", "lease_seconds", "too_fast_ms"]}),
        (_("Origin"), {"fields": ["created_by", "created_at"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Campaign]:
        judgements = Vote.objects.standing().filter(outcome__in=Outcome.judgements())
        return (
            super()
            .get_queryset(request)
            .annotate(
                task_count=count_of(Task.objects.all(), "campaign"),
                judgement_count=count_of(judgements, "task__campaign"),
            )
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Campaign | None = None) -> list[str]:
        # With tasks there, the number of their images is a fact, and so is whether they are synthetic.
        facts = ["candidates", "is_synthetic"] if obj and obj.tasks.exists() else []
        return [*self.readonly_fields, *facts]

    def get_prepopulated_fields(self, request: HttpRequest, obj: Campaign | None = None) -> dict[str, Any]:
        return {} if obj else self.prepopulated_fields

    def save_model(self, request: HttpRequest, obj: Campaign, form: forms.ModelForm, change: bool) -> None:  # noqa: FBT001
        assert request.user.is_authenticated
        if not change:
            obj.created_by = request.user
            super().save_model(request, obj, form, change)
            write_version(campaign=obj, by=request.user)
            return
        question, text = obj.question, obj.instructions
        # The wording has a way of its own, which keeps what votes refer to.
        wording = Campaign.objects.get(pk=obj.pk)
        obj.question, obj.instructions = wording.question, wording.instructions
        super().save_model(request, obj, form, change)
        if "votes_per_task" in form.changed_data:
            settle_slots(campaign=obj)
        revise_instructions(campaign=obj, question=question, text=text, by=request.user)

    @admin.display(description=_("tasks"), ordering="task_count")
    def task_count(self, campaign: Any) -> int:
        return campaign.task_count

    @admin.display(description=_("judgements"), ordering="judgement_count")
    def judgement_count(self, campaign: Any) -> int:
        return campaign.judgement_count

    @admin.display(description=_("progress"))
    def progress(self, campaign: Campaign) -> str:
        if campaign.pk is None:
            return "–"
        collected = queries.collected_in(campaign)
        return format_html(
            '<progress max="{wanted}" value="{judgements}">{percent} %</progress> {text}',
            wanted=max(1, collected.wanted),
            judgements=collected.judgements,
            percent=collected.percent,
            text=_now("%(judgements)d of %(wanted)d judgements (%(percent)d %%)")
            % {"judgements": collected.judgements, "wanted": collected.wanted, "percent": collected.percent},
        )

    @admin.action(description=_("Start: take votes"), permissions=["change"])
    def start(self, request: HttpRequest, campaigns: QuerySet[Campaign]) -> None:
        self._change_each(request, campaigns, start_campaign)

    @admin.action(description=_("Pause: give out no more work"), permissions=["change"])
    def pause(self, request: HttpRequest, campaigns: QuerySet[Campaign]) -> None:
        self._change_each(request, campaigns, pause_campaign)

    @admin.action(description=_("Close for good"), permissions=["change"])
    def close(self, request: HttpRequest, campaigns: QuerySet[Campaign]) -> None:
        self._change_each(request, campaigns, close_campaign)

    def _change_each(self, request: HttpRequest, campaigns: QuerySet[Campaign], step: Callable[..., Campaign]) -> None:
        for campaign in Campaign.objects.filter(pk__in=campaigns.values("pk")):
            try:
                changed = step(campaign=campaign, by=request.user)
            except UnableToChangeCampaign as error:
                self.message_user(request, str(error), messages.ERROR)
            else:
                text = _now("%(campaign)s is now %(state)s.")
                told = text % {"campaign": changed, "state": changed.get_state_display()}
                self.message_user(request, told, messages.SUCCESS)


@admin.register(Invite)
class InviteAdmin(admin.ModelAdmin):
    list_display = ["__str__", "campaign", "uses", "max_uses", "expires_at", "is_active", "link"]
    list_filter = ["is_active", "campaign"]
    list_select_related = ["campaign"]
    search_fields = ["label", "code", "campaign__name", "campaign__slug"]
    autocomplete_fields = ["campaign"]
    readonly_fields = ["uses", "link", "created_at"]

    def get_readonly_fields(self, request: HttpRequest, obj: Invite | None = None) -> list[str]:
        return [*self.readonly_fields, "campaign"] if obj else self.readonly_fields

    @admin.display(description=_("link to send"))
    def link(self, invite: Invite) -> str:
        return full_link(invite)
