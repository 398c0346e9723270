"""How often something was tried."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Attempts(models.Model):
    """Tries of one kind by one name or address until a moment; whose they are stands here as a keyed hash only."""

    key = models.CharField(_("hash of what is counted"), max_length=64, primary_key=True)
    count = models.PositiveIntegerField(_("tries"))
    until = models.DateTimeField(_("counted until"), db_index=True)

    class Meta:
        verbose_name = _("attempts")
        verbose_name_plural = _("attempts")

    def __str__(self) -> str:
        return f"{self.count} until {self.until}"
