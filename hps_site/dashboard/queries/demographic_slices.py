"""How often the metrics in use agree with the people of each demographic group, told so that nobody can be found."""

from collections.abc import Sequence
from dataclasses import dataclass

from annotations.models import Campaign, Split
from annotations.queries.demographic_shares import Credit, GroupShare, shares_by_group
from hps_site.dashboard.queries.scorers import numbers, read_scores, scored_by
from scoring import metrics
from scoring.metrics import Estimate
from scoring.preferences import Choice
from worker.models import ModelVersion

MEASURE = "top-1 of n, mean over people"


@dataclass(frozen=True)
class GroupSlice:
    """The metrics on the choices of the people of one group."""

    question: str
    label: str
    shares: list[Estimate | None]
    """In the order of the versions; None where that metric's share is withheld."""


@dataclass(frozen=True)
class GroupReport:
    """The metrics by group; no group where none may be told of."""

    versions: list[ModelVersion]
    groups: list[GroupSlice]
    is_open: bool
    """The campaign is not closed yet, so nothing is told."""


def group_report(campaign: Campaign, choices: Sequence[Choice], versions: Sequence[ModelVersion]) -> GroupReport:
    """Metrics on held-out choices by what people told of themselves, see `annotations.queries.demographic_shares`.

    Args:
        campaign: one alone; a report over several would tell of the difference.
        choices: counted votes of this campaign, from `ballots.read_choices`.
        versions: those in use, from `versions_in_use`; more of them would tell more than is meant to be told.

    Returns:
        One SQL statement, and one for each version that has scored the choices.
    """
    if campaign.state != Campaign.State.CLOSED:
        return GroupReport([], [], is_open=True)
    scores = read_scores([campaign], versions, [Split.TEST])
    held_out = [choice for choice in choices if choice.split == "test"]
    judged = [version for version in versions if scored_by(held_out, scores.get(version.pk, {}))]
    found: dict[tuple[str, str], dict[int, Estimate]] = {}
    for version in judged:
        for group in _shares(campaign, held_out, version, scores[version.pk]):
            found.setdefault((group.question, group.label), {})[version.pk] = group.share
    groups = [
        GroupSlice(question, label, [shares.get(version.pk) for version in judged])
        for (question, label), shares in found.items()
    ]
    return GroupReport(judged, groups, is_open=False)


def _shares(
    campaign: Campaign, held_out: Sequence[Choice], version: ModelVersion, scores: dict[str, float]
) -> list[GroupShare]:
    scored = scored_by(held_out, scores)
    decided, credits = metrics.top_one_credits(scored, numbers(scored, scores))
    given = (Credit(int(choice.annotator), float(credit)) for choice, credit in zip(decided, credits, strict=True))
    return shares_by_group(campaign, given, name=MEASURE, key=str(version))
