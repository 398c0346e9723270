"""A person's identity taken out of the records, while what they said stays as nobody's in particular."""

import uuid

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import AbstractBaseUser, User
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import Model
from django.utils.translation import gettext as _

from annotations.models import Annotator, Demographics, Participation, StateChange, Vote
from annotations.services.claims import release_claims


class UnableToErase(Exception):
    """An identity that is not erased in this way; the message says what to do instead."""


def erase_identity(*, annotator: Annotator, by: AbstractBaseUser | None = None, reason: str = "") -> StateChange:
    """Forget who a person was: nobody can log in as them, and nothing leads from their votes to them.

    Gone are the account with its sessions and tokens, the panel's ids and codes, the invite, what they told of
    themselves, and on which device they voted. Votes stay, under a new pseudonym, so that nothing that was counted
    changes. Erasing again changes nothing but the pseudonym.

    Args:
        by: the admin who does it; None for the person themselves, whose account is gone afterwards.

    Raises:
        UnableToErase: the account belongs to somebody who runs the site.
    """
    with transaction.atomic():
        # Slots before the person, as when a vote is recorded.
        release_claims(annotator=annotator)
        annotator = Annotator.objects.select_for_update(no_key=True).get(pk=annotator.pk)
        user = User.objects.filter(annotator=annotator).first()
        if user is not None and (user.is_staff or user.is_superuser):
            raise UnableToErase(_("This account runs the site. Take its staff status away first."))
        Demographics.objects.filter(annotator=annotator).delete()
        Participation.objects.filter(annotator=annotator).update(study_id="", session_id="", code="")
        votes = Vote.objects.filter(annotator=annotator).update(client={})
        _forget_in_log(annotator)
        if user is not None:
            _forget_in_log(user)
            user.delete()
        Annotator.objects.filter(pk=annotator.pk).update(
            public_id=uuid.uuid4(), user=None, invite=None, external_id=None
        )
        return StateChange.objects.create(
            annotator=annotator,
            to=StateChange.To.ERASED,
            reason=reason,
            effect={"votes_kept": votes},
            by_id=by.pk if by is not None else None,
        )


def _forget_in_log(row: Model) -> None:
    """The admin's log repeats names and pseudonyms of what was edited."""
    LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(row), object_id=str(row.pk)).delete()
