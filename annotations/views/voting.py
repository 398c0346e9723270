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
from annotations.models import Annotator, Campaign, Image, Task, Vote
from annotations.queries import people as people_queries
from annotations.queries import voting as queries
from annotations.services import people, voting
from annotations.services.checks import feedback_on
from annotations.views import wording
from annotations.views.campaigns import campaign_for

# Stands in addresses that the voting screen completes with the id of a vote.
NO_ID = UUID(int=0)

# Refusals after which there is a page to go to; after the others the campaign's own page says how it stands.
WITH_A_PAGE = {"consent_needed", "cap_reached"}


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def vote(request: HttpRequest, slug: str) -> HttpResponse:
    """The voting screen. To look at it changes nothing; to post claims the next task, after a vote if there is one."""
    campaign = campaign_for(request, slug)
    if request.method == "POST":
        return _vote_and_go_on(request, campaign)
    annotator = queries.annotator_of(request.user)
    if people_queries.lacks_consent(people_queries.participation_in(annotator, campaign), campaign):
        return redirect("annotations:consent", slug=slug)
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
        "flag_reasons": voting.FLAG_REASONS,
        "skip_reasons": voting.SKIP_REASONS,
        "key_actions": wording.key_actions(campaign),
        "screen": {
            "claims": [asdict(claim) for claim in claims],
            "progress": asdict(progress),
            "last_vote": last_vote,
            "lease_seconds": campaign.lease_seconds,
            "break_after": campaign.break_after,
            "tie_after_ms": campaign.tie_after_ms,
            "campaign": campaign.slug,
            "person": person,
            "addresses": addresses,
            "texts": wording.texts(),
            "key_actions": wording.key_actions(campaign),
            "ways_on": {code: asdict(way) for code, way in wording.ways_on(campaign).items()},
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
    vote = _record(request, annotator) if "token" in request.POST else None
    try:
        slots = voting.claim_slots(annotator=annotator, campaign=campaign, count=1)
    except voting.ConsentNeeded:
        return redirect("annotations:consent", slug=campaign.slug)
    except voting.VotingRefused as refusal:
        messages.warning(request, str(refusal))
        ways_on = wording.ways_on(campaign)
        return redirect(ways_on[refusal.code].address if refusal.code in WITH_A_PAGE else campaign.get_absolute_url())
    if vote is not None and vote.task.purpose == Task.Purpose.PRACTICE:
        _tell_of_practice(request, vote, is_over=not slots or slots[0].task.purpose != Task.Purpose.PRACTICE)
    return redirect("annotations:vote" if slots else "annotations:done", slug=campaign.slug)


def _record(request: HttpRequest, annotator: Annotator) -> Vote | None:
    form = VoteForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("That vote could not be read. Please choose again."))
        return None
    try:
        return voting.record_vote(annotator=annotator, **form.cleaned_data).vote
    except voting.VotingRefused as refusal:
        messages.warning(request, str(refusal))
        return None


def _tell_of_practice(request: HttpRequest, vote: Vote, *, is_over: bool) -> None:
    """What a practice vote teaches, as the script would show it; the images are counted in the order shown."""
    feedback, texts = feedback_on(vote), wording.texts()
    if feedback is not None:
        ids = list(Image.objects.filter(public_id=feedback.expected).values_list("pk", flat=True))
        text = texts["practice_right" if feedback.is_right else "practice_wrong"]
        messages.info(request, text.format(n=vote.order.index(ids[0]) + 1))
    if is_over:
        messages.info(request, f"{texts['practice_over_title']}. {texts['practice_over_text']}")


def _addresses(campaign: Campaign) -> dict[str, str]:
    return {
        "claims": reverse("api-claims", args=[campaign.slug]),
        "heartbeat": reverse("api-heartbeat", args=[campaign.slug]),
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
