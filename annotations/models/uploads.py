"""Files on their way in: sent in parts, kept until they are read."""

import uuid

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from annotations.models.campaigns import Campaign
from annotations.models.library import Image


def part_path(part: "UploadPart", _filename: str) -> str:
    return f"uploads/{part.upload.public_id}/{part.number:06d}"


class Upload(models.Model):
    """One file, sent in parts of equal size, the last one shorter; whole when every part is there."""

    public_id = models.UUIDField(_("public id"), unique=True, default=uuid.uuid4, editable=False)
    name = models.CharField(_("file name"), max_length=255)
    size = models.BigIntegerField(_("size in bytes"))
    part_size = models.PositiveIntegerField(_("size of a part in bytes"))
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, verbose_name=_("created by"), null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        verbose_name = _("upload")
        verbose_name_plural = _("uploads")
        constraints = [
            models.CheckConstraint(condition=Q(size__gt=0, part_size__gt=0), name="upload_has_a_size"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def part_count(self) -> int:
        return -(-self.size // self.part_size)


class UploadPart(models.Model):
    """One part of an upload, numbered from 0."""

    upload = models.ForeignKey(Upload, models.CASCADE, verbose_name=_("upload"), related_name="parts")
    number = models.PositiveIntegerField(_("number"))
    size = models.PositiveIntegerField(_("size in bytes"))
    sha256 = models.CharField(_("SHA-256"), max_length=64)
    file = models.FileField(_("file"), upload_to=part_path, max_length=200)

    class Meta:
        verbose_name = _("part of an upload")
        verbose_name_plural = _("parts of uploads")
        ordering = ["upload", "number"]
        constraints = [
            models.UniqueConstraint(fields=["upload", "number"], name="upload_part_once"),
        ]

    def __str__(self) -> str:
        return f"{self.upload} {self.number}"


class ManifestRow(models.Model):
    """One row of a manifest on its way in: what it says, then its image or what is wrong with it.

    Rows wait here and not in memory; a reading that was cut short goes on with those that have neither yet.
    """

    campaign = models.ForeignKey(Campaign, models.CASCADE, verbose_name=_("campaign"), related_name="manifest_rows")
    source = models.CharField(_("manifest, by its place and SHA-256"), max_length=64)
    number = models.PositiveIntegerField(_("row"))
    file = models.TextField(_("file"))
    prompt = models.TextField(_("prompt"))
    prompt_hash = models.CharField(_("SHA-256 of the prompt"), max_length=64)
    generator = models.CharField(_("generator"), max_length=120, blank=True)
    seed = models.BigIntegerField(_("seed"), null=True, blank=True)
    tags = ArrayField(models.CharField(max_length=64), verbose_name=_("tags"), default=list, blank=True)
    group = models.CharField(_("set"), max_length=200, blank=True)
    image = models.ForeignKey(Image, models.CASCADE, verbose_name=_("image"), null=True, blank=True, related_name="+")
    problem = models.TextField(_("what is wrong"), blank=True)

    class Meta:
        verbose_name = _("row of a manifest")
        verbose_name_plural = _("rows of manifests")
        ordering = ["campaign", "source", "number"]
        indexes = [
            models.Index(fields=["campaign", "source", "prompt_hash", "number"], name="manifest_row_by_prompt"),
            models.Index(fields=["campaign", "number"], name="manifest_row_bad", condition=~Q(problem="")),
        ]
        constraints = [
            models.UniqueConstraint(fields=["campaign", "source", "number"], name="manifest_row_once"),
            models.CheckConstraint(condition=Q(image=None) | Q(problem=""), name="manifest_row_has_image_or_problem"),
        ]

    def __str__(self) -> str:
        return f"row {self.number}"
