"""The people who vote: registered, invited by a link, imported or simulated."""

import secrets
from typing import ClassVar

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from annotations.models import Annotator, Campaign, Invite
from annotations.queries import voting as queries


class UnableToJoin(Exception):
    """A link that lets nobody in; `code` names the reason, the message says what to do."""

    code: ClassVar[str] = "unable_to_join"


class InviteSwitchedOff(UnableToJoin):
    code = "invite_switched_off"


class InviteExpired(UnableToJoin):
    code = "invite_expired"


class InviteFull(UnableToJoin):
    code = "invite_full"


class CampaignOver(UnableToJoin):
    code = "campaign_over"


def register_annotator(
    *,
    user: AbstractBaseUser | None,
    source: Annotator.Source = Annotator.Source.REGISTERED,
    invite: Invite | None = None,
    external_id: str | None = None,
    is_synthetic: bool = False,
) -> Annotator:
    """The voting profile of a user, made where there is none yet; safe when asked twice at the same moment.

    Args:
        user: whose profile it is; None for people known only by `external_id` or not at all.
        external_id: the name in the source that people were imported from; one profile for each.
    """
    fields = {"source": source, "invite": invite, "external_id": external_id, "is_synthetic": is_synthetic}
    if user is not None:
        return Annotator.objects.get_or_create(user_id=user.pk, defaults=fields)[0]
    if external_id is not None:
        return Annotator.objects.get_or_create(external_id=external_id, defaults=fields)[0]
    return Annotator.objects.create(**fields)


def annotator_for(user: AbstractBaseUser | AnonymousUser) -> Annotator:
    """The voting profile of somebody who is logged in, made on the first need.

    Raises:
        TypeError: nobody is logged in.
    """
    if not isinstance(user, AbstractBaseUser):
        raise TypeError("Only somebody who is logged in has a voting profile.")
    return queries.annotator_of(user) or register_annotator(user=user)


def redeem_invite(*, invite: Invite, user: AbstractBaseUser | None = None) -> Annotator:
    """Let one more person in through an invite link.

    Args:
        user: who joins; None makes a guest with a random name and a password that nothing matches. Who came
            by a link of the same campaign before is not counted again.

    Raises:
        InviteSwitchedOff, InviteExpired, InviteFull, CampaignOver: the link lets nobody in.
    """
    with transaction.atomic():
        if user is not None:
            annotator = Annotator.objects.select_for_update().get(pk=annotator_for(user).pk)
            if annotator.invite is not None and annotator.invite.campaign_id == invite.campaign_id:
                return annotator
        _use_up(invite)
        if user is None:
            return register_annotator(user=make_guest(), source=Annotator.Source.INVITED, invite=invite)
        annotator.invite = invite
        annotator.save(update_fields=["invite"])
        return annotator


def check_invite(invite: Invite) -> None:
    """Raise what keeps a link from letting anybody in at the moment."""
    if not invite.is_active:
        raise InviteSwitchedOff(
            _("This invite link was switched off. Please ask the people who sent it for a new one.")
        )
    if Invite.objects.filter(pk=invite.pk, expires_at__lte=Now()).exists():
        raise InviteExpired(_("This invite link has expired. Please ask the people who sent it for a new one."))
    if invite.max_uses is not None and invite.uses >= invite.max_uses:
        raise InviteFull(_("As many people as this invite link is for have joined already. Please ask for a new one."))
    if invite.campaign.state == Campaign.State.CLOSED:
        raise CampaignOver(_("This campaign has ended. Thank you for wanting to help."))


def _use_up(invite: Invite) -> None:
    """Count one use under the row's lock, so that of two people at the last place only one gets it."""
    locked = Invite.objects.select_related("campaign").select_for_update(of=("self",), no_key=True).get(pk=invite.pk)
    check_invite(locked)
    Invite.objects.filter(pk=invite.pk).update(uses=F("uses") + 1)


def make_guest() -> User:
    """An account with a random name, into which nobody gets by a password."""
    guest = User(username=f"guest-{secrets.token_hex(8)}")
    guest.set_unusable_password()
    guest.save()
    return guest
