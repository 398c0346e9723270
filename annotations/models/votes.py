"""What people said."""

import uuid
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from annotations.models.library import Image
from annotations.models.outcomes import Outcome
from annotations.models.people import Annotator
from annotations.models.tasks import Slot, Task


class VoteQuerySet(models.QuerySet["Vote"]):
    def standing(self) -> Self:
        """Votes that were not undone."""
        return self.filter(withdrawn_at=None)

    def counted(self) -> Self:
        """Judgements on regular tasks by people not excluded: all that rankings, training and exports may see."""
        return (
            self.standing()
            .filter(outcome__in=Outcome.judgements(), task__purpose=Task.Purpose.REGULAR)
            .exclude(annotator__state=Annotator.State.EXCLUDED)
        )


class Vote(models.Model):
    """What one annotator said of one task."""

    public_id = models.UUIDField(_("public id"), unique=True, default=uuid.uuid4, editable=False)
    slot = models.ForeignKey(Slot, models.PROTECT, verbose_name=_("slot"), related_name="votes")
    task = models.ForeignKey(Task, models.PROTECT, verbose_name=_("task"), related_name="votes")
    annotator = models.ForeignKey(Annotator, models.PROTECT, verbose_name=_("annotator"), related_name="votes")
    outcome = models.CharField(_("outcome"), max_length=7, choices=Outcome)
    image = models.ForeignKey(
        Image, models.PROTECT, verbose_name=_("chosen image"), null=True, blank=True, related_name="votes"
    )
    reason = models.CharField(_("reason"), max_length=200, blank=True)
    order = ArrayField(models.BigIntegerField(), verbose_name=_("image ids in the order shown"))
    shown_ms = models.PositiveIntegerField(_("shown for (ms)"), null=True, blank=True)
    hidden_ms = models.PositiveIntegerField(_("out of sight meanwhile (ms)"), default=0)
    client = models.JSONField(_("how it was given"), default=dict, blank=True)
    is_too_fast = models.BooleanField(_("too fast"), default=False)
    instructions_version = models.PositiveIntegerField(_("version of the instructions"), default=1)
    idempotency_key = models.UUIDField(_("idempotency key"))
    served_at = models.DateTimeField(_("served at"), null=True, blank=True)
    created_at = models.DateTimeField(_("voted at"), db_default=Now())
    withdrawn_at = models.DateTimeField(_("undone at"), null=True, blank=True)

    objects = VoteQuerySet.as_manager()

    class Meta:
        verbose_name = _("vote")
        verbose_name_plural = _("votes")
        indexes = [
            models.Index(fields=["created_at"], name="vote_created_at"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["annotator", "idempotency_key"], name="vote_once_per_key"),
            models.UniqueConstraint(fields=["slot"], name="vote_once_per_slot", condition=Q(withdrawn_at=None)),
            models.UniqueConstraint(
                fields=["task", "annotator"], name="vote_once_per_annotator", condition=Q(withdrawn_at=None)
            ),
            models.CheckConstraint(
                name="vote_image_if_choice",
                condition=Q(outcome="choice", image__isnull=False) | (~Q(outcome="choice") & Q(image=None)),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.outcome} on task {self.task_id}"
