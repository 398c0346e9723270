"""Prompts, generators and images."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from annotations.admin.records import KeptAdmin, count_of, thumbnail
from annotations.models import (
    Generator,
    Image,
    Prompt,
    text_sha256,
)
from annotations.services.images import PromptRejected, check_prompt_text
from annotations.services.sides import settle_sides


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
    list_filter = ["split", "is_near_test", "source"]
    search_fields = ["text", "tags", "source"]
    date_hierarchy = "created_at"
    readonly_fields = ["split", "is_near_test", "created_at"]
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Prompt]:
        return super().get_queryset(request).annotate(image_count=count_of(Image.objects.all(), "prompt"))

    def get_readonly_fields(self, request: HttpRequest, obj: Prompt | None = None) -> list[str]:
        # The text is what the prompt is: images were made from it, and it decides the split.
        return [*self.readonly_fields, "text"] if obj else self.readonly_fields

    def save_model(self, request: HttpRequest, obj: Prompt, form: forms.ModelForm, change: bool) -> None:  # noqa: FBT001
        if not change:
            settle_sides(prompts=[obj])
        super().save_model(request, obj, form, change)

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
    list_display = [
        *("stamp", "short_id", "short_prompt", "generator", "seed", "size"),
        *("is_hidden", "hidden_reason", "created_at"),
    ]
    list_display_links = ["short_id"]
    list_filter = ["is_hidden", "hidden_reason", "format", "generator"]
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
        "reference",
        "created_at",
        "hidden_reason",
    ]
    fields = [*readonly_fields, "is_hidden"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Image, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's
        if not obj.is_hidden:
            obj.hidden_reason = ""  # whoever shows an image again has looked at it
        super().save_model(request, obj, form, change)

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
        return f"{image.width} × {image.height}" if image.has_pixels else "–"

    @admin.action(description=_("Hide from annotators"), permissions=["change"])
    def hide(self, request: HttpRequest, images: QuerySet[Image]) -> None:
        self._set_hidden(request, images, is_hidden=True)

    @admin.action(description=_("Show to annotators again"), permissions=["change"])
    def show(self, request: HttpRequest, images: QuerySet[Image]) -> None:
        self._set_hidden(request, images, is_hidden=False)

    def _set_hidden(self, request: HttpRequest, images: QuerySet[Image], *, is_hidden: bool) -> None:
        changes = {"is_hidden": True} if is_hidden else {"is_hidden": False, "hidden_reason": ""}
        count = images.exclude(file="").update(**changes)  # without pixels an image stays hidden
        text = ngettext("%(count)d image changed.", "%(count)d images changed.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS)
