"""Votes frozen into a file: what one training saw, what one export holds."""

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from annotations.models.campaigns import Campaign


class Snapshot(models.Model):
    """Counted votes, frozen: equal votes give the same SHA-256."""

    sha256 = models.CharField(_("SHA-256"), max_length=64, unique=True)
    campaign = models.ForeignKey(
        Campaign, models.SET_NULL, verbose_name=_("campaign"), null=True, blank=True, related_name="snapshots"
    )
    filters = models.JSONField(_("filters"), default=dict)
    file = models.FileField(_("choices, as JSON lines"), upload_to="snapshots/", max_length=200)
    train_choices = models.PositiveIntegerField(_("choices to train on"))
    test_choices = models.PositiveIntegerField(_("choices to test on"))
    prompts = models.PositiveIntegerField(_("prompts"))
    images = models.PositiveIntegerField(_("images"))
    annotators = models.PositiveIntegerField(_("annotators"))
    last_vote_id = models.BigIntegerField(_("last vote"), null=True)
    is_synthetic = models.BooleanField(_("synthetic"), default=False)
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        verbose_name = _("snapshot")
        verbose_name_plural = _("snapshots")

    def __str__(self) -> str:
        return f"snapshot {self.sha256[:12]}"

    @property
    def votes(self) -> int:
        return self.train_choices + self.test_choices
