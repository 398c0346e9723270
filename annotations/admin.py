"""The records of the annotations room for those who run campaigns.

What happened (votes, slots, which images a task shows) is shown and never edited here; what others refer to can be
deleted only while nothing does.
"""

from collections.abc import Callable
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Count, IntegerField, Model, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from annotations import queries
from annotations.models import (
    Annotator,
    Campaign,
    Candidate,
    Generator,
    Image,
    Invite,
    Outcome,
    Prompt,
    Slot,
    Task,
    Vote,
    text_sha256,
)
from annotations.services.campaigns import UnableToChangeCampaign, close_campaign, pause_campaign, start_campaign
from annotations.services.images import PromptRejected, check_prompt_text

THUMBNAIL_PIXELS = 96


def count_of(rows: QuerySet[Any], by: str) -> Coalesce:
    """How many of these rows each row of a list has; one subquery, however many rows there are."""
    counts = rows.filter(**{by: OuterRef("pk")}).order_by().values(by).annotate(count=Count("pk")).values("count")
    return Coalesce(Subquery(counts, output_field=IntegerField()), 0)


def thumbnail(image: Image) -> SafeString:
    """The image at the size of a stamp, linked to itself."""
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


class PromptForm(forms.ModelForm):
    def clean_text(self) -> str:
        text = self.cleaned_data["text"]
        try:
            check_prompt_text(text)
        except PromptRejected as error:
            raise ValidationError(_("This text is not taken: %(reason)s."), params={"reason": error}) from error
        if Prompt.objects.filter(text_hash=text_sha256(text)).exists():
            raise ValidationError(_("There is a prompt with this text already."))
        return text


@admin.register(Prompt)
class PromptAdmin(KeptAdmin):
    form = PromptForm
    referrers = ("images", "tasks")
    list_display = ["short_text", "tags", "source", "split", "image_count", "created_at"]
    list_filter = ["split", "source"]
    search_fields = ["text", "tags", "source"]
    date_hierarchy = "created_at"
    readonly_fields = ["split", "created_at"]
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Prompt]:
        return super().get_queryset(request).annotate(image_count=count_of(Image.objects.all(), "prompt"))

    def get_readonly_fields(self, request: HttpRequest, obj: Prompt | None = None) -> list[str]:
        # The text is what the prompt is: images were made from it, and it decides the split.
        return [*self.readonly_fields, "text"] if obj else self.readonly_fields

    @admin.display(description=_("text"), ordering="text")
    def short_text(self, prompt: Prompt) -> str:
        return str(prompt)

    @admin.display(description=_("images"), ordering="image_count")
    def image_count(self, prompt: Any) -> int:
        return prompt.image_count


@admin.register(Generator)
class GeneratorAdmin(KeptAdmin):
    referrers = ("images",)
    list_display = ["name", "image_count", "is_synthetic", "created_at"]
    list_filter = ["is_synthetic"]
    search_fields = ["name", "description"]
    readonly_fields = ["created_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Generator]:
        return super().get_queryset(request).annotate(image_count=count_of(Image.objects.all(), "generator"))

    @admin.display(description=_("images"), ordering="image_count")
    def image_count(self, generator: Any) -> int:
        return generator.image_count


@admin.register(Image)
class ImageAdmin(KeptAdmin):
    referrers = ("candidacies", "votes")
    list_display = ["stamp", "short_id", "short_prompt", "generator", "seed", "size", "is_hidden", "created_at"]
    list_display_links = ["short_id"]
    list_filter = ["is_hidden", "format", "generator"]
    list_select_related = ["prompt", "generator"]
    list_per_page = 50
    search_fields = ["prompt__text", "sha256", "public_id"]
    date_hierarchy = "created_at"
    show_full_result_count = False
    actions = ["hide", "show"]
    readonly_fields = [
        "stamp",
        "public_id",
        "prompt",
        "generator",
        "seed",
        "settings",
        "format",
        "size",
        "sha256",
        "created_at",
    ]
    fields = [*readonly_fields, "is_hidden"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.display(description=_("image"))
    def stamp(self, image: Image) -> SafeString:
        return thumbnail(image)

    @admin.display(description=_("id"), ordering="public_id")
    def short_id(self, image: Image) -> str:
        return str(image.public_id)[:8]

    @admin.display(description=_("prompt"), ordering="prompt__text")
    def short_prompt(self, image: Image) -> str:
        return str(image.prompt)

    @admin.display(description=_("size in pixels"))
    def size(self, image: Image) -> str:
        return f"{image.width} × {image.height}"

    @admin.action(description=_("Hide from annotators"), permissions=["change"])
    def hide(self, request: HttpRequest, images: QuerySet[Image]) -> None:
        self._set_hidden(request, images, is_hidden=True)

    @admin.action(description=_("Show to annotators again"), permissions=["change"])
    def show(self, request: HttpRequest, images: QuerySet[Image]) -> None:
        self._set_hidden(request, images, is_hidden=False)

    def _set_hidden(self, request: HttpRequest, images: QuerySet[Image], *, is_hidden: bool) -> None:
        count = images.update(is_hidden=is_hidden)
        text = ngettext("%(count)d image changed.", "%(count)d images changed.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS)


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
        if not change:
            assert request.user.is_authenticated
            obj.created_by = request.user
        elif {"question", "instructions"} & set(form.changed_data):
            # Votes remember under which wording they were given.
            obj.instructions_version += 1
        super().save_model(request, obj, form, change)

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


@admin.register(Annotator)
class AnnotatorAdmin(KeptAdmin):
    referrers = ("votes", "slots")
    list_display = ["__str__", "source", "state", "vote_count", "too_fast_count", "is_synthetic", "created_at"]
    list_filter = ["state", "source", "is_synthetic"]
    search_fields = ["public_id", "external_id", "user__username"]
    date_hierarchy = "created_at"
    show_full_result_count = False
    readonly_fields = ["public_id", "user", "invite", "source", "external_id", "is_synthetic", "created_at"]
    fields = [*readonly_fields, "state"]

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
