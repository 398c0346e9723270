"""The voting screen; it works without JavaScript too."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID, uuid4

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from annotations.forms import VoteForm
from annotations.models import Annotator, Campaign
from annotations.queries import voting as queries
from annotations.services import people, voting
from annotations.views.campaigns import campaign_for

# Stands in addresses that the voting screen completes with the id of a vote.
NO_ID = UUID(int=0)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def vote(request: HttpRequest, slug: str) -> HttpResponse:
    """The voting screen. To look at it changes nothing; to post claims the next task, after a vote if there is one."""
    campaign = campaign_for(request, slug)
    if request.method == "POST":
        return _vote_and_go_on(request, campaign)
    annotator = queries.annotator_of(request.user)
    slots = list(queries.live_slots(annotator, campaign)) if annotator else []
    progress = queries.progress_of(annotator, campaign)
    if not slots and (progress.left == 0 or not campaign.is_running):
        return redirect("annotations:done", slug=slug)
    if not queries.may_enter(annotator, campaign):
        return redirect(campaign)
    claims = queries.shown_claims(slots)
    last_vote = queries.latest_vote(annotator, campaign) if annotator else None
    context = voting_context(
        campaign=campaign,
        claims=claims,
        progress=progress,
        last_vote=last_vote.public_id if last_vote else None,
        person=request.user.pk,
        addresses=_addresses(campaign),
    )
    return render(request, "annotations/vote.html", context)


def voting_context(
    *,
    campaign: Campaign,
    claims: Sequence[queries.ShownClaim],
    progress: queries.Progress,
    last_vote: UUID | None,
    person: int | str | None,
    addresses: Mapping[str, str],
) -> dict[str, Any]:
    """All that the voting screen needs, in earnest and in a preview.

    Args:
        campaign: what is asked.
        claims: what is shown, the first at once.
        progress: of whoever votes.
        last_vote: what an undo would take back.
        person: under whom unsent votes are kept on the device.
        addresses: where the screen sends what it sends.
    """
    return {
        "campaign": campaign,
        "claim": claims[0] if claims else None,
        "key": uuid4(),
        "progress": progress,
        "last_vote": last_vote,
        "flag_reasons": voting.FlagReason.choices,
        "screen": {
            "claims": [asdict(claim) for claim in claims],
            "progress": asdict(progress),
            "last_vote": last_vote,
            "lease_seconds": campaign.lease_seconds,
            "person": person,
            "addresses": addresses,
            "texts": _texts(),
        },
    }


@login_required
@require_POST
def undo(request: HttpRequest, slug: str) -> HttpResponse:
    """Take one's latest vote back and see its images again."""
    campaign = campaign_for(request, slug)
    annotator = people.annotator_for(request.user)
    latest = queries.latest_vote(annotator, campaign)
    if latest is None:
        messages.info(request, _("There is no vote to undo."))
    else:
        try:
            voting.undo_vote(annotator=annotator, vote=latest)
        except voting.VotingRefused as refusal:
            messages.warning(request, str(refusal))
    return redirect("annotations:vote", slug=slug)


def _vote_and_go_on(request: HttpRequest, campaign: Campaign) -> HttpResponse:
    annotator = people.annotator_for(request.user)
    if "token" in request.POST:
        _record(request, annotator)
    try:
        slots = voting.claim_slots(annotator=annotator, campaign=campaign, count=1)
    except voting.VotingRefused as refusal:
        messages.warning(request, str(refusal))
        return redirect(campaign)
    return redirect("annotations:vote" if slots else "annotations:done", slug=campaign.slug)


def _record(request: HttpRequest, annotator: Annotator) -> None:
    form = VoteForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("That vote could not be read. Please choose again."))
        return
    try:
        voting.record_vote(annotator=annotator, **form.cleaned_data)
    except voting.VotingRefused as refusal:
        messages.warning(request, str(refusal))


def _addresses(campaign: Campaign) -> dict[str, str]:
    return {
        "claims": reverse("api-claims", args=[campaign.slug]),
        "release": reverse("api-release", args=[campaign.slug]),
        "progress": reverse("api-progress", args=[campaign.slug]),
        "votes": reverse("api-votes"),
        "undo": reverse("api-undo", args=[NO_ID]),
        "campaign": campaign.get_absolute_url(),
        "done": reverse("annotations:done", args=[campaign.slug]),
        "undo_page": reverse("annotations:undo", args=[campaign.slug]),
        "stop": reverse("annotations:home"),
        "login": f"{reverse('login')}?next={reverse('annotations:vote', args=[campaign.slug])}",
    }


def _texts() -> dict[str, str]:
    """What the voting screen says by itself; {braces} are filled in there."""
    return {
        "image": _("Image {n}"),
        "progress": _("{voted} voted, {left} left"),
        "recorded_choice": _("Recorded: image {n}."),
        "recorded_tie": _("Recorded: no clear winner."),
        "recorded_all_bad": _("Recorded: all bad."),
        "recorded_skip": _("Skipped."),
        "recorded_flag": _("Flagged. Thank you."),
        "undone": _("Undone. The same images again."),
        "nothing_to_undo": _("There is no vote to undo."),
        "one_waiting": _("1 vote waiting to be sent"),
        "many_waiting": _("{n} votes waiting to be sent"),
        "loading": _("Loading the next images…"),
        "offline": _("No connection. Your votes are safe on this device and are sent as soon as it is back."),
        "undo_offline": _("This vote is on its way. It can be undone when the connection is back."),
        "claim_lost": _(
            "That task had been given to somebody else, so your vote was not counted. Here is the next one."
        ),
        "not_taken": _("A vote was not taken: {detail}"),
        "login": _("You are logged out. Log in again to send your votes."),
        "image_failed": _("An image could not be loaded."),
    }
