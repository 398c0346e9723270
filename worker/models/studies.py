"""Blind studies."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from annotations.models import Campaign, Generator
from worker.models.versions import ModelVersion


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
