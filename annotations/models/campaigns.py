"""What is asked: campaigns, their instructions, and the links by which people come."""

import secrets
from typing import Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator, URLValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from annotations.models.library import Image
from annotations.models.outcomes import Outcome

MIN_CANDIDATES, MAX_CANDIDATES = 2, 9

# The dashboard's own pages stand beside those of campaigns, so no campaign may be called as they are.
RESERVED_SLUGS = frozenset({"campaigns", "labellings", "new", "people", "quality", "recruiting", "score", "uploads"})


def random_code() -> str:
    """An unguessable code for a link: 22 letters and digits, 128 bits."""
    return secrets.token_urlsafe(16)


def check_slug_is_not_reserved(slug: str) -> None:
    if slug.lower() in RESERVED_SLUGS:
        raise ValidationError(
            _("'%(slug)s' is the address of a page of the dashboard; choose another slug."),
            code="reserved",
            params={"slug": slug},
        )


# Letters, digits and little more: a code is typed by hand, and stands in links and spreadsheets.
check_code = RegexValidator(
    r"\A[A-Za-z0-9][A-Za-z0-9_-]*\Z", _("A code has letters, digits, - and _ only, and begins with a letter or digit.")
)


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

    class PairPolicy(models.TextChoices):
        UNIFORM = "uniform", _("uniform: all sets alike")
        FOCUSED = "focused", _("focused: where the answer is least certain")
        COVERAGE = "coverage", _("coverage: generators with few votes first")

    class Access(models.TextChoices):
        OPEN = "open", _("anyone with an account")
        INVITED = "invited", _("only by an invite link")

    slug = models.SlugField(_("slug"), max_length=80, unique=True, validators=[check_slug_is_not_reserved])
    name = models.CharField(_("name"), max_length=200)
    question = models.CharField(_("question"), max_length=200, default="Which image do you prefer?")
    instructions = models.TextField(_("instructions"), blank=True)
    instructions_version = models.PositiveIntegerField(_("version of the instructions"), default=1)
    consent = models.TextField(_("what people agree to before they begin"), blank=True)
    asks_about_people = models.BooleanField(_("asks people about themselves (optional for them)"), default=False)
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
        _("seconds for which a claim is held"), default=180, validators=[MinValueValidator(30)]
    )
    too_fast_ms = models.PositiveIntegerField(_("votes faster than this are marked (ms)"), default=400)
    tie_after_ms = models.PositiveIntegerField(_("a tie can be said only after this time (ms)"), default=0)
    pair_policy = models.CharField(
        _("which sets are asked about first"), max_length=8, choices=PairPolicy, default=PairPolicy.UNIFORM
    )
    random_share = models.FloatField(_("share dealt at random whatever the policy"), default=0.2)
    gold_share = models.FloatField(_("share of gold tasks"), default=0)
    probe_share = models.FloatField(_("share of repeats with the sides swapped"), default=0)
    practice_tasks = models.PositiveSmallIntegerField(_("practice tasks before the first vote"), default=0)
    votes_per_person = models.PositiveIntegerField(_("votes of one person at most"), null=True, blank=True)
    break_after = models.PositiveSmallIntegerField(_("votes after which a break is offered"), default=50)
    screen_out_after = models.PositiveSmallIntegerField(
        _("gold tasks after which a person may be screened out"), null=True, blank=True
    )
    screen_out_below = models.FloatField(_("share of gold tasks to get right to stay"), default=0.5)
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
            models.CheckConstraint(
                condition=Q(
                    random_share__range=(0, 1),
                    gold_share__range=(0, 0.5),
                    probe_share__range=(0, 0.5),
                    screen_out_below__range=(0, 1),
                ),
                name="campaign_shares_within_bounds",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("annotations:campaign", args=[self.slug])

    @property
    def is_running(self) -> bool:
        return self.state == self.State.RUNNING

    @property
    def current_instructions(self) -> "Instructions | None":
        """The wording that stands now, with its examples; None where it was never revised since there are versions."""
        versions = self.instruction_texts.filter(number=self.instructions_version)
        return versions.prefetch_related("examples__image").first()

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


class Instructions(models.Model):
    """The wording under which votes were given: never edited, only followed by the next version."""

    campaign = models.ForeignKey(Campaign, models.CASCADE, verbose_name=_("campaign"), related_name="instruction_texts")
    number = models.PositiveIntegerField(_("version"))
    question = models.CharField(_("question"), max_length=200)
    text = models.TextField(_("text"), blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, verbose_name=_("created by"), null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        verbose_name = _("instructions")
        verbose_name_plural = _("instructions")
        ordering = ["campaign", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["campaign", "number"], name="instructions_number_once_per_campaign")
        ]

    def __str__(self) -> str:
        return f"{self.campaign}, version {self.number}"


class InstructionsExample(models.Model):
    """A picture in the instructions, with what to say of it."""

    instructions = models.ForeignKey(
        Instructions, models.CASCADE, verbose_name=_("instructions"), related_name="examples"
    )
    image = models.ForeignKey(Image, models.PROTECT, verbose_name=_("image"), related_name="+")
    caption = models.CharField(_("caption"), max_length=300)
    is_good = models.BooleanField(_("an example to prefer"), default=True)
    position = models.PositiveSmallIntegerField(_("position"))

    class Meta:
        verbose_name = _("example")
        verbose_name_plural = _("examples")
        ordering = ["instructions", "position"]
        constraints = [
            models.UniqueConstraint(fields=["instructions", "position"], name="example_position_once"),
        ]

    def __str__(self) -> str:
        return self.caption


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


class Recruitment(models.Model):
    """A panel such as Prolific or MTurk from which people come, each with an id of the panel's own."""

    class Panel(models.TextChoices):
        PROLIFIC = "prolific", "Prolific"
        MTURK = "mturk", "Amazon Mechanical Turk"
        OTHER = "other", _("another panel")

    class Codes(models.TextChoices):
        SHARED = "shared", _("one code for everybody")
        UNIQUE = "unique", _("a code of their own for each person")

    # The names under which the known panels send the ids of a person, a study and a session.
    PARAMETERS = {
        Panel.PROLIFIC: ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID"),
        Panel.MTURK: ("workerId", "hitId", "assignmentId"),
    }
    PROLIFIC_RETURN = "https://app.prolific.com/submissions/complete?cc={code}"

    campaign = models.ForeignKey(Campaign, models.CASCADE, verbose_name=_("campaign"), related_name="recruitments")
    panel = models.CharField(_("panel"), max_length=8, choices=Panel)
    label = models.CharField(_("label"), max_length=120, blank=True)
    code = models.CharField(_("code of the link"), max_length=40, unique=True, default=random_code, editable=False)
    person_parameter = models.CharField(_("parameter with the person's id"), max_length=60, default="PROLIFIC_PID")
    study_parameter = models.CharField(_("parameter with the study's id"), max_length=60, blank=True)
    session_parameter = models.CharField(_("parameter with the session's id"), max_length=60, blank=True)
    votes_wanted = models.PositiveIntegerField(
        _("votes wanted of each person"), default=50, validators=[MinValueValidator(1)]
    )
    places = models.PositiveIntegerField(_("people at most"), null=True, blank=True)
    minutes = models.PositiveIntegerField(_("minutes after which an abandoned place is given back"), default=120)
    codes = models.CharField(_("completion codes"), max_length=6, choices=Codes, default=Codes.SHARED)
    completion_code = models.CharField(
        _("completion code"), max_length=60, blank=True, validators=[check_code], help_text=_("Where all share one.")
    )
    screen_out_code = models.CharField(
        _("code for people who are screened out"), max_length=60, blank=True, validators=[check_code]
    )
    return_address = models.CharField(
        _("where people go with their code"),
        max_length=300,
        blank=True,
        help_text=_("With {code} where the code belongs. Prolific's own address is used where this is empty."),
    )
    is_active = models.BooleanField(_("active"), default=True)
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        verbose_name = _("recruitment")
        verbose_name_plural = _("recruitments")
        constraints = [
            models.CheckConstraint(condition=Q(votes_wanted__gte=1), name="recruitment_wants_votes"),
        ]

    def __str__(self) -> str:
        return self.label or f"{self.get_panel_display()}, {self.campaign}"

    def get_absolute_url(self) -> str:
        return reverse("annotations:recruit", args=[self.campaign.slug, self.code])

    @property
    def parameters(self) -> list[str]:
        """The parameters in which ids come."""
        return [name for name in (self.person_parameter, self.study_parameter, self.session_parameter) if name]

    def clean(self) -> None:
        """What a panel prescribes is filled in; what it cannot do, or would lead people astray, is refused."""
        if self.panel in self.PARAMETERS:
            prescribed = self.PARAMETERS[self.Panel(self.panel)]
            self.person_parameter, self.study_parameter, self.session_parameter = prescribed
        problems = {}
        if len(set(self.parameters)) < len(self.parameters):
            problems["person_parameter"] = _("Each id comes in a parameter of its own.")
        if self.codes == self.Codes.SHARED and not self.completion_code:
            problems["completion_code"] = _("Enter the code that everybody gets.")
        if self.codes == self.Codes.UNIQUE and self.panel == self.Panel.PROLIFIC:
            problems["codes"] = _("Prolific knows the codes of a study only: take one code for everybody.")
        if self.return_address:
            if self.return_address.count("{code}") != 1:
                problems["return_address"] = _("Write {code} once, where the code belongs.")
            else:
                try:
                    URLValidator(schemes=["https"])(self.return_address.replace("{code}", "code"))
                except ValidationError:
                    problems["return_address"] = _("Enter a whole address that begins with https://.")
        if problems:
            raise ValidationError(problems)

    def return_link(self, code: str) -> str:
        """Where a person goes with their code, which is made of letters, digits, - and _; empty: nowhere."""
        address = self.return_address or (self.PROLIFIC_RETURN if self.panel == self.Panel.PROLIFIC else "")
        return address.replace("{code}", code) if code else ""
