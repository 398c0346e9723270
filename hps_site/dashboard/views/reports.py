"""The pages for those who run campaigns: nobody else sees what a metric said."""

from typing import cast

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from annotations.models import Campaign
from annotations.queries.demographics import demographic_groups
from hps_site.dashboard import charts, pictures
from hps_site.dashboard.findings import describe
from hps_site.dashboard.queries import ballots, overview
from hps_site.dashboard.queries.agreement import agreement_report
from hps_site.dashboard.queries.ballots import Ballot
from hps_site.dashboard.queries.demographic_slices import group_report
from hps_site.dashboard.queries.scorers import compare_scorers, versions_in_use
from hps_site.dashboard.queries.stored import (
    generalisation_report,
    reference_names,
    set_comparison,
    stored_results,
)
from hps_site.dashboard.queries.studies import study_report
from scoring import rankings
from scoring.rankings import Ranking
from worker.models import Run
from worker.queries import PRESETS
from worker.services.runs import UnableToOpenRun, open_run
from worker.views.staff import staff_only


@require_safe
@staff_only
def index(request: HttpRequest) -> HttpResponse:
    """All campaigns, the models in use and the latest runs."""
    summaries = overview.campaign_summaries(today=timezone.localdate())
    context = {
        "campaigns": [(summary, charts.spark_bars(summary.recent)) for summary in summaries],
        "versions": overview.versions_in_use(),
        "runs": overview.latest_runs(),
        "presets": PRESETS,
        "is_partly_synthetic": any(summary.campaign.is_synthetic for summary in summaries),
    }
    return render(request, "dashboard/index.html", context)


@require_safe
@staff_only
def campaign(request: HttpRequest, slug: str) -> HttpResponse:
    """What people chose in one campaign, and how near the metrics come to it."""
    shown = get_object_or_404(Campaign, slug=slug)
    read = ballots.read_ballots([shown])
    choices = [ballot.choice for ballot in read]
    scorers = compare_scorers([shown], choices)
    ranking = _ranking(read)
    positions = ballots.position_report(read)
    study = study_report(shown, choices)
    stored = stored_results(shown)
    context = {
        "campaign": shown,
        "figures": ballots.campaign_figures(shown, read),
        "outcomes": ballots.outcome_counts(shown),
        "agreement": ballots.agreement_report(choices),
        "days": charts.daily_bars(ballots.daily_votes(read)),
        "ranking": ranking,
        "ranked": [(place, ranking.band(place.generator)) for place in ranking.places] if ranking else [],
        "ranking_chart": pictures.ranking_chart(ranking.places) if ranking else None,
        "positions": positions,
        "position_chart": pictures.position_chart(positions) if positions else None,
        "scorers": scorers,
        "scorer_chart": pictures.scorer_chart(scorers),
        "demographics": demographic_groups(shown),
        "study": study,
        "study_chart": pictures.study_chart(study) if study else None,
        "pair_chart": pictures.pair_agreement_chart(study) if study else None,
        "stored_leave_out": stored[Run.Kind.LEAVE_OUT],
        "leave_out_presets": PRESETS[Run.Kind.LEAVE_OUT],
        "generalisation": generalisation_report(stored[Run.Kind.LEAVE_OUT].done),
        "stored_sets": stored[Run.Kind.SETS],
        "set_references": reference_names(),
        "sets": set_comparison(stored[Run.Kind.SETS].done),
    }
    return render(request, "dashboard/campaign.html", context)


@require_safe
@staff_only
def agreement(request: HttpRequest, slug: str) -> HttpResponse:
    """The metrics in use on one campaign by slice and convention, and what looks wrong with them."""
    shown = get_object_or_404(Campaign, slug=slug)
    choices, versions = ballots.read_choices([shown]), versions_in_use()
    report = agreement_report([shown], choices, versions)
    context = {
        "campaign": shown,
        "report": report,
        "groups": group_report(shown, choices, versions),
        "warnings": [describe(finding) for finding in report.findings],
        "calibrations": [(one.version, pictures.calibration_picture(one.calibration)) for one in report.details],
    }
    return render(request, "dashboard/agreement.html", context)


@require_POST
@staff_only
@permission_required("worker.add_run", raise_exception=True)
def score(request: HttpRequest, slug: str) -> HttpResponse:
    """Open the run in which every version that lacks scores of a campaign's images gives them."""
    scored = get_object_or_404(Campaign, slug=slug)
    missing = compare_scorers([scored], ballots.read_choices([scored])).missing
    if not missing:
        messages.info(request, _("All versions in use have scored these images."))
        return redirect("dashboard:campaign", slug)
    names = [str(gap.version) for gap in missing]
    try:
        opened = open_run(
            kind=Run.Kind.SCORING, preset="", config={"versions": names}, campaign=scored, by=cast(User, request.user)
        )
    except UnableToOpenRun as error:
        messages.error(request, str(error))
        return redirect("dashboard:campaign", slug)
    if not opened.is_new:
        messages.info(request, _("Images are being scored already; here is that run."))
    return redirect(opened.run)


def _ranking(read: list[Ballot]) -> Ranking | None:
    """None where there are not two generators to rank."""
    try:
        return rankings.ranking(
            (ballot.choice for ballot in read if not ballot.is_order_shown),
            placed=(ballot.choice for ballot in read if ballot.is_order_shown),
        )
    except rankings.UnableToRank:
        return None
