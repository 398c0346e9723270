"""What is known of a person's part in campaigns, for themselves and for those who pay them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Max, QuerySet

from annotations.models import (
    Annotator,
    Campaign,
    Image,
    Outcome,
    Participation,
    Recruitment,
    Task,
    Vote,
    text_sha256,
)

FINISHED = (Participation.State.COMPLETED, Participation.State.SCREENED_OUT)


@dataclass(frozen=True)
class Part:
    """One campaign on a person's own page."""

    campaign: Campaign
    participation: Participation | None

    voted: int
    """Tasks answered and not undone."""

    judged: int
    """Those of them that count towards what was asked for: judgements, practice apart."""

    last_voted_at: datetime | None

    @property
    def wanted(self) -> int | None:
        """How many votes were asked of this person; None where there is no such number."""
        if self.participation is not None and self.participation.recruitment is not None:
            return self.participation.recruitment.votes_wanted
        return self.campaign.votes_per_person


def participation_in(annotator: Annotator | None, campaign: Campaign) -> Participation | None:
    """The person's part in a campaign, with its recruitment, or None where it has not begun."""
    parts = Participation.objects.select_related("recruitment__campaign")
    return parts.filter(annotator=annotator, campaign=campaign).first() if annotator is not None else None


def is_finished(annotator: Annotator, campaign: Campaign) -> bool:
    """Whether this person has done all that was wanted of them here, or is not wanted any longer."""
    return Participation.objects.filter(annotator=annotator, campaign=campaign, state__in=FINISHED).exists()


def votes_left(annotator: Annotator, campaign: Campaign, *, at_most: int) -> int:
    """How many votes are still wanted of this person, where their part says so; `at_most` where it does not.

    None is left of a part that is over, one at least of any other.
    """
    part = participation_in(annotator, campaign)
    if part is None:
        return at_most
    if part.state in FINISHED:
        return 0
    if part.recruitment is None:
        return at_most
    return max(1, min(at_most, part.recruitment.votes_wanted - judged_by(annotator, [campaign]).get(campaign.pk, 0)))


def consent_hash(campaign: Campaign) -> str:
    """Names the text that people agree to in a campaign as it stands now; empty where there is none."""
    return text_sha256(campaign.consent) if campaign.consent else ""


def lacks_consent(participation: Participation | None, campaign: Campaign) -> bool:
    """Whether a person who is to vote has yet to agree to the text of a campaign as it stands now."""
    if participation is not None and participation.state in FINISHED:
        return False
    agreed_to = participation.consent_hash if participation is not None else ""
    return agreed_to != consent_hash(campaign) and bool(campaign.consent)


def judged_by(annotator: Annotator, campaigns: Iterable[Campaign]) -> dict[int, int]:
    """How many judgements a person gave, by the id of the campaign; those without are left out.

    Gold and probes count as what they look like: a number that stood still after them would tell them apart.
    """
    votes = (
        Vote.objects.standing()
        .filter(
            annotator=annotator,
            slot__campaign__in=campaigns,
            outcome__in=Outcome.judgements(),
        )
        .exclude(task__purpose=Task.Purpose.PRACTICE)
    )
    return dict(votes.values_list("slot__campaign").annotate(Count("pk")))


def parts_of(annotator: Annotator) -> list[Part]:
    """All campaigns in which a person takes or took part, those they voted in last first."""
    votes = Vote.objects.standing().filter(annotator=annotator)
    voted = {
        campaign: (count, last)
        for campaign, count, last in votes.values_list("slot__campaign").annotate(Count("pk"), Max("created_at"))
    }
    participations = {
        part.campaign_id: part
        for part in Participation.objects.filter(annotator=annotator).select_related("recruitment__campaign")
    }
    campaigns = Campaign.objects.in_bulk({*voted, *participations})
    judged = judged_by(annotator, campaigns.values())
    parts = [
        Part(
            campaign=campaign,
            participation=participations.get(pk),
            voted=voted.get(pk, (0, None))[0],
            judged=judged.get(pk, 0),
            last_voted_at=voted.get(pk, (0, None))[1],
        )
        for pk, campaign in campaigns.items()
    ]
    return sorted(parts, key=lambda part: (part.last_voted_at is None, -_seconds(part.last_voted_at), part.campaign.pk))


def part_in(annotator: Annotator | None, campaign: Campaign) -> Part | None:
    """One person's part in one campaign; None for who has neither joined nor voted."""
    if annotator is None:
        return None
    return next((part for part in parts_of(annotator) if part.campaign == campaign), None)


def places_taken(recruitment: Recruitment) -> int:
    """People who are at work or have finished; who was screened out or gave the place back holds none."""
    states = [Participation.State.ACTIVE, Participation.State.COMPLETED]
    return recruitment.participations.filter(state__in=states).count()


def own_data(annotator: Annotator) -> dict[str, Any]:
    """All that is kept of one person, in their own words where there are any.

    No model's opinion, nothing of others, no generator's name, and nothing that tells which tasks had a known answer.
    """
    demographics = getattr(annotator, "demographics", None)
    return {
        "profile": {
            "pseudonym": str(annotator.public_id),
            "user_name": annotator.user.get_username() if annotator.user else None,
            "source": annotator.source,
            "state": annotator.state,
            "invited_by_link": annotator.invite.campaign.slug if annotator.invite else None,
            "joined_at": annotator.created_at,
        },
        "about_you": demographics
        and {
            "age": demographics.age_band,
            "region": demographics.region,
            "gender": demographics.gender,
            "design_experience": demographics.design_experience,
            "told_at": demographics.created_at,
        },
        "participations": [_as_told(part) for part in _participations_told(annotator)],
        "votes": _votes_told(annotator),
    }


def _seconds(moment: datetime | None) -> float:
    return moment.timestamp() if moment is not None else 0


def _participations_told(annotator: Annotator) -> QuerySet[Participation]:
    return annotator.participations.select_related("campaign", "recruitment").order_by("pk")


def _as_told(part: Participation) -> dict[str, Any]:
    return {
        "campaign": part.campaign.slug,
        "recruited_by": part.recruitment.panel if part.recruitment else None,
        "study_id": part.study_id,
        "session_id": part.session_id,
        "state": part.state,
        "completion_code": part.code,
        "agreed_at": part.consented_at,
        "sha256_of_what_was_agreed_to": part.consent_hash,
        "practised_at": part.practised_at,
        "joined_at": part.created_at,
        "last_seen_at": part.seen_at,
        "finished_at": part.finished_at,
    }


def _votes_told(annotator: Annotator) -> list[dict[str, Any]]:
    rows = Vote.objects.filter(annotator=annotator).select_related("slot__campaign", "task__prompt", "image")
    votes = list(rows.order_by("pk"))
    shown = Image.objects.filter(pk__in={image for vote in votes for image in vote.order})
    public_ids = dict(shown.values_list("pk", "public_id"))
    return [
        {
            "id": str(vote.public_id),
            "campaign": vote.slot.campaign.slug,
            "prompt": vote.task.prompt.text,
            "images_shown": [str(public_ids[image]) for image in vote.order if image in public_ids],
            "outcome": vote.outcome,
            "chosen_image": str(vote.image.public_id) if vote.image else None,
            "reason": vote.reason,
            "instructions_version": vote.instructions_version,
            "shown_ms": vote.shown_ms,
            "hidden_ms": vote.hidden_ms,
            "client": vote.client,
            "served_at": vote.served_at,
            "voted_at": vote.created_at,
            "undone_at": vote.withdrawn_at,
        }
        for vote in votes
    ]
