"""What can be said."""

from django.db import models
from django.utils.translation import gettext_lazy as _


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
