"""Runs: how far they are, what they say, what a model in training draws."""

import uuid
from typing import Self

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from annotations.models import Campaign, Snapshot


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
