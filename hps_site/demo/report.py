"""The demo's one table: how far each metric agrees with people, and whether the adapted model is preferred."""

from annotations.models import Campaign
from hps_site.dashboard import text_reports
from hps_site.dashboard.queries import ballots
from hps_site.dashboard.queries.scorers import compare_scorers
from hps_site.dashboard.queries.studies import study_report
from scoring.metrics import Estimate, Verdict

WORDS: dict[Verdict, str] = {
    "preferred": "The adapted model is preferred.",
    "no difference shown": "No difference shown between the original and the adapted model.",
    "not preferred": "The original model is preferred to the adapted one.",
}


def final_table(*, choices_campaign: Campaign, study_campaign: Campaign) -> str:
    """Metrics against people on held-out choices, then the blind study; every number is marked synthetic."""
    choices = ballots.read_choices([choices_campaign])
    scorers = compare_scorers([choices_campaign], choices)
    study = study_report(study_campaign, ballots.read_choices([study_campaign]))
    if study is None:
        raise ValueError(f"{study_campaign} is no study.")
    return "\n".join(
        [
            "All numbers are synthetic: simulated people looked at drawn and generated toy images.",
            "",
            text_reports.scorers([choices_campaign], scorers),
            "",
            f"Blind study: original against adapted, {study.prompts} held-out prompts, {study.votes} votes [synthetic]",
            f"share of votes for the adapted model (a tie counts half): {_percent(study.share)}",
            f"share of prompts that the adapted model won: {_percent(study.prompts_won)}",
            WORDS[study.verdict],
        ]
    )


def _percent(estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return f"- ({estimate.reason})"
    return f"{100 * estimate.value:.1f} % ({100 * estimate.low:.1f} to {100 * estimate.high:.1f} %)"
