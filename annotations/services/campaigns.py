"""The life of a campaign: made, cloned, started, paused, closed."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import IntegrityError, transaction

from annotations.models import Campaign, Slot
from annotations.queries.readiness import obstacles, readiness_of
from annotations.services.instructions import Example, examples_of, write_version
from annotations.services.leases import open_again
from annotations.services.tasks import tell_planner
from annotations.services.wanted_votes import settle_slots

log = logging.getLogger(__name__)

# What a clone takes over; the rest belongs to the original alone.
SETTINGS = (
    *("question", "instructions", "consent", "asks_about_people", "candidates", "allows_tie", "allows_all_bad"),
    *("votes_per_task", "lease_seconds", "too_fast_ms", "tie_after_ms", "pair_policy", "random_share", "gold_share"),
    *("probe_share", "practice_tasks", "votes_per_person", "break_after", "screen_out_after", "screen_out_below"),
    *("access", "is_synthetic"),
)


class UnableToChangeCampaign(Exception):
    """A step that a campaign cannot take; the message says what to do first."""


class SlugTaken(Exception):
    """There is a campaign of this slug already."""


def create_campaign(
    *,
    slug: str,
    name: str,
    settings: Mapping[str, Any],
    examples: Sequence[Example] = (),
    by: AbstractBaseUser | None = None,
) -> Campaign:
    """A draft with the first version of its instructions, and without tasks.

    Args:
        slug: of its address.
        name: for people.
        settings: values of `SETTINGS`; what is left out has the model's default.
        examples: pictures of the instructions.
        by: who made it.

    Raises:
        SlugTaken: by another campaign.
        InstructionsRejected: the question or an example won't do.
        ValueError: a setting that there is none of.
    """
    if unknown := settings.keys() - set(SETTINGS):
        raise ValueError(f"A campaign has no setting {min(unknown)!r}.")
    try:
        with transaction.atomic():
            campaign = Campaign.objects.create(
                slug=slug, name=name, created_by_id=None if by is None else by.pk, **settings
            )
            write_version(campaign=campaign, examples=examples, by=by)
    except IntegrityError as error:
        if not Campaign.objects.filter(slug=slug).exists():
            raise
        raise SlugTaken(f"There is a campaign '{slug}' already; choose another slug.") from error
    log.info("campaign %s: made by %s", slug, by or "the program")
    return campaign


def clone_campaign(*, campaign: Campaign, slug: str, name: str, by: AbstractBaseUser | None = None) -> Campaign:
    """A draft that asks as another campaign does: its settings, and its instructions as version 1; no tasks.

    Raises:
        SlugTaken: by another campaign.
    """
    present = campaign.current_instructions
    return create_campaign(
        slug=slug,
        name=name,
        settings={field: getattr(campaign, field) for field in SETTINGS},
        examples=[] if present is None else examples_of(present),
        by=by,
    )


def start_campaign(*, campaign: Campaign, by: AbstractBaseUser | None = None) -> Campaign:
    """Take votes from now on.

    Raises:
        UnableToChangeCampaign: something that `readiness_of` tells stands in the way.
    """
    with transaction.atomic():
        _lock(campaign)
        if not campaign.is_running and (found := obstacles(readiness_of(campaign))):
            raise UnableToChangeCampaign(f"{campaign}: {' '.join(check.advice for check in found)}")
        tell_planner()
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


def change_settings(*, campaign: Campaign, settings: Mapping[str, Any]) -> Campaign:
    """Other settings from now on; the wording has a way of its own, `revise_instructions`.

    Another number of votes per task holds for the tasks that are there as well, see `settle_slots`.

    Raises:
        UnableToChangeCampaign: a fact of the tasks would be changed.
        ValueError: a setting that is not changed here.
    """
    if unknown := settings.keys() - (set(SETTINGS) - {"question", "instructions"}):
        raise ValueError(f"{min(unknown)!r} is not changed here.")
    with transaction.atomic():
        _lock(campaign)
        changed = {name: value for name, value in settings.items() if getattr(campaign, name) != value}
        fixed = changed.keys() & {"candidates", "is_synthetic"}
        if fixed and campaign.tasks.exists():
            raise UnableToChangeCampaign(f"{campaign} has tasks, so {min(fixed)} stays as it is.")
        for name, value in changed.items():
            setattr(campaign, name, value)
        campaign.save(update_fields=list(changed))
        if "votes_per_task" in changed:
            settle_slots(campaign=campaign)
    return campaign


def _lock(campaign: Campaign) -> None:
    """Read the campaign anew and let nobody else change it until the transaction ends."""
    campaign.refresh_from_db(from_queryset=Campaign.objects.select_for_update(no_key=True))


def _change_state(campaign: Campaign, state: Campaign.State, *, by: AbstractBaseUser | None) -> Campaign:
    if campaign.state != state:
        log.info("campaign %s: %s -> %s by %s", campaign.slug, campaign.state, state, by or "the program")
        campaign.state = state
        campaign.save(update_fields=["state"])
    return campaign
