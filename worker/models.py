"""What machines do: runs, model versions, image scores, labels of images, studies."""

import uuid
from typing import Self

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from annotations.models import Campaign, Generator, Image, Snapshot


class RunQuerySet(models.QuerySet["Run"]):
    def active(self) -> Self:
        return self.filter(state__in=Run.ACTIVE)


class Run(models.Model):
    """One long piece of work. The row is the truth; the message in the queue only rings for it."""

    class Kind(models.TextChoices):
        CLASSIFIER = "classifier", _("classifier training")
        AESTHETIC = "aesthetic", _("aesthetic head training")
        LABELLING = "labelling", _("image labelling")
        ADAPTER = "adapter", _("adapter training")
        GENERATION = "generation", _("image generation")
        SCORING = "scoring", _("image scoring")
        IMPORT = "import", _("image import")
        LEAVE_OUT = "leave_out", _("training without each generator")
        SETS = "sets", _("comparison of image sets")
        PROOF = "proof", _("automatic proof")
        STUDY = "study", _("blind study")

    class State(models.TextChoices):
        QUEUED = "queued", _("queued")
        RUNNING = "running", _("running")
        SUCCEEDED = "succeeded", _("succeeded")
        FAILED = "failed", _("failed")
        CANCELLED = "cancelled", _("cancelled")

    ACTIVE = [State.QUEUED, State.RUNNING]
    FINISHED = [State.SUCCEEDED, State.FAILED, State.CANCELLED]

    public_id = models.UUIDField(_("public id"), unique=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind)
    state = models.CharField(_("state"), max_length=9, choices=State, default=State.QUEUED)
    preset = models.CharField(_("preset"), max_length=40, blank=True)
    config = models.JSONField(_("settings"), default=dict, encoder=DjangoJSONEncoder)
    campaign = models.ForeignKey(
        Campaign, models.SET_NULL, verbose_name=_("campaign"), null=True, blank=True, related_name="runs"
    )
    snapshot = models.ForeignKey(
        Snapshot, models.PROTECT, verbose_name=_("snapshot"), null=True, blank=True, related_name="runs"
    )
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        verbose_name=_("requested by"),
        null=True,
        blank=True,
        related_name="+",
    )
    attempt = models.PositiveSmallIntegerField(_("attempt"), default=0)
    max_attempts = models.PositiveSmallIntegerField(_("attempts at most"), default=3)
    fence = models.PositiveIntegerField(_("fence"), default=0)
    lease_until = models.DateTimeField(_("leased until"), null=True, blank=True)
    worker = models.CharField(_("worker"), max_length=200, blank=True)
    step = models.PositiveIntegerField(_("step"), default=0)
    total_steps = models.PositiveIntegerField(_("steps in all"), default=0)
    stage = models.CharField(_("stage"), max_length=200, blank=True)
    metrics = models.JSONField(_("metrics"), default=dict, encoder=DjangoJSONEncoder)
    error_code = models.CharField(_("error"), max_length=80, blank=True)
    error_text = models.TextField(_("what went wrong"), blank=True)
    cancel_requested_at = models.DateTimeField(_("cancel requested at"), null=True, blank=True)
    is_synthetic = models.BooleanField(_("synthetic"), default=False)
    created_at = models.DateTimeField(_("created at"), db_default=Now())
    dispatched_at = models.DateTimeField(_("rung for at"), null=True, blank=True)
    started_at = models.DateTimeField(_("started at"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        constraints = [
            models.UniqueConstraint(
                fields=["kind"],
                name="run_one_active_per_kind",
                condition=Q(state__in=["queued", "running"]) & ~Q(kind="import"),
            ),
            # Imports wait for each other in the queue; only two into the same campaign would meet.
            models.UniqueConstraint(
                fields=["campaign"],
                name="run_one_active_import_per_campaign",
                condition=Q(state__in=["queued", "running"], kind="import"),
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                name="run_finished_at_if_finished",
                condition=Q(state__in=["queued", "running"], finished_at=None)
                | Q(state__in=["succeeded", "failed", "cancelled"], finished_at__isnull=False),
            ),
            models.CheckConstraint(
                name="run_lease_if_running",
                condition=Q(state="running", lease_until__isnull=False) | (~Q(state="running") & Q(lease_until=None)),
            ),
            models.CheckConstraint(
                name="run_error_if_failed",
                condition=(Q(state="failed") & ~Q(error_code="")) | (~Q(state="failed") & Q(error_code="")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {str(self.public_id)[:8]}"

    def get_absolute_url(self) -> str:
        return reverse("worker:run", args=[self.public_id])

    @property
    def is_active(self) -> bool:
        return self.state in self.ACTIVE

    @property
    def failed_for_bad_rows(self) -> bool:
        """Whether leaving the bad rows of a manifest out would have let this import through."""
        return self.error_code == "bad_rows"

    @property
    def may_go_another_way(self) -> bool:
        """Whether the same once more may end otherwise: a file that was read and refused is refused again."""
        was_refused = self.error_code in {"bad_rows", "unable_to_import", "upload_incomplete", "unable_to_run_import"}
        is_of_an_upload = self.kind == self.Kind.IMPORT and self.config.get("source") == "upload"
        return self.state in {self.State.FAILED, self.State.CANCELLED} and not (was_refused and is_of_an_upload)


class RunEvent(models.Model):
    """One line of a run's log, or one point of its curves."""

    run = models.ForeignKey(Run, models.CASCADE, verbose_name=_("run"), related_name="events")
    attempt = models.PositiveSmallIntegerField(_("attempt"))
    step = models.PositiveIntegerField(_("step"), null=True, blank=True)
    text = models.TextField(_("text"), blank=True)
    metrics = models.JSONField(_("metrics"), default=dict)
    created_at = models.DateTimeField(_("at"), db_default=Now())

    class Meta:
        verbose_name = _("run event")
        verbose_name_plural = _("run events")
        ordering = ["id"]

    def __str__(self) -> str:
        return self.text or str(self.metrics)


def sample_path(sample: "RunSample", _filename: str) -> str:
    """Where a sample lies in the storage: apart from the images that are shown to annotators."""
    return f"samples/{sample.run.public_id}/{sample.step:06d}-{sample.place:02d}.png"


class RunSample(models.Model):
    """What a model in training makes of a held-out prompt after so many steps; for staff alone."""

    run = models.ForeignKey(Run, models.CASCADE, verbose_name=_("run"), related_name="samples")
    step = models.PositiveIntegerField(_("step"))
    place = models.PositiveSmallIntegerField(_("place among the samples of the step"))
    prompt = models.TextField(_("prompt"))
    file = models.FileField(_("file"), upload_to=sample_path, max_length=200)

    class Meta:
        verbose_name = _("sample")
        verbose_name_plural = _("samples")
        ordering = ["step", "place"]
        constraints = [
            models.UniqueConstraint(fields=["run", "step", "place"], name="sample_once_per_run_step_and_place")
        ]

    def __str__(self) -> str:
        return f"{self.prompt} after {self.step} steps"

    def get_absolute_url(self) -> str:
        return reverse("worker:sample", args=[self.run.public_id, self.step, self.place])


class ModelVersionQuerySet(models.QuerySet["ModelVersion"]):
    def current(self) -> Self:
        return self.filter(is_current=True)


class ModelVersion(models.Model):
    """An artefact that can be used: a scorer or an adapter, with what it was made from."""

    class Family(models.TextChoices):
        """Those of the site; a scorer of one's own is a family too, by its name."""

        CLIP = "clip", _("CLIP score")
        HPS = "hps", _("Human Preference Score")
        AESTHETIC = "aesthetic", _("aesthetic score")
        ADAPTER = "adapter", _("adapter")

    public_id = models.UUIDField(_("public id"), unique=True, default=uuid.uuid4, editable=False)
    family = models.CharField(_("family"), max_length=40)
    number = models.PositiveIntegerField(_("number"))
    folder = models.CharField(_("folder of the artefact"), max_length=300)
    sha256 = models.CharField(_("SHA-256 of the manifest"), max_length=64)
    manifest = models.JSONField(_("manifest"), default=dict)
    metrics = models.JSONField(_("metrics"), default=dict)
    run = models.OneToOneField(
        Run, models.PROTECT, verbose_name=_("run"), null=True, blank=True, related_name="version"
    )
    snapshot = models.ForeignKey(
        Snapshot, models.PROTECT, verbose_name=_("snapshot"), null=True, blank=True, related_name="versions"
    )
    is_current = models.BooleanField(_("in use"), default=False)
    is_synthetic = models.BooleanField(_("synthetic"), default=False)
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    objects = ModelVersionQuerySet.as_manager()

    class Meta:
        verbose_name = _("model version")
        verbose_name_plural = _("model versions")
        constraints = [
            models.UniqueConstraint(fields=["family", "number"], name="version_number_once_per_family"),
            models.UniqueConstraint(
                fields=["family"], name="version_one_in_use_per_family", condition=Q(is_current=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.family}-{self.number}"

    def get_absolute_url(self) -> str:
        return reverse("worker:version", args=[self.public_id])

    def get_family_display(self) -> str:
        return family_label(self.family)


def family_label(family: str) -> str:
    """A family in words; that of a scorer of one's own has no other word than its name."""
    known = dict(ModelVersion.Family.choices)
    return str(known.get(family, family))


class Promotion(models.Model):
    """Who put which version into use, and when; a roll-back is a promotion of an earlier version."""

    version = models.ForeignKey(ModelVersion, models.PROTECT, verbose_name=_("version"), related_name="promotions")
    replaced = models.ForeignKey(
        ModelVersion, models.PROTECT, verbose_name=_("replaced"), null=True, blank=True, related_name="+"
    )
    generator = models.ForeignKey(
        Generator, models.PROTECT, verbose_name=_("as the generator"), null=True, blank=True, related_name="+"
    )
    reason = models.CharField(_("reason"), max_length=300, blank=True)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, verbose_name=_("by"), null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(_("at"), db_default=Now())

    class Meta:
        verbose_name = _("promotion")
        verbose_name_plural = _("promotions")
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.version} in use"


class Rejection(models.Model):
    """Who decided against a version, and why; it stands until the version is promoted after all."""

    version = models.ForeignKey(ModelVersion, models.PROTECT, verbose_name=_("version"), related_name="rejections")
    reason = models.CharField(_("reason"), max_length=300)
    taken_back_by = models.ForeignKey(
        Promotion, models.PROTECT, verbose_name=_("taken back by"), null=True, blank=True, related_name="+"
    )
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, verbose_name=_("by"), null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(_("at"), db_default=Now())

    class Meta:
        verbose_name = _("rejection")
        verbose_name_plural = _("rejections")
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=~Q(reason=""), name="rejection_has_a_reason"),
            models.UniqueConstraint(
                fields=["version"], name="rejection_stands_once_per_version", condition=Q(taken_back_by=None)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version} rejected"


class ImageScore(models.Model):
    """One image, one scorer version, one number. Comparable only within one prompt."""

    image = models.ForeignKey(Image, models.CASCADE, verbose_name=_("image"), related_name="scores")
    version = models.ForeignKey(ModelVersion, models.CASCADE, verbose_name=_("scorer"), related_name="scores")
    value = models.FloatField(_("score"))

    class Meta:
        verbose_name = _("image score")
        verbose_name_plural = _("image scores")
        constraints = [models.UniqueConstraint(fields=["image", "version"], name="score_once_per_image_and_version")]

    def __str__(self) -> str:
        return f"{self.value:.2f}"


class Labelling(models.Model):
    """Which images an adapter shall learn from, as HPS or people said it; a person may strike some of them out."""

    public_id = models.UUIDField(_("public id"), unique=True, default=uuid.uuid4, editable=False)
    run = models.OneToOneField(Run, models.PROTECT, verbose_name=_("run"), null=True, related_name="labelling")
    scorer = models.ForeignKey(
        ModelVersion, models.PROTECT, verbose_name=_("scorer"), null=True, blank=True, related_name="labellings"
    )
    settings = models.JSONField(_("settings"), default=dict, encoder=DjangoJSONEncoder)
    counts = models.JSONField(_("what was looked at"), default=dict)
    spread = models.JSONField(_("scores about the mean of their prompts"), default=dict)
    sha256 = models.CharField(_("SHA-256 of settings and labels"), max_length=64)
    is_synthetic = models.BooleanField(_("synthetic"), default=False)
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        verbose_name = _("labelling")
        verbose_name_plural = _("labellings")

    def __str__(self) -> str:
        return f"labelling {str(self.public_id)[:8]}"


class LabelQuerySet(models.QuerySet["Label"]):
    def left(self) -> Self:
        """What is trained on: labelled, not struck out, and not hidden since."""
        return self.filter(kind__in=Label.LEARNT, struck_out_at=None, image__is_hidden=False)


class Label(models.Model):
    """What one image is to one labelling."""

    class Kind(models.TextChoices):
        PREFERRED = "preferred", _("preferred")
        NON_PREFERRED = "non_preferred", _("non-preferred")
        REJECTED = "rejected", _("rejected by people")
        SPARE = "spare", _("non-preferred, not needed")
        BLURRED = "blurred", _("blurred")
        BLANK = "blank", _("blank")

    class Source(models.TextChoices):
        HPS = "hps", _("HPS")
        PEOPLE = "people", _("people")
        IMPORTED = "imported", _("imported")
        PIXELS = "pixels", _("pixels")

    LEARNT = [Kind.PREFERRED, Kind.NON_PREFERRED]

    labelling = models.ForeignKey(Labelling, models.CASCADE, verbose_name=_("labelling"), related_name="labels")
    image = models.ForeignKey(Image, models.PROTECT, verbose_name=_("image"), related_name="labels")
    kind = models.CharField(_("label"), max_length=13, choices=Kind)
    source = models.CharField(_("said by"), max_length=8, choices=Source)
    confidence = models.FloatField(_("confidence"), null=True, blank=True)
    score = models.FloatField(_("score"), null=True, blank=True)
    group_size = models.PositiveIntegerField(_("images it was compared with, itself included"), default=1)
    struck_out_at = models.DateTimeField(_("struck out at"), null=True, blank=True)
    struck_out_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        verbose_name=_("struck out by"),
        null=True,
        blank=True,
        related_name="+",
    )

    objects = LabelQuerySet.as_manager()

    class Meta:
        verbose_name = _("label")
        verbose_name_plural = _("labels")
        constraints = [
            models.UniqueConstraint(fields=["labelling", "image"], name="label_once_per_image"),
            models.CheckConstraint(
                condition=Q(kind__in=["blurred", "blank"], confidence=None)
                | (~Q(kind__in=["blurred", "blank"]) & Q(confidence__gt=0, confidence__lte=1)),
                name="label_confident_or_unusable",
            ),
            models.CheckConstraint(
                condition=Q(struck_out_at__isnull=False, kind__in=["preferred", "non_preferred"])
                | Q(struck_out_at=None, struck_out_by=None),
                name="label_struck_out_if_learnt",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.image_id}"

    @property
    def is_learnable(self) -> bool:
        """Whether trainings learn from it unless somebody strikes it out."""
        return self.kind in self.LEARNT

    @property
    def is_left(self) -> bool:
        return self.is_learnable and self.struck_out_at is None and not self.image.is_hidden


class Study(models.Model):
    """A blind campaign of one generator against another: original against adapted, or any two."""

    campaign = models.OneToOneField(Campaign, models.CASCADE, verbose_name=_("campaign"), related_name="study")
    version = models.ForeignKey(
        ModelVersion, models.PROTECT, verbose_name=_("adapter"), null=True, blank=True, related_name="studies"
    )
    original = models.ForeignKey(Generator, models.PROTECT, verbose_name=_("original"), related_name="+")
    adapted = models.ForeignKey(Generator, models.PROTECT, verbose_name=_("adapted"), related_name="+")
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        verbose_name = _("study")
        verbose_name_plural = _("studies")
        constraints = [
            models.CheckConstraint(condition=~Q(original=models.F("adapted")), name="study_of_two_generators"),
        ]

    def __str__(self) -> str:
        return f"{self.original} against {self.adapted}"
