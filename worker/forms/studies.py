"""What staff fill in to set two generators against each other before people."""

from typing import Any

from django import forms
from django.db.models import Exists, OuterRef, Q
from django.utils.text import slugify
from django.utils.translation import gettext_lazy as _

from annotations.models import Campaign, Generator, Image
from annotations.models.campaigns import check_slug_is_not_reserved
from scoring.power import PairPlan, UnableToPlan, plan_pairs
from worker.models import ModelVersion
from worker.services.studies import has_recipe, is_adapted, prompts_for_study

EFFECT = "0.6"
EFFECTS = [("0.55", "55 %"), ("0.6", "60 %"), ("0.65", "65 %"), ("0.7", "70 %")]
MOST_VOTES = 1000
MOST_PROMPTS = 10_000


class StudyForm(forms.Form):
    """Two generators, and how small a difference shall be found; the plan follows and can be overridden."""

    original = forms.ModelChoiceField(
        Generator.objects.filter(
            Q(settings__has_key="pipeline") | Exists(Image.objects.filter(generator=OuterRef("pk")))
        ).order_by("name"),
        label=_("One generator"),
        to_field_name="name",
        help_text=_("For an adapter, the one that it was trained on."),
    )
    version = forms.ModelChoiceField(
        ModelVersion.objects.filter(family=ModelVersion.Family.ADAPTER).order_by("-number"),
        label=_("Against itself with the adapter"),
        to_field_name="public_id",
        required=False,
        empty_label=_("none: against another generator"),
        help_text=_("With the adapter's mark as negative prompt."),
    )
    adapted = forms.ModelChoiceField(
        Generator.objects.order_by("name"),
        label=_("Against another generator"),
        to_field_name="name",
        required=False,
        empty_label=_("none: against an adapter"),
    )
    prompts_of = forms.ModelChoiceField(
        Campaign.objects.order_by("name"),
        label=_("Prompts of the campaign"),
        to_field_name="slug",
        required=False,
        empty_label=_("any"),
        help_text=_("Where an adapter takes part, held-out ones alone."),
    )
    effect = forms.ChoiceField(
        label=_("Smallest share of votes worth finding"),
        choices=EFFECTS,
        initial=EFFECT,
        help_text=_("50 % is no difference. The smaller, the more votes."),
    )
    prompts = forms.IntegerField(
        label=_("Prompts"),
        min_value=1,
        max_value=MOST_PROMPTS,
        required=False,
        help_text=_("Empty: as worked out. The paper: 100."),
    )
    votes_per_task = forms.IntegerField(
        label=_("Votes on each pair"),
        min_value=1,
        max_value=MOST_VOTES,
        required=False,
        help_text=_("Empty: as worked out. The paper: 20."),
    )
    allows_tie = forms.BooleanField(
        label=_("“no clear winner” may be said"), required=False, help_text=_("In the paper it may not.")
    )
    access = forms.ChoiceField(
        label=_("Who may vote"), choices=Campaign.Access, initial=Campaign.Access.OPEN, required=False
    )
    name = forms.CharField(label=_("Name"), max_length=200, required=False, help_text=_("Annotators see it."))
    slug = forms.SlugField(
        label=_("Slug"),
        max_length=80,
        required=False,
        validators=[check_slug_is_not_reserved],
        help_text=_("The end of its address; annotators see it too. Empty: study and a number."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})

    def clean_slug(self) -> str:
        slug: str = self.cleaned_data["slug"]
        if slug and Campaign.objects.filter(slug=slug).exists():
            raise forms.ValidationError(
                _("There is a campaign '%(slug)s' already; choose another slug.") % {"slug": slug}
            )
        return slug or free_slug()

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.errors:
            return cleaned
        original, version, adapted = cleaned["original"], cleaned["version"], cleaned["adapted"]
        if (version is None) == (adapted is None):
            self.add_error("adapted", _("Choose an adapter or another generator: one of the two."))
        elif original == adapted:
            self.add_error("adapted", _("A generator can't be held against itself."))
        elif version is not None and (not has_recipe(original) or is_adapted(original)):
            self.add_error("original", _("For an adapter, choose a generator with a recipe and without an adapter."))
        else:
            self._plan(cleaned)
        return cleaned

    @property
    def config(self) -> dict[str, Any]:
        """What the study run needs."""
        cleaned, plan = self.cleaned_data, self.cleaned_data["plan"]
        return {
            "slug": cleaned["slug"],
            "name": cleaned["name"],
            "original": cleaned["original"].name,
            "version": str(cleaned["version"] or ""),
            "adapted": cleaned["adapted"].name if cleaned["adapted"] else "",
            "prompts_of": cleaned["prompts_of"].slug if cleaned["prompts_of"] else "",
            "prompts": plan.prompts,
            "votes_per_task": plan.votes_per_pair,
            "allows_tie": cleaned["allows_tie"],
            "access": cleaned["access"] or Campaign.Access.OPEN,
        }

    def _plan(self, cleaned: dict[str, Any]) -> None:
        found = prompts_for_study(
            original=cleaned["original"], adapted=cleaned["adapted"], campaign=cleaned["prompts_of"]
        )
        cleaned["available"] = found.count()
        try:
            cleaned["plan"] = plan_pairs(
                float(cleaned["effect"]),
                available=cleaned["available"],
                prompts=cleaned["prompts"],
                votes_per_pair=cleaned["votes_per_task"],
            )
        except UnableToPlan:
            self.add_error("prompts_of", _("There is no prompt here on which the two can meet."))


def default_plan(original: Generator) -> PairPlan | None:
    """What the form would propose for an adapter by itself; None where there is no held-out prompt."""
    available = prompts_for_study(original=original).count()
    return plan_pairs(float(EFFECT), available=available) if available else None


def free_slug() -> str:
    """The first of study-1, study-2, ... that no campaign has; a name that tells annotators nothing."""
    taken = set(Campaign.objects.filter(slug__startswith="study-").values_list("slug", flat=True))
    return next(slug for number in range(1, len(taken) + 2) if (slug := slugify(f"study {number}")) not in taken)
