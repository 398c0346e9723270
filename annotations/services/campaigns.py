"""The life of a campaign: drafted, running, paused, closed."""

import logging

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Count

from annotations.models import MIN_CANDIDATES, Campaign, Slot
from annotations.services.leases import open_again

log = logging.getLogger(__name__)


class UnableToChangeCampaign(Exception):
    """A step that a campaign cannot take; the message says what to do first."""


def start_campaign(*, campaign: Campaign, by: AbstractBaseUser | None = None) -> Campaign:
    """Take votes from now on.

    Raises:
        UnableToChangeCampaign: closed already, without tasks, with a task of fewer than two images, or
            with nothing left to vote on.
    """
    with transaction.atomic():
        _lock(campaign)
        if campaign.state == Campaign.State.CLOSED:
            raise UnableToChangeCampaign(f"{campaign} is closed and stays so. Make a new campaign.")
        if not campaign.is_running:
            _check_has_work(campaign)
        return _change_state(campaign, Campaign.State.RUNNING, by=by)


def pause_campaign(*, campaign: Campaign, by: AbstractBaseUser | None = None) -> Campaign:
    """Give out no more work; what people hold already they may still answer.

    Raises:
        UnableToChangeCampaign: the campaign is not running.
    """
    with transaction.atomic():
        _lock(campaign)
        if campaign.state not in {Campaign.State.RUNNING, Campaign.State.PAUSED}:
            raise UnableToChangeCampaign(f"{campaign} is not running. Only a running campaign can be paused.")
        return _change_state(campaign, Campaign.State.PAUSED, by=by)


def close_campaign(*, campaign: Campaign, by: AbstractBaseUser | None = None) -> Campaign:
    """End a campaign for good: claims that people hold are taken back, the votes stand as they are."""
    with transaction.atomic():
        _lock(campaign)
        campaign = _change_state(campaign, Campaign.State.CLOSED, by=by)
        open_again(Slot.objects.filter(campaign=campaign))
        return campaign


def _check_has_work(campaign: Campaign) -> None:
    if not campaign.tasks.exists():
        raise UnableToChangeCampaign(f"{campaign} has no tasks. Import or generate images for it first.")
    too_few = campaign.tasks.annotate(images_there=Count("candidates")).filter(images_there__lt=MIN_CANDIDATES)
    if count := too_few.count():
        raise UnableToChangeCampaign(
            f"{count} tasks of {campaign} have fewer than {MIN_CANDIDATES} images. Remove them."
        )
    if not campaign.slots.exclude(state=Slot.State.DONE).exists():
        raise UnableToChangeCampaign(f"{campaign} has all the votes it wants. Add tasks to it first.")


def _lock(campaign: Campaign) -> None:
    """Read the campaign anew and let nobody else change it until the transaction ends."""
    campaign.refresh_from_db(from_queryset=Campaign.objects.select_for_update(no_key=True))


def _change_state(campaign: Campaign, state: Campaign.State, *, by: AbstractBaseUser | None) -> Campaign:
    if campaign.state != state:
        log.info("campaign %s: %s -> %s by %s", campaign.slug, campaign.state, state, by or "the program")
        campaign.state = state
        campaign.save(update_fields=["state"])
    return campaign
