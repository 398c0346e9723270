"""Who votes: annotators, their part in a campaign, and what they chose to tell of themselves."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from annotations.models.campaigns import Campaign, Invite, Recruitment


class Annotator(models.Model):
    """A person who votes, known by a pseudonym."""

    class Source(models.TextChoices):
        REGISTERED = "registered", _("registered")
        INVITED = "invited", _("invited")
        RECRUITED = "recruited", _("recruited")
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


class StateChange(models.Model):
    """Who paused, excluded, restored or erased a person, why, and what it changed."""

    class To(models.TextChoices):
        ACTIVE = "active", _("active")
        PAUSED = "paused", _("paused")
        EXCLUDED = "excluded", _("excluded")
        ERASED = "erased", _("identity erased")

    annotator = models.ForeignKey(Annotator, models.CASCADE, verbose_name=_("annotator"), related_name="state_changes")
    to = models.CharField(_("to"), max_length=8, choices=To)
    reason = models.CharField(_("reason"), max_length=300, blank=True)
    effect = models.JSONField(_("what it changed"), default=dict, blank=True)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, verbose_name=_("by"), null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(_("at"), db_default=Now())

    class Meta:
        verbose_name = _("change of state")
        verbose_name_plural = _("changes of state")
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.annotator}: {self.get_to_display()}"


class Participation(models.Model):
    """One person's part in one campaign: what they agreed to, whether they practised, and how it ended."""

    class State(models.TextChoices):
        ACTIVE = "active", _("active")
        COMPLETED = "completed", _("completed")
        SCREENED_OUT = "screened_out", _("screened out")
        RETURNED = "returned", _("place given back")

    annotator = models.ForeignKey(Annotator, models.CASCADE, verbose_name=_("annotator"), related_name="participations")
    campaign = models.ForeignKey(Campaign, models.CASCADE, verbose_name=_("campaign"), related_name="participations")
    recruitment = models.ForeignKey(
        Recruitment,
        models.SET_NULL,
        verbose_name=_("recruitment"),
        null=True,
        blank=True,
        related_name="participations",
    )
    study_id = models.CharField(_("study's id at the panel"), max_length=200, blank=True)
    session_id = models.CharField(_("session's id at the panel"), max_length=200, blank=True)
    consented_at = models.DateTimeField(_("agreed at"), null=True, blank=True)
    consent_hash = models.CharField(_("SHA-256 of what was agreed to"), max_length=64, blank=True)
    practised_at = models.DateTimeField(_("practised at"), null=True, blank=True)
    state = models.CharField(_("state"), max_length=12, choices=State, default=State.ACTIVE)
    code = models.CharField(_("completion code"), max_length=60, blank=True)
    seen_at = models.DateTimeField(_("last seen at"), db_default=Now())
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)
    created_at = models.DateTimeField(_("joined at"), db_default=Now())

    class Meta:
        verbose_name = _("participation")
        verbose_name_plural = _("participations")
        constraints = [
            models.UniqueConstraint(fields=["annotator", "campaign"], name="participation_once_per_campaign"),
            models.CheckConstraint(
                condition=Q(state="active", finished_at=None) | ~Q(state="active") & Q(finished_at__isnull=False),
                name="participation_finished_at_if_finished",
            ),
            models.CheckConstraint(
                condition=Q(consented_at=None, consent_hash="") | (Q(consented_at__isnull=False) & ~Q(consent_hash="")),
                name="participation_agreed_to_something",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.annotator} in {self.campaign}"


class Demographics(models.Model):
    """What a person chose to tell of themselves; kept apart, read only as counts over ten people or more."""

    class AgeBand(models.TextChoices):
        UNTOLD = "", _("prefer not to say")
        AGE_18 = "18-24", _("18 to 24")
        AGE_25 = "25-34", _("25 to 34")
        AGE_35 = "35-44", _("35 to 44")
        AGE_45 = "45-54", _("45 to 54")
        AGE_55 = "55-64", _("55 to 64")
        AGE_65 = "65+", _("65 or older")

    class Region(models.TextChoices):
        UNTOLD = "", _("prefer not to say")
        AFRICA = "africa", _("Africa")
        ASIA = "asia", _("Asia")
        EUROPE = "europe", _("Europe")
        LATIN_AMERICA = "latin_america", _("Latin America and the Caribbean")
        NORTH_AMERICA = "north_america", _("North America")
        OCEANIA = "oceania", _("Oceania")

    class Gender(models.TextChoices):
        UNTOLD = "", _("prefer not to say")
        WOMAN = "woman", _("woman")
        MAN = "man", _("man")
        NON_BINARY = "non_binary", _("non-binary")
        OTHER = "other", _("another gender")

    class Experience(models.TextChoices):
        UNTOLD = "", _("prefer not to say")
        NONE = "none", _("none")
        HOBBY = "hobby", _("as a hobby")
        PROFESSIONAL = "professional", _("as a profession")

    annotator = models.OneToOneField(
        Annotator, models.CASCADE, verbose_name=_("annotator"), related_name="demographics"
    )
    age_band = models.CharField(_("age"), max_length=5, choices=AgeBand, blank=True)
    region = models.CharField(_("region"), max_length=13, choices=Region, blank=True)
    gender = models.CharField(_("gender"), max_length=10, choices=Gender, blank=True)
    design_experience = models.CharField(
        _("experience in design or art"), max_length=12, choices=Experience, blank=True
    )
    created_at = models.DateTimeField(_("told at"), db_default=Now())

    class Meta:
        verbose_name = _("demographics")
        verbose_name_plural = _("demographics")

    def __str__(self) -> str:
        return f"demographics of {self.annotator}"
