"""Which images an adapter shall learn from, and as what."""

import uuid
from typing import Self

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from annotations.models import Image
from worker.models.runs import Run
from worker.models.versions import ModelVersion


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
