"""What those who run campaigns fill in: settings, the wording with its examples, and where the images come from."""

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import UploadedFile
from django.db import models
from django.db.models import Exists, OuterRef
from django.http import QueryDict
from django.utils.text import slugify
from django.utils.translation import gettext_lazy as _

from annotations.models import Campaign, Generator, Image, Upload
from annotations.models.campaigns import check_slug_is_not_reserved
from annotations.services.image_files import MAX_BYTES, ImageRejected, read_image
from annotations.services.instructions import MAX_EXAMPLES, Example, store_example_image
from annotations.services.sources import Pairing, UnableToDeal, found_by, prompt_tags, selection_of
from annotations.services.uploads import is_whole

SHARES = ("random_share", "gold_share", "probe_share", "screen_out_below")
LARGEST_GOLD_SHARE = 0.5


class SettingsForm(forms.ModelForm):
    """How a campaign is answered, by whom, and what is done about quality."""

    class Meta:
        model = Campaign
        fields = [
            *("candidates", "votes_per_task", "allows_tie", "allows_all_bad", "pair_policy", "random_share"),
            *("too_fast_ms", "tie_after_ms", "lease_seconds", "break_after", "votes_per_person"),
            *("gold_share", "probe_share", "practice_tasks", "screen_out_after", "screen_out_below"),
            *("access", "consent", "asks_about_people", "is_synthetic"),
        ]
        labels = {"is_synthetic": _("synthetic: images or voters are made up")}
        help_texts = {
            "candidates": _("2 to 9. People are quickest, and agree most, with two images and a tie."),
            "votes_per_task": _("Of different people. No task gets more, and nobody is asked twice."),
            "pair_policy": _("Every policy deals a share at random, so that figures stay unbiased."),
            "random_share": _("0 to 1; of the policies that choose."),
            "too_fast_ms": _("They count, and carry a mark."),
            "tie_after_ms": _("0: at once. A moment's delay curbs ties said out of haste."),
            "lease_seconds": _("Whoever thinks for longer keeps the task while the page is open."),
            "votes_per_person": _("Empty: as many as they like."),
            "gold_share": _("0 to 0.5. Tasks whose answer is obvious; they never count."),
            "probe_share": _("0 to 0.5. The same images again with sides swapped; they never count."),
            "practice_tasks": _("With feedback, and never counted. 0: none."),
            "screen_out_after": _("Empty: nobody is screened out."),
            "screen_out_below": _("0 to 1."),
            "consent": _("Shown before the first vote, and agreed to with a button. Empty: nothing is asked."),
            "is_synthetic": _("Everything of this campaign carries the mark, and never mixes with real votes."),
        }
        widgets = {"consent": forms.Textarea(attrs={"rows": 4})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        for name in SHARES:
            most = 1 if name in {"random_share", "screen_out_below"} else LARGEST_GOLD_SHARE
            field = self.fields[name]
            self.fields[name] = forms.FloatField(
                label=field.label,
                help_text=field.help_text,
                min_value=0,
                max_value=most,
                step_size=0.01,
                initial=field.initial,
            )
        if self.instance.pk and self.instance.tasks.exists():
            for name in ("candidates", "is_synthetic"):
                self.fields[name].disabled = True
                self.fields[name].help_text = _("A fact of the tasks that are there.")
            self.fields["votes_per_task"].help_text = _(
                "More: every task is asked about again, finished ones too. Fewer: votes that are given stay."
            )


class NewCampaignForm(SettingsForm):
    """Everything about a campaign but its images."""

    slug = forms.SlugField(
        label=_("Slug"),
        max_length=80,
        required=False,
        help_text=_("The end of its address. Empty: made of the name."),
        validators=[check_slug_is_not_reserved],
    )

    class Meta(SettingsForm.Meta):
        fields = ["name", "slug", "question", "instructions", *SettingsForm.Meta.fields]
        widgets = {**SettingsForm.Meta.widgets, "instructions": forms.Textarea(attrs={"rows": 6})}
        help_texts = {
            **SettingsForm.Meta.help_texts,
            "question": _("One line above the images, about these images: 'Which image fits the text better?'"),
            "instructions": _("Plain text; line breaks are kept. Each later change is a version that votes remember."),
        }

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        slug = cleaned.get("slug") or slugify(cleaned.get("name", ""))[:80]
        if not slug and "name" in cleaned and "slug" not in self.errors:
            self.add_error("slug", _("The name gives no slug; write one of letters, digits and hyphens."))
        elif Campaign.objects.filter(slug=slug).exists():
            self.add_error("slug", _("There is a campaign '%(slug)s' already; choose another slug.") % {"slug": slug})
        else:
            check = forms.SlugField(validators=[check_slug_is_not_reserved], required=False)
            try:
                check.clean(slug)
            except forms.ValidationError as error:
                self.add_error("slug", error)
        cleaned["slug"] = slug
        return cleaned


class Source(models.TextChoices):
    """Where the images of a campaign come from, in words of the page."""

    MATCHUPS = "matchups", _("Generators against each other: prompts for which all of them have an image here")
    LIBRARY = "library", _("Images that are here already: all that you select")
    UPLOAD = "upload", _("An upload: a ZIP file, or a folder, with a manifest")
    BUCKET = "bucket", _("A folder of an S3 bucket, with a manifest")
    LATER = "later", _("None yet: I add them later")


class SourceForm(forms.Form):
    """Where the images come from; `cleaned_data["config"]` is what the import run needs, None where there is none."""

    source = forms.ChoiceField(label=_("Source"), choices=Source, widget=forms.RadioSelect, initial=Source.MATCHUPS)
    generators = forms.ModelMultipleChoiceField(
        Generator.objects.filter(Exists(Image.objects.filter(generator=OuterRef("pk")))).order_by("name"),
        label=_("Generators"),
        to_field_name="name",
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    tag = forms.CharField(
        label=_("Prompts with the tag"),
        max_length=64,
        required=False,
        widget=forms.TextInput(attrs={"list": "prompt-tags", "autocomplete": "off"}),
    )
    shown_in = forms.ModelChoiceField(
        Campaign.objects.order_by("name"),
        label=_("Images of the campaign"),
        to_field_name="slug",
        required=False,
        empty_label=_("any, or none"),
    )
    images_per_generator = forms.IntegerField(
        label=_("Images of each generator per prompt, at most"), min_value=1, max_value=100, initial=1
    )
    pairing = forms.ChoiceField(
        label=_("With more generators than images per task"), choices=Pairing, widget=forms.RadioSelect,
        initial=Pairing.ROUNDS,
    )  # fmt: skip
    upload = forms.UUIDField(widget=forms.HiddenInput, required=False)
    bucket = forms.ChoiceField(label=_("Bucket"), required=False)
    folder = forms.CharField(label=_("Folder in the bucket"), max_length=900, required=False)
    skips_bad = forms.BooleanField(
        label=_("leave bad rows out"),
        required=False,
        help_text=_("Otherwise one bad row, or one file that is no image, keeps the whole import out."),
    )

    def __init__(self, *args: Any, user: User, may_wait: bool = True, **kwargs: Any) -> None:
        """`may_wait` is whether there may be no images yet."""
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        self.user = user
        source = cast(forms.ChoiceField, self.fields["source"])
        source.choices = [(each.value, each.label) for each in Source if may_wait or each != Source.LATER]
        bucket = cast(forms.ChoiceField, self.fields["bucket"])
        bucket.choices = [(name, name) for name in settings.IMPORT_BUCKETS]

    @property
    def tags(self) -> list[str]:
        """The tags that prompts have, to choose from."""
        return prompt_tags()

    @property
    def has_buckets(self) -> bool:
        return bool(settings.IMPORT_BUCKETS)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        source = cleaned.get("source")
        if source and not self.errors:
            cleaned["config"] = {
                Source.MATCHUPS: self._library,
                Source.LIBRARY: self._library,
                Source.UPLOAD: self._upload,
                Source.BUCKET: self._bucket,
                Source.LATER: lambda _cleaned: None,
            }[source](cleaned)
        return cleaned

    def _library(self, cleaned: dict[str, Any]) -> dict[str, Any] | None:
        config = {
            "generators": [generator.name for generator in cleaned["generators"]],
            "tag": cleaned["tag"].strip(),
            "campaign": cleaned["shown_in"].slug if cleaned["shown_in"] else "",
            "needs_all": cleaned["source"] == Source.MATCHUPS,
            "pairing": cleaned["pairing"],
            "images_per_generator": cleaned["images_per_generator"],
        }
        try:
            found = found_by(selection_of(config))
        except UnableToDeal as error:
            self.add_error("generators", str(error))
            return None
        if not found.images:
            self.add_error("generators", _("No image fits. Choose other generators, or leave the tag out."))
        return {"source": "library", **config}

    def _upload(self, cleaned: dict[str, Any]) -> dict[str, Any] | None:
        upload = Upload.objects.filter(public_id=cleaned["upload"], created_by=self.user).first()
        if upload is None:
            self.add_error("source", _("Choose a file or a folder, and wait until it is sent."))
            return None
        if not is_whole(upload):
            self.add_error("source", _("%(name)s is not sent whole yet. Choose it again; it goes on where it stopped.")
                           % {"name": upload.name})  # fmt: skip
            return None
        return {"source": "upload", "upload": str(upload.public_id), **self._reading(cleaned)}

    def _bucket(self, cleaned: dict[str, Any]) -> dict[str, Any] | None:
        if not cleaned["bucket"]:
            self.add_error("source", _("No bucket is open to imports; the operator names them in IMPORT_BUCKETS."))
            return None
        return {
            "source": "bucket",
            "bucket": cleaned["bucket"],
            "prefix": cleaned["folder"].strip(),
            **self._reading(cleaned),
        }

    def _reading(self, cleaned: dict[str, Any]) -> dict[str, Any]:
        return {"skips_bad": cleaned["skips_bad"], "pairing": cleaned["pairing"]}


class InstructionsForm(forms.Form):
    """The wording of a campaign."""

    question = forms.CharField(label=_("Question"), max_length=200)
    text = forms.CharField(
        label=_("Instructions"), required=False, max_length=20_000, widget=forms.Textarea(attrs={"rows": 8})
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})


class ExampleForm(forms.Form):
    """One picture of the instructions: one that is there, or a file."""

    image = forms.ModelChoiceField(
        Image.objects.filter(is_hidden=False), to_field_name="public_id", required=False, widget=forms.HiddenInput
    )
    file = forms.FileField(
        label=_("Picture"), required=False, widget=forms.FileInput(attrs={"accept": "image/jpeg,image/png,image/webp"})
    )
    caption = forms.CharField(label=_("What to say of it"), max_length=300, required=False)
    is_good = forms.BooleanField(label=_("an example to prefer"), required=False, initial=True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        has_picture = bool(cleaned.get("file") or cleaned.get("image"))
        if has_picture and not cleaned.get("caption", "").strip():
            self.add_error("caption", _("Say what people shall see in it."))
        elif cleaned.get("caption", "").strip() and not has_picture and "file" not in self.errors:
            self.add_error("file", _("Choose a picture for this caption, or empty the caption."))
        return cleaned

    def clean_file(self) -> UploadedFile | None:
        file: UploadedFile | None = self.cleaned_data["file"]
        if file is None:
            return None
        try:
            read_image(file.read(MAX_BYTES + 1))
        except ImageRejected as error:
            raise forms.ValidationError(_("It is refused: %(reason)s.") % {"reason": error.reason}) from error
        file.seek(0)
        return file

    @property
    def picture(self) -> UUID | None:
        """The id of the picture that is there: one of the present version, or one that was kept."""
        if not self.is_bound:
            return cast(UUID | None, self.initial.get("image"))
        image = self.cleaned_data.get("image")
        return image.public_id if image else None

    def keep_picture(self) -> None:
        """Store the file that came, for a form that is shown again: a browser cannot be told to choose it once more.

        In its place goes the id of the stored picture.
        """
        file = self.cleaned_data.get("file")
        if file is None:
            return
        file.seek(0)
        image = store_example_image(content=file.read())
        self.cleaned_data["image"] = image
        data = cast(QueryDict, self.data).copy()
        data[self.add_prefix("image")] = str(image.public_id)
        self.data = data

    @property
    def is_wanted(self) -> bool:
        return bool(self.cleaned_data.get("file") or self.cleaned_data.get("image")) and not self.cleaned_data.get(
            "DELETE"
        )


ExampleForms = forms.formset_factory(
    ExampleForm, extra=2, max_num=MAX_EXAMPLES, validate_max=True, absolute_max=MAX_EXAMPLES, can_delete=True
)


def examples_in(formset: Any) -> list[Example]:
    """The examples of a valid formset, in their order; files are stored."""
    return [
        Example(
            image=form.cleaned_data["image"] or store_example_image(content=form.cleaned_data["file"].read()),
            caption=form.cleaned_data["caption"].strip(),
            is_good=form.cleaned_data["is_good"],
        )
        for form in formset
        if form.is_wanted
    ]


class CloneForm(forms.Form):
    """What a clone is called, and whether it takes the tasks along."""

    name = forms.CharField(label=_("Name"), max_length=200)
    slug = forms.SlugField(label=_("Slug"), max_length=80, validators=[check_slug_is_not_reserved])
    with_tasks = forms.BooleanField(
        label=_("with the same tasks"),
        required=False,
        help_text=_("The sets of images, gold and practice tasks; never the votes."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})


class ForecastForm(forms.Form):
    """Between which generators, and how exactly, a difference is to be known."""

    first = forms.ChoiceField(label=_("One generator"))
    second = forms.ChoiceField(label=_("against"))
    width = forms.IntegerField(label=_("interval of (points)"), min_value=1, max_value=50)

    def __init__(self, *args: Any, generators: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        for name in ("first", "second"):
            cast(forms.ChoiceField, self.fields[name]).choices = [(each, each) for each in generators]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("first") and cleaned.get("first") == cleaned.get("second"):
            self.add_error("second", _("Choose two different generators."))
        return cleaned
