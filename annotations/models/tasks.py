"""What people are given: tasks, their images, and the slots in which they are voted on."""

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotations.models.campaigns import MAX_CANDIDATES, Campaign
from annotations.models.library import Image, Prompt, text_sha256
from annotations.models.people import Annotator


class Task(models.Model):
    """One prompt and the images to choose between."""

    class Purpose(models.TextChoices):
        REGULAR = "regular", _("regular")
        GOLD = "gold", _("gold")
        PROBE = "probe", _("repeat probe")
        PRACTICE = "practice", _("practice")

    public_id = models.UUIDField(_("public id"), unique=True, default=uuid.uuid4, editable=False)
    campaign = models.ForeignKey(Campaign, models.CASCADE, verbose_name=_("campaign"), related_name="tasks")
    prompt = models.ForeignKey(Prompt, models.PROTECT, verbose_name=_("prompt"), related_name="tasks")
    images: "models.ManyToManyField[Image, Candidate]" = models.ManyToManyField(
        Image, through="Candidate", related_name="tasks", verbose_name=_("images")
    )
    candidates_hash = models.CharField(_("hash of the set of images"), max_length=64, editable=False)
    purpose = models.CharField(_("purpose"), max_length=8, choices=Purpose, default=Purpose.REGULAR)
    expected = models.ForeignKey(
        Image, models.PROTECT, verbose_name=_("the obvious answer"), null=True, blank=True, related_name="+"
    )
    repeats = models.ForeignKey(
        "self", models.CASCADE, verbose_name=_("repeats"), null=True, blank=True, related_name="repeated_by"
    )
    matchup = models.CharField(_("the generators compared"), max_length=200, blank=True, editable=False)
    retired_at = models.DateTimeField(_("no longer given out since"), null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        constraints = [
            models.UniqueConstraint(
                fields=["campaign", "purpose", "candidates_hash"], name="task_once_per_campaign_and_purpose"
            ),
            models.CheckConstraint(
                condition=Q(purpose__in=["gold", "practice"], expected__isnull=False)
                | (~Q(purpose__in=["gold", "practice"]) & Q(expected=None)),
                name="task_answer_known_if_gold",
            ),
            models.CheckConstraint(
                condition=Q(purpose="probe", repeats__isnull=False) | (~Q(purpose="probe") & Q(repeats=None)),
                name="task_repeats_if_probe",
            ),
            models.CheckConstraint(
                condition=Q(retired_at=None) | Q(purpose__in=["gold", "practice"]), name="task_retired_if_gold"
            ),
        ]

    def __str__(self) -> str:
        return str(self.public_id)

    @staticmethod
    def hash_of(image_ids: list[int]) -> str:
        """Names a set of images, whatever their order."""
        return text_sha256(",".join(str(image_id) for image_id in sorted(image_ids)))


class Candidate(models.Model):
    """One image of a task, at its place before any shuffling."""

    task = models.ForeignKey(Task, models.CASCADE, verbose_name=_("task"), related_name="candidates")
    image = models.ForeignKey(Image, models.PROTECT, verbose_name=_("image"), related_name="candidacies")
    position = models.PositiveSmallIntegerField(_("position"))

    class Meta:
        verbose_name = _("candidate")
        verbose_name_plural = _("candidates")
        ordering = ["task", "position"]
        constraints = [
            models.UniqueConstraint(fields=["task", "image"], name="candidate_once_per_task"),
            models.UniqueConstraint(fields=["task", "position"], name="candidate_position_once_per_task"),
            models.CheckConstraint(condition=Q(position__lt=MAX_CANDIDATES), name="candidate_at_most_9"),
        ]

    def __str__(self) -> str:
        return f"{self.task_id}:{self.position}"


class Slot(models.Model):
    """One wanted vote on one task; claimed for a while by one annotator, then done."""

    class State(models.TextChoices):
        OPEN = "open", _("open")
        LEASED = "leased", _("leased")
        DONE = "done", _("done")

    campaign = models.ForeignKey(Campaign, models.CASCADE, verbose_name=_("campaign"), related_name="slots")
    task = models.ForeignKey(Task, models.CASCADE, verbose_name=_("task"), related_name="slots")
    number = models.PositiveSmallIntegerField(_("number within the task"))
    sort_key = models.IntegerField(_("random place in the queue"))
    matchup = models.CharField(_("the generators compared"), max_length=200, blank=True, editable=False)
    policy = models.CharField(_("policy that dealt it"), max_length=8, blank=True, editable=False)
    propensity = models.FloatField(_("probability with which it was dealt"), null=True, blank=True, editable=False)
    state = models.CharField(_("state"), max_length=6, choices=State, default=State.OPEN)
    annotator = models.ForeignKey(
        Annotator, models.PROTECT, verbose_name=_("annotator"), null=True, blank=True, related_name="slots"
    )
    token = models.UUIDField(_("claim token"), unique=True, null=True, blank=True)
    order = ArrayField(models.BigIntegerField(), verbose_name=_("image ids in the order shown"), null=True, blank=True)
    leased_at = models.DateTimeField(_("leased at"), null=True, blank=True)
    lease_until = models.DateTimeField(_("leased until"), null=True, blank=True)

    class Meta:
        verbose_name = _("slot")
        verbose_name_plural = _("slots")
        indexes = [
            # The claim reads only this index; without it, claims slow down as the work gets done.
            models.Index(fields=["campaign", "sort_key"], name="slot_not_done", condition=~Q(state="done")),
            models.Index(
                fields=["campaign", "matchup", "sort_key"], name="slot_not_done_by_matchup", condition=~Q(state="done")
            ),
            models.Index(fields=["annotator", "state"], name="slot_of_annotator"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["task", "number"], name="slot_number_once_per_task"),
            models.UniqueConstraint(
                fields=["task", "annotator"], name="slot_once_per_annotator", condition=Q(annotator__isnull=False)
            ),
            models.CheckConstraint(
                condition=Q(propensity=None) | Q(propensity__gt=0, propensity__lte=1), name="slot_propensity_0_to_1"
            ),
            models.CheckConstraint(
                name="slot_open_or_held",
                condition=Q(state="open", annotator=None, token=None, order=None, lease_until=None)
                | Q(
                    state="leased",
                    annotator__isnull=False,
                    token__isnull=False,
                    order__isnull=False,
                    lease_until__isnull=False,
                )
                | Q(state="done", annotator__isnull=False, order__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"slot {self.number} of task {self.task_id}"
