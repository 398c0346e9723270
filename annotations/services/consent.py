"""What people agree to before they vote, with the wording that they saw."""

from django.db import transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from annotations.models import Annotator, Campaign, Participation
from annotations.queries import people as queries
from annotations.services.participations import give_back, participation_of


class ConsentTextChanged(Exception):
    """Somebody agreed to a text that is no longer the campaign's; they have to read the new one."""


def agree(*, annotator: Annotator, campaign: Campaign, text_hash: str) -> Participation:
    """The person's part, with when and to what they agreed. To agree again to the same text keeps the first time.

    Args:
        text_hash: names the text that was on the person's screen.

    Raises:
        ConsentTextChanged: the campaign has another text by now.
    """
    if text_hash != queries.consent_hash(campaign):
        raise ConsentTextChanged(_("The text has changed meanwhile. Please read it again."))
    part = participation_of(annotator=annotator, campaign=campaign)
    if text_hash:
        agreed = Participation.objects.filter(pk=part.pk).exclude(consent_hash=text_hash)
        agreed.update(consent_hash=text_hash, consented_at=Now(), seen_at=Now())
    part.refresh_from_db()
    return part


def decline(*, annotator: Annotator, campaign: Campaign) -> None:
    """Note that the person does not or no longer agree; the place of a recruited one is free again."""
    with transaction.atomic():
        part = queries.participation_in(annotator, campaign)
        if part is None:
            return
        give_back(participation=part)
        Participation.objects.filter(pk=part.pk).update(consent_hash="", consented_at=None)
