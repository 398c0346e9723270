"""What is collected: prompts, images, campaigns, tasks, slots, annotators and votes."""

import hashlib
import secrets
import uuid
from typing import Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

MIN_CANDIDATES, MAX_CANDIDATES = 2, 9

# One prompt in five is kept for testing, chosen by its own hash: a prompt held out once
# is held out for every snapshot and every model version that will ever be trained.
TEST_SHARE = 0.2


def text_sha256(text: str) -> str:
    """SHA-256 of a text in UTF-8, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def image_path(image: "Image", _filename: str) -> str:
    """Content-addressed, so that equal files are stored once and no name tells the generator."""
    return f"images/{image.sha256[:2]}/{image.sha256}.{image.extension}"


def random_code() -> str:
    """An unguessable code for a link: 22 letters and digits, 128 bits."""
    return secrets.token_urlsafe(16)


class Split(models.TextChoices):
    TRAIN = "train", _("train")
    TEST = "test", _("test")

    @classmethod
    def of(cls, text: str) -> "Split":
        """The side on which a prompt falls, from its text alone."""
        share = int(text_sha256(text)[:8], 16) / 2**32
        return cls.TEST if share < TEST_SHARE else cls.TRAIN


class Prompt(models.Model):
    """The text that images were made from."""

    text = models.TextField(_("text"))
    text_hash = models.CharField(_("SHA-256 of the text"), max_length=64, unique=True, editable=False)
    tags = ArrayField(models.CharField(max_length=64), verbose_name=_("tags"), default=list, blank=True)
    source = models.CharField(_("source"), max_length=200, blank=True)
    split = models.CharField(_("split"), max_length=5, choices=Split, editable=False)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("prompt")
        verbose_name_plural = _("prompts")

    def __str__(self) -> str:
        return self.text if len(self.text) <= 80 else f"{self.text[:79]}…"

    def save(self, *args: object, **kwargs: object) -> None:
        self.text_hash = text_sha256(self.text)
        self.split = self.split or Split.of(self.text)
        super().save(*args, **kwargs)  # type: ignore[arg-type]


class Generator(models.Model):
    """A text-to-image model or adapter with its settings."""

    name = models.CharField(_("name"), max_length=120, unique=True)
    description = models.TextField(_("description"), blank=True)
    settings = models.JSONField(_("settings"), default=dict, blank=True)
    is_synthetic = models.BooleanField(_("synthetic"), default=False)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("generator")
        verbose_name_plural = _("generators")

    def __str__(self) -> str:
        return self.name


class Image(models.Model):
    """One picture made for one prompt."""

    EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}

    class Format(models.TextChoices):
        JPEG = "JPEG", "JPEG"
        PNG = "PNG", "PNG"
        WEBP = "WEBP", "WebP"

    public_id = models.UUIDField(_("public id"), unique=True, default=uuid.uuid4, editable=False)
    prompt = models.ForeignKey(Prompt, models.PROTECT, verbose_name=_("prompt"), related_name="images")
    generator = models.ForeignKey(
        Generator, models.PROTECT, verbose_name=_("generator"), related_name="images", null=True, blank=True
    )
    seed = models.BigIntegerField(_("seed"), null=True, blank=True)
    sha256 = models.CharField(_("SHA-256 of the file"), max_length=64, editable=False)
    file = models.FileField(_("file"), upload_to=image_path, max_length=200)
    format = models.CharField(_("format"), max_length=4, choices=Format)
    width = models.PositiveIntegerField(_("width in pixels"))
    height = models.PositiveIntegerField(_("height in pixels"))
    settings = models.JSONField(_("how it was made"), default=dict, blank=True)
    is_hidden = models.BooleanField(_("hidden from annotators"), default=False)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("image")
        verbose_name_plural = _("images")
        indexes = [models.Index(fields=["sha256"], name="image_sha256")]
        constraints = [
            models.UniqueConstraint(
                fields=["prompt", "generator", "sha256"],
                name="image_once_per_prompt_and_generator",
                nulls_distinct=False,
            ),
            models.CheckConstraint(condition=Q(width__gt=0, height__gt=0), name="image_has_pixels"),
        ]

    def __str__(self) -> str:
        return str(self.public_id)

    def get_absolute_url(self) -> str:
        return reverse("annotations:image", args=[self.public_id])

    @property
    def extension(self) -> str:
        return self.EXTENSIONS[self.format]


class CampaignQuerySet(models.QuerySet["Campaign"]):
    def running(self) -> Self:
        return self.filter(state=Campaign.State.RUNNING)


class Campaign(models.Model):
    """One question asked about many sets of images."""

    class State(models.TextChoices):
        DRAFT = "draft", _("draft")
        RUNNING = "running", _("running")
        PAUSED = "paused", _("paused")
        CLOSED = "closed", _("closed")

    class Access(models.TextChoices):
        OPEN = "open", _("anyone with an account")
        INVITED = "invited", _("only by an invite link")

    slug = models.SlugField(_("slug"), max_length=80, unique=True)
    name = models.CharField(_("name"), max_length=200)
    question = models.CharField(_("question"), max_length=200, default="Which image do you prefer?")
    instructions = models.TextField(_("instructions"), blank=True)
    instructions_version = models.PositiveIntegerField(_("version of the instructions"), default=1)
    candidates = models.PositiveSmallIntegerField(
        _("images per task"),
        default=2,
        validators=[MinValueValidator(MIN_CANDIDATES), MaxValueValidator(MAX_CANDIDATES)],
    )
    allows_tie = models.BooleanField(_("a tie may be said"), default=True)
    allows_all_bad = models.BooleanField(_("'all bad' may be said"), default=True)
    votes_per_task = models.PositiveSmallIntegerField(
        _("votes wanted per task"), default=3, validators=[MinValueValidator(1)]
    )
    lease_seconds = models.PositiveIntegerField(
        _("seconds for which a claim is held"), default=600, validators=[MinValueValidator(30)]
    )
    too_fast_ms = models.PositiveIntegerField(_("votes faster than this are marked (ms)"), default=400)
    state = models.CharField(_("state"), max_length=7, choices=State, default=State.DRAFT)
    access = models.CharField(_("who may vote"), max_length=7, choices=Access, default=Access.OPEN)
    is_synthetic = models.BooleanField(_("synthetic"), default=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, verbose_name=_("created by"), null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    objects = CampaignQuerySet.as_manager()

    class Meta:
        verbose_name = _("campaign")
        verbose_name_plural = _("campaigns")
        constraints = [
            models.CheckConstraint(
                condition=Q(candidates__gte=MIN_CANDIDATES, candidates__lte=MAX_CANDIDATES),
                name="campaign_candidates_2_to_9",
            ),
            models.CheckConstraint(condition=Q(votes_per_task__gte=1), name="campaign_wants_votes"),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("annotations:campaign", args=[self.slug])

    @property
    def is_running(self) -> bool:
        return self.state == self.State.RUNNING

    @property
    def outcomes(self) -> list["Outcome"]:
        """What may be said of a task of this campaign, in the order of the buttons."""
        optional = [(self.allows_tie, Outcome.TIE), (self.allows_all_bad, Outcome.ALL_BAD)]
        return [
            Outcome.CHOICE,
            *(outcome for is_allowed, outcome in optional if is_allowed),
            Outcome.SKIP,
            Outcome.FLAG,
        ]


class Invite(models.Model):
    """A link that lets people vote in a campaign without an account."""

    campaign = models.ForeignKey(Campaign, models.CASCADE, verbose_name=_("campaign"), related_name="invites")
    code = models.CharField(_("code"), max_length=40, unique=True, default=random_code, editable=False)
    label = models.CharField(_("label"), max_length=120, blank=True)
    max_uses = models.PositiveIntegerField(_("people at most"), null=True, blank=True)
    uses = models.PositiveIntegerField(_("people so far"), default=0, editable=False)
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    is_active = models.BooleanField(_("active"), default=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("invite")
        verbose_name_plural = _("invites")
        constraints = [
            models.CheckConstraint(
                condition=Q(max_uses=None) | Q(uses__lte=F("max_uses")), name="invite_uses_within_max"
            ),
        ]

    def __str__(self) -> str:
        return self.label or self.code

    def get_absolute_url(self) -> str:
        return reverse("annotations:join", args=[self.campaign.slug, self.code])


class Annotator(models.Model):
    """A person who votes, known by a pseudonym."""

    class Source(models.TextChoices):
        REGISTERED = "registered", _("registered")
        INVITED = "invited", _("invited")
        IMPORTED = "imported", _("imported")
        SIMULATED = "simulated", _("simulated")

    class State(models.TextChoices):
        ACTIVE = "active", _("active")
        PAUSED = "paused", _("paused")
        EXCLUDED = "excluded", _("excluded")

    public_id = models.UUIDField(_("pseudonym"), unique=True, default=uuid.uuid4, editable=False)
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        verbose_name=_("user"),
        null=True,
        blank=True,
        related_name="annotator",
    )
    invite = models.ForeignKey(
        Invite, models.SET_NULL, verbose_name=_("invite"), null=True, blank=True, related_name="annotators"
    )
    source = models.CharField(_("source"), max_length=10, choices=Source)
    external_id = models.CharField(_("id in its source"), max_length=200, unique=True, null=True, blank=True)
    state = models.CharField(_("state"), max_length=8, choices=State, default=State.ACTIVE)
    is_synthetic = models.BooleanField(_("synthetic"), default=False)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("annotator")
        verbose_name_plural = _("annotators")

    def __str__(self) -> str:
        return f"annotator {str(self.public_id)[:8]}"


class Task(models.Model):
    """One prompt and the images to choose between."""

    class Purpose(models.TextChoices):
        REGULAR = "regular", _("regular")
        GOLD = "gold", _("gold")
        PROBE = "probe", _("repeat probe")

    public_id = models.UUIDField(_("public id"), unique=True, default=uuid.uuid4, editable=False)
    campaign = models.ForeignKey(Campaign, models.CASCADE, verbose_name=_("campaign"), related_name="tasks")
    prompt = models.ForeignKey(Prompt, models.PROTECT, verbose_name=_("prompt"), related_name="tasks")
    images: "models.ManyToManyField[Image, Candidate]" = models.ManyToManyField(
        Image, through="Candidate", related_name="tasks", verbose_name=_("images")
    )
    candidates_hash = models.CharField(_("hash of the set of images"), max_length=64, editable=False)
    purpose = models.CharField(_("purpose"), max_length=7, choices=Purpose, default=Purpose.REGULAR)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        constraints = [
            models.UniqueConstraint(
                fields=["campaign", "purpose", "candidates_hash"], name="task_once_per_campaign_and_purpose"
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
            models.Index(fields=["annotator", "state"], name="slot_of_annotator"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["task", "number"], name="slot_number_once_per_task"),
            models.UniqueConstraint(
                fields=["task", "annotator"], name="slot_once_per_annotator", condition=Q(annotator__isnull=False)
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


class Outcome(models.TextChoices):
    """What can be said of a task. The first three are judgements, the last two are not."""

    CHOICE = "choice", _("this one")
    TIE = "tie", _("no clear winner")
    ALL_BAD = "all_bad", _("all bad")
    SKIP = "skip", _("skip")
    FLAG = "flag", _("flag")

    @classmethod
    def judgements(cls) -> "list[Outcome]":
        return [cls.CHOICE, cls.TIE, cls.ALL_BAD]


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
