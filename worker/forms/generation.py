"""What staff fill in to have images made."""

from typing import Any, cast

from django import forms
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext_lazy as _

from annotations.models import Campaign, Generator
from annotations.services.sources import prompt_tags
from worker.generation.schedulers import SCHEDULERS  # noqa: TID253 - names alone, nothing of torch
from worker.models import ModelVersion
from worker.services.generation_runs import RECIPE_FIELDS, wish_of
from worker.services.prompt_files import read_prompts
from worker.services.recipes import PRECISIONS, FieldRejected, Recipe

MAX_FILE_BYTES = 10 * 2**20
PIPELINE_OF_THE_PAPER = "stable-diffusion-v1-4"


class GenerationForm(forms.Form):
    """A generator that is here or a new one, and its prompts; `run` is then what `open_generation` needs."""

    existing = forms.ModelChoiceField(
        Generator.objects.filter(settings__has_key="pipeline").order_by("name"),
        label=_("Generator"),
        to_field_name="name",
        required=False,
        empty_label=_("a new one, described below"),
    )
    per_prompt = forms.IntegerField(
        label=_("Images of each prompt"),
        initial=4,
        help_text=_("The same numbers begin with the same noise, whoever draws."),
    )
    prompts = forms.CharField(
        label=_("Prompts, one per line"), required=False, widget=forms.Textarea(attrs={"rows": 5}), strip=False
    )
    prompts_file = forms.FileField(
        label=_("A file of prompts"),
        required=False,
        help_text=_("Text with one per line, or JSON lines (.jsonl) with prompt and tags."),
    )
    tag = forms.CharField(
        label=_("The prompts with the tag"),
        max_length=64,
        required=False,
        widget=forms.TextInput(attrs={"list": "prompt-tags", "autocomplete": "off"}),
    )
    campaign = forms.ModelChoiceField(
        Campaign.objects.order_by("name"),
        label=_("The prompts of the campaign"),
        to_field_name="slug",
        required=False,
        empty_label=_("none"),
    )
    generator = forms.CharField(
        label=_("Name"), max_length=120, required=False, help_text=_("Annotators never see it.")
    )
    pipeline = forms.CharField(
        label=_("Pipeline"),
        max_length=500,
        required=False,
        widget=forms.TextInput(attrs={"list": "pipelines", "autocomplete": "off"}),
    )
    adapter = forms.ModelChoiceField(
        ModelVersion.objects.filter(family=ModelVersion.Family.ADAPTER).order_by("-number"),
        label=_("Adapter"),
        required=False,
        empty_label=_("none"),
    )
    adapter_scale = forms.FloatField(
        label=_("Adapter scale"), initial=1.0, help_text=_("1: as trained; 0: none of it.")
    )
    negative_prompt = forms.CharField(
        label=_("Negative prompt"),
        required=False,
        strip=False,
        help_text=_("What the images shall not be; for an adapter, its mark."),
    )
    steps = forms.IntegerField(label=_("Steps"), initial=Recipe.steps)
    guidance = forms.FloatField(label=_("Guidance"), initial=Recipe.guidance)
    scheduler = forms.ChoiceField(
        label=_("Scheduler"),
        required=False,
        choices=[("", _("the pipeline's own")), *((name, name) for name in SCHEDULERS)],
    )
    width = forms.IntegerField(
        label=_("Width in pixels"), required=False, help_text=_("A multiple of 8. Empty: as the model was trained.")
    )
    height = forms.IntegerField(label=_("Height in pixels"), required=False)
    precision = forms.ChoiceField(
        label=_("Precision of the weights"),
        choices=[(name, name) for name in PRECISIONS],
        initial=Recipe.precision,
        help_text=_("float16 needs half the memory, on a GPU."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        self.fields["pipeline"].initial = next(iter(_pipelines_here()), PIPELINE_OF_THE_PAPER)
        self.fields["pipeline"].help_text = (
            _("A base model, a folder on the workers, or owner/name on the Hugging Face hub.")
            if settings.HUB_DOWNLOADS
            else _("A base model, or a folder on the workers.")
        )

    @property
    def pipelines(self) -> list[str]:
        """The base models that may be diffusion pipelines, to choose from."""
        return [name for name in settings.BASE_MODELS if "diffusion" in name]

    @property
    def tags(self) -> list[str]:
        """The tags that prompts have, to choose from."""
        return prompt_tags()

    def clean_prompts_file(self) -> list[Any]:
        """The prompts in the file, as a run's config has them."""
        file = cast("UploadedFile[bytes] | None", self.cleaned_data["prompts_file"])
        if file is None:
            return []
        if (file.size or 0) > MAX_FILE_BYTES:
            raise forms.ValidationError(
                _("It has more than %(most)s MiB; use generate_images from the command line for it.")
                % {"most": MAX_FILE_BYTES // 2**20}
            )
        try:
            return [prompt.to_json() for prompt in read_prompts(file.name or "", file.read())]
        except FieldRejected as error:
            raise forms.ValidationError(error.reason) from error

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.errors:
            return cleaned
        config, campaign = self._config(cleaned), cleaned["campaign"]
        try:
            wish_of(config, campaign)
        except FieldRejected as error:
            self.add_error(error.field if error.field in self.fields else None, error.reason)
        return {"run": {"config": config, "campaign": campaign}}

    def _config(self, cleaned: dict[str, Any]) -> dict[str, Any]:
        written = [line.strip() for line in cleaned["prompts"].splitlines() if line.strip()]
        config: dict[str, Any] = {"per_prompt": cleaned["per_prompt"]}
        if prompts := written + cleaned["prompts_file"]:
            config["prompts"] = prompts
        if cleaned["tag"].strip():
            config["tag"] = cleaned["tag"].strip()
        if cleaned["existing"]:
            return config | {"generator": cleaned["existing"].name}
        recipe = {name: cleaned[name] for name in RECIPE_FIELDS}
        recipe["adapter"] = str(cleaned["adapter"] or "")
        return config | {"generator": cleaned["generator"].strip()} | recipe


def _pipelines_here() -> list[str]:
    """The base models that lie on this machine as diffusion pipelines."""
    return [name for name, folder in settings.BASE_MODELS.items() if (folder / "model_index.json").is_file()]
