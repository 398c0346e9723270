"""Model versions: what they were made from, which are in use, who decided so, and the scores that they gave."""

import uuid
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from annotations.models import Generator, Image, Snapshot
from worker.models.runs import Run


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
