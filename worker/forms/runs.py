"""What staff fill in to have something trained."""

from typing import Any

from django import forms

from annotations.models import Campaign, Generator
from worker import queries
from worker.models import Run


class OpenRunForm(forms.Form):
    """What to train, on whose votes, with which settings."""

    kind = forms.ChoiceField(choices=Run.Kind)
    preset = forms.CharField(max_length=40, required=False, empty_value="tiny")
    campaign = forms.ModelChoiceField(Campaign.objects.order_by("name"), to_field_name="slug", required=False)
    weigh_by_reliability = forms.BooleanField(required=False)
    reference = forms.ModelChoiceField(Generator.objects.all(), to_field_name="name", required=False)

    def order(self) -> dict[str, Any]:
        """What `open_run` takes; people are weighed in trainings of the classifier alone, a reference has one kind."""
        wanted = {name: self.cleaned_data[name] for name in ("kind", "preset", "campaign")}
        config: dict[str, Any] = {}
        if self.cleaned_data["weigh_by_reliability"] and wanted["kind"] == Run.Kind.CLASSIFIER:
            config["weigh_by_reliability"] = True
        if self.cleaned_data["reference"] and wanted["kind"] == Run.Kind.SETS:
            config["reference"] = self.cleaned_data["reference"].name
        return wanted | {"config": config}

    def clean(self) -> dict[str, Any]:
        """What was sent, without a preset where the kind has none."""
        sent = super().clean() or {}
        return sent if sent.get("kind") in queries.PRESETS else sent | {"preset": ""}
